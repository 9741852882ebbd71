"""What customers are worth, as an asset. How they are valued lives in ``pipeline.decisions``; no logic here."""

from collections.abc import Iterator

import dagster as dg

from orchestration import keys
from orchestration.company_work import every_company, figures, for_each_company
from orchestration.partitions import companies
from orchestration.resources import WarehouseResource
from pipeline.decisions.valuing import value_company


@dg.multi_asset(
    name="value_customers",
    specs=[
        dg.AssetSpec(
            keys.shared(table),
            # After publishing: a contract's value rests on the score that readers see.
            deps=[keys.CUSTOMERS_STANDING, keys.CUSTOMER_FEATURES, keys.TASKS["churn"].publications],
            group_name=keys.Group.decisions,
            owners=[keys.Owner.data_science],
            description=description,
            kinds={"scipy", "postgres"},
        )
        for table, description in (
            ("customer_values", "What each customer is expected to bring in twelve months, and their segment."),
            ("value_thresholds", "From which expected value on a customer is a VIP, by month."),
            ("segment_moves", "Who changed their segment, when, and what moved them."),
        )
    ],
    check_specs=[every_company(keys.shared("customer_values"))],
    partitions_def=companies,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def customer_values(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Value the customers of each company, and keep who moved between segments."""
    with warehouse.open() as opened:
        outcomes = for_each_company(
            context,
            opened,
            stage="value",
            work=lambda company: value_company(opened, company),
            counts=lambda valued: {"customers": valued.customers, "valued": valued.valued, "moves": valued.moves},
        )
    for slug, valued in outcomes.results.items():
        if valued.refusal is not None:
            context.log.info(f"{slug}: {valued.refusal}")
        context.add_asset_metadata(figures(valued), keys.shared("customer_values"), slug)
    for key in context.selected_asset_keys:
        yield dg.MaterializeResult(asset_key=key)
    yield outcomes.check(keys.shared("customer_values"))
