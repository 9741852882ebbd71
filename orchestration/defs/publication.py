"""The gate, and publishing what passed it. What is checked and how it is published lives in ``warehouse``."""

from collections.abc import Iterator

import dagster as dg

from orchestration import keys
from orchestration.company_work import figures, for_each_company
from orchestration.partitions import companies
from orchestration.resources import WarehouseResource
from pipeline.publication.publishing import publish_company, run_gates, what_stands


@dg.asset_check(
    asset=keys.STAGED_SCORES,
    name="publishable",
    blocking=True,
    description="Every active customer scored, probabilities in range, reasons that add up, no sudden loss, "
    "fresh loads, no silent source, no shrunken table, no feature missing for many at once. A company that fails keeps "
    "its published scores; nothing is published when none passes.",
)
def publishable(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Judge each company's staged scores; the old set of one that fails stands."""
    with warehouse.open() as opened:
        verdicts = run_gates(opened, warehouse.settings())
    return dg.AssetCheckResult(
        passed=not verdicts.failed,
        severity=dg.AssetCheckSeverity.WARN if verdicts.passed else dg.AssetCheckSeverity.ERROR,
        description="; ".join(f"{slug} is held back: {words}" for slug, words in verdicts.failed.items()) or None,
        metadata={**verdicts.passed, **verdicts.failed}
        or {"status": "nothing new is staged, so nothing was judged; what is published stands"},
    )


@dg.multi_asset(
    name="publish_churn_scores",
    specs=[
        dg.AssetSpec(
            key,
            deps=[keys.STAGED_SCORES],
            group_name=keys.Group.predictions,
            owners=[keys.Owner.data_science],
            description=words,
            kinds={"postgres"},
        )
        for key, words in (
            (keys.SCORES, "Published scores with their reasons, one row per company, customer and date."),
            (keys.PUBLICATIONS, "Which date and model each company's readers see."),
            (keys.CHANGES, "The change feed that reverse ETL reads by cursor."),
            (keys.SCORE_MOVES, "Why each score moved since the one published before: behaviour, model, correction."),
        )
    ]
    + [
        dg.AssetSpec(
            key,
            deps=[keys.STAGED_SCORES],
            group_name=keys.Group.watching,
            owners=[keys.Owner.operations],
            description=words,
            kinds={"postgres"},
        )
        for key, words in (
            (keys.PUBLICATION_HOLDS, "Dates that the gate held back, why, and what became of them."),
            (keys.HELD_FLIPS, "Whose risk level would have changed, had a held date been published."),
        )
    ],
    partitions_def=companies,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def publish_churn_scores(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> Iterator[dg.MaterializeResult[None]]:
    """Publish each company's staged scores that passed the gate, all of its rows or none."""
    settings = warehouse.settings()
    with warehouse.open() as opened:
        outcomes = for_each_company(
            context,
            opened,
            stage="publish",
            work=lambda company: publish_company(opened, settings, company),
            counts=lambda published: (
                {"scores": published.scores, "upserts": published.upserts, "deletes": published.deletes}
                if published
                else {}
            ),
        )
        shown = {
            slug: figures(published) if published else what_stands(opened, slug)
            for slug, published in outcomes.results.items()
        }
    for slug, metadata in shown.items():
        context.add_asset_metadata(metadata, keys.SCORES, slug)
    for key in context.selected_asset_keys:
        yield dg.MaterializeResult(asset_key=key)
