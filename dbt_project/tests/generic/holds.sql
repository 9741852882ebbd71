{#- Rows for which a condition is false; null passes, as in a check constraint. -#}
{% test holds(model, condition) %}
select *
from {{ model }}
where not ({{ condition }})
{% endtest %}
