"""Jobs for what a person wants done, and what Dagster does unasked: telling people, onboarding, the log of its runs."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from orchestration import keys, partitions
from orchestration.automation import EVERYTHING, SCORING, TRANSFORM
from orchestration.resources import WarehouseResource
from warehouse.companies.registry import list_companies
from warehouse.logs.operations import companies_without_scores, record_run

onboard = dg.define_asset_job(
    "onboard_company",
    selection=EVERYTHING,
    description="A company's first time: its whole history from the CRM, features, a model, scores, dashboards. The "
    "sensor `onboard_new_companies` starts it for each company that is registered; by hand, choose its partition.",
    executor_def=dg.in_process_executor,
)
backfill_dates = dg.define_asset_job(
    "backfill_dates",
    selection=TRANSFORM,
    description="Build the features and labels of some past dates anew, all of them in one run. Name the dates in the "
    "launchpad: ops.dbt_models.config.as_of_dates.",
    executor_def=dg.in_process_executor,
)
republish = dg.define_asset_job(
    "republish",
    selection=dg.AssetSelection.assets(keys.STAGED_SCORES) | SCORING,
    config={"ops": {"stage_churn_scores": {"config": {"again": True}}}},
    description="Score the current date anew and publish it, even where the same model has published it already.",
    executor_def=dg.in_process_executor,
)
notify = dg.define_asset_job(
    "notify",
    selection=dg.AssetSelection.groups(keys.Group.messages),
    description="Tell people what they have not been told: one digest each, and the weekly reports that are due.",
    executor_def=dg.in_process_executor,
)

JOBS = [onboard, backfill_dates, republish, notify]


@dg.schedule(job=notify, cron_schedule="40 * * * *", description="Every hour at twenty to.")
def notify_hourly() -> dg.RunRequest:
    """Failures that stopped a run, late sources, and what waited for quiet hours to end."""
    return dg.RunRequest()


SCHEDULES = [notify_hourly]


@dg.sensor(
    job=onboard,
    minimum_interval_seconds=60,
    description="Starts a run for each registered company that has no scores yet, once.",
)
def onboard_new_companies(
    context: dg.SensorEvaluationContext, warehouse: WarehouseResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Keeps the partitions in step with the registry, too, so that a new company can be chosen in the UI."""
    with warehouse.open() as opened, opened.connect() as conn:
        partitions.match_registry(context.instance, [company.slug for company in list_companies(conn)])
        new = companies_without_scores(conn)
    for company_id, slug in new:
        yield dg.RunRequest(run_key=f"onboard:{company_id}", tags=partitions.range_tags([slug]))
    if not new:
        yield dg.SkipReason("Every active company has scores.")


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.FAILURE,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Keeps failed runs in ops.run_log, from where the operators are told.",
)
def log_failed_runs(context: dg.RunStatusSensorContext, warehouse: WarehouseResource) -> None:
    """One row for the whole run, besides those of each company and stage."""
    log_run(context, warehouse, error=context.dagster_event.message or "the run failed")


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Keeps runs that succeeded in ops.run_log, so that the next failure of their job is news again.",
)
def log_succeeded_runs(context: dg.RunStatusSensorContext, warehouse: WarehouseResource) -> None:
    """One row for the whole run."""
    log_run(context, warehouse, error=None)


SENSORS = [onboard_new_companies, log_failed_runs, log_succeeded_runs]


def log_run(context: dg.RunStatusSensorContext, warehouse: WarehouseResource, *, error: str | None) -> None:
    """Write the run's row, its stage being the job's name."""
    run = context.dagster_run
    stats = context.instance.get_run_stats(run.run_id)
    now = datetime.now(UTC)
    with warehouse.open() as opened, opened.connect() as conn:
        record_run(
            conn,
            stage=run.job_name,
            status="failed" if error else "succeeded",
            started_at=datetime.fromtimestamp(stats.start_time, UTC) if stats.start_time else now,
            finished_at=datetime.fromtimestamp(stats.end_time, UTC) if stats.end_time else now,
            dagster_run_id=run.run_id,
            error=error,
        )
