{#- A folder's schema is the schema: a warehouse has one production. A developer builds in schemas that begin with their
    target's (`churn dev start`), a proof in those that end with `schema_suffix`. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- if custom_schema_name -%}
        {{ schema_here(custom_schema_name | trim) }}{{ var('schema_suffix') }}
    {%- else -%}
        {{ target.schema }}{{ var('schema_suffix') }}
    {%- endif -%}
{%- endmacro %}


{#- Where this run reads a schema of the warehouse: under its name, or through the developer's windows.

        select company_id from {{ schema_here('ops') }}.companies -#}
{% macro schema_here(name) -%}
    {{ target.schema ~ '_' ~ name if is_development() else name }}
{%- endmacro %}


{#- Whether this run builds in a developer's place.

        {% if is_development() %} -#}
{% macro is_development() -%}
    {%- do return(target.name.startswith('dev')) -%}
{%- endmacro %}
