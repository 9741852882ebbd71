"""Training a task per company: read a frame, hand it to ``ml_assets``, write what comes back.

Which rung of the ladder a company stands on and what is due are decided here; how a model is made is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal, Self

import orjson
import pandas as pd

from foundation.model_version import ModelVersion
from ml_assets.errors import ArtefactError
from ml_assets.frames import is_same_version
from ml_assets.model.trained import TrainedModel
from ml_assets.task import ENTITY_ID, Feature
from ml_assets.training.grounds import found
from ml_assets.training.ladder import (
    OutcomeCounts,
    RungDecision,
    assert_pool_allowed,
    count_outcomes,
    decide_rung,
    hides_each_company,
)
from ml_assets.training.search import SearchBudget
from ml_assets.training.train import TrainingResult, repeat, train, train_rule
from pipeline.features.catalogue import (
    built_features,
    deprecated_features,
    features_of_attributes,
    manifest_path,
    read_features,
)
from pipeline.prediction.registry import ModelFilesMissing, ModelRegistry, RegisteredModel
from pipeline.prediction.tasks import TaskBinding
from warehouse.clock import Clock
from warehouse.companies.definition import Company, CustomAttribute
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.prediction.feature_store import feature_versions_at, labelled_rows
from warehouse.prediction.model_log import (
    Cause,
    Event,
    Promotion,
    TrainingRecord,
    chosen_model,
    record_promotion,
    record_training,
)
from warehouse.prediction.outcome_times import outcome_times
from warehouse.roles import Role
from warehouse.settings import Settings

Retrain = Literal["when_due", "always"]


@dataclass(frozen=True)
class Search:
    """How long a training may search for settings: trials in all, seconds from now, or both."""

    trials: int | None = None
    seconds: float | None = None


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
    failed: str | None = None
    decision: dict[str, Any] | None = None


class Trainer:
    """Trains companies for one task; a pooled model is trained once per instance."""

    def __init__(
        self,
        binding: TaskBinding,
        warehouse: Warehouse,
        registry: ModelRegistry,
        features: Sequence[Feature],
        clock: Clock,
        threads: int,
        deprecated: Mapping[str, date] | None = None,
    ) -> None:
        """`deprecated` says since when a feature is no longer learned; models that did learn it go on to read it."""
        self._binding = binding
        self._task = binding.task
        self._warehouse = warehouse
        self._registry = registry
        self._clock = clock
        self._threads = threads
        self._features = built_features(warehouse, binding.relations.matrix, features)
        self._deprecated = deprecated or {}
        self._pools: dict[str, tuple[TrainingResult, RegisteredModel]] = {}

    @classmethod
    def from_settings(cls, binding: TaskBinding, warehouse: Warehouse, settings: Settings) -> Self:
        """A trainer of the features that the settings' manifest describes."""
        features = read_features(manifest_path(settings), binding.relations.matrix)
        deprecated = deprecated_features(orjson.loads(manifest_path(settings).read_bytes()))
        registry = ModelRegistry(warehouse, settings.home)
        clock = Clock.from_settings(settings)
        return cls(binding.with_ladder(settings), warehouse, registry, features, clock, settings.threads, deprecated)

    def train(
        self, company: Company, retrain: Retrain, cause: Cause | None = None, search: Search | None = None
    ) -> Trained:
        """Train the company's model, its pool's, or its rule, whichever its outcomes carry.

        With ``when_due`` a company that has a model for its rung, trained on features of the version that its
        matrix has now, is left as it is. ``cause`` is recorded; left out, it is first, feature_version (a model
        fell due), or asked. With ``search`` settings are searched, else they are the defaults. Raises
        FeatureVersionError where the rows to learn from are of several.
        """
        own = count_outcomes(self._labelled([company], []), self._task)
        sharing, pool = self._pool(company)
        decision = decide_rung(own, pool, self._task)
        name = self._model_name(company, decision)
        with self._warehouse.connect(Role.ml) as conn:
            chosen = chosen_model(conn, company.company_id, self._task.name)
        if retrain == "when_due" and chosen == name and self._is_up_to_date(company, name):
            return Trained("not_due", decision.rung, name, "it has a model; `churn train` trains it again")
        if decision.rung == "pooled_model":
            result, registered = self._train_pool(name, sharing, company, decision, search)
        else:
            frame, features = self.rows_to_learn_from(company)
            result, registered = self._train_and_register(name, frame, features, company, decision, search)
        why = cause or ("first" if chosen is None else "feature_version" if retrain == "when_due" else "asked")
        return self._record(company, decision, result, registered, why)

    def rows_to_learn_from(self, company: Company) -> tuple[pd.DataFrame, list[Feature]]:
        """The company's labelled rows, with the days to each outcome and those that are known, and their features."""
        frame = self._with_times(self._labelled([company], self._names, company.custom_attributes), [company])
        return frame, [*self.learned(company), *features_of_attributes(company.custom_attributes)]

    def learned(self, company: Company) -> list[Feature]:
        """The features that a training of today may read, by the company's clock; always the rule's own."""
        today = self._clock.for_company(company).date()
        gone = {name for name, day in self._deprecated.items() if day <= today} - {self._task.rule_feature}
        return [feature for feature in self._features if feature.name not in gone]

    @property
    def _names(self) -> list[str]:
        return [feature.name for feature in self._features]

    def _labelled(
        self, companies: Sequence[Company], names: Sequence[str], attributes: Sequence[CustomAttribute] = ()
    ) -> pd.DataFrame:
        ids = [company.company_id for company in companies]
        frame: pd.DataFrame = labelled_rows(
            self._warehouse, self._binding.relations, ids, names, attributes
        ).to_pandas()
        return frame

    def _with_times(self, frame: pd.DataFrame, companies: Sequence[Company]) -> pd.DataFrame:
        """The labelled rows, in their order, with the days to the outcome and those that are known."""
        ids = [company.company_id for company in companies]
        times: pd.DataFrame = outcome_times(self._warehouse, self._binding.relations, ids).to_pandas()
        return frame.merge(times, on=["company_id", ENTITY_ID, "as_of_date"], how="left", validate="one_to_one")

    def _is_up_to_date(self, company: Company, name: str) -> bool:
        """Whether the champion of this name learned from features of the version that is to be scored now."""
        if self._registry.champion_version(name) is None:
            return False
        trained_on = self._registry.champion_feature_version(name)
        return all(is_same_version(trained_on, version) for version in self._versions_now(company))

    def _versions_now(self, company: Company) -> list[str]:
        with self._warehouse.connect(Role.ml) as conn:
            today = self._clock.for_company(company).date()
            return feature_versions_at(conn, self._binding.relations, company.company_id, today)

    def sharing(self, company: Company) -> list[Company]:
        """The companies that share training and mean the same by the task, this one among them; none if it does not."""
        if not company.shares_training:
            return []
        meaning = self._binding.settings_of(company).meaning()
        with self._warehouse.connect() as conn:
            return [
                other
                for other in list_companies(conn)
                if other.shares_training
                and self._task.name in other.tasks
                and self._binding.settings_of(other).meaning() == meaning
            ]

    def _pool(self, company: Company) -> tuple[list[Company], OutcomeCounts | None]:
        """The companies that it may learn with and what they have; none where their figures could be told apart."""
        sharing = self.sharing(company)
        if not sharing:
            return [], None
        frame = self._labelled(sharing, [])
        consenting = [other.company_id for other in sharing if other.allows_small_pool]
        if not hides_each_company(frame, self._task, company.company_id, consenting):
            return [], None
        return sharing, count_outcomes(frame, self._task)

    def _train_pool(
        self, name: str, sharing: Sequence[Company], company: Company, decision: RungDecision, search: Search | None
    ) -> tuple[TrainingResult, RegisteredModel]:
        if name not in self._pools:
            pool = self._with_times(self._labelled(sharing, self._names), sharing)
            assert_pool_allowed(pool, [other.company_id for other in sharing])
            self._pools[name] = self._train_and_register(name, pool, self.learned(company), company, decision, search)
        return self._pools[name]

    def _train_and_register(
        self,
        name: str,
        frame: pd.DataFrame,
        features: Sequence[Feature],
        company: Company,
        decision: RungDecision,
        search: Search | None,
    ) -> tuple[TrainingResult, RegisteredModel]:
        now = self._clock.for_company(company)
        horizon_days = self._binding.horizon_days(company)
        if decision.rung == "rule":
            result = train_rule(
                frame,
                features,
                self._task,
                horizon_days=horizon_days,
                trained_at=now,
                feature_version=next(iter(self._versions_now(company)), None),
            )
        else:
            current, lost = self._champion(name)
            result = train(
                frame,
                features,
                self._task,
                horizon_days=horizon_days,
                trained_at=now,
                threads=self._threads,
                rung=decision.rung,
                champion=current,
                budget=self._budget(name, search),
            )
            if lost is not None:
                result.decision["champion"] = {"promoted": True, "is_compared": False, "reason": lost}
        result = self._with_grounds(result, decision)
        tags = {"company": company.slug, "rung": result.model.rung}
        registered = self._registry.log_training(name, result, self._task, tags=tags)
        return result, registered

    def _with_grounds(self, result: TrainingResult, decision: RungDecision) -> TrainingResult:
        """The result, whose model says in words what its scores rest on."""
        grounds = found(decision, result.model.rung, result.split, result.decision, self._task).text
        return replace(result, model=replace(result.model, facts=replace(result.model.facts, grounds=grounds)))

    def _model_name(self, company: Company, decision: RungDecision) -> str:
        """The registry's name: the company's own, or that of the pool of companies that mean the same by the task."""
        if decision.rung == "pooled_model":
            return f"{self._task.name}-pooled-{self._binding.settings_of(company).meaning()}"
        return f"{self._task.name}-{company.slug}"

    def _champion(self, name: str) -> tuple[TrainedModel | None, str | None]:
        """The champion to judge against; where its files are gone or damaged, None and why: it is then replaced."""
        try:
            champion = self._registry.champion(name)
        except (ModelFilesMissing, ArtefactError) as error:
            return None, f"the champion can no longer be read: {error.message}"
        return (champion[0] if champion else None), None

    def _budget(self, name: str, search: Search | None) -> SearchBudget | None:
        if search is None or (search.trials is None and search.seconds is None):
            return None
        return SearchBudget(search.trials, search.seconds, self._registry.study_storage(name), name)

    def repeat(self, company: Company, version: ModelVersion) -> float:
        """Train a recorded version again from its record; returns the largest difference of a score, which is 0.

        Raises a TrainingChangedError where the rows are no longer those that it learned from, and a RegistryError
        where the version or its record is not there.
        """
        model = self._registry.load(version)
        split = self._registry.report(version)["split"]
        companies = self.sharing(company) if model.rung == "pooled_model" else [company]
        attributes = () if model.rung == "pooled_model" else company.custom_attributes
        frame = self._labelled(companies, self._names, attributes)
        again = repeat(model, split, frame, self._task)
        scores = [fitted.score(frame, explain=False).probability for fitted in (model, again)]
        return float(abs(scores[0] - scores[1]).max())

    def _record(
        self,
        company: Company,
        decision: RungDecision,
        result: TrainingResult,
        registered: RegisteredModel,
        cause: Cause,
    ) -> Trained:
        grounds = result.model.facts.grounds
        record = TrainingRecord(
            task=self._task.name,
            company_id=company.company_id,
            rung=result.model.rung,
            status=result.status,
            model_name=registered.version.name,
            model_version=str(registered.version.number),
            mlflow_run_id=registered.run_id,
            as_of_date=self._clock.for_company(company).date(),
            rows=result.counts.rows,
            customers=result.counts.entities,
            outcomes=result.counts.outcomes,
            decision=_plain_json(
                {**result.decision, "ladder": decision.describe(), "split": result.split, "grounds": grounds}
            ),
            evaluations=result.evaluations,
            cause=cause,
        )
        with self._warehouse.connect(Role.ml) as conn:
            training_run_id = record_training(conn, record)
            record_promotion(conn, _promotion(record, registered, training_run_id))
        published = result.evaluations.get(str(result.decision.get("chosen")), {})
        return Trained(
            status=result.status,
            rung=record.rung,
            model=str(registered.version),
            reason=grounds,
            rows=record.rows,
            outcomes=record.outcomes,
            auc=published.get("auc"),
            rule_auc=result.evaluations.get("rule", {}).get("auc"),
            failed=", ".join(f"{kind}: {error}" for kind, error in result.decision.get("failed", {}).items()) or None,
            decision={
                name: record.decision[name]
                for name in ("chosen", "gate", "champion", "failed")
                if name in record.decision
            },
        )


def _promotion(record: TrainingRecord, registered: RegisteredModel, training_run_id: int) -> Promotion:
    """What the training decided about the champion; the figures are the comparison's and the candidates'."""
    compared = record.decision.get("champion", {})
    event: Event
    if registered.champion_before is None:
        event, why = "first", "there was no champion"
    elif record.status == "kept_champion":
        event, why = "kept", str(compared["reason"])
    else:
        event = "promoted" if compared.get("is_compared") else "replaced"
        why = str(compared.get("reason") or record.decision.get("reason"))
    return Promotion(
        company_id=record.company_id,
        task=record.task,
        event=event,
        model_name=registered.version.name,
        from_version=str(registered.champion_before.number) if registered.champion_before else None,
        to_version=str(registered.version.number),
        why=why,
        figures={"champion": compared, "candidates": record.evaluations, "gate": record.decision.get("gate")},
        actor="training",
        training_run_id=training_run_id,
    )


def _plain_json(values: Mapping[str, object]) -> dict[str, Any]:
    """JSON's own types only: numpy's numbers become plain ones, and what is not finite becomes null."""
    plain: dict[str, Any] = orjson.loads(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY))
    return plain
