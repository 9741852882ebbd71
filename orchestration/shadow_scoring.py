"""Scores of challengers, beside the champion's and never published: what they would have said is graded later."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self

from psycopg import sql

from ml_assets.errors import FeatureVersionError
from ml_assets.task import CHURN, Feature
from orchestration.feature_catalogue import built_features, manifest_path, read_features
from orchestration.model_registry import ModelRegistry
from warehouse.clock import Clock
from warehouse.companies import Company
from warehouse.connection import Warehouse
from warehouse.feature_store import rows_at
from warehouse.model_log import chosen_model, newest_challenger
from warehouse.relations import SHADOW_SCORES
from warehouse.roles import Role
from warehouse.settings import Settings
from warehouse.shadow_grades import forget_shadow_scores


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
        warehouse: Warehouse,
        registry: ModelRegistry,
        features: Sequence[Feature],
        clock: Clock,
        *,
        retention_days: int,
    ) -> None:
        self._warehouse = warehouse
        self._registry = registry
        self._clock = clock
        self._retention_days = retention_days
        self._names = [feature.name for feature in built_features(warehouse, features)]

    @classmethod
    def from_settings(cls, warehouse: Warehouse, settings: Settings) -> Self:
        """A scorer of the features that the settings' manifest describes."""
        features = read_features(manifest_path(settings))
        return cls(
            warehouse,
            ModelRegistry(warehouse, settings.home),
            features,
            Clock.from_settings(settings),
            retention_days=settings.shadow_retention_days,
        )

    def score(self, company: Company) -> Shadowed:
        """Score the company's active customers at its current date by its newest challenger, where it has one."""
        now = self._clock.for_company(company)
        kept_from = now.date() - timedelta(days=company.horizon_days + self._retention_days)
        with self._warehouse.connect(Role.ml) as conn:
            forget_shadow_scores(conn, company.company_id, kept_from)
            name = chosen_model(conn, company.company_id, CHURN.name)
        champion = self._registry.champion_version(name) if name else None
        if name is None or champion is None:
            return Shadowed(now.date(), None)
        with self._warehouse.connect(Role.ml) as conn:
            challenger = newest_challenger(conn, name, champion)
        if challenger is None:
            return Shadowed(now.date(), None)
        model = self._registry.load(name, challenger)
        frame = rows_at(
            self._warehouse, company.company_id, now.date(), self._names, company.custom_attributes
        ).to_pandas()
        try:
            model.check_frame(frame, CHURN)
        except FeatureVersionError:
            return Shadowed(now.date(), None)
        version = f"{name} v{challenger}"
        probabilities = model.score(frame, explain=False).probability
        with self._warehouse.connect(Role.ml) as conn, conn.cursor() as cursor:
            cursor.execute(
                sql.SQL("delete from {} where company_id = %s and as_of_date = %s and model_version = %s").format(
                    SHADOW_SCORES.identifier
                ),
                [company.company_id, now.date(), version],
            )
            copy = sql.SQL(
                "copy {} (company_id, customer_id, as_of_date, model_version, probability, scored_at) from stdin"
            ).format(SHADOW_SCORES.identifier)
            with cursor.copy(copy) as rows:
                for customer, probability in zip(frame[CHURN.entity_key], probabilities.tolist(), strict=True):
                    rows.write_row((company.company_id, customer, now.date(), version, probability, now))
        return Shadowed(now.date(), version, len(frame))
