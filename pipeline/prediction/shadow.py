"""Scores of challengers, beside the champion's and never published: what they would have said is graded later."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self

import pyarrow as pa

from ml_assets.errors import FeatureVersionError
from ml_assets.task import ENTITY_ID, Feature
from pipeline.features.catalogue import built_features, manifest_path, read_features
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.tasks import TaskBinding
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.prediction.feature_store import NobodyToAsk, rows_at
from warehouse.prediction.model_log import chosen_model, newest_challenger
from warehouse.prediction.shadow_grades import forget_shadow_scores, replace_shadow_scores
from warehouse.roles import Role
from warehouse.settings import Settings


@dataclass(frozen=True)
class Shadowed:
    """What a challenger scored. ``model_version`` is None where the company has none that fits its features."""

    as_of_date: date
    model_version: str | None
    rows: int = 0


class ShadowScorer:
    """Scores companies by their newest challenger, without reasons; what it said is kept that many days once its
    outcome is known."""

    def __init__(
        self,
        binding: TaskBinding,
        warehouse: Warehouse,
        registry: ModelRegistry,
        features: Sequence[Feature],
        clock: Clock,
        *,
        retention_days: int,
    ) -> None:
        self._binding = binding
        self._warehouse = warehouse
        self._registry = registry
        self._clock = clock
        self._retention_days = retention_days
        self._names = [feature.name for feature in built_features(warehouse, binding.relations.matrix, features)]

    @classmethod
    def from_settings(cls, binding: TaskBinding, warehouse: Warehouse, settings: Settings) -> Self:
        """A scorer of the features that the settings' manifest describes."""
        features = read_features(manifest_path(settings), binding.relations.matrix)
        return cls(
            binding,
            warehouse,
            ModelRegistry(warehouse, settings.home),
            features,
            Clock.from_settings(settings),
            retention_days=settings.shadow_retention_days,
        )

    def score(self, company: Company) -> Shadowed:
        """Score whom the company may ask about at its current date by its newest challenger, where it has one."""
        now = self._clock.for_company(company)
        kept_from = now.date() - timedelta(days=self._binding.horizon_days(company) + self._retention_days)
        with self._warehouse.connect(Role.ml) as conn:
            forget_shadow_scores(conn, company.company_id, self._binding.name, kept_from)
            name = chosen_model(conn, company.company_id, self._binding.name)
        champion = self._registry.champion_version(name) if name else None
        if name is None or champion is None:
            return Shadowed(now.date(), None)
        with self._warehouse.connect(Role.ml) as conn:
            challenger = newest_challenger(conn, champion)
        if challenger is None:
            return Shadowed(now.date(), None)
        model = self._registry.load(challenger)
        place = (self._warehouse, self._binding.relations, company.company_id, now.date())
        try:
            frame = rows_at(*place, self._names, company.custom_attributes).to_pandas()
        except NobodyToAsk:
            return Shadowed(now.date(), str(challenger))
        try:
            model.check_frame(frame, self._binding.task)
        except FeatureVersionError:
            return Shadowed(now.date(), None)
        probabilities = model.score(frame, explain=False).probability
        scores = pa.table(
            {
                "company_id": pa.array([company.company_id] * len(frame), pa.int32()),
                "task": pa.array([self._binding.name] * len(frame), pa.string()),
                "entity_id": pa.array(frame[ENTITY_ID], pa.string()),
                "as_of_date": pa.array([now.date()] * len(frame), pa.date32()),
                "model_version": pa.array([str(challenger)] * len(frame), pa.string()),
                "probability": pa.array(probabilities, pa.float64()),
                "scored_at": pa.array([now] * len(frame), pa.timestamp("us", "UTC")),
            }
        )
        with self._warehouse.connect(Role.ml) as conn:
            replace_shadow_scores(conn, company.company_id, self._binding.name, now.date(), challenger, scores)
        return Shadowed(now.date(), str(challenger), len(frame))
