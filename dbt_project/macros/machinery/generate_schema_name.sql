{#- A folder's schema is the schema: no target prefix, since a warehouse has one environment per database. A proof
    builds beside it, in schemas that end with `schema_suffix`. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}{{ var('schema_suffix') }}
{%- endmacro %}
