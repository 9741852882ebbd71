"""What Dagster loads: the definitions under ``defs/``, and the policies that hold for all of them."""

import warnings
from pathlib import Path

import dagster as dg

from orchestration import keys
from orchestration.automation import DAILY_FRESHNESS, JOBS, SCHEDULES
from orchestration.resources import WarehouseResource
from orchestration.transform import dbt_resource
from warehouse.settings import load_settings

# Single-run backfills are "beta" and mapping over specs is "preview": both are what this version documents,
# and the version is pinned.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)


def _with_freshness(spec: dg.AssetSpec) -> dg.AssetSpec:
    return spec if keys.is_external(spec.key) else dg.apply_freshness_policy(spec, DAILY_FRESHNESS)


@dg.definitions
def defs() -> dg.Definitions:
    """Everything under ``defs/``, with one freshness policy over all assets that we build."""
    assets = dg.load_from_defs_folder(path_within_project=Path(__file__).parent / "defs")
    return dg.Definitions.merge(
        assets.map_asset_specs(func=_with_freshness),
        dg.Definitions(
            jobs=JOBS,
            schedules=SCHEDULES,
            resources={
                "warehouse": WarehouseResource(),
                "dbt": dbt_resource(load_settings()),
            },
        ),
    )
