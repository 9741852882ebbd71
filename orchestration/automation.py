"""Jobs and schedules, and the policies that hold for all assets."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg

from orchestration import keys, partitions
from orchestration.resources import WarehouseResource
from pipeline.prediction.tasks import CONTRACTS, TASKS
from warehouse import session_watch
from warehouse.companies.registry import list_companies
from warehouse.logs.operations import companies_without_scores, record_run


def for_each_task(step: str, config: Mapping[str, object]) -> dict[str, object]:
    """Run config of one step of every task: ``step`` with the task's name in place of {task}."""
    return {"ops": {step.format(task=binding.name): {"config": dict(config)} for binding in TASKS}}


TRAINING = "train_{task}_models"
STAGING = "stage_{task}_scores"
TRAIN_BY_CALENDAR = for_each_task(TRAINING, {"retrain": "always", "cause": "schedule"})
"""Run config that trains companies whether or not they have a model, but for those that were trained days ago."""

DAILY_FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=50), warn_window=timedelta(hours=26))
"""Warns when a daily run is missed, fails when two are."""

HOURLY_FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=26), warn_window=timedelta(hours=3))
"""Warns when two hourly syncs are missed, fails when a day's are."""

WEEKLY_FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=15), warn_window=timedelta(days=8))
"""Warns when a weekly run is missed, fails when two are."""

_proofs = dg.AssetSelection.groups(keys.Group.proofs)
_guards = dg.AssetSelection.groups(keys.Group.guards)
_backups = dg.AssetSelection.assets(keys.BACKUPS).without_checks()
_age_of_backups = dg.AssetSelection.checks_for_assets(keys.BACKUPS)
_replays = dg.AssetSelection.assets(*keys.of_all_tasks("replays"))
EVERYTHING = dg.AssetSelection.all() - _proofs - _guards - _backups - _age_of_backups - _replays
_ingestion = dg.AssetSelection.groups(keys.Group.raw)
_models = dg.AssetSelection.groups(keys.Group.models)
_decisions = dg.AssetSelection.groups(keys.Group.decisions)
TRANSFORM = dg.AssetSelection.groups(keys.Group.staging, keys.Group.features)
SCORING = dg.AssetSelection.groups(keys.Group.predictions, keys.Group.analytics, keys.Group.dashboards) | (
    # Publishing writes these too, and an asset's parts run together.
    dg.AssetSelection.assets(*keys.of_all_tasks("publication_holds"), *keys.of_all_tasks("held_flips"))
)
_watching = dg.AssetSelection.groups(keys.Group.watching) - _replays
_training = dg.AssetSelection.assets(
    *(key for table in ("training_runs", "promotions", "evaluations") for key in keys.of_all_tasks(table))
)
_track_record = dg.AssetSelection.assets(
    *(
        key
        for table in ("track_record", "track_record_months", "track_record_grades")
        for key in keys.of_all_tasks(table)
    )
)

daily = dg.define_asset_job(
    "sync_and_score",
    selection=EVERYTHING,
    description="CRM to published scores for every active company. Trains a company whose model is missing, of "
    "other features than it has now, old, of features that have drifted, or of promises that were not kept.",
    executor_def=dg.in_process_executor,
)
sync = dg.define_asset_job(
    "sync",
    selection=_ingestion,
    description="Pull what is new from every active company's CRM.",
    executor_def=dg.in_process_executor,
)
train = dg.define_asset_job(
    "train",
    # The views that show trainings stand already, and would start dbt once more.
    selection=(TRANSFORM - _training.downstream()) | _training | _track_record,
    description="Train every active company's models again; a challenger replaces a champion only if it is better. "
    "Then past months that are missing in the track record are replayed.",
    executor_def=dg.in_process_executor,
)
score = dg.define_asset_job(
    "score",
    selection=TRANSFORM | _watching | (_models - _training) | _decisions | SCORING,
    description="Score, decide and publish from what the warehouse holds, without asking the CRM.",
    executor_def=dg.in_process_executor,
)

prove = dg.define_asset_job(
    "prove",
    selection=_proofs,
    description="Rebuild each company's last past date from what is loaded today; no feature may have moved.",
    executor_def=dg.in_process_executor,
)

guard = dg.define_asset_job(
    "guard",
    selection=_guards | _age_of_backups,
    description="Look for every company's canaries outside it: in all tables, model files, logs and run records. And "
    "see how old the newest backup is.",
    executor_def=dg.in_process_executor,
)

backup = dg.define_asset_job(
    "backup",
    selection=_backups,
    description="Write the whole warehouse into one file in CHURN_BACKUP_FOLDER, and remove the oldest ones.",
    executor_def=dg.in_process_executor,
)

replay = dg.define_asset_job(
    "replay",
    selection=_replays,
    description="Publish the past dates that were held, as they would have been had the source been read in time. "
    "After the source is repaired.",
    executor_def=dg.in_process_executor,
)


def _request_for_all_companies(
    context: dg.ScheduleEvaluationContext, warehouse: WarehouseResource
) -> dg.RunRequest | dg.SkipReason:
    with warehouse.open() as opened, opened.connect() as conn:
        slugs = [company.slug for company in list_companies(conn)]
    partitions.match_registry(context.instance, slugs)
    if not slugs:
        return dg.SkipReason("No active company in ops.companies: add one with `churn company add`.")
    return dg.RunRequest(tags=partitions.range_tags(slugs))


@dg.schedule(job=sync, cron_schedule="10 * * * *", description="Every hour at ten past.")
def sync_hourly(context: dg.ScheduleEvaluationContext, warehouse: WarehouseResource) -> dg.RunRequest | dg.SkipReason:
    """All active companies in one run. What is loaded before midnight UTC is in the next day's features."""
    return _request_for_all_companies(context, warehouse)


@dg.schedule(job=daily, cron_schedule="30 0 * * *", description="Every night at 00:30 UTC.")
def sync_and_score_daily(
    context: dg.ScheduleEvaluationContext, warehouse: WarehouseResource
) -> dg.RunRequest | dg.SkipReason:
    """All active companies in one run."""
    return _request_for_all_companies(context, warehouse)


@dg.schedule(job=train, cron_schedule="30 4 * * 0", description="Every Sunday at 04:30 UTC.")
def train_weekly(context: dg.ScheduleEvaluationContext, warehouse: WarehouseResource) -> dg.RunRequest | dg.SkipReason:
    """All active companies in one run, trained again but for those that drift or grades had trained a few days ago."""
    request = _request_for_all_companies(context, warehouse)
    if isinstance(request, dg.SkipReason):
        return request
    return request.with_replaced_attrs(run_config=TRAIN_BY_CALENDAR)


@dg.schedule(job=prove, cron_schedule="30 3 * * 6", description="Every Saturday at 03:30 UTC.")
def prove_weekly(context: dg.ScheduleEvaluationContext, warehouse: WarehouseResource) -> dg.RunRequest | dg.SkipReason:
    """All active companies in one run."""
    return _request_for_all_companies(context, warehouse)


guard_daily = dg.ScheduleDefinition(
    name="guard_daily", job=guard, cron_schedule="30 5 * * *", description="Every day at 05:30 UTC."
)
backup_daily = dg.ScheduleDefinition(
    name="backup_daily",
    job=backup,
    cron_schedule="0 3 * * *",
    description="Every night at 03:00 UTC, after the night's scores.",
)


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
    description="Build the features and labels of some past dates again, all of them in one run. Name the dates in the "
    "launchpad: ops.dbt_models.config.as_of_dates.",
    executor_def=dg.in_process_executor,
)
republish = dg.define_asset_job(
    "republish",
    selection=dg.AssetSelection.assets(*keys.of_all_tasks("staged_scores")) | SCORING,
    config=for_each_task(STAGING, {"again": True}),
    description="Score the current date again and publish it, even where the same model has published it already.",
    executor_def=dg.in_process_executor,
)
notify = dg.define_asset_job(
    "notify",
    selection=dg.AssetSelection.groups(keys.Group.messages),
    description="Tell people what they have not been told: one digest each, and the weekly reports that are due.",
    executor_def=dg.in_process_executor,
)

JOBS = [daily, sync, train, score, prove, guard, backup, replay, onboard, backfill_dates, republish, notify]


@dg.schedule(job=notify, cron_schedule="40 * * * *", description="Every hour at twenty to.")
def notify_hourly() -> dg.RunRequest:
    """Failures that stopped a run, late sources, and what waited for quiet hours to end."""
    return dg.RunRequest()


SCHEDULES = [sync_hourly, sync_and_score_daily, train_weekly, prove_weekly, guard_daily, backup_daily, notify_hourly]


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
        new = companies_without_scores(conn, CONTRACTS)
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


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends sessions of companies' logins whose transaction is open for too long.",
)
def end_overstaying_sessions(warehouse: WarehouseResource) -> dg.SkipReason:
    """Starts no run: a company may not take one up with what it does."""
    with warehouse.open() as opened, opened.connect() as conn:
        ended = session_watch.end_overstaying_sessions(conn)
    return dg.SkipReason("; ".join(map(str, ended)) or "No company's session overstays.")


@dg.sensor(
    minimum_interval_seconds=15 * 60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells people that scores have not come for two nights. No run is needed for it: where a run hangs, "
    "none would start.",
)
def tell_of_silence(context: dg.SensorEvaluationContext, warehouse: WarehouseResource) -> dg.SkipReason:
    """Everything that is due is told with it, and nothing twice."""
    from pipeline.telling.notifying import tell_of_silence

    with warehouse.open() as opened:
        lines = tell_of_silence(warehouse.settings(), opened)
    for line in lines:
        context.log.info(line)
    return dg.SkipReason("; ".join(lines) or "Every company's scores are new.")


SENSORS = [onboard_new_companies, log_failed_runs, log_succeeded_runs, end_overstaying_sessions, tell_of_silence]


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
