{#- Whether an event lies in a window of days before the as_of_date: [D - from_days, D - to_days). -#}
{% macro in_window(days_since, from_days, to_days=0) -%}
    {{ days_since }} <= {{ from_days }}{% if to_days %} and {{ days_since }} > {{ to_days }}{% endif %}
{%- endmacro %}


{% macro utc_date(column) -%}
    ({{ column }} at time zone 'UTC')::date
{%- endmacro %}


{#- Whole days from an earlier moment to a later one, both by the UTC calendar. -#}
{% macro days_between(earlier, later) -%}
    {{ utc_date(later) }} - {{ utc_date(earlier) }}
{%- endmacro %}


{% macro hours_between(earlier, later) -%}
    date_part('epoch', {{ later }} - {{ earlier }}) / 3600
{%- endmacro %}


{#- So many days as an interval that is the same length in every session's time zone. -#}
{% macro days_long(days) -%}
    make_interval(hours => 24 * {{ days }})
{%- endmacro %}


{#- First day of the month an event fell in, by the company's own calendar. The second name has its time_zone. -#}
{% macro month_of(column, companies='companies') -%}
    date_trunc('month', {{ column }} at time zone {{ companies }}.time_zone)::date
{%- endmacro %}
