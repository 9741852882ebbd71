{#- What every prediction task is made of: whom it may be asked about (population), what came of it (labels, and their
    versions), and the matrix that models read. A task's own SQL stands in models/tasks/<task>/. -#}


{#- Which SQL and which settings made a row of a population: `<sql>.<settings>`, and `mixed` where the matrix below it was
    not made by what stands in the project and the registry today. It is the feature_version that the task's models see.
      matrix: the matrix's row, the model of the same name; clocks: int_companies__clocks; settings: the task's,
      stg_ops__company_tasks, or a view on it with its settings_version
    Example: {{ population_version(matrix='customer_feature_matrix', clocks='clocks', settings='settings') }} -#}
{% macro population_version(matrix, clocks, settings) -%}
    {%- if not execute or model.resource_type != 'model' -%}
        ''::text
    {%- else -%}
        case
            when {{ matrix }}.feature_version = {{ expected_version(model_named(matrix).unique_id, clocks) }}
                then {{ expected_population_version(model.unique_id, clocks, settings) }}
            else 'mixed'
        end
    {%- endif -%}
{%- endmacro %}


{#- The version that a row of the population has if it is built today.

        built.feature_version is distinct from {{ expected_population_version(model.unique_id, 'clocks', 'settings') }} -#}
{% macro expected_population_version(unique_id, clocks, settings) -%}
    ('{{ sql_version(unique_id) }}.' || left(md5({{ clocks }}.settings_version || {{ settings }}.settings_version), 8))
{%- endmacro %}


{#- Whether a period of the population is out of date: other SQL or settings, or a matrix that was built again since.
    SQL on `built` and `periods`, as meta.stale_when is.

        {% do conditions.append(stale_population()) %} -#}
{% macro stale_population() -%}
    built.feature_version is distinct from (
        select {{ expected_population_version(model.unique_id, 'clocks', 'settings') }}
        from {{ ref('stg_ops__company_tasks') }} as settings
        where settings.company_id = clocks.company_id and settings.task = '{{ config.get('meta').task }}'
    )
    or not exists (
        select
        from {{ ref(config.get('meta').matrix) }} as matrix
        where
            matrix.company_id = periods.company_id
            and matrix.as_of_date = periods.as_of_date
            and matrix.feature_version = built.matrix_version
            and matrix.rates_version is not distinct from built.rates_version
    )
{%- endmacro %}


{#- A task's matrix: whoever is in its population, with the features that stand in the matrix below.
      population, matrix: models; entity_id: the column of the entity's id
    Example, the whole of a task's matrix whose entities are customers:
      {{ task_feature_matrix(ref('churn_population'), ref('customer_feature_matrix'), 'customer_id') }} -#}
{% macro task_feature_matrix(population, matrix, entity_id) %}
    select
        population.company_id,
        population.{{ entity_id }},
        population.as_of_date,
        {%- for feature in features_of_the_matrix(matrix.identifier) %}
        matrix.{{ feature.name }},
        {%- endfor %}
        matrix.custom_attributes,
        case
            when matrix.feature_version = population.matrix_version then population.feature_version
            else 'mixed'
        end as feature_version,
        matrix.feature_version as matrix_version,
        matrix.rates_version
    from {{ population }} as population
    inner join {{ matrix }} as matrix
        on population.company_id = matrix.company_id
        and population.as_of_date = matrix.as_of_date
        and population.{{ entity_id }} = matrix.{{ entity_id }}
{% endmacro %}


{#- Whether the whole horizon lies before what has been loaded.
      periods: has the as_of_date; settings: the horizon_days; clocks: int_companies__clocks
    Example: {{ is_mature('as_of_dates', 'settings', 'clocks') }} as is_mature -#}
{% macro is_mature(periods, settings, clocks) -%}
    coalesce(
        {{ periods }}.as_of_date + {{ settings }}.horizon_days <= ({{ clocks }}.observed_until at time zone 'UTC')::date,
        false
    )
{%- endmacro %}


{#- What a label said, and when that was known: a row when a label is first decided, one for each correction after it.
    The body of a model that only ever adds rows.
      labels: the task's labels; periods: their bookkeeping; entity_id: the column of the entity's id
      outcome, happened_at: the labels' columns of what came, and when
    Example: {{ label_versions(ref('churn_labels'), ref('int_churn_labels__periods'), 'customer_id', 'is_churned',
        'churned_at') }} -#}
{% macro label_versions(labels, periods, entity_id, outcome, happened_at) %}
with

periods as (

    select * from {{ periods }}
    where not is_recorded

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

labels as (

    select labels.*
    from {{ labels }} as labels
    inner join periods
        on labels.company_id = periods.company_id
        and labels.as_of_date = periods.as_of_date

),

{% if is_incremental() %}

newest_versions as (

    select distinct on (versions.company_id, versions.as_of_date, versions.{{ entity_id }}) versions.*
    from {{ this }} as versions
    inner join periods
        on versions.company_id = periods.company_id
        and versions.as_of_date = periods.as_of_date
    order by
        versions.company_id asc, versions.as_of_date asc, versions.{{ entity_id }} asc, versions.label_version desc

),

{% else %}

newest_versions as (

    select
        labels.*,
        0 as label_version
    from labels
    where false

),

{% endif %}

labels_and_versions as (

    select
        coalesce(labels.company_id, newest_versions.company_id) as company_id,
        coalesce(labels.{{ entity_id }}, newest_versions.{{ entity_id }}) as {{ entity_id }},
        coalesce(labels.as_of_date, newest_versions.as_of_date) as as_of_date,
        coalesce(labels.label_status, 'withdrawn') as label_status,
        newest_versions.label_status as recorded_status,
        coalesce(newest_versions.label_version, 0) + 1 as label_version,
        labels.{{ outcome }},
        labels.{{ happened_at }},
        newest_versions.{{ happened_at }} as recorded_{{ happened_at }}
    from labels
    full outer join newest_versions
        on labels.company_id = newest_versions.company_id
        and labels.{{ entity_id }} = newest_versions.{{ entity_id }}
        and labels.as_of_date = newest_versions.as_of_date

),

final as (

    select
        labels_and_versions.company_id,
        labels_and_versions.{{ entity_id }},
        labels_and_versions.as_of_date,
        labels_and_versions.label_status,
        labels_and_versions.label_version,
        labels_and_versions.{{ outcome }},
        labels_and_versions.{{ happened_at }},
        clocks.now_at as known_at
    from labels_and_versions
    inner join clocks
        on labels_and_versions.company_id = clocks.company_id
    where
        (labels_and_versions.label_status, labels_and_versions.{{ happened_at }})
        is distinct from (labels_and_versions.recorded_status, labels_and_versions.recorded_{{ happened_at }})
        -- An outcome that nobody has seen yet is no version.
        and (labels_and_versions.recorded_status is not null or labels_and_versions.label_status <> 'immature')

)

select * from final
{% endmacro %}


{#- The columns that a task's rows are found by, of those that the model declares.

        {{ analyze_if_written(keys_of_rows()) }} -#}
{% macro keys_of_rows() %}
    {% set keys = [] %}
    {% for column in model.columns if column == 'as_of_date' or column.endswith('_id') and not column.endswith('_load_id') %}
        {% do keys.append(column) %}
    {% endfor %}
    {% do return(keys) %}
{% endmacro %}
