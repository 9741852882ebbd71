{#- A version of a registered model as people read it: "churn-acme v3". Null where either part is.
    Example: {{ model_version('model_name', 'to_version') }} as model_version -#}
{% macro model_version(name, number) -%}
    {{ name }} || ' v' || {{ number }}
{%- endmacro %}
