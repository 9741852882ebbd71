{#- What `meta.feature` may say, held against `feature_words` and `feature_units` of dbt_project.yml. A feature says all of label, unit,
    family, kind and basis, deprecated_on where it is on its way out, and nothing else. What is not known ends the build: a mistyped basis would take the guard
    away that keeps later knowledge from the past, a mistyped key would drop what it says. -#}


{#- Ends the build with all that is wrong with any model's features: before anything is built, and again where a mart is
    compiled. Python calls it, too, on the manifest that dbt wrote (pipeline/features/dbt_macros.py).

        on-run-start: "{{ refuse_unknown_words_of_features() }}" -#}
{% macro refuse_unknown_words_of_features() %}
    {% if execute %}
        {% do refuse_unknown_words(graph.nodes.values() | selectattr('resource_type', 'equalto', 'model')) %}
    {% endif %}
{% endmacro %}


{#- The same for some models.
      nodes: their nodes of the graph

        {% do refuse_unknown_words([graph.nodes['model.churn_warehouse.ticket_features']]) %} -#}
{% macro refuse_unknown_words(nodes) %}
    {% set complaints = [] %}
    {% for node in nodes %}
        {% for name, meta in described_meta(node) if 'feature' in meta or 'feature_version' in node.columns %}
            {% for complaint in complaints_about(meta, 'feature_version' in node.columns) %}
                {% do complaints.append(node.name ~ '.' ~ name ~ ': ' ~ complaint) %}
            {% endfor %}
        {% endfor %}
    {% endfor %}
    {% if complaints %}
        {% do exceptions.raise_compiler_error('meta.feature is not understood.\n' ~ complaints | join('\n')) %}
    {% endif %}
{% endmacro %}


{#- What is wrong with a column's meta, in words; empty where nothing is.
      is_of_a_mart: in a feature mart a column's meta has nothing but `feature`, so that a mistyped one is seen

        {% for complaint in complaints_about({'feature': {'kind': 'nummber'}}, true) %} -#}
{% macro complaints_about(meta, is_of_a_mart) %}
    {% set complaints = [] %}
    {% set words = dict(var('feature_words'), unit=var('feature_words').unit + var('feature_units')) %}
    {% set keys = ['label'] + words.keys() | list + ['deprecated_on'] %}
    {% for key in meta if is_of_a_mart and key != 'feature' %}
        {% do complaints.append("meta has '" ~ key ~ "'; a mart's columns have: feature") %}
    {% endfor %}
    {% if 'feature' in meta %}
        {% set feature = meta.feature %}
        {% if feature is not mapping %}
            {% do complaints.append('feature is no mapping of ' ~ keys | join(', ')) %}
        {% else %}
            {% for key in feature if key not in keys %}
                {% do complaints.append("'" ~ key ~ "' is no key; use " ~ keys | join(', ')) %}
            {% endfor %}
            {% if 'deprecated_on' in feature and not is_date(feature.deprecated_on | string) %}
                {% do complaints.append("deprecated_on is '" ~ feature.deprecated_on ~ "'; write a date as 2026-03-01") %}
            {% endif %}
            {% if feature.get('label') is not string or not feature.label | trim %}
                {% do complaints.append('label is missing: what business readers call the feature') %}
            {% endif %}
            {% for key, allowed in words.items() %}
                {% if key not in feature %}
                    {% do complaints.append(key ~ ' is missing; use one of ' ~ allowed | join(', ')) %}
                {% elif feature[key] not in allowed %}
                    {% do complaints.append(
                        key ~ " is '" ~ feature[key] ~ "'; use one of " ~ allowed | join(', ')
                    ) %}
                {% endif %}
            {% endfor %}
        {% endif %}
    {% endif %}
    {% do return(complaints) %}
{% endmacro %}


{#- Whether a text is a date as YAML and SQL write it.

        {% if not is_date('2026-03-01') %} -#}
{% macro is_date(text) %}
    {% set parts = text.split('-') %}
    {% do return(
        parts | map('length') | list == [4, 2, 2] and parts | join | list | reject('in', '0123456789') | list == []
        and 1 <= parts[1] | int <= 12 and 1 <= parts[2] | int <= 31
    ) %}
{% endmacro %}
