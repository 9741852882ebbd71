-- Whose next ticket can be foreseen: whoever is there, of companies whose tickets are read.
{{ config(meta={'task': 'support', 'matrix': 'customer_feature_matrix'}) }}

with

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

settings as (

    select * from {{ ref('stg_ops__company_tasks') }}
    where task = 'support' and is_active

),

companies_with_tickets as (

    select company_id from {{ ref('stg_ops__company_entities') }}
    where entity = 'tickets'

),

customer_feature_matrix as (

    select
        company_id,
        customer_id,
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
    inner join companies_with_tickets
        on customer_feature_matrix.company_id = companies_with_tickets.company_id

)

select * from final
