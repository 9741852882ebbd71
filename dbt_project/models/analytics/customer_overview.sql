{{
    config(
        indexes=[
            {'columns': ['company_id', 'customer_id'], 'unique': true},
            {'columns': ['company_id', 'churn_probability']},
            {'columns': ['company_id', 'value_at_stake desc nulls last', 'customer_id']},
        ],
    )
}}

with

customers as (

    select * from {{ ref('stg_crm__customers') }}
    where not is_test

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

standing as (

    select * from {{ ref('int_customers__standing') }}

),

scores as (

    select * from {{ ref('int_churn_scores__current') }}

),

customer_features as (

    select * from {{ ref('customer_features') }}

),

reasons as (

    select * from {{ ref('customer_reasons') }}

),

customer_values as (

    select * from {{ ref('stg_ml__customer_values') }}

),

tickets as (

    select * from {{ ref('stg_crm__tickets') }}

),

tickets_per_customer as (

    select
        company_id,
        customer_id,
        count(*) as tickets_open
    from tickets
    where resolved_at is null or reopened_at > resolved_at
    group by company_id, customer_id

),

segments as (

    select * from {{ ref('int_customers__segments') }}

),

raising_reasons as (

    select
        company_id,
        customer_id,
        reason_text,
        feature_label,
        row_number() over (
            partition by company_id, customer_id
            order by contribution desc, reason_rank asc
        ) as raising_rank
    from reasons
    where is_raising_risk and feature <> 'other'

),

reasons_per_customer as (

    select
        company_id,
        customer_id,
        max(feature_label) filter (where raising_rank = 1) as main_reason,
        max(reason_text) filter (where raising_rank = 1) as first_reason,
        max(reason_text) filter (where raising_rank = 2) as second_reason,
        max(reason_text) filter (where raising_rank = 3) as third_reason
    from raising_reasons
    group by company_id, customer_id

),

customers_with_standing as (

    select
        customers.*,
        companies.company_name,
        clocks.currency as company_currency,
        clocks.now_at,
        standing.last_paid_at,
        standing.revenue_90d,
        standing.customer_status
    from customers
    inner join companies
        on customers.company_id = companies.company_id
    inner join clocks
        on customers.company_id = clocks.company_id
    inner join standing
        on customers.company_id = standing.company_id
        and customers.customer_id = standing.customer_id

),

final as (

    select
        customers_with_standing.company_id,
        customers_with_standing.customer_id,
        customers_with_standing.company_name,
        customers_with_standing.customer_name,
        customers_with_standing.plan_name,
        customers_with_standing.country_code as country,
        segments.segment,
        customers_with_standing.customer_status,
        customer_values.value_segment,
        customers_with_standing.company_currency as currency,
        scores.risk_level,
        scores.evidence_level,
        scores.model_version,
        reasons_per_customer.main_reason,
        reasons_per_customer.first_reason,
        reasons_per_customer.second_reason,
        reasons_per_customer.third_reason,
        customers_with_standing.seats,
        {{ days_between('customers_with_standing.created_at', 'customers_with_standing.now_at') }} as tenure_days,
        {{ days_between('customers_with_standing.last_paid_at', 'customers_with_standing.now_at') }}
            as days_since_last_payment,
        coalesce(tickets_per_customer.tickets_open, 0)::integer as tickets_open,
        scores.churn_probability,
        scores.percentile as risk_percentile,
        customers_with_standing.revenue_90d::numeric(38, 2) as revenue_90d,
        (scores.churn_probability::numeric * greatest(customers_with_standing.revenue_90d, 0))::numeric(38, 2)
            as value_at_stake,
        ({{ monthly_revenue(
            'customer_features.monthly_price_in_company_currency', 'customers_with_standing.revenue_90d'
        ) }})::numeric(38, 2) as monthly_revenue,
        (scores.churn_probability * {{ monthly_revenue(
            'customer_features.monthly_price_in_company_currency', 'customers_with_standing.revenue_90d'
        ) }})::numeric(38, 2) as monthly_revenue_at_risk,
        customer_values.expected_value::numeric(38, 2) as expected_value_12m,
        scores.as_of_date as score_date,
        customers_with_standing.created_at as signed_up_at,
        customers_with_standing.cancelled_at,
        customers_with_standing.last_paid_at
    from customers_with_standing
    inner join segments
        on customers_with_standing.company_id = segments.company_id
        and customers_with_standing.customer_id = segments.customer_id
    left join customer_values
        on customers_with_standing.company_id = customer_values.company_id
        and customers_with_standing.customer_id = customer_values.customer_id
    left join scores
        on customers_with_standing.company_id = scores.company_id
        and customers_with_standing.customer_id = scores.customer_id
        and customers_with_standing.customer_status = 'active'
    left join customer_features
        on scores.company_id = customer_features.company_id
        and scores.customer_id = customer_features.customer_id
        and scores.as_of_date = customer_features.as_of_date
    left join reasons_per_customer
        on customers_with_standing.company_id = reasons_per_customer.company_id
        and customers_with_standing.customer_id = reasons_per_customer.customer_id
        and customers_with_standing.customer_status = 'active'
    left join tickets_per_customer
        on customers_with_standing.company_id = tickets_per_customer.company_id
        and customers_with_standing.customer_id = tickets_per_customer.customer_id

)

select * from final
-- A dashboard reads one company: its rows lie side by side, and it touches no block of another's.
order by company_id, customer_id
