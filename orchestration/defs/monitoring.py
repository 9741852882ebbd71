"""Checks that look at all companies at once and belong to no single step."""

import dagster as dg

from orchestration import keys
from orchestration.resources import WarehouseResource
from warehouse.clock import Clock
from warehouse.landing.freshness import LATE_AFTER, late_loads


@dg.asset_check(
    asset=keys.LOAD_LOG,
    name="every_company_is_fresh",
    description="Every table of every active company was loaded within the last "
    f"{LATE_AFTER.total_seconds() / 3600:.0f} hours of the company's clock.",
)
def every_company_is_fresh(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Names each company and table whose last successful load is too long ago."""
    with warehouse.open() as opened, opened.connect() as conn:
        late = late_loads(conn, Clock.from_settings(warehouse.settings()))
    return dg.AssetCheckResult(
        passed=not late,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(map(str, late)) or None,
        metadata={"late": len(late)},
    )
