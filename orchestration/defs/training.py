"""Training as an asset per task. What it does lives in ``pipeline.prediction``; no logic here."""

from collections.abc import Iterator
from typing import cast, get_args

import dagster as dg
from pydantic import Field

from orchestration import keys
from orchestration.company_work import every_company, figures, for_each_company
from orchestration.partitions import companies
from orchestration.resources import WarehouseResource
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.retraining import train_where_due
from pipeline.prediction.tasks import TaskBinding
from pipeline.prediction.training import Retrain, Search, Trainer
from warehouse.prediction.model_log import Cause
from warehouse.settings import Settings


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


def training_assets(binding: TaskBinding, feature_code: str) -> dg.AssetsDefinition:
    """The training of a task: runs, promotions and evaluations.

    ``feature_code`` is the version of the SQL behind its matrix: with other features a model is out of date.
    """
    task = keys.TASKS[binding.name]

    @dg.multi_asset(
        name=f"train_{binding.name}_models",
        specs=[
            dg.AssetSpec(
                task.ml("training_runs"),
                deps=[task.feature_matrix, task.labels, task.times, task.ml("grades"), task.ml("feature_drift")],
                group_name=keys.Group.models,
                owners=[keys.Owner.data_science],
                code_version=feature_code,
                description="Each training: on which rung, from how many outcomes, what was decided and why.",
                kinds={"xgboost", "mlflow"},
            ),
            dg.AssetSpec(
                task.ml("promotions"),
                deps=[task.feature_matrix, task.labels],
                group_name=keys.Group.models,
                owners=[keys.Owner.data_science],
                description="Each decision about a champion, with the figures and conditions that it rests on.",
                kinds={"mlflow"},
            ),
            dg.AssetSpec(
                task.ml("evaluations"),
                deps=[task.feature_matrix, task.labels],
                group_name=keys.Group.models,
                owners=[keys.Owner.data_science],
                code_version=feature_code,
                description="Every candidate's figures on the last mature dates: model, baseline, rule, champion.",
                kinds={"scikitlearn"},
            ),
        ],
        check_specs=[every_company(task.ml("training_runs"))],
        partitions_def=companies,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def train_models(
        context: dg.AssetExecutionContext, config: TrainingConfig, warehouse: WarehouseResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        """Train each company's model where due; a challenger replaces a champion only if it is better."""
        settings = warehouse.settings()
        with warehouse.open() as opened:
            registry = ModelRegistry(opened, settings.home)
            trainer = Trainer.from_settings(binding, opened, settings)
            outcomes = for_each_company(
                context,
                opened,
                stage="train",
                task=binding.name,
                work=lambda company: train_where_due(
                    binding,
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
            context.add_asset_metadata(figures(trained), task.ml("training_runs"), slug)
            if trained.decision:
                context.add_asset_metadata(
                    {"decision": dg.JsonMetadataValue(trained.decision)}, task.ml("promotions"), slug
                )
        for key in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=key)
        yield outcomes.check(task.ml("training_runs"))

    return train_models
