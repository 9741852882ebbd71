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

settings as (

    select * from {{ ref('int_churn__settings') }}

),

scores as (

    select * from {{ ref('int_churn_scores__current') }}

),

spells as (

    select * from {{ ref('int_customers__spells') }}

),

customer_features as (

    select * from {{ ref('customer_features') }}

),

reasons as (

    select * from {{ ref('customer_reasons') }}

),

payments as (

    select * from {{ ref('int_payments__current') }}

),

tickets as (

    select * from {{ ref('stg_crm__tickets') }}

),

payments_per_customer as (

    select
        payments.company_id,
        payments.customer_id,
        max(payments.paid_at) filter (where payments.kind = 'charge') as last_paid_at,
        sum(payments.revenue) filter (where payments.paid_at >= clocks.now_at - {{ days_long(90) }}) as revenue_90d
    from payments
    inner join clocks
        on payments.company_id = clocks.company_id
    where
        payments.voided_at is null
        and payments.paid_at <= clocks.now_at
    group by payments.company_id, payments.customer_id

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

customers_who_are_there as (

    select
        company_id,
        customer_id
    from spells
    where ends_at is null
    group by company_id, customer_id

),

customers_with_status as (

    select
        customers.*,
        companies.company_name,
        clocks.currency as company_currency,
        clocks.now_at,
        payments_per_customer.last_paid_at,
        coalesce(payments_per_customer.revenue_90d, 0) as revenue_90d,
        case
            when customers.cancelled_at <= clocks.now_at then 'cancelled'
            when settings.churn_kind = 'inactivity' and customers_who_are_there.customer_id is null then 'inactive'
            else 'active'
        end as customer_status
    from customers
    inner join companies
        on customers.company_id = companies.company_id
    inner join clocks
        on customers.company_id = clocks.company_id
    left join settings
        on customers.company_id = settings.company_id
    left join customers_who_are_there
        on customers.company_id = customers_who_are_there.company_id
        and customers.customer_id = customers_who_are_there.customer_id
    left join payments_per_customer
        on customers.company_id = payments_per_customer.company_id
        and customers.customer_id = payments_per_customer.customer_id

),

final as (

    select
        customers_with_status.company_id,
        customers_with_status.customer_id,
        customers_with_status.company_name,
        customers_with_status.customer_name,
        customers_with_status.plan_name,
        customers_with_status.country_code as country,
        segments.segment,
        customers_with_status.customer_status,
        customers_with_status.company_currency as currency,
        scores.risk_level,
        scores.evidence_level,
        scores.model_version,
        reasons_per_customer.main_reason,
        reasons_per_customer.first_reason,
        reasons_per_customer.second_reason,
        reasons_per_customer.third_reason,
        customers_with_status.seats,
        {{ days_between('customers_with_status.created_at', 'customers_with_status.now_at') }} as tenure_days,
        {{ days_between('customers_with_status.last_paid_at', 'customers_with_status.now_at') }}
            as days_since_last_payment,
        coalesce(tickets_per_customer.tickets_open, 0)::integer as tickets_open,
        scores.churn_probability,
        scores.percentile as risk_percentile,
        customers_with_status.revenue_90d::numeric(38, 2) as revenue_90d,
        (scores.churn_probability::numeric * greatest(customers_with_status.revenue_90d, 0))::numeric(38, 2)
            as value_at_stake,
        ({{ monthly_revenue(
            'customer_features.monthly_price_in_company_currency', 'customers_with_status.revenue_90d'
        ) }})::numeric(38, 2) as monthly_revenue,
        (scores.churn_probability * {{ monthly_revenue(
            'customer_features.monthly_price_in_company_currency', 'customers_with_status.revenue_90d'
        ) }})::numeric(38, 2) as monthly_revenue_at_risk,
        scores.as_of_date as score_date,
        customers_with_status.created_at as signed_up_at,
        customers_with_status.cancelled_at,
        customers_with_status.last_paid_at
    from customers_with_status
    inner join segments
        on customers_with_status.company_id = segments.company_id
        and customers_with_status.customer_id = segments.customer_id
    left join scores
        on customers_with_status.company_id = scores.company_id
        and customers_with_status.customer_id = scores.customer_id
        and customers_with_status.customer_status = 'active'
    left join customer_features
        on scores.company_id = customer_features.company_id
        and scores.customer_id = customer_features.customer_id
        and scores.as_of_date = customer_features.as_of_date
    left join reasons_per_customer
        on customers_with_status.company_id = reasons_per_customer.company_id
        and customers_with_status.customer_id = reasons_per_customer.customer_id
        and customers_with_status.customer_status = 'active'
    left join tickets_per_customer
        on customers_with_status.company_id = tickets_per_customer.company_id
        and customers_with_status.customer_id = tickets_per_customer.customer_id

)

select * from final
-- A dashboard reads one company: its rows lie side by side, and it touches no block of another's.
order by company_id, customer_id
