{#- A view is put in the place of the old one by one statement, and what reads it stays. dbt's own way makes a second view,
    renames both and drops the old one with all that rests on it: a fifth of a run, for views that are mostly as they
    were. Only one whose columns changed is dropped, which Postgres asks for. -#}
{% materialization view, adapter='postgres' %}
    {%- set view = this.incorporate(type='view') -%}
    {%- set before = load_cached_relation(this) -%}
    {%- set is_replaced = before is not none and before.is_view -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% call statement('main') -%}
        {%- if is_replaced -%}
            {{ patiently(replace_view(view, sql), view) }}
        {%- else -%}
            {%- if before is not none -%}
                {%- do adapter.drop_relation(before) -%}
            {%- endif -%}
            {{ get_create_view_as_sql(view, sql) }}
        {%- endif -%}
    {%- endcall %}

    {%- do apply_grants(view, config.get('grants'), should_revoke=should_revoke(before, full_refresh_mode=True)) -%}
    {%- do persist_docs(view, model) -%}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [view]}) }}
{% endmaterialization %}


{#- The statement that gives a view that is there its SQL; where its columns are no longer the same, as a new view.

        {{ patiently(replace_view(this, sql), this) }} -#}
{% macro replace_view(view, sql) -%}
    do $view$
    declare
        definition constant text := $definition${{ get_replace_view_sql(view, sql) }}$definition$;
    begin
        execute definition;
    exception when invalid_table_definition then
        drop view {{ view }} cascade;
        execute definition;
    end $view$
{%- endmacro %}
