{%- set own_marts = var('feature_marts') -%}
{%- set marts = [
    'customer_features', 'ticket_features', 'payment_features', 'activity_features', 'engagement_features'
] + own_marts -%}
{{
    config(
        contract={'enforced': false},
        on_schema_change='sync_all_columns',
        meta={'features_from': marts},
    )
}}

-- depends_on: {{ ref('int_exchange_rates__in_euros') }}

with

clocks as (

    select * from {{ ref('int_companies__clocks') }}

),

{% for mart in marts %}
{{ mart }} as (

    select * from {{ ref(mart) }}
    where {{ is_to_be_built() }}

),

{% endfor %}
final as (

    select
        customer_features.company_id,
        customer_features.customer_id,
        customer_features.as_of_date,
        {%- for mart in marts %}
        {{ matrix_columns(mart) }},
        {%- endfor %}
        {{ custom_attributes() }} as custom_attributes,
        {{ feature_version_over(marts) }} as feature_version,
        payment_features.rates_version
    from customer_features
    inner join clocks
        on customer_features.company_id = clocks.company_id
    {%- for mart in marts if mart != 'customer_features' %}
    {#- A mart of another project that lacks a customer must not take them out of the matrix: the row says `mixed`. #}
    {{ 'left' if mart in own_marts else 'inner' }} join {{ mart }}
        on customer_features.company_id = {{ mart }}.company_id
        and customer_features.customer_id = {{ mart }}.customer_id
        and customer_features.as_of_date = {{ mart }}.as_of_date
    {%- endfor %}

)

select * from final
