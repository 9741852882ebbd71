{#- Which labels are up to date. Labels speak of today's knowledge, so each load may move those of long ago; most move
    none. int_churn_labels__periods says which, and the models that follow tick off there what they have done, each in
    its own transaction: what fails half-way is done again. -#}


{#- Whether the whole horizon lies before what has been loaded. Needs `clocks`. -#}
{% macro is_mature(periods) -%}
    coalesce(
        {{ periods }}.as_of_date + clocks.horizon_days <= (clocks.observed_until at time zone 'UTC')::date, false
    )
{%- endmacro %}


{#- After churn_labels was built: its periods now rest on what int_churn_labels__periods had looked at. -#}
{% macro note_labelled_periods() -%}
    update {{ ref('int_churn_labels__periods') }}
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
        true
        {%- if not should_full_refresh() %}
        {%- if var('company_ids') %}
        and company_id in ({{ var('company_ids') | map('int') | join(', ') }})
        {%- endif %}
        {%- if var('as_of_dates') %}
        and as_of_date in ({{ dates_as_sql(var('as_of_dates')) }})
        {%- endif %}
        {%- endif %}
{%- endmacro %}


{#- After churn_label_versions was built: what had changed stands there. -#}
{% macro note_recorded_periods() -%}
    update {{ ref('int_churn_labels__periods') }}
    set is_recorded = true
    where not is_recorded
{%- endmacro %}
