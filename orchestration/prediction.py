"""Training and scoring churn per company: read a frame, hand it to ``ml_assets``, write what comes back.

Which rung of the ladder a company stands on, which model publishes for it, and what is due are decided
here; how a model is made or explained is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal

import orjson
import pandas as pd
import pyarrow as pa

from ml_assets.frames import is_same_version
from ml_assets.ladder import Rung, RungDecision, assert_pool_allowed, count_outcomes, decide_rung
from ml_assets.scoring import build_score_rows
from ml_assets.task import CHURN, Feature
from ml_assets.train import TrainingResult, train, train_rule
from orchestration.feature_catalogue import features_of_attributes
from orchestration.model_registry import ModelRegistry, RegisteredModel
from warehouse.clock import Clock
from warehouse.companies import Company, CompanyDefinition, CustomAttribute, list_companies
from warehouse.connection import Warehouse
from warehouse.errors import WarehouseError
from warehouse.feature_store import built_columns, feature_versions_at, labelled_rows, rows_at
from warehouse.model_log import TrainingRecord, chosen_model, record_training
from warehouse.publication import newest_publication, stage_scores
from warehouse.roles import Role

MONEY = "company's currency"
"""The unit of features that hold money; readers see the currency's code."""

Retrain = Literal["when_due", "always"]


class NoModel(WarehouseError):
    """A company is to be scored before it was ever trained."""


@dataclass(frozen=True)
class Trained:
    """What training did for a company. ``status`` is not_due where the model that stands is kept untouched."""

    status: str
    rung: str
    model: str
    reason: str
    rows: int = 0
    outcomes: int = 0
    auc: float | None = None
    rule_auc: float | None = None


@dataclass(frozen=True)
class Staged:
    """What scoring staged for a company. ``rows`` is 0 where the published set is already of this date and model."""

    as_of_date: date
    model_version: str
    evidence_level: str
    rows: int
    average_probability: float | None = None
    high_risk: int = 0


class ChurnPredictor:
    """Trains and scores companies from one feature matrix; a pooled model is trained once per instance."""

    def __init__(
        self,
        warehouse: Warehouse,
        registry: ModelRegistry,
        features: Sequence[Feature],
        clock: Clock,
        threads: int,
    ) -> None:
        self._warehouse = warehouse
        self._registry = registry
        self._clock = clock
        self._threads = threads
        with warehouse.connect() as conn:
            built = set(built_columns(conn))
        self._features = [feature for feature in features if feature.name in built]
        self._pools: dict[str, tuple[TrainingResult, RegisteredModel]] = {}

    def train(self, company: Company, retrain: Retrain) -> Trained:
        """Train the company's model, its pool's, or its rule, whichever its outcomes carry.

        With ``when_due`` a company that has a model for its rung, trained on features of the version that its
        matrix has now, is left as it is. Raises FeatureVersionError where the rows to learn from are of several.
        """
        sharing = self._sharing(company)
        own = count_outcomes(self._labelled([company], []), CHURN)
        pool = count_outcomes(self._labelled(sharing, []), CHURN) if sharing else None
        decision = decide_rung(own, pool, CHURN)
        name = _model_name(company, decision)
        with self._warehouse.connect(Role.ml) as conn:
            chosen = chosen_model(conn, company.company_id, CHURN.name)
        if retrain == "when_due" and chosen == name and self._is_up_to_date(company, name):
            return Trained("not_due", decision.rung, name, "it has a model; `churn train` trains it anew")
        if decision.rung == "pooled_model":
            result, registered = self._train_pool(name, sharing, company)
        else:
            frame = self._labelled([company], self._names, company.custom_attributes)
            features = [*self._features, *features_of_attributes(company.custom_attributes)]
            result, registered = self._train_and_register(name, frame, features, company, decision.rung)
        return self._record(company, decision, result, registered)

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

    def _labelled(
        self, companies: Sequence[Company], names: Sequence[str], attributes: Sequence[CustomAttribute] = ()
    ) -> pd.DataFrame:
        ids = [company.company_id for company in companies]
        frame: pd.DataFrame = labelled_rows(self._warehouse, ids, names, attributes).to_pandas()
        return frame

    def _is_up_to_date(self, company: Company, name: str) -> bool:
        """Whether the champion of this name learned from features of the version that is to be scored now."""
        if self._registry.champion_version(name) is None:
            return False
        trained_on = self._registry.champion_feature_version(name)
        return all(is_same_version(trained_on, version) for version in self._versions_now(company))

    def _versions_now(self, company: Company) -> list[str]:
        with self._warehouse.connect(Role.ml) as conn:
            return feature_versions_at(conn, company.company_id, self._clock.for_company(company).date())

    def _sharing(self, company: Company) -> list[Company]:
        """The companies that share training and mean the same by churn, this one among them; none if it does not."""
        if not company.shares_training:
            return []
        with self._warehouse.connect() as conn:
            return [
                other
                for other in list_companies(conn)
                if other.shares_training and meaning_of_churn(other) == meaning_of_churn(company)
            ]

    def _train_pool(
        self, name: str, sharing: Sequence[Company], company: Company
    ) -> tuple[TrainingResult, RegisteredModel]:
        if name not in self._pools:
            pool = self._labelled(sharing, self._names)
            assert_pool_allowed(pool, [other.company_id for other in sharing])
            self._pools[name] = self._train_and_register(name, pool, self._features, company, "pooled_model")
        return self._pools[name]

    def _train_and_register(
        self, name: str, frame: pd.DataFrame, features: Sequence[Feature], company: Company, rung: Rung
    ) -> tuple[TrainingResult, RegisteredModel]:
        now = self._clock.for_company(company)
        if rung == "rule":
            result = train_rule(
                frame,
                features,
                CHURN,
                horizon_days=company.horizon_days,
                trained_at=now,
                feature_version=next(iter(self._versions_now(company)), None),
            )
        else:
            current = self._registry.champion(name)
            result = train(
                frame,
                features,
                CHURN,
                horizon_days=company.horizon_days,
                trained_at=now,
                threads=self._threads,
                rung=rung,
                champion=current[0] if current else None,
            )
        registered = self._registry.log_training(name, result, tags={"company": company.slug, "rung": rung})
        return result, registered

    def _record(
        self, company: Company, decision: RungDecision, result: TrainingResult, registered: RegisteredModel
    ) -> Trained:
        record = TrainingRecord(
            task=CHURN.name,
            company_id=company.company_id,
            rung=decision.rung,
            status=result.status,
            model_name=registered.name,
            model_version=registered.version,
            mlflow_run_id=registered.run_id,
            as_of_date=self._clock.for_company(company).date(),
            rows=result.counts.rows,
            customers=result.counts.entities,
            outcomes=result.counts.outcomes,
            decision=_plain_json({**result.decision, "ladder": decision.describe(), "split": result.split}),
            evaluations=result.evaluations,
        )
        with self._warehouse.connect(Role.ml) as conn:
            record_training(conn, record)
        published = result.evaluations.get(str(result.decision.get("chosen")), {})
        return Trained(
            status=result.status,
            rung=decision.rung,
            model=f"{registered.name} v{registered.version}",
            reason=decision.reason,
            rows=record.rows,
            outcomes=record.outcomes,
            auc=published.get("auc"),
            rule_auc=result.evaluations.get("rule", {}).get("auc"),
        )


def _model_name(company: Company, decision: RungDecision) -> str:
    """The registry's name: the company's own, or that of the pool of companies that mean the same by churn."""
    if decision.rung == "pooled_model":
        return f"{CHURN.name}-pooled-{meaning_of_churn(company)}"
    return f"{CHURN.name}-{company.slug}"


def meaning_of_churn(company: CompanyDefinition) -> str:
    """What has to be the same for two companies to learn from each other, such as downgrade-0.2-30d."""
    share = f"-{company.downgrade_share:g}" if company.downgrade_share is not None else ""
    return f"{company.churn_kind}{share}-{company.horizon_days}d"


def _plain_json(values: Mapping[str, object]) -> dict[str, Any]:
    """JSON's own types only: numpy's numbers become plain ones, and what is not finite becomes null."""
    plain: dict[str, Any] = orjson.loads(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY))
    return plain
