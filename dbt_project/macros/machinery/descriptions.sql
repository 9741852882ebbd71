{#- Descriptions go to the warehouse as dbt's own macro brings them there, in one statement and without asking twice which
    columns there are: that was a seventh of every build. A described column that is not there ends the build. -#}
{% macro postgres__persist_docs(relation, model, for_relation, for_columns) %}
    {%- set statements = [] -%}
    {%- if for_relation and config.persist_relation_docs() and model.description -%}
        {%- do statements.append(alter_relation_comment(relation, model.description)) -%}
    {%- endif -%}
    {%- if for_columns and config.persist_column_docs() -%}
        {%- for column in model.columns.values() -%}
            {%- do statements.append(
                'comment on column ' ~ relation ~ '.' ~ column.name ~ ' is '
                ~ postgres_escape_comment(column.description) ~ ';'
            ) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- if statements -%}{%- do run_query(statements | join('\n')) -%}{%- endif -%}
{% endmacro %}
