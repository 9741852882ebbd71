with

ledger as (

    select * from {{ ref('stg_ml__uplift_ledger') }}

),

programme_plans as (

    select * from {{ ref('stg_ml__programme_plans') }}

),

newest_plans as (

    select distinct on (company_id, action) *
    from programme_plans
    order by company_id asc, action asc, decided_on desc

),

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

final as (

    select
        ledger.company_id,
        companies.company_name,
        ledger.action,
        newest_plans.action_label,
        newest_plans.action_owner,
        companies.currency,
        ledger.scope,
        case when ledger.scope = 'segment' then ledger.part end as value_segment,
        case when ledger.scope = 'month' then ledger.part::date end as decided_month,
        ledger.enrolled,
        ledger.matured,
        ledger.treated,
        ledger.controls,
        ledger.treated_left,
        ledger.controls_left,
        ledger.saved_share_low,
        ledger.saved_share,
        ledger.saved_share_high,
        ledger.earned_low::numeric(38, 2) as earned_low,
        ledger.earned::numeric(38, 2) as earned,
        ledger.earned_high::numeric(38, 2) as earned_high,
        ledger.promised::numeric(38, 2) as promised,
        ledger.spent::numeric(38, 2) as spent,
        ledger.customers_needed,
        ledger.expected_end_date,
        ledger.graded_on
    from ledger
    inner join companies
        on ledger.company_id = companies.company_id
    left join newest_plans
        on ledger.company_id = newest_plans.company_id
        and ledger.action = newest_plans.action

)

select * from final
