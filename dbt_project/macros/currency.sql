{#- Money in the company's own currency. -#}


{#- An amount of a payment in the company's currency, by the rates of the day the payment was issued; null where one is
    not known. A payment that names no currency is in the company's own.

        {{ in_company_currency('payments.amount', 'payments.currency', 'companies.currency', 'payment_rates', 'company_rates') }}

      amount, currency: of the payment
      company_currency: the company's own
      payment_rates, company_rates: as join_exchange_rates joins them -#}
{% macro in_company_currency(amount, currency, company_currency, payment_rates, company_rates) -%}
    case
        when coalesce({{ currency }}, {{ company_currency }}) = {{ company_currency }} then {{ amount }}
        else round({{ amount }} * {{ payment_rates }}.rate_to_eur / {{ company_rates }}.rate_to_eur, 4)
    end
{%- endmacro %}


{#- Joins the rates of the day a payment was issued, of its currency as `payment_rates` and of the company's as
    `company_rates`.

        from payments
        inner join companies on payments.company_id = companies.company_id
        {{ join_exchange_rates('exchange_rates', 'payments', 'companies') }}

      exchange_rates: int_exchange_rates__by_day
      payments: has currency and issued_at
      companies: has currency -#}
{% macro join_exchange_rates(exchange_rates, payments, companies) -%}
    left join {{ exchange_rates }} as payment_rates
        on {{ payments }}.currency = payment_rates.currency
        and {{ utc_date(payments ~ '.issued_at') }} = payment_rates.rate_date
    left join {{ exchange_rates }} as company_rates
        on {{ companies }}.currency = company_rates.currency
        and payment_rates.rate_date = company_rates.rate_date
{%- endmacro %}


{#- Recurring revenue of a month: the price as known, or a third of what came in over 90 days.

        {{ monthly_revenue('customer_features.monthly_price_in_company_currency', 'payment_features.revenue_90d') }}

      monthly_price, revenue_90d: in the company's currency -#}
{% macro monthly_revenue(monthly_price, revenue_90d) -%}
    coalesce({{ monthly_price }}, greatest({{ revenue_90d }}, 0)::double precision / 3)
{%- endmacro %}
