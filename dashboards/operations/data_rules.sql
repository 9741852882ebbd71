select
    company_name,
    entity,
    rule,
    records_touched
from analytics.data_rules
where
    records_touched > 0
    [[and {{company}}]]
order by records_touched desc, company_name asc, entity asc
limit 100
