{#- The columns of a table that runs only add to are made those of its model, types and all. dbt's own macro adds what is
    new and leaves the rest: a column whose type changed keeps the old type, and what is inserted is rounded to it.

    What is stored is converted. The rows of a changed model are of another version and are built again; until then what
    cannot be converted is null. A history (strategy `append`) is never built again: there nothing is dropped, and what
    cannot be converted ends the build. -#}
{% macro postgres__sync_column_schemas(on_schema_change, target_relation, schema_changes_dict) %}
    {%- set is_history = config.get('incremental_strategy') == 'append' -%}
    {%- set alterations = [] -%}
    {%- for column in schema_changes_dict['target_not_in_source'] if not is_history -%}
        {%- do alterations.append('drop column ' ~ adapter.quote(column.name)) -%}
    {%- endfor -%}
    {%- for change in schema_changes_dict['new_target_types'] -%}
        {%- do alterations.append(
            'alter column ' ~ adapter.quote(change.column_name) ~ ' type ' ~ change.new_type
            ~ ' using ' ~ converted(adapter.quote(change.column_name), change.new_type, is_history)
        ) -%}
    {%- endfor -%}
    {%- if alterations -%}
        {#- A view holds on to the columns that it reads, and this run makes those on the table again after it. -#}
        {%- for view in views_on(target_relation) -%}{%- do adapter.drop_relation(view) -%}{%- endfor -%}
    {%- endif -%}
    {%- for column in schema_changes_dict['source_not_in_target'] -%}
        {%- do alterations.append('add column ' ~ adapter.quote(column.name) ~ ' ' ~ column.expanded_data_type) -%}
    {%- endfor -%}
    {%- if alterations -%}
        {%- do run_query(patiently('alter table ' ~ target_relation ~ ' ' ~ alterations | join(', '), target_relation)) -%}
    {%- endif -%}
{% endmacro %}


{#- A stored value in another type.

        using {{ converted('"seats"', 'double precision', must_fit=false) }}

      must_fit: whether a value that cannot be of the type is an error, and not null -#}
{% macro converted(column, data_type, must_fit) -%}
    {%- if must_fit -%}
        {{ column }}::text::{{ data_type }}
    {%- else -%}
        case when pg_input_is_valid({{ column }}::text, '{{ data_type }}') then {{ column }}::text::{{ data_type }} end
    {%- endif -%}
{%- endmacro %}


{#- The views that read a table, as relations.

        {% for view in views_on(this) %}{% do adapter.drop_relation(view) %}{% endfor %} -#}
{% macro views_on(relation) %}
    {% set views = [] %}
    {% set query %}
        select distinct
            pg_namespace.nspname,
            pg_class.relname
        from pg_depend
        inner join pg_rewrite on pg_depend.objid = pg_rewrite.oid
        inner join pg_class on pg_rewrite.ev_class = pg_class.oid
        inner join pg_namespace on pg_class.relnamespace = pg_namespace.oid
        where
            pg_depend.refobjid = '{{ relation }}'::regclass
            and pg_class.relkind = 'v'
        order by pg_namespace.nspname, pg_class.relname
    {% endset %}
    {% for row in run_query(query) %}
        {% do views.append(
            api.Relation.create(database=relation.database, schema=row[0], identifier=row[1], type='view')
        ) %}
    {% endfor %}
    {% do return(views) %}
{% endmacro %}
