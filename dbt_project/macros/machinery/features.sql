{#- What the YAML declares of features, and what follows from it. -#}


{#- The features a model declares: its columns that carry meta.feature, as [{name, label, unit, family, kind, basis,
    model_name}, ...]. Ends the build where one says what no feature may say.

        {% for feature in features_of('ticket_features') %} {{ feature.name }} {% endfor %} -#}
{% macro features_of(model_name) %}
    {% set features = [] %}
    {% if execute %}
        {% for node in graph.nodes.values() if node.resource_type == 'model' and node.name == model_name %}
            {% do refuse_unknown_words([node]) %}
            {% for name, meta in described_meta(node) if meta.feature %}
                {% do features.append(dict(meta.feature, name=name, model_name=model_name)) %}
            {% endfor %}
        {% endfor %}
    {% endif %}
    {% do return(features) %}
{% endmacro %}


{#- The meta of the node's columns that have any, wherever dbt put it, as [(name, meta), ...].

        {% for name, meta in described_meta(node) if meta.feature %} -#}
{% macro described_meta(node) %}
    {% set described = [] %}
    {% for column in node.columns.values() %}
        {% set meta = column.get('config', {}).get('meta') or column.get('meta') %}
        {% if meta %}{% do described.append((column.name, meta)) %}{% endif %}
    {% endfor %}
    {% do return(described) %}
{% endmacro %}


{#- The columns that the mart's YAML describes, in its order, from a relation that may have others besides. So a feature
    is an expression in that relation and an entry in the YAML, and its name stands nowhere else. The versions are not
    among them: the mart writes those itself. In a unit test, which knows no YAML, they are all of the relation's.

        select
            {{ described_columns('features') }},
            {{ feature_version('features') }} as feature_version
        from comparisons as features -#}
{% macro described_columns(relation) -%}
    {%- if execute and model.resource_type == 'model' -%}
        {%- for name in model.columns if name not in ['feature_version', 'rates_version'] %}
        {{ relation }}.{{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    {%- else -%}
        {{ relation }}.*
    {%- endif -%}
{%- endmacro %}


{#- One mart's columns for the matrix. What rests on mutable attributes is null up to the company's first load: that load
    brings each record's last version only, so "known before" would mean "never edited again", and a model would learn
    to read survival from it. What does not say that it rests on event times is held back, too.

        select
            {{ matrix_columns('ticket_features') }}
        from customer_features
        inner join clocks on ...
        inner join ticket_features on ...

      customer_features, clocks: names in the query of that mart and of int_companies__clocks -#}
{% macro matrix_columns(model_name, customer_features='customer_features', clocks='clocks') -%}
    {%- for feature in features_of(model_name) %}
        {%- if feature.basis == 'event_times' %}
        {{ model_name }}.{{ feature.name }}
        {%- else %}
        case
            when {{ is_after_the_first_load(customer_features, clocks) }}
                then {{ model_name }}.{{ feature.name }}
        end as {{ feature.name }}
        {%- endif %}
        {{- ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{#- The company's own attributes as one JSON object, by the same rule: the changing ones after the first load only.

        {{ custom_attributes() }} as custom_attributes

      customer_features, clocks: as for matrix_columns -#}
{% macro custom_attributes(customer_features='customer_features', clocks='clocks') -%}
    {{ customer_features }}.fixed_attributes || case
        when {{ is_after_the_first_load(customer_features, clocks) }}
            then {{ customer_features }}.changing_attributes
        else '{}'
    end
{%- endmacro %}


{#- Whether a row speaks of a date after its company's first load.

        case when {{ is_after_the_first_load('customer_features', 'clocks') }} then seats end -#}
{% macro is_after_the_first_load(customer_features, clocks) -%}
    {{ customer_features }}.as_of_date::timestamp at time zone 'UTC' > {{ clocks }}.first_loaded_at
{%- endmacro %}


{#- Every feature of a matrix, by the marts that it names in meta.features_from.

        {% for feature in features_of_the_matrix() %} {{ feature.label }} {% endfor %} -#}
{% macro features_of_the_matrix(matrix='customer_feature_matrix') %}
    {% set features = [] %}
    {% if execute %}
        {% for mart in model_named(matrix).config.meta.features_from %}
            {% do features.extend(features_of(mart)) %}
        {% endfor %}
    {% endif %}
    {% do return(features) %}
{% endmacro %}


{#- How many rows of the matrix have each feature, one column each.

        select {{ counts_of_features('matrix') }} from matrix -#}
{% macro counts_of_features(matrix) -%}
    {%- for feature in features_of_the_matrix() %}
        count({{ matrix }}.{{ feature.name }}) as {{ feature.name }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{#- The same as rows of (feature, known).

        cross join lateral (values {{ counts_as_rows('counts') }}) as features (feature, rows_known)

      counts: made by counts_of_features -#}
{% macro counts_as_rows(counts) -%}
    {%- for feature in features_of_the_matrix() %}
            ('{{ feature.name }}', {{ counts }}.{{ feature.name }}){{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}


{#- What the YAML says of each feature: rows of (feature, label, family, unit, kind, basis, model_name).

        select * from (values {{ words_of_features() }}) as features (feature, label, ...) -#}
{% macro words_of_features() -%}
    {%- for feature in features_of_the_matrix() %}
            (
                {%- for key in ['name', 'label', 'family', 'unit', 'kind', 'basis', 'model_name'] -%}
                '{{ feature[key] | replace("'", "\'\'") }}'{{ ', ' if not loop.last }}
                {%- endfor -%}
            ){{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}
