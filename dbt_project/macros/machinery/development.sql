{#- Makes room for what this run builds in a developer's place: production's window goes from where a selected model is
    about to stand. A window is the owner's, whom dbt could not replace, but whoever owns a schema may drop what is in it.

        on-run-start: "{{ make_room_in_place() }}" -#}
{% macro make_room_in_place() %}
    {%- if execute and is_development() and flags.WHICH in ['build', 'run', 'seed', 'snapshot', 'retry'] -%}
        {%- for node in graph.nodes.values()
            if node.unique_id in selected_resources and node.resource_type in ['model', 'seed', 'snapshot'] -%}
            {%- set relation = load_relation(api.Relation.create(
                database=node.database, schema=node.schema, identifier=node.alias
            )) -%}
            {%- if relation and relation.type == 'view' and not is_own(relation) -%}
                {%- do adapter.drop_relation(relation) -%}
            {%- endif -%}
        {%- endfor -%}
        {#- dbt closes the session of its hooks without a commit. -#}
        {%- do run_query('commit') -%}
    {%- endif -%}
{% endmacro %}


{#- Notes in a developer's place what was built there, so that a later window does not take its place unseen.

        on-run-end: "{{ keep_own_relations() }}" -#}
{% macro keep_own_relations() %}
    {%- if execute and is_development() -%}
        select {{ target.schema }}.keep_own()
    {%- endif -%}
{% endmacro %}


{#- Whether the login that builds owns a relation.

        {% if not is_own(relation) %} -#}
{% macro is_own(relation) %}
    {%- set query -%}
        select pg_has_role(relowner, 'usage') from pg_class where oid = '{{ relation.include(database=false) }}'::regclass
    {%- endset -%}
    {%- do return(run_query(query).columns[0].values()[0]) -%}
{% endmacro %}
