{{
    config(
        materialized='incremental',
        incremental_strategy='delete_period_insert',
        on_schema_change='sync_all_columns',
        post_hook='{{ analyze_if_written() }}',
        indexes=[{'columns': ['company_id', 'as_of_date', 'feature'], 'unique': true}],
    )
}}

-- depends_on: {{ ref('int_exchange_rates__in_euros') }}

with

matrix as (

    select * from {{ ref('customer_feature_matrix') }}
    where {{ is_to_be_built() }}

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

counts as (

    select
        matrix.company_id,
        matrix.as_of_date,
        case when count(distinct matrix.feature_version) = 1 then min(matrix.feature_version) else 'mixed' end
            as matrix_version,
        min(matrix.rates_version) as rates_version,
        count(*) as rows_in_all,
        {{ counts_of_features('matrix') }}
    from matrix
    group by matrix.company_id, matrix.as_of_date

),

counts_by_feature as (

    select
        counts.company_id,
        counts.as_of_date,
        counts.matrix_version,
        counts.rates_version,
        counts.rows_in_all,
        features.feature,
        features.rows_known
    from counts
    cross join lateral (
        values
        {{ counts_as_rows('counts') }}
    ) as features (feature, rows_known)

),

counts_by_attribute as (

    select
        matrix.company_id,
        matrix.as_of_date,
        min(matrix.feature_version) as matrix_version,
        min(matrix.rates_version) as rates_version,
        count(*) as rows_in_all,
        'attribute_' || (attributes.attribute ->> 'name') as feature,
        count(matrix.custom_attributes ->> (attributes.attribute ->> 'name')) as rows_known
    from matrix
    inner join companies
        on matrix.company_id = companies.company_id
    cross join lateral jsonb_array_elements(companies.custom_attributes) as attributes (attribute)
    group by matrix.company_id, matrix.as_of_date, attributes.attribute

),

unioned as (

    select * from counts_by_feature

    union all

    select * from counts_by_attribute

),

final as (

    select
        unioned.company_id,
        unioned.feature,
        unioned.matrix_version,
        unioned.rows_in_all,
        unioned.rows_known,
        unioned.as_of_date,
        {{ feature_version('unioned') }} as feature_version,
        unioned.rates_version
    from unioned

)

select * from final
