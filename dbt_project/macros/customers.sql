{#- The customers that a mart has rows of, with what its features are set against: `segment`, `tenure_days`, and
    `is_entity_given`, which is false where the company gives us none of what the mart counts. Such a company's features
    are null, and not 0.

        customers as (

            {{ customers_to_build('tickets', ref('customer_features'), ref('stg_ops__company_entities')) }}

        )

      entity: what the mart counts: tickets, payments, events or sends
      customer_features, company_entities: the relations -#}
{% macro customers_to_build(entity, customer_features, company_entities) -%}
    select
        customers.company_id,
        customers.customer_id,
        customers.as_of_date,
        customers.segment,
        customers.tenure_days,
        company_entities.entity is not null as is_entity_given
    from (
        select * from {{ customer_features }}
        where {{ is_to_be_built() }}
    ) as customers
    left join {{ company_entities }} as company_entities
        on customers.company_id = company_entities.company_id
        and company_entities.entity = '{{ entity }}'
{%- endmacro %}
