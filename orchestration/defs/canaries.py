"""The look-out for canaries as an asset with a check. How one looks lives in ``pipeline.watching.canaries``."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from orchestration import keys
from orchestration.resources import WarehouseResource
from pipeline.watching.canaries import look_round
from warehouse.logs.operations import record_finding


@dg.asset(
    key=keys.CANARIES,
    group_name=keys.Group.guards,
    owners=[keys.Owner.operations],
    description="Marked customers of each company, looked for in every table, model file, log and run record.",
    kinds={"postgres"},
    check_specs=[
        dg.AssetCheckSpec(
            "nobody_stands_outside_his_company",
            asset=keys.CANARIES,
            description="No canary was seen outside its company, nobody forgotten came back, no role has grown.",
        )
    ],
)
def canaries(
    warehouse: WarehouseResource,
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Look round; each sighting is named in the check, and in the run log, from where the operators are told."""
    started_at = datetime.now(UTC)
    with warehouse.open() as opened:
        watched = look_round(warehouse.settings(), opened)
        finding = "; ".join(watched.alarms) or None
        with opened.connect() as conn:
            record_finding(conn, stage="canaries", started_at=started_at, finding=finding)
    yield dg.AssetCheckResult(
        passed=not watched.alarms,
        severity=dg.AssetCheckSeverity.ERROR,
        description=finding,
        metadata={"alarms": len(watched.alarms)},
    )
    yield dg.MaterializeResult(
        metadata={"canaries": watched.canaries, "companies without": ", ".join(watched.unmarked) or "none"}
    )
