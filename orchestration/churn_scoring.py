"""Scoring churn per company: read a frame, hand it to the champion, stage what comes back.

Which model publishes for a company and what is due are decided here; how a score is explained is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import pandas as pd
import pyarrow as pa

from ml_assets.scoring import build_score_rows
from ml_assets.task import CHURN, Feature
from orchestration.feature_catalogue import features_of_attributes
from orchestration.model_registry import ModelRegistry
from warehouse.clock import Clock
from warehouse.companies import Company
from warehouse.connection import Warehouse
from warehouse.errors import WarehouseError
from warehouse.feature_store import built_columns, rows_at
from warehouse.model_log import chosen_model
from warehouse.publication import newest_publication, stage_scores
from warehouse.roles import Role

MONEY = "company's currency"
"""The unit of features that hold money; readers see the currency's code."""


class NoModel(WarehouseError):
    """A company is to be scored before it was ever trained."""


@dataclass(frozen=True)
class Staged:
    """What scoring staged for a company. ``rows`` is 0 where the published set is already of this date and model."""

    as_of_date: date
    model_version: str
    evidence_level: str
    rows: int
    average_probability: float | None = None
    high_risk: int = 0


class ChurnScorer:
    """Scores companies from one feature matrix, each with its champion."""

    def __init__(
        self,
        warehouse: Warehouse,
        registry: ModelRegistry,
        features: Sequence[Feature],
        clock: Clock,
    ) -> None:
        self._warehouse = warehouse
        self._registry = registry
        self._clock = clock
        with warehouse.connect() as conn:
            built = set(built_columns(conn))
        self._features = [feature for feature in features if feature.name in built]

    def stage(self, company: Company, *, again: bool = False) -> Staged:
        """Score the company's active customers at its current date and stage the scores.

        A date already published by the same model is not scored again unless ``again``: by the rule of time
        its features cannot have changed. Raises NoModel before the first training, FeaturesNotBuilt where
        the date's features are missing, and a FrameError where the model cannot read them or was trained on
        features of another version.
        """
        now = self._clock.for_company(company)
        with self._warehouse.connect(Role.ml) as conn:
            published = newest_publication(conn, company.company_id)
            chosen = chosen_model(conn, company.company_id, CHURN.name)
        champion = self._registry.champion_version(chosen) if chosen else None
        if chosen is None or champion is None:
            raise NoModel(f"{company.slug} has no champion yet: run `churn train --company {company.slug}`.")
        version = f"{chosen} v{champion}"
        if published and not again and (published.as_of_date, published.model_version) == (now.date(), version):
            return Staged(now.date(), version, published.evidence_level, 0)
        model = self._registry.load(chosen, champion)
        attributes = company.custom_attributes
        rows = rows_at(self._warehouse, company.company_id, now.date(), self._names, attributes)
        scores = build_score_rows(
            model,
            rows.to_pandas(),
            CHURN,
            model_version=version,
            described=[*self._in_currency_of(company), *features_of_attributes(attributes)],
        )
        scores["scored_at"] = pd.Timestamp(now)
        with self._warehouse.connect(Role.ml) as conn:
            staged = stage_scores(conn, company.company_id, pa.Table.from_pandas(scores, preserve_index=False))
        return Staged(
            now.date(),
            version,
            model.rung,
            staged,
            float(scores[CHURN.probability_column].mean()),
            int((scores["risk_level"] == "high").sum()),
        )

    def weights(self, company: Company, rows: int = 1_000) -> dict[str, float]:
        """Each feature's share of all contributions to the champion's scores: mean of their sizes, summing to 1.

        From the first ``rows`` customers of the company's newest scoring date. Raises NoModel, FeaturesNotBuilt
        and FrameError as ``stage`` does.
        """
        with self._warehouse.connect(Role.ml) as conn:
            chosen = chosen_model(conn, company.company_id, CHURN.name)
        found = self._registry.champion(chosen) if chosen else None
        if found is None:
            raise NoModel(f"{company.slug} has no champion yet: run `churn train --company {company.slug}`.")
        today = self._clock.for_company(company).date()
        table = rows_at(self._warehouse, company.company_id, today, self._names, company.custom_attributes)
        frame = table.slice(0, rows).to_pandas()
        found[0].check_frame(frame, CHURN)
        contributions = found[0].score(frame).contributions
        assert contributions is not None  # noqa: S101 - scored with reasons
        sizes = contributions.abs().mean()
        return {str(name): float(size / (sizes.sum() or 1.0)) for name, size in sizes.items()}

    def _in_currency_of(self, company: Company) -> list[Feature]:
        return [
            replace(feature, unit=company.currency) if feature.unit == MONEY else feature for feature in self._features
        ]

    @property
    def _names(self) -> list[str]:
        return [feature.name for feature in self._features]
