{#- Days and the windows that features count in. -#}


{#- Whether an event lies in a window of days before the as_of_date: [D - from_days, D - to_days).

        count(*) filter (where {{ in_window('days_since_refund', 30) }})
        avg(amount) filter (where {{ in_window('days_since_charge', 240, 60) }})

      days_since: days from the event to the as_of_date; null, and so in no window, while it lies ahead -#}
{% macro in_window(days_since, from_days, to_days=0) -%}
    {{ days_since }} <= {{ from_days }}{% if to_days %} and {{ days_since }} > {{ to_days }}{% endif %}
{%- endmacro %}


{#- The date of a moment, by the UTC calendar.

        {{ utc_date('payments.paid_at') }} as paid_date -#}
{% macro utc_date(moment) -%}
    ({{ moment }} at time zone 'UTC')::date
{%- endmacro %}


{#- The moment at which a date begins, by the UTC calendar.

        {{ midnight_of('payments.due_date') }} as due_at -#}
{% macro midnight_of(date) -%}
    {{ date }}::timestamp at time zone 'UTC'
{%- endmacro %}


{#- Whole days from an earlier moment to a later one, both by the UTC calendar.

        {{ days_between('customers.created_at', 'customers.cancelled_at') }} as days_as_customer -#}
{% macro days_between(earlier, later) -%}
    {{ utc_date(later) }} - {{ utc_date(earlier) }}
{%- endmacro %}


{#- Hours from an earlier moment to a later one, with their fraction.

        {{ hours_between('tickets.opened_at', 'tickets.resolved_at') }} as resolution_hours -#}
{% macro hours_between(earlier, later) -%}
    date_part('epoch', {{ later }} - {{ earlier }}) / 3600
{%- endmacro %}


{#- So many days as an interval that is the same length in every session's time zone.

        tickets.opened_at + {{ days_long(30) }} -#}
{% macro days_long(days) -%}
    make_interval(hours => 24 * {{ days }})
{%- endmacro %}


{#- First day of the month that a moment fell in, by the company's own calendar.

        {{ month_of('payments.paid_at', 'companies.time_zone') }} as paid_month -#}
{% macro month_of(moment, time_zone) -%}
    date_trunc('month', {{ moment }} at time zone {{ time_zone }})::date
{%- endmacro %}
