"""Telling people, after the marts and every hour. Who is told what lives in ``integrations.notifications``."""

import dagster as dg

from orchestration import keys
from orchestration.resources import WarehouseResource


@dg.asset(
    key=keys.MESSAGES,
    deps=[
        keys.TASKS["churn"].scores,
        keys.dbt_model("analytics", "customer_overview"),
        keys.dbt_model("analytics", "churned_customers"),
    ],
    group_name=keys.Group.messages,
    owners=[keys.Owner.operations],
    description="Digests of what is new and the weekly reports that are due, to each company's addresses and the "
    "operators'. Nothing is told twice.",
    kinds={"python"},
)
def messages(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult[None]:
    """Tell people; one who cannot be reached is named, and stops nobody else."""
    from pipeline.telling.notifying import send_all

    with warehouse.open() as opened:
        lines = send_all(warehouse.settings(), opened)
    for line in lines:
        context.log.info(str(line))
    return dg.MaterializeResult(
        metadata={
            "sent": sum(line.outcome == "sent" for line in lines),
            "not_sent": sum(line.outcome in {"failed", "doubtful", "not sent"} for line in lines),
            "messages": "\n".join(map(str, lines)) or "nothing to tell",
        }
    )
