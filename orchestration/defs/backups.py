"""Backups by schedule, and a check of their age. How one is made lives in ``warehouse.backup``."""

from datetime import UTC, datetime

import dagster as dg

from orchestration import keys
from orchestration.resources import WarehouseResource
from warehouse.backup.keep import LATE_AFTER, late_backup, make_next_backup, newest_backup
from warehouse.logs.operations import record_finding


@dg.asset(
    key=keys.BACKUPS,
    group_name=keys.Group.backups,
    owners=[keys.Owner.operations],
    description="The whole warehouse as one file in CHURN_BACKUP_FOLDER, of which the newest CHURN_BACKUPS_KEPT stay.",
    kinds={"postgres"},
)
def backups(warehouse: WarehouseResource) -> dg.MaterializeResult[None]:
    """Make the next one, then remove what is too many."""
    from importlib.metadata import version

    with warehouse.open() as opened:
        kept = make_next_backup(warehouse.settings(), opened, version("churn-warehouse"))
    return dg.MaterializeResult(
        metadata={"made": str(kept.made), "bytes": kept.made.stat().st_size, "removed": len(kept.removed)}
    )


@dg.asset_check(
    asset=keys.BACKUPS,
    name="newest_is_young",
    description=f"The newest backup in CHURN_BACKUP_FOLDER is at most {LATE_AFTER.total_seconds() / 3600:.0f} hours "
    "old. Where no folder is set, backups are somebody else's affair.",
)
def newest_backup_is_young(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Keeps the finding in the run log, from where the operators are told."""
    started_at, settings = datetime.now(UTC), warehouse.settings()
    late, newest = late_backup(settings), newest_backup(settings)
    with warehouse.open() as opened, opened.connect() as conn:
        record_finding(conn, stage="age of backups", started_at=started_at, finding=late)
    return dg.AssetCheckResult(
        passed=late is None,
        severity=dg.AssetCheckSeverity.ERROR,
        description=late,
        metadata={"newest": newest.isoformat() if newest else "none"},
    )
