{#- Hours that lie within a company's business hours, by arithmetic on its weeks and without a row per day: whole weeks,
    whole days of the week that has begun, and the part of the day. `week` is a row of int_business_weeks. -#}


{#- A moment as seconds on the company's own clock since a Monday's midnight (1969-12-29). The clock on the wall is
    what opens and closes a shop, in summer and in winter.

        {{ seconds_on_the_clock('opened_at', 'time_zone') }} as opened_seconds -#}
{% macro seconds_on_the_clock(moment, time_zone) -%}
    date_part('epoch', {{ moment }} at time zone {{ time_zone }}) + 3 * 86400
{%- endmacro %}


{#- Open seconds from that Monday to a moment.

        {{ open_seconds_until('tickets.opened_seconds', 'weeks') }}

      seconds: a column made by seconds_on_the_clock
      week: the company's row of int_business_weeks -#}
{% macro open_seconds_until(seconds, week) -%}
    {%- set day = 'floor(' ~ seconds ~ ' / 86400)' -%}
    {%- set weekday = '1 + ' ~ day ~ '::int % 7' -%}
    floor({{ seconds }} / 604800) * {{ week }}.open_seconds_a_week
    + {{ week }}.open_seconds_before[{{ weekday }}]
    + least(
        greatest({{ seconds }} - {{ day }} * 86400 - {{ week }}.opens_at_seconds[{{ weekday }}], 0),
        {{ week }}.open_seconds[{{ weekday }}]
    )
{%- endmacro %}


{#- Business hours between two moments; where the company has none set, every hour counts. Never more than have gone
    by: an hour that the clock skips or repeats while open is shown twice or not at all by the wall.

        {{ business_hours_between('opened_seconds', 'resolved_seconds', 'resolution_hours', 'weeks') }}

      earlier, later: columns made by seconds_on_the_clock
      hours: the hours between them as they went by
      week: the company's row of int_business_weeks, left joined -#}
{% macro business_hours_between(earlier, later, hours, week) -%}
    case
        when {{ week }}.company_id is null or {{ hours }} is null then {{ hours }}
        else least(
            greatest(
                ({{ open_seconds_until(later, week) }}) - ({{ open_seconds_until(earlier, week) }}), 0
            ) / 3600,
            {{ hours }}
        )
    end
{%- endmacro %}
