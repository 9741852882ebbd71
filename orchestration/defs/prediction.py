"""Every task's assets and checks, by one factory. Which tasks there are stands in ``pipeline.prediction.tasks``."""

import json

import dagster as dg

from orchestration.defs.publication import gate, published_scores
from orchestration.defs.scoring import shadow_scores, staged_scores
from orchestration.defs.track_record import track_record
from orchestration.defs.training import training_assets
from orchestration.defs.watching import replays, watched_scores, watching_checks
from pipeline.features.dbt import prepare_manifest
from pipeline.features.versions import sql_version
from pipeline.prediction.tasks import TASKS, TaskBinding
from warehouse.settings import load_settings


def predictions() -> dg.Definitions:
    """Training, scoring, the gate, publishing, grades, drift, replays and the track record, for each task."""
    manifest = json.loads(prepare_manifest(load_settings()).read_text())
    return dg.Definitions.merge(
        *(
            prediction_assets(binding, sql_version(manifest, f"model.churn_warehouse.{binding.relations.matrix.name}"))
            for binding in TASKS
        )
    )


def prediction_assets(binding: TaskBinding, feature_code: str) -> dg.Definitions:
    """One task's assets and checks; ``feature_code`` is the version of the SQL behind its matrix."""
    return dg.Definitions(
        assets=[
            watched_scores(binding),
            training_assets(binding, feature_code),
            staged_scores(binding),
            shadow_scores(binding),
            published_scores(binding),
            replays(binding),
            track_record(binding),
        ],
        asset_checks=[gate(binding), *watching_checks(binding)],
    )
