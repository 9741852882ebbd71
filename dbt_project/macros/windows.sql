{#- Whether an event lies in the window of so many days before the as_of_date: [D - from_days, D - to_days). -#}
{% macro in_window(column, from_days, to_days=0) -%}
    {{ column }} >= as_of_at - interval '{{ from_days }} days'
    and {{ column }} < as_of_at{% if to_days %} - interval '{{ to_days }} days'{% endif %}
{%- endmacro %}


{#- Whole days from an earlier moment to a later one, both by the UTC calendar. -#}
{% macro days_between(earlier, later) -%}
    ({{ later }} at time zone 'UTC')::date - ({{ earlier }} at time zone 'UTC')::date
{%- endmacro %}


{% macro hours_between(earlier, later) -%}
    (extract(epoch from {{ later }} - {{ earlier }}) / 3600.0)::double precision
{%- endmacro %}


{#- First day of the month an event fell in, by the company's own calendar. Needs `companies` joined. -#}
{% macro month_of(column) -%}
    date_trunc('month', {{ column }} at time zone companies.time_zone)::date
{%- endmacro %}
