"""What Dagster loads: the definitions under ``defs/``, and the policies that hold for all of them."""

import warnings

import dagster as dg

from foundation.private_files import make_home, write_privately
from orchestration import keys, logs
from orchestration.automation import DAILY_FRESHNESS, HOURLY_FRESHNESS, JOBS, SCHEDULES, SENSORS, WEEKLY_FRESHNESS
from orchestration.dbt_assets import dbt_resource
from orchestration.defs.prediction import predictions
from orchestration.error_reports import start as start_error_reports
from orchestration.resources import WarehouseResource
from warehouse.settings import load_settings

# Single-run backfills are "beta" and mapping over specs is "preview": both are what this version documents,
# and the version is pinned.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)


def _with_freshness(spec: dg.AssetSpec) -> dg.AssetSpec:
    if keys.is_external(spec.key) or spec.key in keys.of_all_tasks("replays"):
        return spec
    policies = {keys.Group.raw: HOURLY_FRESHNESS, keys.Group.proofs: WEEKLY_FRESHNESS}
    fresh: dg.AssetSpec = dg.apply_freshness_policy(spec, policies.get(spec.group_name or "", DAILY_FRESHNESS))
    return fresh


@dg.definitions
def defs() -> dg.Definitions:
    """Everything under ``defs/`` and of each task, with a freshness policy by how often the job of an asset runs.

    Replays have none: a person asks for them, after an outage.
    """
    write_privately()
    settings = load_settings()
    make_home(settings.home)
    logs.configure(settings)
    start_error_reports(settings)
    # By the package and not by the folder: for that Dagster wants a pyproject.toml above it, which no wheel has.
    assets = dg.load_definitions_from_package_name("orchestration.defs")
    # What a function makes for each task, Dagster does not see in a module.
    assets = dg.Definitions.merge(assets, predictions())
    return dg.Definitions.merge(
        assets.map_asset_specs(func=_with_freshness),
        dg.Definitions(
            jobs=JOBS,
            schedules=SCHEDULES,
            sensors=SENSORS,
            loggers=logs.of_runs(settings),
            resources={
                "warehouse": WarehouseResource(),
                "dbt": dbt_resource(settings),
            },
        ),
    )
