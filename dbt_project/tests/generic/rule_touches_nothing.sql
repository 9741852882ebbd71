{#- Companies of whose records a rule of data_rules touches some; or a rule that is not there by this name, though there
    is its entity: what no company gives us nobody can mend. -#}
{% test rule_touches_nothing(model, rule, entity) %}

select
    company_id,
    sum(records_touched) as records_touched
from {{ model }}
where entity = '{{ entity }}' and rule = '{{ rule }}'
group by company_id
having sum(records_touched) > 0

union all

select
    null as company_id,
    0 as records_touched
where
    exists (select from {{ model }} where entity = '{{ entity }}')
    and not exists (select from {{ model }} where entity = '{{ entity }}' and rule = '{{ rule }}')

{% endtest %}
