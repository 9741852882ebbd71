{#- When a customer is there where churn is silence: from a payment until the company's inactivity_days have gone by after
    the next one was due. When that is, is read from what was known at the payment, so that a later payment or
    another plan never moves a moment of before. The rules, with what was turned down, stand in docs/decisions.md. -#}


{#- Charges that are not void, paid or not, by the newest version of each payment.

        bills as ({{ bills(ref('stg_crm__payment_versions')) }})

      versions: has company_id, payment_id, customer_id, kind, issued_at, due_at, paid_at, voided_at, updated_at and
      is_deleted -#}
{% macro bills(versions) -%}
    select
        company_id,
        customer_id,
        payment_id,
        issued_at,
        due_at,
        paid_at
    from (
        select distinct on (company_id, payment_id) *
        from {{ versions }}
        order by company_id asc, payment_id asc, updated_at desc
    ) as newest
    where not is_deleted and {{ is_bill('newest') }}
{%- endmacro %}


{#- Whether a payment is a charge that is not void, paid or not.

        where {{ is_bill('payments') }} -#}
{% macro is_bill(payments) -%}
    {{ payments }}.kind = 'charge' and {{ payments }}.voided_at is null
{%- endmacro %}


{#- What a customer had agreed to, and from when to when. The first version reaches back: nothing is known before it.

        terms as ({{ terms(ref('stg_crm__customer_versions'), ['company_id', 'customer_id']) }})

      versions: has the columns of per, plan_name, contract_end_at, updated_at and is_deleted -#}
{% macro terms(versions, per) -%}
    select
        {{ per | join(', ') }},
        plan_name,
        contract_end_at,
        case when row_number() over in_order > 1 then updated_at else '-infinity'::timestamptz end as begins_at,
        coalesce(lead(updated_at) over in_order, 'infinity'::timestamptz) as ends_at
    from {{ versions }}
    where not is_deleted
    window in_order as (partition by {{ per | join(', ') }} order by updated_at)
{%- endmacro %}


{#- Pauses of a customer. A version says so by paused_at, or by the status paused, which then began when the version was
    made. A pause ends at resumes_at, or when the next version is made, which says again whether there is one and how long
    it lasts.

        pauses as ({{ pauses(ref('stg_crm__customer_versions'), ['company_id', 'customer_id']) }})

      versions: has the columns of per, status, paused_at, resumes_at, updated_at and is_deleted -#}
{% macro pauses(versions, per) -%}
    select
        {{ per | join(', ') }},
        begins_at,
        least(resumes_at, next_version_at) as ends_at
    from (
        select
            {{ per | join(', ') }},
            status,
            paused_at,
            resumes_at,
            coalesce(paused_at, updated_at) as begins_at,
            lead(updated_at) over (partition by {{ per | join(', ') }} order by updated_at) as next_version_at
        from {{ versions }}
        where not is_deleted
    ) as versions_in_order
    where
        (status = 'paused' or paused_at is not null)
        and begins_at < coalesce(least(resumes_at, next_version_at), 'infinity'::timestamptz)
{%- endmacro %}


{#- How many months lie between two bills: 1, 2, 3, 6, 12 or 24, give or take a tenth; null for any other gap.

        {{ months_of_gap('gap_days') }} as gap_months -#}
{% macro months_of_gap(days) -%}
    case
        {%- for months in [1, 2, 3, 6, 12, 24] %}
        when abs({{ days }} - {{ months }} * 30.4375) <= {{ months }} * 3.04375 then {{ months }}
        {%- endfor %}
    end
{%- endmacro %}


{#- The day on which the next bill falls due. Who is billed on one of the last two days of a month is billed at its end,
    in a month of any length: a due date in the company's own time zone may be the day before in UTC.

        {{ due_after('billed_date', 'every') }} as next_due_date

      every: an interval of months or of days -#}
{% macro due_after(billed_date, every) -%}
    case
        when
            extract(day from {{ every }}) = 0
            and date_trunc('month', {{ billed_date }} + interval '2 days')
            > date_trunc('month', {{ billed_date }} + interval '0 days')
            then (
                date_trunc('month', {{ billed_date }} + interval '0 days') + {{ every }} + interval '1 month -1 day'
            )::date
        else ({{ billed_date }} + {{ every }})::date
    end
{%- endmacro %}


{#- How many days away anything is agreed for at most: a contract's end or a due date beyond stands for none.

        paid_at + {{ days_long(longest_agreement_days()) }} -#}
{% macro longest_agreement_days() -%}
    1826
{%- endmacro %}


{#- The spells in which customers are there, [begins_at, ends_at), of companies whose churn is inactivity. An end may lie
    ahead, and is infinity while a pause has no end.

        spells as ({{ paying_spells('bills', 'terms', 'pauses', 'settings', ['company_id', 'customer_id']) }})

      bills: has the columns of per, payment_id, issued_at, due_at and paid_at
      terms, pauses: what the macros of these names make; settings: int_churn__settings
      per: what tells customers apart, and as_of_dates where each has its own knowledge
      plan_may_be_unknown: whoever has no terms may have the plan that is paid least often -#}
{% macro paying_spells(bills, terms, pauses, settings, per, plan_may_be_unknown=false) -%}
    with

    silence_settings as (

        select
            company_id,
            inactivity_days,
            expected_every,
            counts_pauses,
            {{ days_long('inactivity_days') }} as silence,
            (select max(every::interval) from jsonb_each_text(expected_every) as periods (plan_name, every))
                as longest_expected_every
        from {{ settings }}
        where churn_kind = 'inactivity'

    ),

    bills_with_dates as (

        select
            {{ per | join(', ') }},
            payment_id,
            issued_at,
            paid_at,
            {{ utc_date('issued_at') }} as issued_date,
            {{ utc_date('paid_at') }} as paid_date,
            case
                when
                    due_at = 'infinity'
                    or abs({{ utc_date("nullif(due_at, 'infinity')") }} - {{ utc_date('issued_at') }})
                    <= {{ longest_agreement_days() }}
                    then due_at
            end as due_at
        from {{ bills }}

    ),

    bills_in_order as (

        select
            *,
            lead(issued_date) over in_order as next_issued_date,
            lead(due_at) over in_order as next_due_at
        from bills_with_dates
        window in_order as (
            partition by {{ per | join(', ') }}
            order by issued_date asc, {{ utc_date('due_at') }} asc nulls first, payment_id asc
        )

    ),

    -- What is paid on one day is one payment.
    payment_days as (

        select
            {%- for column in per %}
            bills_in_order.{{ column }},
            {%- endfor %}
            bills_in_order.paid_date,
            silence_settings.silence,
            silence_settings.expected_every,
            silence_settings.longest_expected_every,
            min(bills_in_order.paid_at) as first_paid_at,
            max(bills_in_order.paid_at) as paid_at,
            max({{ utc_date('coalesce(bills_in_order.due_at, bills_in_order.paid_at)') }}) as billed_date,
            array_agg(bills_in_order.next_issued_date) as next_issued_dates,
            array_agg(bills_in_order.next_due_at) as next_due_ats
        from bills_in_order
        inner join silence_settings
            on bills_in_order.company_id = silence_settings.company_id
        where bills_in_order.paid_at is not null
        group by
            {%- for column in per %}
            bills_in_order.{{ column }},
            {%- endfor %}
            bills_in_order.paid_date,
            silence_settings.silence,
            silence_settings.expected_every,
            silence_settings.longest_expected_every

    ),

    gaps as (

        select
            *,
            billed_date - lag(billed_date) over (partition by {{ per | join(', ') }} order by paid_at) as gap_days
        from payment_days

    ),

    gaps_in_months as (

        select
            *,
            {{ months_of_gap('gap_days') }} as gap_months
        from gaps

    ),

    -- A rhythm is a gap of a year or two, or two shorter ones that are alike.
    rhythms as (

        select
            *,
            case
                when
                    gap_months >= 12
                    or gap_months = lag(gap_months) over (partition by {{ per | join(', ') }} order by paid_at)
                    then make_interval(months => gap_months)
            end as rhythm
        from gaps_in_months

    ),

    -- A CRM writes the new plan and contract down when it hears of the payment: a little later.
    expectations as (

        select
            rhythms.*,
            coalesce(
                (rhythms.expected_every ->> terms.plan_name)::interval,
                {%- if plan_may_be_unknown %}
                case when terms.company_id is null then rhythms.longest_expected_every end,
                {%- endif %}
                rhythms.rhythm
            ) as every,
            case
                when
                    terms.contract_end_at > rhythms.paid_at
                    and terms.contract_end_at <= rhythms.paid_at + {{ days_long(longest_agreement_days()) }}
                    then terms.contract_end_at
            end as contract_end_at
        from rhythms
        left join {{ terms }} as terms
            on
            {%- for column in per %}
            {{ 'and ' if not loop.first }}rhythms.{{ column }} = terms.{{ column }}
            {%- endfor %}
            and terms.begins_at <= rhythms.paid_at + {{ days_long(1) }}
            and terms.ends_at > rhythms.paid_at + {{ days_long(1) }}

    ),

    expected_payments as (

        select
            *,
            greatest(
                paid_at,
                coalesce(
                    {{ midnight_of('(' ~ due_after('billed_date', 'every') ~ ')') }},
                    contract_end_at
                )
            ) + silence as silent_at
        from expectations

    ),

    -- The bill that follows is waited for where it came before the silence was up. Kept with the payment, for a join
    -- back to the bills, of which the planner expects one row, would compare each with each.
    stays as (

        select
            {{ per | join(', ') }},
            first_paid_at as begins_at,
            greatest(
                silent_at,
                (
                    select max(next_bills.due_at)
                    from unnest(next_issued_dates, next_due_ats) as next_bills (issued_date, due_at)
                    where next_bills.issued_date < {{ utc_date('expected_payments.silent_at') }}
                ) + silence
            ) as ends_at,
            true as is_paid
        from expected_payments

        union all

        select
            {%- for column in per %}
            pauses.{{ column }},
            {%- endfor %}
            pauses.begins_at,
            coalesce(pauses.ends_at, 'infinity'::timestamptz) + silence_settings.silence as ends_at,
            false as is_paid
        from {{ pauses }} as pauses
        inner join silence_settings
            on pauses.company_id = silence_settings.company_id
        where not silence_settings.counts_pauses

    ),

    stays_in_order as (

        select
            *,
            max(ends_at) over (
                partition by {{ per | join(', ') }}
                order by begins_at asc, is_paid desc
                rows between unbounded preceding and 1 preceding
            ) as ended_before_at
        from stays

    ),

    numbered_stays as (

        select
            *,
            count(*) filter (where ended_before_at is null or ended_before_at <= begins_at) over (
                partition by {{ per | join(', ') }}
                order by begins_at asc, is_paid desc
                rows between unbounded preceding and current row
            ) as spell_number
        from stays_in_order

    )

    -- A pause keeps a customer, and brings none back: a spell begins with a payment.
    select
        {{ per | join(', ') }},
        min(begins_at) filter (where is_paid) as begins_at,
        max(ends_at) as ends_at
    from numbered_stays
    group by {{ per | join(', ') }}, spell_number
    having bool_or(is_paid)
{%- endmacro %}
