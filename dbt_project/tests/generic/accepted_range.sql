{#- Rows outside a range. from and to are inclusive; above is exclusive. Nulls pass. -#}
{% test accepted_range(model, column_name, from=none, to=none, above=none) %}
select *
from {{ model }}
where
    false
    {%- if from is not none %}
    or {{ column_name }} < {{ from }}
    {%- endif %}
    {%- if to is not none %}
    or {{ column_name }} > {{ to }}
    {%- endif %}
    {%- if above is not none %}
    or {{ column_name }} <= {{ above }}
    {%- endif %}
{% endtest %}
