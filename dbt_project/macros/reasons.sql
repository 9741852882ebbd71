{#- A published reason in words, as the class `Reason` in ml_assets/scoring/reasons.py says it in Python: a test holds
    the two together. `reason` is one object of the published array, as jsonb. -#}


{#- The value beside the usual one: "3 tickets open now, usually 0", "Plan: pro, as usual", "Segment is not known".
    A reason that was published without what is usual is told in the words that it came with.

        {{ reason_fact('reason.body') }} as reason_text -#}
{% macro reason_fact(reason) -%}
    {#- `offset 0` and `limit 1` keep each step from being done once per mention of what it makes. -#}
    (
        with

        published as (

            select
                {{ reason }} ->> 'feature' as feature,
                {{ reason }} ->> 'label' as label,
                {{ reason }} ->> 'unit' as unit,
                {{ reason }} ->> 'text' as published_text,
                {{ reason }} -> 'value' as value,
                {{ reason }} -> 'usual' as usual
            limit 1

        ),

        -- Taking a label apart is dear, and only those that may name their unit are worth it.
        taken_apart as (

            select
                published.*,
                case
                    when
                        jsonb_typeof(value) = 'null'
                        or (unit like '%s' and position(unit in lower(label)) > 0)
                        then {{ before_the_first_preposition('label') }}
                end as head,
                {{ number_in('value') }} as value_number,
                {{ number_in('usual') }} as usual_number
            from published
            offset 0

        ),

        in_digits as (

            select
                taken_apart.*,
                {{ in_digits('value_number', 'unit') }} as value_digits,
                {{ in_digits('usual_number', 'unit') }} as usual_digits,
                case
                    when value_number is not null and position(' ' in unit) = 0 and unit like '%s'
                        then position(' ' || unit || ' ' in ' ' || lower(head) || ' ')
                    else 0
                end as place_of_unit
            from taken_apart
            offset 0

        ),

        in_words as (

            select
                in_digits.*,
                {{ in_words('value', 'value_digits', 'unit', 'place_of_unit > 0') }} as value_text,
                {{ in_words('usual', 'usual_digits', 'unit', 'place_of_unit > 0') }} as usual_text
            from in_digits
            offset 0

        )

        select
            case
                when usual is null then published_text
                when feature = 'other' then label
                when jsonb_typeof(value) = 'null'
                    then label || case when {{ is_plural('head') }} then ' are' else ' is' end || ' not known'
                else
                    case
                        when place_of_unit > 0
                            then
                                value_text || ' '
                                || {{ counted('head', 'unit', 'place_of_unit', "value_text = '1'") }}
                                || substr(label, length(head) + 1)
                        else label || ': ' || value_text
                    end
                    || case
                        when usual_text is null then ''
                        when usual_text = value_text then ', as usual'
                        else ', usually ' || usual_text
                    end
            end
        from in_words
    )
{%- endmacro %}


{#- What a reason does to the outcome, which a noun stands for: "raises the risk".

        {{ reason_effect('reasons.reason', 'risk') }} as effect -#}
{% macro reason_effect(reason, noun) -%}
    case sign(({{ reason }} ->> 'contribution')::double precision)
        when 1 then 'raises the {{ noun }}'
        when -1 then 'lowers the {{ noun }}'
        else 'changes nothing'
    end
{%- endmacro %}


{#- A label up to its first preposition. This and the macros below are steps of reason_fact.

        {{ before_the_first_preposition(label) }} -#}
{% macro before_the_first_preposition(label) -%}
    {%- set prepositions = 'added|against|as|for|in|now|of|open|overdue|since|until|with' -%}
    substring({{ label }} from '(?i)^\S+(?:\s+(?!(?:{{ prepositions }})(?:\s|$))\S+)*')
{%- endmacro %}


{#- Whether the first or the last word is a plural: "payments", not "status".

        {{ is_plural(head) }} -#}
{% macro is_plural(head) -%}
    {{ head }} ~ '^(\S*[^\ssui])?s(\s|$)|(^|\s)(\S*[^\ssui])?s$'
{%- endmacro %}


{#- The head of a label behind a number: "Failed payments" as "failed payments", or "failed payment" of one.

        {{ counted(head, unit, place, is_one) }} -#}
{% macro counted(head, unit, place, is_one) -%}
    {%- set tail = 'substr(split_part(' ~ head ~ ", ' ', 1), 2)" -%}
    {%- set written -%}
        case
            when {{ tail }} = lower({{ tail }}) and {{ tail }} <> upper({{ tail }})
                then lower(left({{ head }}, 1)) || substr({{ head }}, 2)
            else {{ head }}
        end
    {%- endset -%}
    case
        when {{ is_one }}
            then left({{ written }}, {{ place }} - 1)
            || left({{ unit }}, -1)
            || substr({{ written }}, {{ place }} + length({{ unit }}))
        else {{ written }}
    end
{%- endmacro %}


{#- The number that a JSON value holds, or null.

        {{ number_in(value) }} -#}
{% macro number_in(value) -%}
    case when jsonb_typeof({{ value }}) = 'number' then {{ value }}::double precision end
{%- endmacro %}


{#- A number no finer than a person says it: whole from 100 on, with one decimal from 10 on, with two below.

        {{ in_digits(number, unit) }} -#}
{% macro in_digits(number, unit) -%}
    {%- set thousands = 'FM' ~ '999,' * 12 ~ '990' -%}
    {%- set tenths = 'round(' ~ number ~ ' * 10) / 10' -%}
    {%- set hundredths = 'round(' ~ number ~ ' * 100) / 100' -%}
    {%- set two_figures = 'to_char(' ~ number ~ ", '9.9EEEE')" -%}
    case
        when {{ is_share(unit) }} then to_char({{ hundredths }} * 100 + 0.0, 'FM{{ '9' * 40 }}0') || '%'
        when abs({{ number }}) >= 100 then to_char(round({{ number }}), '{{ thousands }}')
        when abs({{ number }}) >= 10 then replace(to_char({{ tenths }}, 'FM990.0'), '.0', '')
        when abs({{ number }}) >= 0.01 then replace(to_char({{ hundredths }}, 'FM990.00'), '.00', '')
        when {{ number }} = 0 then '0'
        when abs({{ two_figures }}::numeric) >= 0.0001 then trim_scale({{ two_figures }}::numeric)::text
        else replace(btrim({{ two_figures }}), '.0e', 'e')
    end
{%- endmacro %}


{#- A value with its unit: "74 days", "1,251 EUR", "25%" (of a share), "yes".

        {{ in_words(value, digits, unit, is_counted) }} -#}
{% macro in_words(value, digits, unit, is_counted) -%}
    case jsonb_typeof({{ value }})
        when 'string' then {{ value }} #>> '{}'
        when 'boolean' then case when {{ value }}::boolean then 'yes' else 'no' end
        when 'number' then case
            when {{ is_counted }} then {{ digits }}
            when {{ is_share(unit) }} then {{ digits }} || substr({{ unit }}, 6)
            when {{ unit }} like '%currency' then {{ digits }} || ' in the ' || {{ unit }}
            when {{ digits }} = '1' and {{ unit }} like '%s' then '1 ' || left({{ unit }}, -1)
            else rtrim({{ digits }} || ' ' || {{ unit }})
        end
    end
{%- endmacro %}


{#- Whether a unit says that a value is a share, which people read in percent.

        {{ is_share(unit) }} -#}
{% macro is_share(unit) -%}
    ({{ unit }} = 'share' or {{ unit }} like 'share %')
{%- endmacro %}
