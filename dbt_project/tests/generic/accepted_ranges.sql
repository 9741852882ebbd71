{#- Rows with a value outside its column's range, all columns in one pass. Of a column: from and to are inclusive, above
    is exclusive; each a number or an expression over the row. Nulls pass.
      columns: {name: {from, to, above}} -#}
{% test accepted_ranges(model, columns) %}
select *
from {{ model }}
where
    false
    {%- for name, range in columns.items() %}
    {%- for bound, comparison in {'from': '<', 'to': '>', 'above': '<='}.items() if bound in range %}
    or {{ name }} {{ comparison }} {{ range[bound] }}
    {%- endfor %}
    {%- endfor %}
{% endtest %}
