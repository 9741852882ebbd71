{#- Which companies a run works on. A company that is disabled, or that a step for all companies fails on, is left out
    where its records and settings come in, so that no model below needs to know; what was built of it before stays. -#}


{#- Keeps a staging model to the companies that are worked on. Not a source of dbt: it would stand before every asset.

        select * from {{ source('raw', 'customers') }}
        where {{ is_at_work() }} -#}
{% macro is_at_work() -%}
    company_id in (select at_work.company_id from {{ schema_here('ops') }}.companies_at_work as at_work)
{%- endmacro %}


{#- The registered companies that are not worked on, as a query.

        where company_id not in ({{ companies_left_out() }}) -#}
{% macro companies_left_out() -%}
    select registered.company_id
    from {{ schema_here('ops') }}.companies as registered
    where registered.company_id not in (select at_work.company_id from {{ schema_here('ops') }}.companies_at_work as at_work)
{%- endmacro %}


{#- A table is made from scratch, and of a company that is left out nothing is made: its rows move over from the table
    that this one replaces. A mart that is built of all companies has such rows already, and a company that was removed
    is not registered. A post-hook of tables; it runs in their transaction, while the old one is still there.

        +post-hook: "{{ keep_rows_of_companies_left_out() }}" -#}
{% macro keep_rows_of_companies_left_out() %}
    {%- set is_table = execute and model.resource_type == 'model' and config.get('materialized') != 'view' -%}
    {%- set before = load_relation(make_backup_relation(this, 'table')) if is_table -%}
    {%- if before and run_query(companies_left_out()) | length > 0 -%}
        {%- set kept = adapter.get_columns_in_relation(this) | map(attribute='name')
            | select('in', adapter.get_columns_in_relation(before) | map(attribute='name') | list) | list -%}
        {%- if 'company_id' in kept -%}
            insert into {{ this }} ({{ kept | join(', ') }})
            select {{ kept | join(', ') }}
            from {{ before }} as kept
            where
                kept.company_id in ({{ companies_left_out() }})
                and not exists (select from {{ this }} as built where built.company_id = kept.company_id)
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{#- What a data test reads of its model: not what was kept of companies that are left out, which may be what is wrong
    with them. dbt calls it for every generic test; without an alias of its own, since tests give theirs. -#}
{% macro get_where_subquery(relation) -%}
    {%- set tested = graph.nodes.get(model.attached_node, graph.sources.get(model.attached_node, {})) if execute else {} -%}
    {%- set conditions = [config.get('where', '')] | select | list -%}
    {%- if 'company_id' in tested.get('columns', {}) -%}
        {%- do conditions.append('(company_id in (' ~ companies_left_out() ~ ')) is not true') -%}
    {%- endif -%}
    {%- if conditions -%}
        {%- do return('(select * from ' ~ relation ~ ' where ' ~ conditions | join(' and ') ~ ')') -%}
    {%- endif -%}
    {%- do return(relation) -%}
{%- endmacro %}
