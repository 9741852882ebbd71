{{
    config(
        incremental_strategy='append',
        full_refresh=false,
        indexes=[{'columns': ['company_id', 'as_of_date', 'customer_id', 'label_version'], 'unique': true}],
        post_hook=['{{ analyze_if_written() }}', '{{ note_recorded_periods() }}'],
    )
}}

with

periods as (

    select * from {{ ref('int_churn_labels__periods') }}
    where not is_recorded

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

labels as (

    select labels.*
    from {{ ref('churn_labels') }} as labels
    inner join periods
        on labels.company_id = periods.company_id
        and labels.as_of_date = periods.as_of_date

),

{% if is_incremental() %}

newest_versions as (

    select distinct on (versions.company_id, versions.as_of_date, versions.customer_id) versions.*
    from {{ this }} as versions
    inner join periods
        on versions.company_id = periods.company_id
        and versions.as_of_date = periods.as_of_date
    order by
        versions.company_id asc, versions.as_of_date asc, versions.customer_id asc, versions.label_version desc

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
        coalesce(labels.customer_id, newest_versions.customer_id) as customer_id,
        coalesce(labels.as_of_date, newest_versions.as_of_date) as as_of_date,
        coalesce(labels.label_status, 'withdrawn') as label_status,
        newest_versions.label_status as recorded_status,
        coalesce(newest_versions.label_version, 0) + 1 as label_version,
        labels.is_churned,
        labels.churned_at,
        newest_versions.churned_at as recorded_churned_at
    from labels
    full outer join newest_versions
        on labels.company_id = newest_versions.company_id
        and labels.customer_id = newest_versions.customer_id
        and labels.as_of_date = newest_versions.as_of_date

),

final as (

    select
        labels_and_versions.company_id,
        labels_and_versions.customer_id,
        labels_and_versions.as_of_date,
        labels_and_versions.label_status,
        labels_and_versions.label_version,
        labels_and_versions.is_churned,
        labels_and_versions.churned_at,
        clocks.now_at as known_at
    from labels_and_versions
    inner join clocks
        on labels_and_versions.company_id = clocks.company_id
    where
        (labels_and_versions.label_status, labels_and_versions.churned_at)
        is distinct from (labels_and_versions.recorded_status, labels_and_versions.recorded_churned_at)
        -- An outcome that nobody has seen yet is no version.
        and (labels_and_versions.recorded_status is not null or labels_and_versions.label_status <> 'immature')

)

select * from final
