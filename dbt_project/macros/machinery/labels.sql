{#- Which labels are up to date. Labels speak of today's knowledge, so each load may move those of long ago; most move
    none. A task's int_<task>_labels__periods says which, and the models that follow tick off there what they have done,
    each in its own transaction: what fails half-way is done again.

    Such a model has these CTEs of its own: as_of_dates, clocks, settings (stg_ops__company_tasks of the task), then

      labelled_periods: {{ labelled_periods() }}
      companies_with_new_loads: {{ companies_with_new_loads() }}
      days_of_changes: company_id, happened_date, felt_until_date: days whose outcomes a load since then has moved, and
        the last as_of_date that still feels it
      final: {{ examined_periods(labels='churn_labels') }} -#}


{#- What was labelled so far, by the model's own table.

        labelled_periods as ({{ labelled_periods() }}) -#}
{% macro labelled_periods() -%}
    select
        company_id,
        as_of_date,
        labelled_until_load_id,
        labelled_on,
        is_recorded
    {% if is_incremental() -%}
    from {{ this }}
    {%- else -%}
    from (
        values (null::int, null::date, null::bigint, null::text, null::boolean)
    ) as none_yet (company_id, as_of_date, labelled_until_load_id, labelled_on, is_recorded)
    {%- endif %}
{%- endmacro %}


{#- The companies that loaded something since they were labelled, and the last load that their labels know. Reads the
    CTEs clocks, settings and labelled_periods.

        companies_with_new_loads as ({{ companies_with_new_loads() }}) -#}
{% macro companies_with_new_loads() -%}
    select
        clocks.company_id,
        min(labelled_periods.labelled_until_load_id) as labelled_until_load_id
    from clocks
    inner join settings
        on clocks.company_id = settings.company_id
    inner join labelled_periods
        on clocks.company_id = labelled_periods.company_id
    group by clocks.company_id, clocks.settled_load_id
    having min(labelled_periods.labelled_until_load_id) < clocks.settled_load_id
{%- endmacro %}


{#- Of each period what its labels rest on now, and whether they are due. Reads the CTEs above and days_of_changes.
      labels: the name of the labels' model, whose SQL they rest on

        final as ({{ examined_periods(labels='churn_labels') }}) -#}
{% macro examined_periods(labels) -%}
    {%- set labels_version = sql_version(model_named(labels).unique_id) if execute else '' -%}
    select
        periods.company_id,
        periods.as_of_date,
        labelled_periods.labelled_until_load_id,
        periods.examined_until_load_id,
        labelled_periods.labelled_on,
        periods.examined_on,
        labelled_periods.labelled_until_load_id is null
        or labelled_periods.labelled_on <> periods.examined_on
        or exists (
            select
            from days_of_changes
            where
                days_of_changes.company_id = periods.company_id
                and days_of_changes.happened_date < periods.looks_until_date
                and days_of_changes.felt_until_date >= periods.as_of_date
        ) as is_due,
        coalesce(labelled_periods.is_recorded, false) as is_recorded
    from (
        select
            as_of_dates.company_id,
            as_of_dates.as_of_date,
            clocks.settled_load_id as examined_until_load_id,
            concat(
                '{{ labels_version }} ', clocks.settings_version, ' ', settings.settings_version, ' ',
                extract(epoch from clocks.first_loaded_at), ' ', {{ is_mature('as_of_dates', 'settings', 'clocks') }}
            ) as examined_on,
            -- Before its horizon is over, a label only says what had come before the date.
            as_of_dates.as_of_date + case
                when {{ is_mature('as_of_dates', 'settings', 'clocks') }} then settings.horizon_days else 0
            end as looks_until_date
        from as_of_dates
        inner join clocks
            on as_of_dates.company_id = clocks.company_id
        inner join settings
            on as_of_dates.company_id = settings.company_id
    ) as periods
    left join labelled_periods
        on periods.company_id = labelled_periods.company_id
        and periods.as_of_date = labelled_periods.as_of_date
{%- endmacro %}


{#- After labels were built: their periods now rest on what the bookkeeping had looked at. A post-hook of the labels.
      periods: the name of the bookkeeping's model

        post_hook="{{ note_labelled_periods('int_churn_labels__periods') }}" -#}
{% macro note_labelled_periods(periods) -%}
    update {{ ref(periods) }}
    set
        labelled_on = examined_on,
        labelled_until_load_id = examined_until_load_id,
        is_due = false,
        {%- if should_full_refresh() or var('as_of_dates') %}
        is_recorded = false
        {%- else %}
        is_recorded = is_recorded and not is_due
        {%- endif %}
    where
        {{ is_at_work() }}
        {%- if not should_full_refresh() %}
        {%- if var('company_ids') %}
        and company_id in ({{ var('company_ids') | map('int') | join(', ') }})
        {%- endif %}
        {%- if var('as_of_dates') %}
        and as_of_date in ({{ dates_as_sql(var('as_of_dates')) }})
        {%- endif %}
        {%- endif %}
{%- endmacro %}


{#- After the versions of labels were built: what had changed stands there. A post-hook of the versions.

        post_hook="{{ note_recorded_periods('int_churn_labels__periods') }}" -#}
{% macro note_recorded_periods(periods) -%}
    update {{ ref(periods) }}
    set is_recorded = true
    where not is_recorded and {{ is_at_work() }}
{%- endmacro %}
