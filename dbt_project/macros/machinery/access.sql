{#- What keeps companies apart beside the policies, which are hooks of the folder `analytics`. -#}

{#- EXPLAIN shows everybody what the planner expects, and it expects what it knows of all companies' rows: with a
    histogram or the commonest values of a column anybody could search for what others call their plans, or earn. So
    none is kept, but of the company and the date. As `keep_values_out_of_estimates` of Python's tables.

        +post-hook: "{{ keep_values_out_of_estimates() }}" -#}
{% macro keep_values_out_of_estimates() %}
    {%- set alterations = [] -%}
    {#- All of them: the folder's contracts are enforced. -#}
    {%- for column in model.columns if column not in ('company_id', 'as_of_date') -%}
        {%- do alterations.append('alter column ' ~ column ~ ' set statistics 0') -%}
    {%- endfor -%}
    {%- if alterations -%}alter table {{ this }} {{ alterations | join(', ') }}{%- endif -%}
{% endmacro %}

{#- Ends the run with an error where a company's login could read a relation without row-level security: a table that
    does not force it, a view with its owner's rights, a materialised view. As `relations_open_to_all_companies`.

        on-run-end: "{{ refuse_relations_open_to_all_companies() }}" -#}
{% macro refuse_relations_open_to_all_companies() %}
    {%- if execute -%}
        {%- set found = run_query("
            select pg_namespace.nspname || '.' || pg_class.relname
            from pg_class
            inner join pg_namespace on pg_namespace.oid = pg_class.relnamespace
            where pg_class.relkind in ('r', 'p', 'v', 'm', 'f')
                and pg_namespace.nspname not in ('pg_catalog', 'information_schema')
                and pg_namespace.nspname not like 'pg\\_temp%'
                and (
                    has_any_column_privilege('churn_company', pg_class.oid, 'select')
                    or has_any_column_privilege('churn_company_sync', pg_class.oid, 'select')
                )
                and not case
                    when pg_class.relkind in ('r', 'p') then pg_class.relrowsecurity and pg_class.relforcerowsecurity
                    when pg_class.relkind = 'v' then coalesce(
                        array_to_string(pg_class.reloptions, ',') ~ 'security_invoker=(true|on|1|yes)', false
                    )
                    else false
                end
            order by 1
        ").columns[0].values() -%}
        {%- if found -%}
            {%- do exceptions.raise_compiler_error(
                'Every company can read all rows of ' ~ found | join(', ') ~ '. Put the model under models/analytics, '
                ~ 'whose configuration gives it its policies, or take the grant away.'
            ) -%}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}
