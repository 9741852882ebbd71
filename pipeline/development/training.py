"""What a change of features does to predictions: the champion's candidate, with a place's features and production's.

Nothing is written, into the registry least of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import orjson
import pandas as pd
from psycopg import sql

from foundation.counting import counted
from foundation.errors import ChurnError
from foundation.model_version import ModelVersion
from ml_assets.change.judging import Judgement, judge_change
from ml_assets.change.moves import Moves, find_moves
from ml_assets.change.rows import FeatureChange, SameRows, find_change, same_rows
from ml_assets.model.trained import TrainedModel
from ml_assets.task import Feature
from ml_assets.training.recipe import Recipe
from pipeline.development.building import (
    compiled_directory,
    development_manifest,
    edited_since,
    manifest_of,
    state_directory,
)
from pipeline.development.rule_of_time import Peek, find_peeks
from pipeline.features.catalogue import (
    built_features,
    deprecated_features,
    features_of_attributes,
    matrices_below,
    read_features,
)
from pipeline.features.versions import sql_version
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.tasks import TaskBinding
from pipeline.prediction.training import Trainer
from warehouse.clock import Clock
from warehouse.companies.definition import Company, CustomAttribute
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.developers import Developer
from warehouse.prediction.feature_store import FeaturesNotBuilt, attribute_feature, labelled_rows, rows_at
from warehouse.prediction.model_log import chosen_model
from warehouse.relations import Relation
from warehouse.settings import Settings


class ChangeNotJudged(ChurnError):
    """A place does not hold what a comparison needs; the message says what, and the command that brings it."""


@dataclass(frozen=True)
class ChangedModel:
    """What a change does to one model: that of a company, or of a pool, whose companies the place shows in part or all.

    `publishes` is False where the company's rule publishes, for no candidate passed the gate; then nobody moves.

    `peeks` are new features that may look ahead, by what they read. `only_before` and `only_after` count labelled rows
    that only production or only the place has, which are not compared.
    """

    model: str
    version: ModelVersion
    candidate: str
    publishes: bool
    companies: Mapping[int, str]
    entity: str
    change: FeatureChange
    judgement: Judgement
    moves: Moves | None
    peeks: tuple[Peek, ...]
    only_before: int
    only_after: int

    @property
    def is_leaking(self) -> bool:
        """Whether a new feature may look ahead, by what it reads or by what it tells."""
        return bool(self.peeks) or self.judgement.verdict == "leaks"


@dataclass(frozen=True)
class NotCompared:
    """A company whose scores the change cannot be tried on, and why, as a sentence goes on from its name."""

    company: str
    reason: str


class ChangeTrainer:
    """Compares the models of a task with a place's features and with production's."""

    def __init__(self, settings: Settings, warehouse: Warehouse, developer: Developer, binding: TaskBinding) -> None:
        """Raises ChangeNotJudged where the place does not hold all that is compared."""
        self._warehouse = warehouse
        self._developer = developer
        self._binding = binding.with_ladder(settings)
        self._clock = Clock.from_settings(settings)
        self._registry = ModelRegistry(warehouse, settings.home)
        self._trainer = Trainer.from_settings(binding, warehouse, settings)
        self._threads = settings.threads
        relations = binding.relations
        self._matrix = _own(developer, relations.matrix)
        self._refuse_what_was_not_built()
        kept = state_directory(settings) / "manifest.json"
        self._before = built_features(warehouse, relations.matrix, read_features(kept, relations.matrix))
        self._deprecated = (
            deprecated_features(orjson.loads(kept.read_bytes())),
            deprecated_features(manifest_of(settings)),
        )
        manifest = manifest_of(settings)
        self._after = read_features(development_manifest(settings), relations.matrix)
        self._refuse_other_sql(manifest, edited_since(settings, manifest))
        self._peeks = find_peeks(manifest, compiled_directory(settings))

    def compare(self) -> list[ChangedModel | NotCompared]:
        """Each model of the companies that the place shows, the pooled one once; and who has none to compare."""
        with self._warehouse.connect() as conn:
            companies = [
                company
                for company in list_companies(conn)
                if self._binding.name in company.tasks and self._shows(company)
            ]
            names = {company.slug: chosen_model(conn, company.company_id, self._binding.name) for company in companies}
        compared: list[ChangedModel | NotCompared] = []
        done: set[str] = set()
        for company in companies:
            name = names[company.slug]
            if name is None:
                compared.append(NotCompared(company.slug, "has no model yet: `churn run` trains it"))
            elif name not in done:
                done.add(name)
                sharing = [other for other in companies if names[other.slug] == name]
                compared.append(self._compare(name, sharing))
        return compared

    def _refuse_what_was_not_built(self) -> None:
        developer, matrix = self._developer, self._binding.relations.matrix
        if developer.newest_dates is not None:
            raise ChangeNotJudged(
                f"The place {developer.name} shows {counted(developer.newest_dates, 'date')}, and a model learns from "
                f"all of them. `churn dev start --name {developer.name} --dates 0`, with the same --company, shows "
                "all; then `churn dev build`."
            )
        if str(matrix) not in developer.own_relations:
            raise ChangeNotJudged(
                f"The place {developer.name} has no {matrix} of its own, which the models of {self._binding.name} "
                "read. `churn dev build` builds what you changed and what hangs on it."
            )

    def _refuse_other_sql(self, manifest: Mapping[str, Any], edited: Sequence[str]) -> None:
        """What was built must be what the project says: all of its features, made by its SQL of now."""
        query = sql.SQL("select distinct split_part(matrix_version, '.', 1) from {}").format(self._matrix.identifier)
        with self._warehouse.connect() as conn:
            built = {version for (version,) in conn.execute(query).fetchall()}
        wanted = {sql_version(manifest, unique_id) for unique_id in matrices_below(manifest, self._matrix.name)}
        columns = {feature.name for feature in built_features(self._warehouse, self._matrix, self._after)}
        if edited or built != wanted or columns != {feature.name for feature in self._after}:
            since = f" (edited since: {', '.join(edited)})" if edited else ""
            raise ChangeNotJudged(
                f"What {self._developer.name} has built is not what the project says now{since}. `churn dev build` "
                "builds it."
            )

    def _compare(self, name: str, companies: Sequence[Company]) -> ChangedModel | NotCompared:
        slugs = ", ".join(company.slug for company in companies)
        champion = self._registry.champion(name)
        if champion is None:
            return NotCompared(slugs, "has no champion: `churn train` trains one")
        model, version = champion
        recipe = Recipe.of(model, self._registry.report(version)["decision"])
        if recipe is None:
            return NotCompared(slugs, _rule_reason(self._binding))
        before, after = sides = self._features(model, companies[0])
        if not recipe.fits(before, self._binding.task):
            return NotCompared(slugs, f"has a champion, {version}, of features that are gone: `churn train` first")
        self._refuse_other_outcomes(companies)
        learned = self._learned_from(companies, model)
        same = self._labelled_rows(learned, sides, model)
        change = find_change(same, before, after)
        return self._judged(name, model, version, recipe, companies, same, change)

    def _judged(
        self,
        name: str,
        model: TrainedModel,
        version: ModelVersion,
        recipe: Recipe,
        companies: Sequence[Company],
        same: SameRows,
        change: FeatureChange,
    ) -> ChangedModel:
        horizon_days = self._binding.horizon_days(companies[0])
        judgement = judge_change(
            same, change, recipe, self._binding.task, horizon_days=horizon_days, threads=self._threads
        )
        moves = None
        if judgement.folds is not None and not change.is_empty and model.rung != "rule":
            newest = self._newest_rows(companies, change, model)
            if newest is not None:
                moves = find_moves(same, newest, change, recipe, model, self._binding.task)
        new = {feature.name for feature in change.new}
        return ChangedModel(
            model=name,
            version=version,
            candidate=recipe.candidate,
            publishes=model.rung != "rule",
            companies={company.company_id: company.slug for company in companies},
            entity=self._binding.task.entity,
            change=change,
            judgement=judgement,
            moves=moves,
            peeks=tuple(peek for peek in self._peeks if new & {*peek.features}),
            only_before=same.only_before,
            only_after=same.only_after,
        )

    def _features(self, model: TrainedModel, company: Company) -> tuple[list[Feature], list[Feature]]:
        own = features_of_attributes(_attributes(model, company))
        today = self._clock.for_company(company).date()
        before, after = (
            [feature for feature in features if deprecated.get(feature.name, date.max) > today]
            for features, deprecated in zip((self._before, self._after), self._deprecated, strict=True)
        )
        return [*before, *own], [*after, *own]

    def _learned_from(self, companies: Sequence[Company], model: TrainedModel) -> Sequence[Company]:
        """Whose rows the model learns from, as far as the place shows them."""
        if model.rung != "pooled_model":
            return companies
        return [other for other in self._trainer.sharing(companies[0]) if self._shows(other)]

    def _shows(self, company: Company) -> bool:
        visible = self._developer.companies
        return visible is None or company.slug in visible

    def _labelled_rows(
        self, companies: Sequence[Company], sides: tuple[Sequence[Feature], Sequence[Feature]], model: TrainedModel
    ) -> SameRows:
        ids, attributes = [company.company_id for company in companies], _attributes(model, companies[0])
        before, after = (
            labelled_rows(
                self._warehouse, self._binding.relations, ids, _in_matrix(features, attributes), attributes, matrix
            ).to_pandas()
            for features, matrix in zip(sides, (None, self._matrix), strict=True)
        )
        return same_rows(before, after)

    def _newest_rows(self, companies: Sequence[Company], change: FeatureChange, model: TrainedModel) -> SameRows | None:
        """The rows of each company's scoring date; None where there is nobody to ask about at all."""
        befores, afters, missing = [], [], []
        for company in companies:
            before = self._rows_at(company, change.before, model, None)
            if before.empty:
                continue
            after = self._rows_at(company, change.after, model, self._matrix)
            missing += [company.slug] if after.empty else []
            befores.append(before)
            afters.append(after)
        if missing:
            raise ChangeNotJudged(
                f"The place {self._developer.name} was built before the newest date of {', '.join(missing)}. "
                "`churn dev build` builds it."
            )
        if not befores:
            return None
        return same_rows(pd.concat(befores, ignore_index=True), pd.concat(afters, ignore_index=True))

    def _rows_at(
        self, company: Company, features: Sequence[Feature], model: TrainedModel, matrix: Relation | None
    ) -> pd.DataFrame:
        """The company's rows of its scoring date, none where they are not there."""
        attributes, day = _attributes(model, company), self._clock.for_company(company).date()
        names, relations = _in_matrix(features, attributes), self._binding.relations
        try:
            rows: pd.DataFrame = rows_at(
                self._warehouse, relations, company.company_id, day, names, attributes, matrix=matrix, role=None
            ).to_pandas()
        except FeaturesNotBuilt:
            return pd.DataFrame()
        return rows

    def _refuse_other_outcomes(self, companies: Sequence[Company]) -> None:
        """Two models that were asked different questions cannot be compared."""
        relations = self._binding.relations
        if str(relations.labels) not in self._developer.own_relations:
            return
        own = _own(self._developer, relations.labels)
        query = sql.SQL(
            "select count(*) from {labels} as before inner join {own} as after"
            " on before.company_id = after.company_id and before.{entity} = after.{entity}"
            " and before.as_of_date = after.as_of_date"
            " where before.company_id = any(%s) and before.is_mature and after.is_mature"
            " and before.{label} is distinct from after.{label}"
        ).format(
            labels=relations.labels.identifier,
            own=own.identifier,
            entity=sql.Identifier(relations.contract.entity_id),
            label=sql.Identifier(relations.label),
        )
        with self._warehouse.connect() as conn:
            (others,) = conn.execute(query, [[company.company_id for company in companies]]).fetchone() or (0,)
        if others:
            raise ChangeNotJudged(
                f"Your {relations.labels} says otherwise of {counted(others, 'row')}: a change of what the task means "
                "is no change of features, and models of two meanings cannot be compared. `churn dev diff "
                f"{relations.labels.name}` shows the rows."
            )


def _own(developer: Developer, relation: Relation) -> Relation:
    return Relation(f"{developer.login}_{relation.schema}", relation.name)


def _in_matrix(features: Sequence[Feature], attributes: Sequence[CustomAttribute]) -> list[str]:
    """The features that are columns; a company's own attributes are read by their names."""
    own = {attribute_feature(attribute) for attribute in attributes}
    return [feature.name for feature in features if feature.name not in own]


def _attributes(model: TrainedModel, company: Company) -> Sequence[CustomAttribute]:
    """A company's attributes as far as the model reads them: one of several companies reads none."""
    return () if model.rung == "pooled_model" else company.custom_attributes


def _rule_reason(binding: TaskBinding) -> str:
    return f"learns no model yet, with too few outcomes: its rule reads {binding.task.rule_feature} alone"
