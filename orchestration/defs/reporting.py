"""Metabase's dashboards, brought in line with the files under ``dashboards/`` after the marts they show."""

import dagster as dg

from orchestration import keys
from orchestration.resources import WarehouseResource
from pipeline.integrations.metabase.definition_files import marts_read
from pipeline.telling.dashboards import apply_dashboards


@dg.asset(
    key=keys.METABASE_DASHBOARDS,
    deps=[keys.dbt_model("analytics", name) for name in marts_read()],
    group_name=keys.Group.dashboards,
    owners=[keys.Owner.analytics_engineering],
    description="The dashboards under dashboards/, applied through Metabase's API where there is a Metabase.",
    kinds={"metabase"},
)
def metabase_dashboards(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult[None]:
    """Apply the dashboards; says so where there is no Metabase, and stays green."""
    with warehouse.open() as opened:
        lines = apply_dashboards(warehouse.settings(), opened)
    for line in lines:
        context.log.info(line)
    return dg.MaterializeResult(metadata={"changes": "\n".join(lines)})
