{#- A published reason in words, as the class `Reason` in ml_assets/scoring/reasons.py says it in Python: a test holds
    the two together. `reason` is one object of the published array, as jsonb. -#}


{#- The value beside the usual one: "3 tickets open now, usually 0", "Plan: pro, as usual", "Segment is not known".
    A reason that was published without what is usual is told in the words that it came with.

        {{ reason_fact('reason.body') }} as reason_text -#}
{% macro reason_fact(reason) -%}
    (
        select
            case
                when published.usual is null then published.published_text
                when published.feature = 'other' then published.label
                when jsonb_typeof(published.value) = 'null'
                    then published.label
                    || case when {{ is_plural('phrase.head') }} then ' are' else ' is' end
                    || ' not known'
                else
                    case
                        when phrase.is_counted
                            then said.value_text
                            || ' '
                            || {{ counted('phrase.head', 'published.unit', "said.value_text = '1'") }}
                            || substr(published.label, length(phrase.head) + 1)
                        else published.label || ': ' || said.value_text
                    end
                    || case
                        when said.usual_text is null then ''
                        when said.usual_text = said.value_text then ', as usual'
                        else ', usually ' || said.usual_text
                    end
            end
        from (
            select
                {{ reason }} ->> 'feature' as feature,
                {{ reason }} ->> 'label' as label,
                {{ reason }} ->> 'unit' as unit,
                {{ reason }} ->> 'text' as published_text,
                {{ reason }} -> 'value' as value,
                {{ reason }} -> 'usual' as usual
            offset 0
        ) as published
        cross join lateral (
            select
                {{ number_in('published.value') }} as value_number,
                {{ number_in('published.usual') }} as usual_number,
                -- Taking a label apart is dear, and only those that may name their unit are worth it.
                case
                    when
                        jsonb_typeof(published.value) = 'null'
                        or (published.unit like '%s' and position(published.unit in lower(published.label)) > 0)
                        then {{ before_the_first_preposition('published.label') }}
                end as head
            offset 0
        ) as read
        cross join lateral (
            select
                coalesce(read.head, '') as head,
                read.value_number is not null and {{ names_the_unit('read.head', 'published.unit') }} as is_counted,
                {{ in_digits('read.value_number', 'published.unit') }} as value_digits,
                {{ in_digits('read.usual_number', 'published.unit') }} as usual_digits
            offset 0
        ) as phrase
        cross join lateral (
            select
                {{ in_words('published.value', 'phrase.value_digits', 'published.unit', 'phrase.is_counted') }}
                    as value_text,
                {{ in_words('published.usual', 'phrase.usual_digits', 'published.unit', 'phrase.is_counted') }}
                    as usual_text
            offset 0
        ) as said
    )
{%- endmacro %}


{#- What a reason does to the outcome, which a noun stands for: "raises the risk". -#}
{% macro reason_effect(reason, noun) -%}
    case sign(({{ reason }} ->> 'contribution')::double precision)
        when 1 then 'raises the {{ noun }}'
        when -1 then 'lowers the {{ noun }}'
        else 'changes nothing'
    end
{%- endmacro %}


{#- The steps of reason_fact, which nobody else calls. -#}


{% macro before_the_first_preposition(label) -%}
    {%- set prepositions = 'added|against|as|for|in|now|of|open|overdue|since|until|with' -%}
    substring({{ label }} from '(?i)^\S+(?:\s+(?!(?:{{ prepositions }})(?:\s|$))\S+)*')
{%- endmacro %}


{#- Whether the first or the last word is a plural: "payments", not "status". -#}
{% macro is_plural(head) -%}
    {{ head }} ~ '^(\S*[^\ssui])?s(\s|$)|(^|\s)(\S*[^\ssui])?s$'
{%- endmacro %}


{% macro names_the_unit(head, unit) -%}
    coalesce(
        {{ unit }} like '%s'
        and position(' ' in {{ unit }}) = 0
        and position(' ' || {{ unit }} || ' ' in ' ' || lower({{ head }}) || ' ') > 0,
        false
    )
{%- endmacro %}


{#- The head of a label behind a number: "Failed payments" as "failed payments", or "failed payment" of one. -#}
{% macro counted(head, unit, is_one) -%}
    {%- set tail = 'substr(split_part(' ~ head ~ ", ' ', 1), 2)" -%}
    {%- set in_lower_case = 'lower(left(' ~ head ~ ', 1)) || substr(' ~ head ~ ', 2)' -%}
    {%- set place = "position(' ' || " ~ unit ~ " || ' ' in ' ' || lower(" ~ head ~ ") || ' ')" -%}
    overlay(
        case
            when {{ tail }} = lower({{ tail }}) and {{ tail }} <> upper({{ tail }}) then {{ in_lower_case }}
            else {{ head }}
        end
        placing case when {{ is_one }} then left({{ unit }}, -1) else '' end
        from {{ place }}
        for case when {{ is_one }} then length({{ unit }}) else 0 end
    )
{%- endmacro %}


{% macro number_in(value) -%}
    case when jsonb_typeof({{ value }}) = 'number' then {{ value }}::double precision end
{%- endmacro %}


{#- A number no finer than a person says it: whole from 100 on, with one decimal from 10 on, with two below. -#}
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


{#- A value with its unit: "74 days", "1,251 EUR", "25%" (of a share), "yes". -#}
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


{% macro is_share(unit) -%}
    ({{ unit }} = 'share' or {{ unit }} like 'share %')
{%- endmacro %}
