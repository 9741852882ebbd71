"""Training and scoring as assets. What they do lives in ``churn_training`` and ``churn_scoring``; no logic here."""

import json
from collections.abc import Iterator
from typing import cast, get_args

import dagster as dg
from pydantic import Field

from orchestration import keys
from orchestration.company_work import figures, for_each_company
from orchestration.partitions import companies
from orchestration.resources import WarehouseResource
from pipeline.features.catalogue import MATRIX
from pipeline.features.dbt import prepare_manifest
from pipeline.features.versions import sql_version
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.retraining import train_where_due
from pipeline.prediction.training import ChurnTrainer, Retrain, Search
from warehouse.prediction.model_log import Cause
from warehouse.settings import Settings, load_settings

# With other features a model is out of date, as the matrix is.
FEATURE_CODE = sql_version(json.loads(prepare_manifest(load_settings()).read_text()), MATRIX)


class TrainingConfig(dg.Config):
    """How eager a training is."""

    retrain: Retrain = Field(
        default="when_due",
        description="when_due trains a company that has no model for its amount of data, or one of other features than "
        "it has now, an old one, drift or broken promises; always trains every one.",
    )
    cause: str | None = Field(
        default=None,
        description="Why, as it is recorded; none: first, feature_version, drift, grade, schedule or asked, whichever "
        "it is. schedule leaves a company alone that was trained within the least time between two trainings.",
    )
    trials: int | None = Field(
        default=None, description="Trials of settings to search; none: as CHURN_SEARCH_TRIALS says."
    )
    seconds: float | None = Field(default=None, description="Seconds to search; none: as CHURN_SEARCH_SECONDS says.")


def _cause(config: TrainingConfig) -> Cause | None:
    if config.cause is None or config.cause in get_args(Cause):
        return cast(Cause | None, config.cause)
    raise dg.Failure(f"cause {config.cause!r} is unknown; use one of {', '.join(get_args(Cause))}", allow_retries=False)


def _search(config: TrainingConfig, settings: Settings) -> Search | None:
    """What the run asks for; else the settings' budget, which a training that fell due in a daily run does not take."""
    if config.trials is not None or config.seconds is not None:
        return Search(config.trials, config.seconds)
    if config.retrain == "always":
        return Search(settings.search_trials, settings.search_seconds)
    return None


@dg.multi_asset(
    name="train_churn_models",
    specs=[
        dg.AssetSpec(
            keys.TRAINING_RUNS,
            deps=[keys.FEATURE_MATRIX, keys.LABELS, keys.SCORE_GRADES, keys.FEATURE_DRIFT],
            group_name=keys.Group.models,
            owners=[keys.Owner.data_science],
            code_version=FEATURE_CODE,
            description="Each training: on which rung, from how many churners, what was decided and why.",
            kinds={"xgboost", "mlflow"},
        ),
        dg.AssetSpec(
            keys.PROMOTIONS,
            deps=[keys.FEATURE_MATRIX, keys.LABELS],
            group_name=keys.Group.models,
            owners=[keys.Owner.data_science],
            description="Each decision about a champion, with the figures and conditions that it rests on.",
            kinds={"mlflow"},
        ),
        dg.AssetSpec(
            keys.EVALUATIONS,
            deps=[keys.FEATURE_MATRIX, keys.LABELS],
            group_name=keys.Group.models,
            owners=[keys.Owner.data_science],
            code_version=FEATURE_CODE,
            description="Every candidate's figures on the last mature dates: model, baseline, rule, champion.",
            kinds={"scikitlearn"},
        ),
    ],
    partitions_def=companies,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def train_churn_models(
    context: dg.AssetExecutionContext, config: TrainingConfig, warehouse: WarehouseResource
) -> Iterator[dg.MaterializeResult[None]]:
    """Train each company's churn model where due; a challenger replaces a champion only if it is better."""
    settings = warehouse.settings()
    with warehouse.open() as opened:
        registry = ModelRegistry(opened, settings.home)
        trainer = ChurnTrainer.from_settings(opened, settings)
        outcomes = for_each_company(
            context,
            opened,
            stage="train",
            work=lambda company: train_where_due(
                settings,
                opened,
                registry,
                trainer,
                company,
                config.retrain,
                _cause(config),
                _search(config, settings),
            ),
            counts=lambda trained: {"rows": trained.rows, "outcomes": trained.outcomes},
        )
    for slug, trained in outcomes.results.items():
        context.add_asset_metadata(figures(trained), keys.TRAINING_RUNS, slug)
        if trained.decision:
            context.add_asset_metadata({"decision": dg.JsonMetadataValue(trained.decision)}, keys.PROMOTIONS, slug)
    for key in context.selected_asset_keys:
        yield dg.MaterializeResult(asset_key=key)
