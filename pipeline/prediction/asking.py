"""One customer's score as it would be now, and what it would be were some of the features others.

Nothing of it is kept or published. What a change of a feature does to the score is what the model has seen together,
not what the change would bring about.
"""

from __future__ import annotations

import json
import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd
import psycopg

from foundation.counting import counted
from foundation.errors import ChurnError
from foundation.model_version import ModelVersion
from ml_assets.model.trained import TrainedModel
from ml_assets.scoring.rows import build_score_rows
from ml_assets.task import PROBABILITY, Feature
from pipeline.features.catalogue import built_features, manifest_path, read_features
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.scoring import champion_of, described
from pipeline.prediction.tasks import TaskBinding, task_named
from warehouse.companies.definition import Company, CustomAttribute
from warehouse.companies.registry import get_company
from warehouse.connection import Warehouse
from warehouse.prediction.asked_features import has_value, newest_row
from warehouse.prediction.bounds import LARGEST_NUMBER
from warehouse.prediction.feature_store import attribute_feature
from warehouse.publication.publish import JSON_COLUMNS
from warehouse.roles import Role
from warehouse.session_pool import SessionPool
from warehouse.settings import Settings

MODELS_HELD = 16
SESSIONS = 8
LONGEST_TEXT = 200
BOUNDS: Mapping[str, tuple[float, float]] = {"share": (0, 1), "0 to 1": (0, 1), "1 to 5": (1, 5)}
"""Of features in these units; what counts or measures something is at least 0, and what may fall below it has none."""
UNBOUNDED = ("company's currency", "customer's currency", "share per week", "times", "unit of the events", "days late")

Value = float | bool | str | None


class NotScored(ChurnError):
    """The customer has no row of features: a newcomer before the next run, or one who is no longer there."""

    advice = "Features are built by the daily run."


class ChangeRefused(ChurnError):
    """A change names what the model does not read, or a value that the feature cannot have; ``refused`` says each."""

    def __init__(self, refused: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {why}" for name, why in refused.items()))
        self.refused = dict(refused)


@dataclass(frozen=True)
class Changed:
    """A feature that was given another value."""

    feature: str
    label: str
    unit: str
    before: Value
    after: Value


@dataclass(frozen=True)
class Asked:
    """A score that was asked for: `score` has the columns of `build_score_rows`, JSON read.

    ``probability_before`` is the score's without the ``changed`` features; the same where there are none.
    """

    score: dict[str, Any]
    probability_before: float
    changed: list[Changed]


class ScoresNow:
    """Scores single customers. Holds the newest models that it was asked for, by version; may be used by threads."""

    def __init__(self, warehouse: Warehouse, settings: Settings) -> None:
        self._warehouse = warehouse
        self._manifest = manifest_path(settings)
        self._registry = ModelRegistry(warehouse, settings.home)
        self._models: OrderedDict[ModelVersion, TrainedModel] = OrderedDict()
        self._features: dict[str, tuple[int, list[Feature]]] = {}
        self._lock = threading.Lock()
        self._pool = SessionPool(most=SESSIONS, most_of_a_login=SESSIONS)

    def score(self, slug: str, task: str, customer_id: str, changes: Mapping[str, Value]) -> Asked:
        """The customer's score from their newest row of features, with ``changes`` in it.

        Raises UnknownTask where the company does not have the task, NotScored, NoModel, RegistryError, ChangeRefused,
        and a FrameError where the model was trained on features of another version.
        """
        binding = task_named(task)
        features = self._built(binding)
        with self._pool.session(Role.ml, self._connect) as conn:
            company = get_company(conn, slug)
            binding.settings_of(company)
            version = champion_of(conn, binding.task, self._registry, company)
            row = newest_row(
                *(conn, binding.relations, company.company_id, customer_id),
                [feature.name for feature in features],
                company.custom_attributes,
            )
        if row.num_rows == 0:
            raise NotScored(f"{slug} has no features of the {binding.task.entity} {customer_id!r}")
        frame = row.to_pandas()
        model = self._model(version)
        words = described(features, company)
        self._refuse(binding, company, frame, model, words, changes)
        before = _row(model, frame, binding, version, words)
        if not changes:
            return Asked(before, float(before[PROBABILITY]), [])
        changed = [_changed(feature, frame, changes) for feature in words if feature.name in changes]
        after = _row(model, _with(frame, changes), binding, version, words)
        return Asked(after, float(before[PROBABILITY]), changed)

    def _refuse(
        self,
        binding: TaskBinding,
        company: Company,
        frame: pd.DataFrame,
        model: TrainedModel,
        words: Sequence[Feature],
        changes: Mapping[str, Value],
    ) -> None:
        """Raises ChangeRefused, which says of every change that is wrong why."""
        read = {feature.name for feature in model.encoder.features}
        features = {feature.name: feature for feature in words if feature.name in read}
        refused: dict[str, str] = {}
        for name, value in changes.items():
            wrong = wrong_with(features[name], value) if name in features else "the model reads no such feature"
            if wrong is None and features[name].kind == "category" and isinstance(value, str):
                wrong = self._unknown(binding, company, frame["as_of_date"].iloc[0], name, value)
            if wrong is not None:
                refused[name] = wrong
        if refused:
            raise ChangeRefused(refused)

    def _unknown(self, binding: TaskBinding, company: Company, day: date, name: str, value: str) -> str | None:
        """Only the company's own values are told of: a pool's model knows those of others, too."""
        own: list[CustomAttribute] = [each for each in company.custom_attributes if attribute_feature(each) == name]
        with self._pool.session(Role.ml, self._connect) as conn:
            if has_value(conn, binding.relations, company.company_id, day, name, value, own):
                return None
        return f"no {binding.task.entity} of the company has this value"

    def close(self) -> None:
        """Close all sessions."""
        self._pool.close()

    def _connect(self) -> psycopg.Connection[Any]:
        return self._warehouse.connect(Role.ml, autocommit=True)

    def _model(self, version: ModelVersion) -> TrainedModel:
        with self._lock:
            if version in self._models:
                self._models.move_to_end(version)
                return self._models[version]
            model = self._models[version] = self._registry.load(version)
            if len(self._models) > MODELS_HELD:
                self._models.popitem(last=False)
            return model

    def _built(self, binding: TaskBinding) -> list[Feature]:
        """The features of the task's matrix; read again when dbt has parsed its project again."""
        parsed = self._manifest.stat().st_mtime_ns if self._manifest.exists() else 0
        held = self._features.get(binding.name)
        if held is None or held[0] != parsed:
            matrix = binding.relations.matrix
            held = parsed, built_features(self._warehouse, matrix, read_features(self._manifest, matrix))
            self._features[binding.name] = held
        return held[1]


def wrong_with(feature: Feature, value: Value) -> str | None:
    """What is wrong with a value for a feature, in words; None where nothing is. Null stands for not known."""
    if value is None:
        return None
    if feature.kind == "flag":
        return None if isinstance(value, bool) else "must be true or false"
    if feature.kind == "category":
        is_text = isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT
        return None if is_text else f"must be a text of 1 to {counted(LONGEST_TEXT, 'character')}"
    if isinstance(value, bool | str):
        return "must be a number"
    if not math.isfinite(value) or abs(value) >= LARGEST_NUMBER:
        return f"must be a number below {LARGEST_NUMBER:g}"
    low, high = _bounds(feature)
    if low <= value <= high:
        return None
    return f"must be {low:g} to {high:g}" if math.isfinite(high) else f"must be at least {low:g}"


def _bounds(feature: Feature) -> tuple[float, float]:
    is_own = feature.name.startswith("attribute_")
    is_money = len(feature.unit) == 3 and feature.unit.isupper()
    if is_own or is_money or feature.unit in UNBOUNDED or not feature.unit:
        return -math.inf, math.inf
    return BOUNDS.get(feature.unit, (0, math.inf))


def _changed(feature: Feature, frame: pd.DataFrame, changes: Mapping[str, Value]) -> Changed:
    before = frame[feature.name].iloc[0]
    plain = None if pd.isna(before) else before.item() if hasattr(before, "item") else before
    return Changed(feature.name, feature.label, feature.unit, plain, changes[feature.name])


def _with(frame: pd.DataFrame, changes: Mapping[str, Value]) -> pd.DataFrame:
    return frame.assign(**{name: pd.Series([value], dtype=object) for name, value in changes.items()})


def _row(
    model: TrainedModel, frame: pd.DataFrame, binding: TaskBinding, version: ModelVersion, words: Sequence[Feature]
) -> dict[str, Any]:
    """The row to publish, alone: it has no percentile."""
    rows = build_score_rows(model, frame, binding.task, model_version=str(version), described=words)
    row = {str(name): value for name, value in rows.iloc[0].items()}
    return row | {name: json.loads(row[name]) for name in JSON_COLUMNS} | {"percentile": None}
