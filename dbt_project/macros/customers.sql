{#- The customers that a mart has rows of, with what its features are set against. `none_at_all` is what a customer
    without any record has: nothing, or not even that where the company gives us none of the entity. -#}
{% macro customers_to_build(entity) -%}
    select
        customer_features.company_id,
        customer_features.customer_id,
        customer_features.as_of_date,
        customer_features.segment,
        customer_features.tenure_days,
        case when company_entities.entity is not null then 0 end as none_at_all
    from (
        select * from {{ ref('customer_features') }}
        where {{ is_to_be_built() }}
    ) as customer_features
    left join {{ ref('stg_ops__company_entities') }} as company_entities
        on customer_features.company_id = company_entities.company_id
        and company_entities.entity = '{{ entity }}'
{%- endmacro %}
