{#- The features a model declares: its columns that carry meta.feature, as [{name, label, unit, ...}, ...]. -#}
{% macro features_of(model_name) %}
    {% set features = [] %}
    {% if execute %}
        {% for node in graph.nodes.values() if node.resource_type == 'model' and node.name == model_name %}
            {% for column in node.columns.values() %}
                {% set feature = column.get('config', {}).get('meta', {}).get('feature') or column.meta.get('feature') %}
                {% if feature %}
                    {% do features.append(dict(feature, name=column.name, model_name=model_name)) %}
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
    customer_features.fixed_attributes || case
        when {{ is_after_the_first_load() }}
            then customer_features.changing_attributes
        else '{}'
    end
{%- endmacro %}


{% macro is_after_the_first_load() -%}
    customer_features.as_of_date::timestamp at time zone 'UTC' > clocks.first_loaded_at
{%- endmacro %}


{#- Every feature of a matrix, by the marts that it names in meta.features_from. -#}
{% macro features_of_the_matrix(matrix='customer_feature_matrix') %}
    {% set features = [] %}
    {% if execute %}
        {% for mart in model_named(matrix).config.meta.features_from %}
            {% do features.extend(features_of(mart)) %}
        {% endfor %}
    {% endif %}
    {% do return(features) %}
{% endmacro %}


{#- How many rows of `matrix` have each feature, one column each. -#}
{% macro counts_of_features() -%}
    {%- for feature in features_of_the_matrix() %}
        count(matrix.{{ feature.name }}) as {{ feature.name }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{#- The same as rows of (feature, known). -#}
{% macro counts_as_rows() -%}
    {%- for feature in features_of_the_matrix() %}
            ('{{ feature.name }}', counts.{{ feature.name }}){{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{#- What the YAML says of each feature: rows of (feature, label, family, unit, kind, basis, model_name). -#}
{% macro words_of_features() -%}
    {%- for feature in features_of_the_matrix() %}
            (
                {%- for key in ['name', 'label', 'family', 'unit', 'kind', 'basis', 'model_name'] -%}
                '{{ (feature[key] or '') | replace("'", "\'\'") }}'{{ ', ' if not loop.last }}
                {%- endfor -%}
            ){{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}
