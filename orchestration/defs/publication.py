"""The gate, and publishing what passed it, per task. What is checked and how it is published lives in ``warehouse``."""

from collections.abc import Iterator

import dagster as dg

from orchestration import keys
from orchestration.company_work import every_company, figures, for_each_company
from orchestration.partitions import companies
from orchestration.resources import WarehouseResource
from pipeline.prediction.tasks import TaskBinding
from pipeline.publication.publishing import publish_company, run_gates, what_stands


def gate(binding: TaskBinding) -> dg.AssetChecksDefinition:
    """Whether staged scores of a task may be published."""
    task = keys.TASKS[binding.name]

    @dg.asset_check(
        asset=task.ml("staged_scores"),
        name="publishable",
        blocking=True,
        description=f"Every active {binding.task.entity} scored, probabilities in range, reasons that add up, no "
        "sudden loss, fresh loads, no silent source, no shrunken table, no feature missing for many at once. A company "
        "that fails keeps its published scores, and the run goes on without it.",
    )
    def publishable(warehouse: WarehouseResource) -> dg.AssetCheckResult:
        """Judge each company's staged scores; the old set of one that fails stands."""
        with warehouse.open() as opened:
            verdicts = run_gates(opened, warehouse.settings(), binding.relations)
        return dg.AssetCheckResult(
            passed=not verdicts.failed,
            # Never an error: publishing takes only what passed, and the marts are due whoever is held.
            severity=dg.AssetCheckSeverity.WARN,
            description=" ".join(f"{slug} is held back: {reason}" for slug, reason in verdicts.failed.items()) or None,
            metadata={**verdicts.passed, **verdicts.failed}
            or {"status": "nothing new is staged, so nothing was judged; what is published stands"},
        )

    return publishable


def published_scores(binding: TaskBinding) -> dg.AssetsDefinition:
    """What a task publishes, and what its gate held back."""
    task = keys.TASKS[binding.name]

    @dg.multi_asset(
        name=f"publish_{binding.name}_scores",
        specs=[
            dg.AssetSpec(
                key,
                deps=[task.ml("staged_scores")],
                group_name=keys.Group.predictions,
                owners=[keys.Owner.data_science],
                description=description,
                kinds={"postgres"},
            )
            for key, description in (
                (task.scores, "Published scores with their reasons, one row per company, entity and date."),
                (task.publications, "Which date and model each company's readers see."),
                (task.changes, "The change feed that reverse ETL reads by cursor."),
                (
                    task.ml("score_moves"),
                    "Why each score moved since the one published before: behaviour, model, correction.",
                ),
            )
        ]
        + [
            dg.AssetSpec(
                key,
                deps=[task.ml("staged_scores")],
                group_name=keys.Group.watching,
                owners=[keys.Owner.operations],
                description=description,
                kinds={"postgres"},
            )
            for key, description in (
                (task.ml("publication_holds"), "Dates that the gate held back, why, and what became of them."),
                (task.ml("held_flips"), "Whose risk level would have changed, had a held date been published."),
            )
        ],
        check_specs=[every_company(task.publications)],
        partitions_def=companies,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def publish_scores(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        """Publish each company's staged scores that passed the gate, all of its rows or none."""
        settings = warehouse.settings()
        with warehouse.open() as opened:
            outcomes = for_each_company(
                context,
                opened,
                stage="publish",
                task=binding.name,
                work=lambda company: publish_company(opened, settings, binding.relations.contract, company),
                counts=lambda published: (
                    {"scores": published.scores, "upserts": published.upserts, "deletes": published.deletes}
                    if published
                    else {}
                ),
            )
            metadata_by_company = {
                slug: figures(published) if published else what_stands(opened, binding.relations.contract, slug)
                for slug, published in outcomes.results.items()
            }
        for slug, metadata in metadata_by_company.items():
            context.add_asset_metadata(metadata, task.scores, slug)
        for key in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=key)
        yield outcomes.check(task.publications)

    return publish_scores
