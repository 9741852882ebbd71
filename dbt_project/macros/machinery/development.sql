{#- Makes room for what this run builds in a developer's place: production's window goes from where a selected model is
    about to stand, and the place notes that it has one of its own. A window is the owner's, whom dbt could not replace,
    but whoever owns a schema may drop what is in it.

        on-run-start: "{{ make_room_in_place() }}" -#}
{% macro make_room_in_place() %}
    {%- if execute and is_development() and flags.WHICH in ['build', 'run', 'seed', 'snapshot', 'retry'] -%}
        {%- set own = [] -%}
        {%- for node in graph.nodes.values()
            if node.unique_id in selected_resources and node.resource_type in ['model', 'seed', 'snapshot'] -%}
            {%- set relation = load_relation(api.Relation.create(
                database=node.database, schema=node.schema, identifier=node.alias
            )) -%}
            {%- if relation and relation.type == 'view' and not is_own(relation) -%}
                {%- do adapter.drop_relation(relation) -%}
            {%- endif -%}
            {%- do own.append("'" ~ node.schema[target.schema | length + 1:] ~ '.' ~ node.alias ~ "'") -%}
        {%- endfor -%}
        {%- if own -%}
            {%- do run_query('select ' ~ target.schema ~ '.keep_own(array[' ~ own | join(', ') ~ '])') -%}
        {%- endif -%}
        {#- dbt closes the session of its hooks without a commit. -#}
        {%- do run_query('commit') -%}
    {%- endif -%}
{% endmacro %}


{#- Whether the login that builds owns a relation. -#}
{% macro is_own(relation) %}
    {%- set query -%}
        select pg_has_role(relowner, 'usage') from pg_class where oid = '{{ relation.include(database=false) }}'::regclass
    {%- endset -%}
    {%- do return(run_query(query).columns[0].values()[0]) -%}
{% endmacro %}
