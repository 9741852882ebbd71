"""Scoring as assets. What they do lives in ``pipeline.prediction``; no logic here."""

from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from orchestration import keys
from orchestration.company_work import figures, for_each_company
from orchestration.partitions import companies
from orchestration.resources import WarehouseResource
from pipeline.prediction.scoring import ChurnScorer
from pipeline.prediction.shadow import ShadowScorer


class ScoringConfig(dg.Config):
    """How eager a scoring is."""

    again: bool = Field(default=False, description="Score a date anew even if the same model has published it already.")
    reasons: bool = Field(default=True, description="Say why each score is what it is, and why it moved; slower.")


@dg.multi_asset(
    name="stage_churn_scores",
    specs=[
        dg.AssetSpec(
            keys.STAGED_SCORES,
            deps=[keys.FEATURE_MATRIX, keys.TRAINING_RUNS],
            group_name=keys.Group.models,
            owners=[keys.Owner.data_science],
            description="Scores with their reasons, before the gate; nobody outside reads them.",
            kinds={"xgboost", "postgres"},
        ),
    ],
    partitions_def=companies,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def stage_churn_scores(
    context: dg.AssetExecutionContext, config: ScoringConfig, warehouse: WarehouseResource
) -> Iterator[dg.MaterializeResult[None]]:
    """Score each company's active customers at its current date, with reasons."""
    settings = warehouse.settings()
    with warehouse.open() as opened:
        scorer = ChurnScorer.from_settings(opened, settings)
        outcomes = for_each_company(
            context,
            opened,
            stage="score",
            work=lambda company: scorer.stage(company, again=config.again, explain=config.reasons),
            counts=lambda staged: {"rows": staged.rows, "high_risk": staged.high_risk},
        )
    for slug, staged in outcomes.results.items():
        context.add_asset_metadata(figures(staged), keys.STAGED_SCORES, slug)
    yield dg.MaterializeResult(asset_key=keys.STAGED_SCORES)


@dg.multi_asset(
    name="shadow_churn_scores",
    specs=[
        dg.AssetSpec(
            keys.SHADOW_SCORES,
            deps=[keys.STAGED_SCORES, keys.TRAINING_RUNS],
            group_name=keys.Group.models,
            owners=[keys.Owner.data_science],
            description="What each company's newest challenger would have published; nobody outside reads it.",
            kinds={"xgboost", "postgres"},
        )
    ],
    partitions_def=companies,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def shadow_churn_scores(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> Iterator[dg.MaterializeResult[None]]:
    """Score each company's active customers by its challenger, without reasons, where it has one."""
    settings = warehouse.settings()
    with warehouse.open() as opened:
        shadow = ShadowScorer.from_settings(opened, settings)
        outcomes = for_each_company(
            context,
            opened,
            stage="shadow",
            work=shadow.score,
            counts=lambda shadowed: {"rows": shadowed.rows},
        )
    for slug, shadowed in outcomes.results.items():
        context.add_asset_metadata(figures(shadowed), keys.SHADOW_SCORES, slug)
    yield dg.MaterializeResult(asset_key=keys.SHADOW_SCORES)
