"""Jobs and schedules, and the policies that hold for all assets."""

from datetime import timedelta

import dagster as dg

from orchestration import keys, partitions
from orchestration.resources import WarehouseResource
from warehouse.companies.registry import list_companies

SYNC_RETRIES = dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL)
"""A CRM that is down for a minute is tried again; the connector's own retries have already dealt with less."""

TRANSFORM_RETRIES = dg.RetryPolicy(max_retries=1, delay=10)
"""A lost connection is worth one more try; a wrong SQL is not worth two."""

TRAIN_BY_CALENDAR = {"ops": {"train_churn_models": {"config": {"retrain": "always", "cause": "schedule"}}}}
"""Run config that trains companies whether or not they have a model, but for those that were trained days ago."""

DAILY_FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=50), warn_window=timedelta(hours=26))
"""Warns when a daily run is missed, fails when two are."""

HOURLY_FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=26), warn_window=timedelta(hours=3))
"""Warns when two hourly syncs are missed, fails when a day's are."""

WEEKLY_FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=15), warn_window=timedelta(days=8))
"""Warns when a weekly run is missed, fails when two are."""

_proofs = dg.AssetSelection.groups(keys.Group.proofs)
_guards = dg.AssetSelection.groups(keys.Group.guards)
_replays = dg.AssetSelection.assets(keys.REPLAYS)
EVERYTHING = dg.AssetSelection.all() - _proofs - _guards - _replays
_ingestion = dg.AssetSelection.groups(keys.Group.raw)
_models = dg.AssetSelection.groups(keys.Group.models)
TRANSFORM = dg.AssetSelection.groups(keys.Group.staging, keys.Group.features)
SCORING = dg.AssetSelection.groups(keys.Group.predictions, keys.Group.analytics, keys.Group.dashboards) | (
    # Publishing writes these too, and an asset's parts run together.
    dg.AssetSelection.assets(keys.PUBLICATION_HOLDS, keys.HELD_FLIPS)
)
_watching = dg.AssetSelection.groups(keys.Group.watching) - _replays
_training = dg.AssetSelection.assets(keys.TRAINING_RUNS, keys.PROMOTIONS, keys.EVALUATIONS)

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
    selection=(TRANSFORM - _training.downstream()) | _training,
    description="Train every active company's model anew; a challenger replaces a champion only if it is better.",
    executor_def=dg.in_process_executor,
)
score = dg.define_asset_job(
    "score",
    selection=TRANSFORM | _watching | (_models - _training) | SCORING,
    description="Score and publish from what the warehouse holds, without asking the CRM.",
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
    selection=_guards,
    description="Look for every company's canaries outside it: in all tables, model files, logs and run records.",
    executor_def=dg.in_process_executor,
)

replay = dg.define_asset_job(
    "replay",
    selection=_replays,
    description="Publish the past dates that were held, as they would have been had the source been read in time. "
    "After the source is repaired.",
    executor_def=dg.in_process_executor,
)

JOBS = [daily, sync, train, score, prove, guard, replay]


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
    """All active companies in one run, trained anew but for those that drift or grades had trained a few days ago."""
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

SCHEDULES = [sync_hourly, sync_and_score_daily, train_weekly, prove_weekly, guard_daily]
