{#- What came of customers, read from their version history. Each macro is a query on a relation of
    versions, so that the same rule can be laid over today's versions and over those of an earlier load. -#}


{#- Every time a customer left: [left_at, returned_at). Versions that hold a cancelled_at one after another speak of
    one leaving, and the last of them is right; a version without one says that the customer is there again. A
    cancellation that was withdrawn before its time came is none.

        leavings as ({{ leavings(ref('stg_crm__customer_versions')) }})

      versions: has company_id, customer_id, cancelled_at, updated_at and is_deleted -#}
{% macro leavings(versions) -%}
    select
        company_id,
        customer_id,
        (array_agg(cancelled_at order by updated_at desc))[1] as left_at,
        min(present_again_at) as returned_at
    from (
        select
            company_id,
            customer_id,
            cancelled_at,
            updated_at,
            count(*) filter (where cancelled_at is null) over (
                partition by company_id, customer_id
                order by updated_at
            ) as times_present,
            coalesce(
                min(updated_at) filter (where cancelled_at is null) over (
                    partition by company_id, customer_id
                    order by updated_at
                    rows between 1 following and unbounded following
                ),
                'infinity'::timestamptz
            ) as present_again_at
        from {{ versions }}
        where not is_deleted
    ) as versions_in_order
    where cancelled_at is not null
    group by company_id, customer_id, times_present
    having (array_agg(cancelled_at order by updated_at desc))[1] < min(present_again_at)
{%- endmacro %}


{#- Customers that are deleted, and since when.

        deletions as ({{ deletions(ref('stg_crm__customer_versions')) }})

      versions: has company_id, customer_id, updated_at and is_deleted -#}
{% macro deletions(versions) -%}
    select
        company_id,
        customer_id,
        updated_at as deleted_at
    from (
        select distinct on (company_id, customer_id)
            company_id,
            customer_id,
            is_deleted,
            updated_at
        from {{ versions }}
        order by company_id asc, customer_id asc, updated_at desc
    ) as newest
    where is_deleted
{%- endmacro %}


{#- What a customer paid a month, [begins_at, ends_at) by the CRM's own times; a version that changes neither price
    nor currency begins no spell.

        spells as ({{ price_spells(ref('stg_crm__customer_versions')) }})

      versions: has company_id, customer_id, currency, monthly_price, updated_at and is_deleted -#}
{% macro price_spells(versions) -%}
    select
        company_id,
        customer_id,
        currency,
        monthly_price,
        updated_at as begins_at,
        coalesce(
            lead(updated_at) over (partition by company_id, customer_id order by updated_at),
            'infinity'::timestamptz
        ) as ends_at
    from (
        select
            *,
            lag(updated_at) over (partition by company_id, customer_id order by updated_at) as previous_at,
            lag(monthly_price) over (partition by company_id, customer_id order by updated_at) as previous_price,
            lag(currency) over (partition by company_id, customer_id order by updated_at) as previous_currency
        from {{ versions }}
        where not is_deleted
    ) as versions_in_order
    where
        previous_at is null
        or monthly_price is distinct from previous_price
        or currency is distinct from previous_currency
{%- endmacro %}
