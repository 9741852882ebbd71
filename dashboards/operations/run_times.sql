select
    started_date,
    stage,
    avg(seconds::numeric)::double precision as seconds
from analytics.run_history
where
    status = 'succeeded'
    and started_date > (select max(newest.started_date) from analytics.run_history as newest) - 60
    [[and {{company}}]]
group by started_date, stage
order by started_date, stage
