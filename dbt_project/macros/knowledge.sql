{#- The rule of time, written once. A version counts at an as_of_date D while known_from < D <= known_to;
    its mutable attributes while attributes_known_from < D; its event times when they lie before D. -#}


{#- When the warehouse could first know a version. With `as_the_source_said` a load that came late does not count:
    a version is known from when the source made it. Only a replay after an outage is built so, beside the stored rows. -#}
{% macro known_at() -%}
    {%- if var('as_the_source_said') -%}
        case when is_backfill then known_at else least(known_at, updated_at) end as known_at
    {%- else -%}
        known_at
    {%- endif -%}
{%- endmacro %}


{#- The interval in which a version is what the warehouse knew of the record.
    The first version of a backfilled record reaches back to minus infinity, with its event times and
    fixed attributes only. A version ends when any later one (by updated_at) is known, so that an older
    version arriving late never stands in front of a newer one. -#}
{% macro knowledge_interval(record_id) -%}
    case
        when
            is_backfill
            and not coalesce(bool_or(is_backfill) over (
                partition by company_id, {{ record_id }}
                order by updated_at
                rows between unbounded preceding and 1 preceding
            ), false)
            then '-infinity'::timestamptz
        else known_at
    end as known_from,
    known_at as attributes_known_from,
    coalesce(
        min(known_at) over (
            partition by company_id, {{ record_id }}
            order by updated_at
            rows between 1 following and unbounded following
        ),
        'infinity'::timestamptz
    ) as known_to
{%- endmacro %}


{#- A mutable attribute: null where only the record's event times are known. -#}
{% macro known_attribute(column) -%}
    {%- set record, name = column.split('.') -%}
    case when {{ record }}.attributes_known_from < as_of_dates.as_of_at then {{ column }} end as {{ name }}
{%- endmacro %}


{#- How many days ago an event was; null as long as it lies ahead. An as_of_date is a midnight, so that an event
    lies before it exactly when its UTC date does. Plain dates are also many times cheaper than time zones. -#}
{% macro days_since(column) -%}
    {%- set record, name = column.split('.') -%}
    case when {{ column }} < as_of_dates.as_of_date then as_of_dates.as_of_date - {{ column }} end
    as days_since_{{ name | replace('_date', '') }}
{%- endmacro %}


{#- What is known once an event has happened, such as how long it took. -#}
{% macro known_after(date_column, column) -%}
    {%- set record, name = column.split('.') -%}
    case when {{ date_column }} < as_of_dates.as_of_date then {{ column }} end as {{ name }}
{%- endmacro %}


{#- Whether a version is the one that counts at the date. -#}
{% macro is_in_force(record) -%}
    {{ record }}.known_from < as_of_dates.as_of_at
    and {{ record }}.known_to >= as_of_dates.as_of_at
{%- endmacro %}


{#- Whether any of the events that lie before the date lies within the lookback. An event still ahead must not
    keep an old record in view: that it will happen is not known. -#}
{% macro has_recent_event(columns) -%}
    (
        {%- for column in columns %}
        {{ 'or ' if not loop.first }}(
            {{ column }} < as_of_dates.as_of_date
            and {{ column }} >= as_of_dates.as_of_date - {{ var('lookback_days') | int }}
        )
        {%- endfor %}
    )
{%- endmacro %}


{#- The injected clock, as a timestamp. -#}
{% macro now_as_sql() -%}
    timestamptz '{{ var("now") or run_started_at.isoformat() }}'
{%- endmacro %}


{#- Joins what a mart has worked out per customer and date, customer by customer: the records of each are read through
    the index on them, and ordered and grouped by themselves. Doing so for all customers at one time sorts every record,
    on disk, once per date that sees it. Worth it where a customer has many records. The fence keeps Postgres from making
    one big join of it.
      figures: a query grouped by company_id, customer_id and as_of_date -#}
{% macro left_join_per_customer(figures) -%}
    left join lateral (
        select * from {{ figures }} as figures
        where
            figures.company_id = customers.company_id
            and figures.customer_id = customers.customer_id
            and figures.as_of_date = customers.as_of_date
        offset 0
    ) as {{ figures }} on true
{%- endmacro %}
