-- Who can churn: whoever is there, and where churn is silence, whoever is not silent already.
{{ config(meta={'task': 'churn', 'matrix': 'customer_feature_matrix'}) }}

-- depends_on: {{ ref('stg_ops__company_tasks') }}

with

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

settings as (

    select * from {{ ref('int_churn__settings') }}

),

customer_feature_matrix as (

    select
        company_id,
        customer_id,
        days_since_last_payment,
        as_of_date,
        feature_version,
        rates_version
    from {{ ref('customer_feature_matrix') }}
    where {{ is_to_be_built() }}

),

final as (

    select
        customer_feature_matrix.company_id,
        customer_feature_matrix.customer_id,
        customer_feature_matrix.as_of_date,
        {{ population_version('customer_feature_matrix', 'clocks', 'settings') }} as feature_version,
        customer_feature_matrix.feature_version as matrix_version,
        customer_feature_matrix.rates_version
    from customer_feature_matrix
    inner join clocks
        on customer_feature_matrix.company_id = clocks.company_id
    inner join settings
        on customer_feature_matrix.company_id = settings.company_id
    where
        settings.churn_kind <> 'inactivity'
        or customer_feature_matrix.days_since_last_payment <= settings.inactivity_days

)

select * from final
