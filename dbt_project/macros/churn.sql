{#- What came of churn for whoever could churn: the one definition, laid over any stretch of time.

    One row per customer and date: has_left_before (gone before the date, or on the lower price already, though the
    warehouse heard of it later), churn_moment_at (the first moment of churn from the date on and before the end; null
    where there is none), unknown_from_at (from when on nobody can know, for the CRM deleted the customer; null where all
    is known), is_deleted_in_horizon, and the columns of the horizons.

        customers_with_outcomes as ({{ churn_outcomes(customers='active_customers', horizons='horizons') }})

      customers: has company_id, customer_id, as_of_date
      horizons: has company_id, as_of_date, as_of_at, horizon_end_at, churn_kind, currency, downgrade_share,
      first_loaded_at and whatever else is to be kept
    The query around it has the relations leavings (with is_cut_short), deletions, known_prices and price_spells. -#}
{% macro churn_outcomes(customers, horizons) -%}
    select
        {{ customers }}.company_id,
        {{ customers }}.customer_id,
        {{ customers }}.as_of_date,
        {{ horizons }}.churn_kind,
        {{ horizons }}.inactivity_days,
        {{ horizons }}.horizon_days,
        {{ horizons }}.downgrade_share,
        {{ horizons }}.is_mature,
        {{ horizons }}.as_of_at,
        {{ horizons }}.horizon_end_at,
        coalesce(leavings_around_the_date.has_left_before, false)
        or coalesce(deletions.deleted_at < {{ horizons }}.as_of_at, false)
        or coalesce(downgrades_around_the_date.has_paid_less_before, false) as has_left_before,
        -- A customer who had paid for long enough stayed through the horizon, deleted in it or not.
        coalesce(deletions.deleted_at < {{ horizons }}.horizon_end_at, false)
        and ({{ horizons }}.churn_kind <> 'inactivity' or leavings_around_the_date.is_cut_short)
            as is_deleted_in_horizon,
        case
            when {{ horizons }}.churn_kind = 'inactivity' then leavings_around_the_date.cut_short_at
            when deletions.deleted_at < {{ horizons }}.horizon_end_at then deletions.deleted_at
        end as unknown_from_at,
        least(leavings_around_the_date.left_at, downgrades_around_the_date.downgraded_at) as churn_moment_at
    from {{ customers }}
    inner join {{ horizons }}
        on {{ customers }}.company_id = {{ horizons }}.company_id
        and {{ customers }}.as_of_date = {{ horizons }}.as_of_date
    left join (
        {{ leavings_around_the_date(customers, horizons) }}
    ) as leavings_around_the_date
        on {{ customers }}.company_id = leavings_around_the_date.company_id
        and {{ customers }}.customer_id = leavings_around_the_date.customer_id
        and {{ customers }}.as_of_date = leavings_around_the_date.as_of_date
    left join deletions
        on {{ customers }}.company_id = deletions.company_id
        and {{ customers }}.customer_id = deletions.customer_id
    left join (
        {{ downgrades_around_the_date(horizons) }}
    ) as downgrades_around_the_date
        on {{ customers }}.company_id = downgrades_around_the_date.company_id
        and {{ customers }}.customer_id = downgrades_around_the_date.customer_id
        and {{ customers }}.as_of_date = downgrades_around_the_date.as_of_date
{%- endmacro %}


{#- Whether customers had left before a date, and when they left after it: a part of churn_outcomes.

        left join ({{ leavings_around_the_date('active_customers', 'horizons') }}) as leavings_around_the_date -#}
{% macro leavings_around_the_date(customers, horizons) -%}
    select
        {{ customers }}.company_id,
        {{ customers }}.customer_id,
        {{ customers }}.as_of_date,
        bool_or(leavings.left_at < {{ horizons }}.as_of_at and leavings.returned_at >= {{ horizons }}.as_of_at)
            as has_left_before,
        min(leavings.left_at) filter (
            where leavings.left_at >= {{ horizons }}.as_of_at and not leavings.is_cut_short
        ) as left_at,
        bool_or(leavings.is_cut_short) as is_cut_short,
        min(leavings.left_at) filter (where leavings.left_at >= {{ horizons }}.as_of_at and leavings.is_cut_short)
            as cut_short_at
    from {{ customers }}
    inner join {{ horizons }}
        on {{ customers }}.company_id = {{ horizons }}.company_id
        and {{ customers }}.as_of_date = {{ horizons }}.as_of_date
    inner join leavings
        on {{ customers }}.company_id = leavings.company_id
        and {{ customers }}.customer_id = leavings.customer_id
        and {{ horizons }}.horizon_end_at > leavings.left_at
    group by {{ customers }}.company_id, {{ customers }}.customer_id, {{ customers }}.as_of_date
{%- endmacro %}


{#- Whether customers paid less before a date, and when they came to after it: a part of churn_outcomes. What a customer
    may pay at most to have churned is known as features are, and from the first load on.

        left join ({{ downgrades_around_the_date('horizons') }}) as downgrades_around_the_date -#}
{% macro downgrades_around_the_date(horizons) -%}
    select
        downgrade_limits.company_id,
        downgrade_limits.customer_id,
        downgrade_limits.as_of_date,
        bool_or(price_spells.begins_at < downgrade_limits.as_of_at) as has_paid_less_before,
        min(price_spells.begins_at) filter (where price_spells.begins_at >= downgrade_limits.as_of_at)
            as downgraded_at
    from (
        select
            known_prices.company_id,
            known_prices.customer_id,
            known_prices.as_of_date,
            {{ horizons }}.as_of_at,
            {{ horizons }}.horizon_end_at,
            {{ horizons }}.currency as company_currency,
            coalesce(known_prices.currency, {{ horizons }}.currency) as currency,
            known_prices.monthly_price * (1 - {{ horizons }}.downgrade_share::numeric) as price_limit
        from known_prices
        inner join {{ horizons }}
            on known_prices.company_id = {{ horizons }}.company_id
            and known_prices.as_of_date = {{ horizons }}.as_of_date
        where
            known_prices.monthly_price > 0
            and {{ horizons }}.as_of_at > {{ horizons }}.first_loaded_at
    ) as downgrade_limits
    inner join price_spells
        on downgrade_limits.company_id = price_spells.company_id
        and downgrade_limits.customer_id = price_spells.customer_id
        and downgrade_limits.currency = coalesce(price_spells.currency, downgrade_limits.company_currency)
        and downgrade_limits.price_limit >= price_spells.monthly_price
        and downgrade_limits.horizon_end_at > price_spells.begins_at
        and downgrade_limits.as_of_at <= price_spells.ends_at
    group by downgrade_limits.company_id, downgrade_limits.customer_id, downgrade_limits.as_of_date
{%- endmacro %}


{#- Who left, by the CRM's word or by a silence that was up. Whom the CRM deleted before that cannot be known to have
    fallen silent: `is_cut_short`.
      deletions: a relation of the query with company_id, customer_id and deleted_at

        leavings as ( {{ leavings_and_silences('deletions') }} ) -#}
{% macro leavings_and_silences(deletions) -%}
    select
        company_id,
        customer_id,
        left_at,
        returned_at,
        false as is_cut_short
    from {{ ref('int_customers__leavings') }}

    union all

    select
        silences.company_id,
        silences.customer_id,
        silences.left_at,
        silences.returned_at,
        coalesce({{ deletions }}.deleted_at <= silences.left_at, false) as is_cut_short
    from {{ ref('int_customers__silences') }} as silences
    left join {{ deletions }}
        on silences.company_id = {{ deletions }}.company_id
        and silences.customer_id = {{ deletions }}.customer_id
{%- endmacro %}
