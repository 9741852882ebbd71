"""Scoring as assets, per task. What they do lives in ``pipeline.prediction``; no logic here."""

from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from orchestration import keys
from orchestration.company_work import every_company, figures, for_each_company
from orchestration.partitions import companies
from orchestration.resources import WarehouseResource
from pipeline.prediction.scoring import Scorer
from pipeline.prediction.shadow import ShadowScorer
from pipeline.prediction.tasks import TaskBinding


class ScoringConfig(dg.Config):
    """How eager a scoring is."""

    again: bool = Field(default=False, description="Score a date again even if this model has published it already.")
    reasons: bool = Field(default=True, description="Say why each score is what it is, and why it moved; slower.")


def staged_scores(binding: TaskBinding) -> dg.AssetsDefinition:
    """Scores of a task that wait for the gate."""
    task = keys.TASKS[binding.name]

    @dg.multi_asset(
        name=f"stage_{binding.name}_scores",
        specs=[
            dg.AssetSpec(
                task.ml("staged_scores"),
                # Whom chance leaves alone is settled before anybody's score is known.
                deps=[task.feature_matrix, task.ml("training_runs"), keys.CONTROL_GROUPS],
                group_name=keys.Group.models,
                owners=[keys.Owner.data_science],
                description="Scores with their reasons, before the gate; nobody outside reads them.",
                kinds={"xgboost", "postgres"},
            ),
        ],
        check_specs=[every_company(task.ml("staged_scores"))],
        partitions_def=companies,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def stage_scores(
        context: dg.AssetExecutionContext, config: ScoringConfig, warehouse: WarehouseResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Score whom each company may ask about at its current date, with reasons."""
        settings = warehouse.settings()
        with warehouse.open() as opened:
            scorer = Scorer.from_settings(binding, opened, settings)
            outcomes = for_each_company(
                context,
                opened,
                stage="score",
                task=binding.name,
                work=lambda company: scorer.stage(company, again=config.again, explain=config.reasons),
                counts=lambda staged: {"rows": staged.rows, "high_risk": staged.high_risk},
            )
        for slug, staged in outcomes.results.items():
            context.add_asset_metadata(figures(staged), task.ml("staged_scores"), slug)
        yield dg.MaterializeResult(
            asset_key=task.ml("staged_scores"), check_results=[outcomes.check(task.ml("staged_scores"))]
        )

    return stage_scores


def shadow_scores(binding: TaskBinding) -> dg.AssetsDefinition:
    """What challengers of a task would have published."""
    task = keys.TASKS[binding.name]

    @dg.multi_asset(
        name=f"shadow_{binding.name}_scores",
        specs=[
            dg.AssetSpec(
                task.ml("shadow_scores"),
                deps=[task.ml("staged_scores"), task.ml("training_runs")],
                group_name=keys.Group.models,
                owners=[keys.Owner.data_science],
                description="What each company's newest challenger would have published; nobody outside reads it.",
                kinds={"xgboost", "postgres"},
            )
        ],
        check_specs=[every_company(task.ml("shadow_scores"))],
        partitions_def=companies,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def shadow_challengers(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Score whom each company may ask about by its challenger, without reasons, where it has one."""
        settings = warehouse.settings()
        with warehouse.open() as opened:
            shadow = ShadowScorer.from_settings(binding, opened, settings)
            outcomes = for_each_company(
                context,
                opened,
                stage="shadow",
                task=binding.name,
                work=shadow.score,
                counts=lambda shadowed: {"rows": shadowed.rows},
            )
        for slug, shadowed in outcomes.results.items():
            context.add_asset_metadata(figures(shadowed), task.ml("shadow_scores"), slug)
        yield dg.MaterializeResult(
            asset_key=task.ml("shadow_scores"), check_results=[outcomes.check(task.ml("shadow_scores"))]
        )

    return shadow_challengers
