{#- A customer's attributes that the company chose, as one JSON object: the fixed ones or the changing ones. A value
    that is not of the kind the company says is left out, as is a name that the customer does not have. Needs `companies`.
      attributes: the column with all that the CRM has of the customer -#}
{% macro chosen_attributes(attributes, is_fixed) -%}
    coalesce(
        (
            select
                jsonb_object_agg(
                    chosen.attribute ->> 'name', {{ attributes }} -> (chosen.attribute ->> 'name')
                )
            from jsonb_array_elements(companies.custom_attributes) as chosen (attribute)
            where
                {{ '' if is_fixed else 'not ' }}(chosen.attribute ->> 'is_fixed')::boolean
                and {{ is_of_its_kind(attributes, 'chosen.attribute') }}
        ),
        '{}'
    )
{%- endmacro %}


{#- Whether a customer's value is of the kind that the company declared; null where the customer has no such value. -#}
{% macro is_of_its_kind(attributes, attribute) -%}
    nullif(jsonb_typeof({{ attributes }} -> ({{ attribute }} ->> 'name')), 'null')
    = case {{ attribute }} ->> 'kind' when 'number' then 'number' when 'flag' then 'boolean' else 'string' end
{%- endmacro %}


{#- What customers are compared within: the attribute that the company's segment_by names. Needs `companies`.
      customers: has country_code and signup_channel
      fixed_attributes: made by chosen_attributes -#}
{% macro segment(customers, fixed_attributes) -%}
    case companies.segment_by
        when 'country' then {{ customers }}.country_code
        when 'signup_channel' then {{ customers }}.signup_channel
        else {{ fixed_attributes }} ->> companies.segment_by
    end
{%- endmacro %}
