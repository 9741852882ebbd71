{#- Companies of whose records a rule of data_rules touches some; or a rule that is not there by this name. -#}
{% test rule_touches_nothing(model, rule) %}

select
    company_id,
    sum(records_touched) filter (where rule = '{{ rule }}') as records_touched
from {{ model }}
group by company_id
having sum(records_touched) filter (where rule = '{{ rule }}') > 0

union all

select
    null as company_id,
    0 as records_touched
where
    exists (select from {{ model }})
    and not exists (select from {{ model }} where rule = '{{ rule }}')

{% endtest %}
