{#- A folder's schema is the schema: no target prefix, since a warehouse has one environment per database. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
