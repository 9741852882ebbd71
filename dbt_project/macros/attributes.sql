{#- Attributes that a company chose of what its CRM has of a customer. -#}


{#- A customer's attributes that the company chose, as one JSON object: the fixed ones or the changing ones. A value
    that is not of the kind the company says is left out, as is a name that the customer does not have.

        {{ chosen_attributes('versions.attributes', 'companies.custom_attributes', is_fixed=true) }} as fixed_attributes

      attributes: the column with all that the CRM has of the customer
      custom_attributes: the column with those that the company chose -#}
{% macro chosen_attributes(attributes, custom_attributes, is_fixed) -%}
    coalesce(
        (
            select
                jsonb_object_agg(
                    chosen.attribute ->> 'name', {{ attributes }} -> (chosen.attribute ->> 'name')
                )
            from jsonb_array_elements({{ custom_attributes }}) as chosen (attribute)
            where
                {{ '' if is_fixed else 'not ' }}(chosen.attribute ->> 'is_fixed')::boolean
                and {{ is_of_its_kind(attributes, 'chosen.attribute') }}
        ),
        '{}'
    )
{%- endmacro %}


{#- Whether a customer's value is of the kind that the company declared; null where the customer has no such value. A
    number that no model can reckon with (1e30 and more) and a text that is longer than a name are of none.

        where {{ is_of_its_kind('customers.attributes', 'chosen.attribute') }}

      attribute: one element of the company's custom_attributes, {name, kind, ...} -#}
{% macro is_of_its_kind(attributes, attribute) -%}
    {%- set value = attributes ~ ' -> (' ~ attribute ~ " ->> 'name')" -%}
    {%- set kind = attribute ~ " ->> 'kind'" -%}
    case nullif(jsonb_typeof({{ value }}), 'null')
        when 'number' then {{ kind }} = 'number' and abs(({{ value }})::numeric) < 1e30
        when 'boolean' then {{ kind }} = 'flag'
        when 'string' then {{ kind }} = 'category' and length(({{ value }}) #>> '{}') <= 200
        when 'array' then false
        when 'object' then false
    end
{%- endmacro %}


{#- What a customer is compared within: the attribute that the company's segment_by names.

        {{ segment('companies.segment_by', 'customers', 'customers.fixed_attributes') }} as segment

      customers: has country_code and signup_channel
      fixed_attributes: made by chosen_attributes -#}
{% macro segment(segment_by, customers, fixed_attributes) -%}
    case {{ segment_by }}
        when 'country' then {{ customers }}.country_code
        when 'signup_channel' then {{ customers }}.signup_channel
        else {{ fixed_attributes }} ->> {{ segment_by }}
    end
{%- endmacro %}
