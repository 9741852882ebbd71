{#- The rule of time, written once. A version counts at an as_of_date D while known_from < D <= known_to;
    its mutable attributes while attributes_known_from < D; its event times when they lie before D. Features read what
    these make, the models int_<entity>__as_known, and none of these. -#}


{#- When a version was made. Versions of a record are in order of it, and no two have the same: of those that the
    source gave one updated_at, the one that was known later was made later, when it became known (raw's made_at).

        select {{ made_at() }} as updated_at from source -#}
{% macro made_at() -%}
    coalesce(made_at, updated_at)
{%- endmacro %}


{#- When the warehouse could first know a version. With `as_the_source_said` a load that came late does not count:
    a version is known from when the source made it. Only a replay after an outage is built so, beside the stored rows.

        select {{ made_at() }} as updated_at, {{ known_at() }} from source -#}
{% macro known_at() -%}
    {%- if var('as_the_source_said') -%}
        case when is_backfill then known_at else least(known_at, {{ made_at() }}) end as known_at
    {%- else -%}
        known_at
    {%- endif -%}
{%- endmacro %}


{#- The interval in which a version is what the warehouse knew of the record.
    The first version of a backfilled record reaches back to minus infinity, with its event times and
    fixed attributes only. A version ends when any later one (by updated_at) is known, so that an older
    version arriving late never stands in front of a newer one.

        select *, {{ knowledge_interval('ticket_id') }} from versions

      record_id: the column that names the record. Reads company_id, updated_at, known_at and is_backfill, and makes
      known_from, attributes_known_from and known_to. -#}
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


{#- A mutable attribute: null where only the record's event times are known.

        {{ known_attribute('tickets.priority', 'as_of_dates.as_of_at') }} as priority

      column: <relation>.<column>, of a relation with attributes_known_from -#}
{% macro known_attribute(column, as_of_at) -%}
    case when {{ column.split('.')[0] }}.attributes_known_from < {{ as_of_at }} then {{ column }} end
{%- endmacro %}


{#- How many days ago an event was; null as long as it lies ahead. An as_of_date is a midnight, so that an event
    lies before it exactly when its UTC date does. Plain dates are also many times cheaper than time zones.

        {{ days_since('tickets.opened_date', 'as_of_dates.as_of_date') }} as days_since_opened -#}
{% macro days_since(event_date, as_of_date) -%}
    case when {{ event_date }} < {{ as_of_date }} then {{ as_of_date }} - {{ event_date }} end
{%- endmacro %}


{#- What is known once an event has happened, such as how long it took.

        {{ known_after('tickets.resolved_date', 'tickets.resolution_hours', 'as_of_dates.as_of_date') }}
            as resolution_hours -#}
{% macro known_after(event_date, column, as_of_date) -%}
    case when {{ event_date }} < {{ as_of_date }} then {{ column }} end
{%- endmacro %}


{#- Whether a version is the one that counts at the date.

        inner join tickets on {{ is_in_force('tickets', 'as_of_dates.as_of_at') }}

      versions: has known_from and known_to -#}
{% macro is_in_force(versions, as_of_at) -%}
    {{ versions }}.known_from < {{ as_of_at }}
    and {{ versions }}.known_to >= {{ as_of_at }}
{%- endmacro %}


{#- Whether any of the events that lie before the date lies within the lookback. An event still ahead must not
    keep an old record in view: that it will happen is not known.

        where {{ has_recent_event(['tickets.opened_date', 'tickets.resolved_date'], 'as_of_dates.as_of_date') }} -#}
{% macro has_recent_event(event_dates, as_of_date) -%}
    (
        {%- for event_date in event_dates %}
        {{ 'or ' if not loop.first }}(
            {{ event_date }} < {{ as_of_date }}
            and {{ event_date }} >= {{ as_of_date }} - {{ var('lookback_days') | int }}
        )
        {%- endfor %}
    )
{%- endmacro %}


{#- The injected clock, as a timestamp.

        coalesce(companies.clock_at, {{ now_as_sql() }}) as now_at -#}
{% macro now_as_sql() -%}
    timestamptz '{{ var("now") or run_started_at.isoformat() }}'
{%- endmacro %}
