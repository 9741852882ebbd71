{#- Which SQL makes a model's rows: a hash of the model, of all models above it, of the macros that they call and of what
    their columns' meta.feature promises. This is the one place where it is worked out: Dagster, which knows it before
    anything is built, calls these macros on dbt's manifest (pipeline/features/dbt_macros.py). They ask no database. -#}


{#- Seeds are data and not counted; labels and families are words, and change no number.

        {{ sql_version('model.churn_warehouse.ticket_features') }}  gives '5c3c6f83a92f'

      unique_id: dbt's name for the model -#}
{% macro sql_version(unique_id) %}
    {% set models = models_above(unique_id) %}
    {% set parts = ['lookback_days ' ~ var('lookback_days')] %}
    {% set calls = [] %}
    {% for name in models | sort %}
        {% do parts.append(name ~ ' ' ~ models[name].checksum.checksum) %}
        {% do calls.extend(models[name].depends_on.macros) %}
        {% for feature in features_of(models[name].name) %}
            {% do parts.append([feature.name, feature.kind, feature.unit, feature.basis] | join(' ')) %}
        {% endfor %}
    {% endfor %}
    {% for name, text in macros_called(calls) | dictsort %}
        {% do parts.append(name ~ ' ' ~ local_md5(text)) %}
    {% endfor %}
    {% do return(local_md5(parts | join('\n'))[:12]) %}
{% endmacro %}


{#- The model and every model it is made from, by unique_id.

        {% for name, node in models_above(model.unique_id).items() %} {{ node.name }} {% endfor %} -#}
{% macro models_above(unique_id) %}
    {% set found = {unique_id: graph.nodes[unique_id]} %}
    {% set waiting = [graph.nodes[unique_id]] %}
    {# Each step looks at one more model; there are no more than the project has. #}
    {% for _ in graph.nodes if waiting %}
        {% for name in waiting.pop().depends_on.nodes if name.startswith('model.') and name not in found %}
            {% do found.update({name: graph.nodes[name]}) %}
            {% do waiting.append(graph.nodes[name]) %}
        {% endfor %}
    {% endfor %}
    {% do return(found) %}
{% endmacro %}


{#- Macros of projects, ours and those that take ours as a package, among those called, which dbt's own are not, and those that they call, as {name: text}.

        {% for name, text in macros_called(model.depends_on.macros) | dictsort %} -#}
{% macro macros_called(unique_ids) %}
    {% set waiting = unique_ids | list %}
    {% set found = {} %}
    {% for _ in range(1000) if waiting %}
        {% set package, name = waiting.pop().split('.')[1:] %}
        {% if package not in ['dbt', 'dbt_postgres'] and name not in found %}
            {% set macro = context[package][name].macro %}
            {% do found.update({name: macro.macro_sql}) %}
            {% do waiting.extend(macro.depends_on.macros) %}
        {% endif %}
    {% endfor %}
    {% do return(found) %}
{% endmacro %}


{#- A model's node of the graph, by its name.

        {{ model_named('ticket_features').unique_id }} -#}
{% macro model_named(name) %}
    {% do return(graph.nodes.values() | selectattr('resource_type', 'equalto', 'model')
        | selectattr('name', 'equalto', name) | first) %}
{% endmacro %}
