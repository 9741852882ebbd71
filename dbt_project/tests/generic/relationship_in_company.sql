{#- Rows whose key has no counterpart in the same company. Counted per company: a source is amiss, not a row. -#}
{% test relationship_in_company(model, column_name, to, field) %}
select
    children.company_id,
    count(*) as rows_without_counterpart
from {{ model }} as children
left join {{ to }} as parents
    on children.company_id = parents.company_id
    and children.{{ column_name }} = parents.{{ field }}
where
    children.{{ column_name }} is not null
    and parents.company_id is null
group by children.company_id
{% endtest %}
