{#- Statistics of what Python writes and dbt reads: of each table in the schemas of our sources whose rows have changed
    by a tenth since it was last analysed, or that never was. Without them the planner takes a full table for an empty
    one, and a mart of a second's work takes minutes in a loop. Before each build, for whoever wrote last does not know
    who reads next. By schema, since some sources are views.

        on-run-start: "{{ analyze_changed_sources() }}" -#}
{% macro analyze_changed_sources() %}
    {%- if execute and flags.WHICH in ['build', 'run', 'retry'] -%}
        {%- set schemas = [] -%}
        {%- for source in graph.sources.values() if source.package_name == 'churn_warehouse' -%}
            {%- do schemas.append("'" ~ source.schema ~ "'") -%}
        {%- endfor -%}
        {%- set changed = run_query("
            select format('%I.%I', pg_namespace.nspname, pg_class.relname)
            from pg_class
            inner join pg_namespace on pg_namespace.oid = pg_class.relnamespace
            inner join pg_stat_all_tables as statistics on statistics.relid = pg_class.oid
            where pg_namespace.nspname in (" ~ schemas | unique | sort | join(', ') ~ ")
                and pg_class.relkind in ('r', 'p')
                and pg_has_role(pg_class.relowner, 'usage')
                and (pg_class.reltuples < 0 or statistics.n_mod_since_analyze > 0.1 * pg_class.reltuples)
            order by 1
        ").columns[0].values() -%}
        {%- for table in changed -%}
            {%- do run_query('analyze ' ~ table) -%}
        {%- endfor -%}
        {#- dbt closes the session of its hooks without a commit. -#}
        {%- do run_query('commit') -%}
    {%- endif -%}
{% endmacro %}
