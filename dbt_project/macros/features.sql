{#- The features a model declares: its columns that carry meta.feature, as [{name, kind, unit, basis}, ...]. -#}
{% macro features_of(model_name) %}
    {% set features = [] %}
    {% if execute %}
        {% for node in graph.nodes.values() if node.resource_type == 'model' and node.name == model_name %}
            {% for column in node.columns.values() %}
                {% set feature = column.get('config', {}).get('meta', {}).get('feature') or column.meta.get('feature') %}
                {% if feature %}
                    {% do features.append({
                        'name': column.name, 'kind': feature.kind, 'unit': feature.unit, 'basis': feature.basis,
                    }) %}
                {% endif %}
            {% endfor %}
        {% endfor %}
    {% endif %}
    {% do return(features) %}
{% endmacro %}


{#- One family's columns for the matrix. What rests on mutable attributes is null up to the company's first load:
    that load brings each record's last version only, so "known before" would mean "never edited again", and
    a model would learn to read survival from it. -#}
{% macro matrix_columns(model_name) -%}
    {%- for feature in features_of(model_name) %}
        {%- if feature.basis == 'attributes' %}
        case
            when {{ is_after_the_first_load() }}
                then {{ model_name }}.{{ feature.name }}
        end as {{ feature.name }}
        {%- else %}
        {{ model_name }}.{{ feature.name }}
        {%- endif %}
        {{- ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{#- The company's own attributes as one JSON object, by the same rule: the changing ones after the first load only. -#}
{% macro custom_attributes() -%}
    {%- if execute and 'fixed_attributes' in model_named('customer_features').columns -%}
    customer_features.fixed_attributes || case
        when {{ is_after_the_first_load() }}
            then customer_features.changing_attributes
        else '{}'
    end
    {%- else -%}
    '{}'::jsonb
    {%- endif -%}
{%- endmacro %}


{% macro is_after_the_first_load() -%}
    customer_features.as_of_date::timestamp at time zone 'UTC' > clocks.first_loaded_at
{%- endmacro %}
