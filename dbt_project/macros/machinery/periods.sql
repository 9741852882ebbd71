{#- What an incremental model builds in this run.

    A period is one company at one as_of_date. An ordinary run builds the periods that the model lacks, and
    those that another feature version made; the variable as_of_dates asks for some by name and then builds only
    those; company_ids narrows either. A model that lacks a column is built for all periods, so a new feature
    has no half-filled past. -#}


{#- The periods to build, as [(company_id, as_of_date), ...].
      relation: the model's own table, as it stands
      columns: the columns the model will have
      stale_when: SQL on `clocks` (the company) and `built` (a row of that period in the relation), for models
                  whose rows can go out of date

        {% set periods = periods_to_build(this, ['company_id', 'seats'], 'built.feature_version is null') %} -#}
{% macro periods_to_build(relation, columns, stale_when=none) %}
    {% set existing = adapter.get_columns_in_relation(relation) | map(attribute='name') | list %}
    {% set added = columns | reject('in', existing) | list %}
    {% set query %}
        select
            periods.company_id,
            periods.as_of_date::text
        from {{ ref('int_as_of_dates') }} as periods
        inner join {{ ref('int_companies__clocks') }} as clocks
            on periods.company_id = clocks.company_id
        {%- if not added %}
        left join lateral (
            select already.*
            from {{ relation }} as already
            where already.company_id = periods.company_id and already.as_of_date = periods.as_of_date
            limit 1
        ) as built on true
        where true
            {%- if config.get('meta', {}).get('task') %}
            -- Whoever does not have the task has no rows of it, and never will be missing them.
            and exists (
                select from {{ ref('stg_ops__company_tasks') }} as settings
                where settings.company_id = periods.company_id and settings.is_active
                    and settings.task = '{{ config.get('meta').task }}'
            )
            {%- endif %}
            {%- if var('company_ids') %}
            and periods.company_id in ({{ var('company_ids') | map('int') | join(', ') }})
            {%- endif %}
            {%- if var('as_of_dates') %}
            and periods.as_of_date in ({{ dates_as_sql(var('as_of_dates')) }})
            {%- else %}
            and (built.company_id is null{% if stale_when %} or ({{ stale_when }}){% endif %})
            {%- endif %}
        {%- endif %}
        order by periods.company_id, periods.as_of_date
    {% endset %}
    {% set found = [] %}
    {% for row in run_query(query) %}
        {% do found.append((row[0], row[1])) %}
    {% endfor %}
    {% do return(found) %}
{% endmacro %}


{#- The condition that keeps a query to the periods to build: put it where the as_of_dates enter.

        select * from {{ ref('int_tickets__as_known') }}
        where {{ is_to_be_built() }}

    Of the relation it reads company_id and as_of_date. -#}
{% macro is_to_be_built() %}
    {#- Named outside the branch, so that dbt knows of the dependency when it parses. -#}
    {%- do ref('int_as_of_dates') -%}
    {%- do ref('int_companies__clocks') -%}
    {%- if is_incremental() -%}
        {#- Looked up once, however many relations of the query are kept to them. -#}
        {%- if 'periods_to_build' not in model -%}
            {%- do model.update({'periods_to_build': periods_to_build(this, model_columns(), stale_when())}) -%}
        {%- endif -%}
        {{ is_in_periods(model.periods_to_build) }}
    {%- elif var('schema_suffix') -%}
        company_id in ({{ var('company_ids') | map('int') | join(', ') }})
        and as_of_date in ({{ dates_as_sql(var('as_of_dates')) }})
    {%- elif execute and model.resource_type == 'model' -%}
        {#- The grid keeps the dates of companies that are left out. -#}
        {{ is_at_work() }}
    {%- else -%}
        true
    {%- endif -%}
{% endmacro %}


{#- Which periods of the model are out of date: those that another SQL or other settings made, and what the model
    itself says in meta.stale_when. SQL on `periods`, `clocks` and `built`, as periods_to_build joins them.

        {% set periods = periods_to_build(this, model_columns(), stale_when()) %} -#}
{% macro stale_when() %}
    {% set conditions = [] %}
    {% if config.get('meta', {}).get('matrix') %}
        {% do conditions.append(stale_population()) %}
    {% else %}
        {% if 'feature_version' in model.columns %}
            {% do conditions.append('built.feature_version is distinct from ' ~ expected_version(model.unique_id, 'clocks')) %}
        {% endif %}
        {% if 'rates_version' in model.columns %}
            {% do conditions.append('built.rates_version is distinct from ' ~ rates_version('periods.as_of_date')) %}
        {% endif %}
    {% endif %}
    {% if config.get('meta', {}).get('stale_when') %}
        {% do conditions.append(config.get('meta').stale_when) %}
    {% endif %}
    {% do return(conditions | join(' or ')) %}
{% endmacro %}


{#- The columns this model declares, or, for the matrix, is generated with.

        {% set added = model_columns() | reject('in', existing) | list %} -#}
{% macro model_columns() %}
    {% set columns = model.columns.keys() | list %}
    {% for name in config.get('meta', {}).get('features_from', []) %}
        {% do columns.extend(features_of(name) | map(attribute='name')) %}
    {% endfor %}
    {% do return(columns) %}
{% endmacro %}


{#- `(company_id, as_of_date) in (...)`, or false when there are none. One company alone is written as an
    equality, which Postgres carries through joins and window functions to the raw tables.

        where {{ is_in_periods([(1, '2025-03-01'), (1, '2025-04-01')]) }} -#}
{% macro is_in_periods(periods) %}
    {%- if not periods -%}
        false
    {%- else -%}
        {%- set companies = periods | map('first') | unique | list -%}
        company_id {{ '= ' ~ companies[0] if companies | length == 1 else 'in (' ~ companies | join(', ') ~ ')' }}
        and (company_id, as_of_date) in (
            {%- for company_id, as_of_date in periods -%}
                ({{ company_id }}, date '{{ as_of_date }}'){{ ', ' if not loop.last }}
            {%- endfor -%}
        )
    {%- endif -%}
{% endmacro %}


{#- Dates as SQL, each checked to be one.

        as_of_date in ({{ dates_as_sql(['2025-03-01', '2025-04-01']) }}) -#}
{% macro dates_as_sql(dates) -%}
    {%- for value in dates -%}
        date '{{ modules.datetime.date.fromisoformat(value | string) }}'{{ ', ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}


{#- delete_period_insert: empty the periods that this run built again, then insert. dbt's own delete+insert
    matches old rows to new ones by key, and keeps a row whose customer is no longer there. -#}
{% macro get_incremental_delete_period_insert_sql(arg_dict) %}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    {%- set periods = periods_to_build(arg_dict['target_relation'], [], stale_when()) -%}
    {%- for row in run_query('select distinct company_id, as_of_date::text from ' ~ arg_dict['temp_relation']) -%}
        {%- do periods.append((row[0], row[1])) -%}
    {%- endfor -%}
    delete from {{ arg_dict['target_relation'] }}
    where {{ is_in_periods(periods | unique | sort) }};

    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict['temp_relation'] }}
{% endmacro %}
