"""Decisions, as assets. What is decided, and why, lives in ``pipeline.decisions``; no logic here."""

from collections.abc import Iterator

import dagster as dg

from orchestration import keys
from orchestration.company_work import every_company, for_each_company
from orchestration.partitions import companies
from orchestration.resources import WarehouseResource
from pipeline.decisions.deciding import Decided, decide_company, draw_control_groups
from pipeline.decisions.ledger import keep_ledger
from warehouse.clock import Clock


@dg.multi_asset(
    name="draw_control_groups",
    specs=[
        dg.AssetSpec(
            keys.CONTROL_GROUPS,
            deps=[keys.CUSTOMERS_STANDING],
            group_name=keys.Group.decisions,
            owners=[keys.Owner.data_science],
            description="Whom chance leaves alone in each programme, drawn before anybody is scored.",
            kinds={"python", "postgres"},
        )
    ],
    check_specs=[every_company(keys.CONTROL_GROUPS)],
    partitions_def=companies,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def control_groups(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> Iterator[dg.MaterializeResult[None]]:
    """Draw the control groups of customers who are new to a programme."""
    with warehouse.open() as opened:
        outcomes = for_each_company(
            context,
            opened,
            stage="draw",
            work=lambda company: draw_control_groups(opened, company),
            counts=lambda drawn: {"drawn": drawn},
        )
    yield dg.MaterializeResult(asset_key=keys.CONTROL_GROUPS, check_results=[outcomes.check(keys.CONTROL_GROUPS)])


@dg.multi_asset(
    name="decide",
    specs=[
        dg.AssetSpec(
            key,
            deps=[keys.shared("uplift_ledger"), keys.shared("customer_values"), keys.TASKS["churn"].publications],
            group_name=keys.Group.decisions,
            owners=[keys.Owner.data_science],
            description=description,
            kinds={"python", "postgres"},
        )
        for key, description in (
            (keys.DECISIONS, "What is best done for each customer, published whole per company."),
            (keys.shared("enrolments"), "For whom an action was decided, with what it promised then."),
            (keys.shared("programme_plans"), "Each programme's budget on the days of decision, and what it buys."),
        )
    ],
    check_specs=[every_company(keys.DECISIONS)],
    partitions_def=companies,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def decisions(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Decide for the customers of each company that declares actions, and publish it."""
    clock = Clock.from_settings(warehouse.settings())
    with warehouse.open() as opened:
        outcomes = for_each_company(
            context,
            opened,
            stage="decide",
            work=lambda company: decide_company(opened, company, clock.for_company(company)),
            counts=_counts,
        )
    for slug, decided in outcomes.results.items():
        if decided.refusal is not None:
            context.log.info(f"{slug}: {decided.refusal}.")
        context.add_asset_metadata(_counts(decided), keys.DECISIONS, slug)
    for key in context.selected_asset_keys:
        yield dg.MaterializeResult(asset_key=key)
    yield outcomes.check(keys.DECISIONS)


@dg.multi_asset(
    name="keep_uplift_ledger",
    specs=[
        dg.AssetSpec(
            keys.shared("uplift_ledger"),
            # Before deciding, which counts with what was measured, and decides nothing for a programme that loses.
            deps=[keys.CONTROL_GROUPS, keys.TASKS["churn"].label_versions],
            group_name=keys.Group.decisions,
            owners=[keys.Owner.data_science],
            description="What each programme earned: treated against controls, with a range that holds at any time.",
            kinds={"python", "postgres"},
        )
    ],
    check_specs=[every_company(keys.shared("uplift_ledger"))],
    partitions_def=companies,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def uplift_ledger(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> Iterator[dg.MaterializeResult[None]]:
    """Work out what programmes earned, and stop those that surely lose."""
    key = keys.shared("uplift_ledger")
    with warehouse.open() as opened:
        outcomes = for_each_company(
            context,
            opened,
            stage="ledger",
            work=lambda company: keep_ledger(opened, company),
            counts=lambda stopped: {"stopped": stopped},
        )
    for slug, stopped in outcomes.results.items():
        if stopped:
            context.log.warning(f"{slug}: programmes that surely lose were stopped: {stopped}.")
    yield dg.MaterializeResult(asset_key=key, check_results=[outcomes.check(key)])


def _counts(decided: Decided) -> dict[str, int]:
    """Customers decided for, those to be treated, and controls."""
    if decided.published is None:
        return {"customers": 0, "to_treat": 0, "controls": 0}
    published = decided.published
    return {"customers": published.decisions, "to_treat": published.to_treat, "controls": published.controls}
