{#- An amount of a payment in the company's currency, by the rates of the day the payment was issued; null where
    one is not known. A payment that names no currency is in the company's own. Needs `companies`, and
    int_exchange_rates__by_day as `exchange_rates`; joined as `payment_rates` and `company_rates`. -#}
{% macro in_company_currency(payments, column) -%}
    case
        when coalesce({{ payments }}.currency, companies.currency) = companies.currency then {{ payments }}.{{ column }}
        else round({{ payments }}.{{ column }} * payment_rates.rate_to_eur / company_rates.rate_to_eur, 4)
    end
{%- endmacro %}


{% macro join_exchange_rates(payments) -%}
    left join exchange_rates as payment_rates
        on {{ payments }}.currency = payment_rates.currency
        and {{ utc_date(payments ~ '.issued_at') }} = payment_rates.rate_date
    left join exchange_rates as company_rates
        on companies.currency = company_rates.currency
        and payment_rates.rate_date = company_rates.rate_date
{%- endmacro %}


{#- Recurring revenue of a month: the price as known, or a third of what came in over 90 days. Needs `customer_features`. -#}
{% macro monthly_revenue(revenue_90d) -%}
    coalesce(customer_features.monthly_price_in_company_currency, greatest({{ revenue_90d }}, 0)::double precision / 3)
{%- endmacro %}
