{#- An amount in the company's currency, by the rate of the day the payment was issued; null where no rate is
    known. A payment that names no currency is in the company's own. -#}
{% macro amount_in_company_currency(payments) -%}
    case
        when coalesce({{ payments }}.currency, companies.currency) = companies.currency then {{ payments }}.amount
        else round({{ payments }}.amount * exchange_rates.rate, 4)
    end
{%- endmacro %}


{% macro is_the_rate_for(payments) -%}
    {{ payments }}.company_id = exchange_rates.company_id
    and {{ payments }}.currency = exchange_rates.from_currency
    and ({{ payments }}.issued_at at time zone 'UTC')::date >= exchange_rates.valid_from
    and ({{ payments }}.issued_at at time zone 'UTC')::date < exchange_rates.valid_before
{%- endmacro %}
