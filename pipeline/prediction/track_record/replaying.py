"""What would have been said: past months trained with what was known then, and scored.

What is replayed here is kept beside what was published and never mixed with it; grades of it are in ``grading.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Self

import pyarrow as pa

from ml_assets.scoring.rows import build_score_rows
from ml_assets.task import Feature, PredictionTask
from ml_assets.training.ladder import RungDecision, count_outcomes, decide_rung, hides_each_company
from ml_assets.training.recipe import Recipe
from ml_assets.training.train import TrainingResult, train, train_rule
from pipeline.features.catalogue import built_features, features_of_attributes, manifest_path, read_features
from pipeline.prediction.scoring import CHUNK_ROWS, described
from pipeline.prediction.tasks import TaskBinding
from pipeline.prediction.track_record.knowledge import Past, first_known
from pipeline.prediction.track_record.plan import Budget, Work, in_order, months_due, opening_months
from pipeline.prediction.training import Trainer
from warehouse.clock import Clock
from warehouse.companies.definition import Company, CustomAttribute
from warehouse.connection import Warehouse
from warehouse.prediction.feature_store import NobodyToAsk, chunks_at
from warehouse.prediction.label_knowledge import ever_labelled_rows, label_versions
from warehouse.prediction.track_record import (
    ReplayedMonth,
    forget_other_settings,
    replayed_months,
    settings_were_changed,
    unpublished_months,
    write_month,
)
from warehouse.roles import Role
from warehouse.settings import Settings


@dataclass(frozen=True)
class Replayed:
    """What replaying did for a company: months and scores made, and how many months are still to be done."""

    months: int
    scores: int
    waiting: int


@dataclass(frozen=True)
class History:
    """A company with all that was ever known of its outcomes, and of those of the companies that it may learn with."""

    company: Company
    features: Sequence[Feature]
    own: Past
    pool: Past | None
    consenting: Sequence[int]

    def decide_rung(self, month: date, task: PredictionTask) -> RungDecision:
        """The rung that the company would have stood on."""
        own, pool = self.own.as_known(month, only_keys=True), None
        if self.pool is not None:
            shared = self.pool.as_known(month, only_keys=True)
            if hides_each_company(shared, task, self.company.company_id, self.consenting):
                pool = count_outcomes(shared, task)
        return decide_rung(count_outcomes(own, task), pool, task)

    @cached_property
    def labels_since(self) -> datetime:
        """Since when labels of today's meaning were kept."""
        return self.own.labels_since[self.company.company_id]


class Replayer:
    """Replays past months of companies for one task, a month at a time."""

    def __init__(
        self,
        binding: TaskBinding,
        warehouse: Warehouse,
        trainer: Trainer,
        features: Sequence[Feature],
        clock: Clock,
        threads: int,
    ) -> None:
        self._binding = binding
        self._task = binding.task
        self._relations = binding.relations
        self._warehouse = warehouse
        self._trainer = trainer
        self._clock = clock
        self._threads = threads
        self._features = built_features(warehouse, binding.relations.matrix, features)

    @classmethod
    def from_settings(cls, binding: TaskBinding, warehouse: Warehouse, settings: Settings) -> Self:
        """A replayer of the features that the settings' manifest describes."""
        features = read_features(manifest_path(settings), binding.relations.matrix)
        trainer = Trainer.from_settings(binding, warehouse, settings)
        clock = Clock.from_settings(settings)
        return cls(binding.with_ladder(settings), warehouse, trainer, features, clock, settings.threads)

    def replay(self, company: Company, *, seconds: float | None, newest: int | None = None) -> Replayed:
        """Replay the months that are due, the newest first, for about so many seconds; None for all of them.

        Due is a past month of the grid for which nothing was published, once: again only where its features are of
        another version, or the task's settings other ones, than when it was replayed. At least one month is done.
        ``newest`` keeps to so many of the newest months, and to those that they start from. Raises a FrameError where
        features cannot be learned from.
        """
        replayed = self._replayed(company)
        with self._warehouse.connect(Role.ml) as conn:
            today, horizon_days = self._clock.for_company(company).date(), self._binding.horizon_days(company)
            unpublished = unpublished_months(conn, self._relations, company.company_id, today, horizon_days)
        months = set(sorted(unpublished)[-newest:] if newest else unpublished)
        due = months_due(unpublished, {day: month.feature_version for day, month in replayed.items()})
        if seconds == 0 or not months & {*due}:
            return Replayed(0, 0, len(months & {*due}))
        history = self.history(company, replayed)
        decisions = {month: history.decide_rung(month, self._task) for month in {*unpublished, *replayed}}
        openings = opening_months(decisions)
        wanted = months | {openings.get(month, month) for month in months}
        due = [month for month in due if month in wanted]
        scores = done = 0

        def work_of(month: date) -> Work:
            return "recipe" if self._recipe(replayed.get(openings.get(month, month)), month, history) else "full"

        for month in Budget(seconds).allowed(in_order(due, openings), work_of):
            opening = replayed.get(openings.get(month, month))
            replayed[month], rows = self.replay_month(history, month, decisions[month], unpublished[month], opening)
            scores, done = scores + rows, done + 1
        return Replayed(done, scores, len(due) - done)

    def history(self, company: Company, replayed: Mapping[date, ReplayedMonth]) -> History:
        """What there is to replay a company from. ``replayed`` are its months so far."""
        sharing = self._trainer.sharing(company)
        names = [feature.name for feature in self._features]
        own = self._past([company], names, company.custom_attributes)
        since = self._labels_since(company, replayed, own.labels_since)
        own = replace(own, labels_since=since)
        pool = None
        if sharing:
            shared = self._past(sharing, names)
            pool = replace(shared, labels_since={**shared.labels_since, **since})
        features = [*self._trainer.learned(company), *features_of_attributes(company.custom_attributes)]
        consenting = [other.company_id for other in sharing if other.allows_small_pool]
        return History(company, features, own, pool, consenting)

    def replay_month(
        self,
        history: History,
        month: date,
        decision: RungDecision,
        feature_version: str,
        opening: ReplayedMonth | None = None,
    ) -> tuple[ReplayedMonth, int]:
        """Train with what was known by the month, score it, and keep that; returns how many scores, too.

        Kind of model, features and settings are those of ``opening``, an earlier month. Without one it is what a first
        training on that day publishes, settings not being searched.
        """
        company, recipe = history.company, self._recipe(opening, month, history)
        result = self._train(history, month, decision, feature_version, recipe)
        settled = Recipe.of(result.model, result.decision)
        replayed = ReplayedMonth(
            as_of_date=month,
            feature_version=feature_version,
            label_settings=company.tasks[self._task.name],
            labels_since=history.labels_since,
            rung=result.model.rung,
            candidate=result.model.estimator.kind,
            recipe=None if settled is None else settled.describe(),
            recipe_of=opening.as_of_date if recipe and opening else month,
            # The company's own, as of a pooled model nobody is told another's.
            rows=decision.own.rows,
            customers=decision.own.entities,
            outcomes=decision.own.outcomes,
        )
        scores = self._scores(company, month, result)
        with self._warehouse.connect(Role.ml) as conn:
            now = self._clock.for_company(company)
            rows = write_month(conn, company.company_id, self._task.name, replayed, scores, now)
        return replayed, rows

    def _train(
        self, history: History, month: date, decision: RungDecision, feature_version: str, recipe: Recipe | None
    ) -> TrainingResult:
        horizon_days, trained_at = history.own.horizon_days, datetime(month.year, month.month, month.day, tzinfo=UTC)
        if decision.rung == "rule":
            return train_rule(
                history.own.as_known(month),
                history.features,
                self._task,
                horizon_days=horizon_days,
                trained_at=trained_at,
                feature_version=feature_version,
            )
        is_pooled = decision.rung == "pooled_model" and history.pool is not None
        return train(
            history.pool.as_known(month) if is_pooled and history.pool else history.own.as_known(month),
            self._trainer.learned(history.company) if is_pooled else history.features,
            self._task,
            horizon_days=horizon_days,
            trained_at=trained_at,
            threads=self._threads,
            rung=decision.rung,
            recipe=recipe,
        )

    def _scores(self, company: Company, month: date, result: TrainingResult) -> Iterator[pa.Table]:
        """The month's scores with their reasons; none where there was nobody to ask about."""
        names, wording = [feature.name for feature in self._features], described(self._features, company)
        place = (self._warehouse, self._relations, company.company_id, month)
        try:
            for table in chunks_at(*place, names, company.custom_attributes, rows=CHUNK_ROWS):
                frame, value = table.to_pandas(), self._binding.value_feature
                rows = build_score_rows(
                    result.model, frame, self._task, model_version=f"replayed {month}", described=wording
                )
                rows["task"] = self._task.name
                rows["value_at_stake"] = frame[value].to_numpy(dtype=float) if value in frame else None
                yield pa.Table.from_pandas(rows, preserve_index=False)
        except NobodyToAsk:
            return

    def _recipe(self, opening: ReplayedMonth | None, month: date, history: History) -> Recipe | None:
        """What the month starts from; None where it is an opening month itself, or that tried none."""
        if opening is None or opening.recipe is None or opening.as_of_date >= month:
            return None
        recipe = Recipe.from_record(opening.recipe)
        return recipe if recipe.fits(history.features, self._task) else None

    def _replayed(self, company: Company) -> dict[date, ReplayedMonth]:
        """The months so far, those of other settings of the task forgotten."""
        settings = company.tasks[self._task.name]
        with self._warehouse.connect(Role.ml) as conn:
            forget_other_settings(conn, company.company_id, self._task.name, settings)
            months = replayed_months(conn, company.company_id, self._task.name)
        return {month.as_of_date: month for month in months}

    def _past(
        self, companies: Sequence[Company], names: Sequence[str], attributes: Sequence[CustomAttribute] = ()
    ) -> Past:
        ids = [company.company_id for company in companies]
        rows = ever_labelled_rows(self._warehouse, self._relations, ids, names, attributes).to_pandas()
        versions = label_versions(self._warehouse, self._relations, ids).to_pandas()
        return Past(rows, versions, self._binding.horizon_days(companies[0]), first_known(versions))

    def _labels_since(
        self, company: Company, replayed: Mapping[date, ReplayedMonth], first: Mapping[int, datetime]
    ) -> dict[int, datetime]:
        """Since when labels of today's settings were kept: their first, or now where the settings were other ones."""
        company_id = company.company_id
        if replayed:
            return {company_id: max(month.labels_since for month in replayed.values())}
        with self._warehouse.connect(Role.ml) as conn:
            changed = settings_were_changed(conn, company_id, self._task.name)
        now = self._clock.for_company(company)
        return {company_id: now if changed else first.get(company_id, now)}
