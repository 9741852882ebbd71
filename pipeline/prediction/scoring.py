"""Scoring a task per company: read a frame, hand it to the champion, stage what comes back.

Which model publishes for a company and what is due are decided here; how a score is explained is not.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from foundation.model_version import ModelVersion
from ml_assets.errors import ArtefactError, ModelError
from ml_assets.frames import FloatArray
from ml_assets.model.trained import TrainedModel
from ml_assets.scoring.rows import build_score_rows, risk_levels
from ml_assets.task import ENTITY_ID, PROBABILITY, Feature, PredictionTask
from pipeline.features.catalogue import built_features, features_of_attributes, manifest_path, read_features
from pipeline.prediction.moves import Earlier, Standing, explain, parts_table
from pipeline.prediction.registry import ModelRegistry, RegistryError
from pipeline.prediction.scored import KnownParts, Read, Scored, aligned, ends, log_odds
from pipeline.prediction.tasks import TaskBinding
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.errors import WarehouseError
from warehouse.frames import Encoded, ahead
from warehouse.prediction.feature_store import (
    FeaturesNotBuilt,
    FeaturesReplaced,
    NobodyToAsk,
    chunks_at,
    keep_missing,
    rows_at,
)
from warehouse.prediction.model_log import chosen_model
from warehouse.prediction.score_history import (
    clear_moves,
    explained_parts,
    forget_explained_parts,
    published_probabilities,
    save_explained_parts,
    save_moves,
)
from warehouse.publication.contract import Contract
from warehouse.publication.publish import (
    JSON_COLUMNS,
    PublishedSet,
    encode_scores,
    newest_publication,
    publication_before,
    stage_scores,
)
from warehouse.roles import Role
from warehouse.settings import Settings

CHUNK_ROWS = 20_000
_KEYS = ["company_id", ENTITY_ID, "as_of_date", "feature_version"]

MONEY = "company's currency"
"""The unit of features that hold money; readers see the currency's code."""


class NoModel(WarehouseError):
    """A company is to be scored before it was ever trained."""


@dataclass(frozen=True)
class Staged:
    """What scoring staged for a company.

    ``rows`` is 0 where the published set is already of this date and model, or where there is nobody to score, which
    ``note`` says.
    """

    as_of_date: date
    model_version: str
    evidence_level: str
    rows: int
    average_probability: float | None = None
    high_risk: int = 0
    note: str | None = None


class Scorer:
    """Scores companies for one task, each with its champion."""

    def __init__(
        self,
        binding: TaskBinding,
        warehouse: Warehouse,
        registry: ModelRegistry,
        features: Sequence[Feature],
        clock: Clock,
    ) -> None:
        self._binding = binding
        self._task = binding.task
        self._relations = binding.relations
        self._warehouse = warehouse
        self._registry = registry
        self._clock = clock
        self._features = built_features(warehouse, binding.relations.matrix, features)

    @classmethod
    def from_settings(cls, binding: TaskBinding, warehouse: Warehouse, settings: Settings) -> Self:
        """A scorer of the features that the settings' manifest describes."""
        features = read_features(manifest_path(settings), binding.relations.matrix)
        return cls(binding, warehouse, ModelRegistry(warehouse, settings.home), features, Clock.from_settings(settings))

    def stage(self, company: Company, *, again: bool = False, explain: bool = True) -> Staged:
        """Score whom the company may ask about at its current date, and stage the scores.

        A date already published by the same model is not scored again unless ``again``: by the rule of time its
        features cannot have changed. Without ``explain`` every score has one reason, "other", and why scores moved is
        not said: many times faster. Raises NoModel before the first training, FeaturesNotBuilt where the date's
        features are missing, and a FrameError where the model cannot read them or was trained on features of another
        version.
        """
        now = self._clock.for_company(company)
        version = self._champion(company)
        with self._warehouse.connect(Role.ml) as conn:
            published = newest_publication(conn, self._contract, company.company_id)
        if published and not again and (published.as_of_date, published.model_version) == (now.date(), str(version)):
            return Staged(now.date(), str(version), published.evidence_level, 0)
        model = self._registry.load(version).at(now.date())
        standing = self._standing(company, now.date(), version, model) if explain else None
        readers = [partial(_vouched_margins, self._task, model)]
        if standing is not None and standing.model is not None and standing.model.estimator is not model.estimator:
            readers.append(partial(_readable_margins, standing.model))
        try:
            read = self._read(company, now.date(), readers)
        except NobodyToAsk as nobody:
            nobody.company = company.slug
            return Staged(now.date(), str(version), model.rung, 0, note=str(nobody))
        scored = Scored(self._task, company, model, version, now, read, explain)
        earlier = None if standing is None else self._earlier(scored, standing)
        with self._warehouse.connect(Role.ml) as conn, conn.transaction():
            staged = stage_scores(conn, company.company_id, self._task.name, self._chunks(conn, scored, earlier))
            keep_missing(
                *(conn, self._relations, company.company_id, now.date()),
                *(scored.feature_version, staged, scored.read.missing),
            )
            forget_explained_parts(conn, company.company_id, self._task.name, version)
        probability = scored.published.probability
        levels = risk_levels(probability, model.facts.base_rate, self._task.risk)
        return Staged(
            now.date(), str(version), model.rung, staged, float(probability.mean()), int((levels == "high").sum())
        )

    def score_entity(self, company: Company, entity_id: str) -> dict[str, Any]:
        """One entity's score at the company's newest date as it would be published, with reasons; nothing is kept.

        Its percentile is null, for it is alone; `value` is what its task's value feature says. Raises as ``stage``
        does, and FeaturesNotBuilt for an entity that has no features at that date.
        """
        version = self._champion(company)
        rows = self._rows(company, self._clock.for_company(company).date(), (entity_id, entity_id))
        scores = build_score_rows(
            self._registry.load(version),
            rows.to_pandas(),
            self._task,
            model_version=str(version),
            described=self._described(company),
        )
        row = {str(name): value for name, value in scores.iloc[0].items()}
        at_stake = self._binding.value_feature
        value = rows.column(at_stake)[0].as_py() if at_stake in rows.column_names else None
        return row | {name: orjson.loads(row[name]) for name in JSON_COLUMNS} | {"percentile": None, "value": value}

    def stage_rows(self, company: Company, rows: pa.Table, version: ModelVersion) -> int:
        """Score one date's rows with that model, stage the scores, and return how many there are."""
        scores = build_score_rows(
            self._registry.load(version),
            rows.to_pandas(),
            self._task,
            model_version=str(version),
            described=self._described(company),
        )
        scores["task"] = self._task.name
        scores["scored_at"] = pd.Timestamp(self._clock.for_company(company))
        with self._warehouse.connect(Role.ml) as conn:
            return stage_scores(
                conn, company.company_id, self._task.name, pa.Table.from_pandas(scores, preserve_index=False)
            )

    def _chunks(self, conn: psycopg.Connection[Any], scored: "Scored", earlier: "Earlier | None") -> Iterator[Encoded]:
        """The scores to stage, chunk by chunk; what their parts were, and why they moved, is written beside them."""
        model, described, company_id = scored.model, self._described(scored.company), scored.company.company_id
        clear_moves(conn, company_id, self._task.name, scored.now.date())
        if not scored.explain:
            yield from ahead(_unexplained_chunks(scored))
            return
        start = 0
        for table in self._again(scored):
            chunk, start = slice(start, start + table.num_rows), start + table.num_rows
            frame = table.to_pandas()
            matrix = model.encoder.encode(frame)
            signatures = model.signatures(matrix)
            known = self._known_parts(scored, frame, signatures)
            parts, fresh = explain(model, matrix, known)
            if signatures is not None and fresh.any():
                new = parts_table(scored, frame[fresh], signatures[fresh], parts[fresh])
                save_explained_parts(conn, company_id, self._task.name, new)
            if earlier is not None:
                save_moves(conn, earlier.moves(scored, chunk, frame, parts, known))
            yield encode_scores(scored.rows(frame, chunk, parts, described))

    def _known_parts(
        self, scored: "Scored", frame: pd.DataFrame, signatures: npt.NDArray[np.int64] | None
    ) -> "KnownParts | None":
        """The parts that these entities' newest explained scores had, where the same model gave them."""
        if signatures is None or len(frame) == 0:
            return None
        ids = frame[ENTITY_ID]
        stored = explained_parts(
            self._warehouse, scored.company.company_id, self._task.name, scored.version, *ends(frame)
        )
        width = len(scored.model.encoder.features)
        stored = stored.filter(pc.equal(pc.binary_length(stored["parts"]), width * 8))
        values = np.frombuffer(b"".join(stored["parts"].to_pylist()), dtype=np.float64).reshape(-1, width)
        places = pd.Index(stored[ENTITY_ID].to_pandas()).get_indexer(pd.Index(ids))
        parts = np.full((len(frame), width), np.nan)
        is_same = np.zeros(len(frame), dtype=bool)
        held = places >= 0
        parts[held] = values[places[held]]
        is_same[held] = stored["signature"].to_numpy()[places[held]] == signatures[held]
        return KnownParts(parts, is_same)

    def _read(self, company: Company, day: date, readers: Sequence[Callable[[pd.DataFrame], FloatArray]]) -> "Read":
        """The keys of a date's rows, and what each reader makes of them, without ever holding all of their features."""
        keys: list[pa.Table] = []
        margins: list[list[FloatArray]] = [[] for _ in readers]
        missing: Counter[str] = Counter()
        for rows in ahead(self._chunks_at(company, day)):
            frame = rows.to_pandas()
            missing.update({name: rows[name].null_count for name in self.names})
            keys.append(rows.select(_KEYS))
            for reader, reader_margins in zip(readers, margins, strict=True):
                reader_margins.append(reader(frame))
        only = rows if len(keys) == 1 else None
        return Read(pa.concat_tables(keys), tuple(map(np.concatenate, margins)), missing, only)

    def _again(self, scored: "Scored") -> Iterator[pa.Table]:
        """The rows that were read, chunk by chunk. Raises FeaturesNotBuilt where they are not those read at first."""
        read = scored.read
        if read.only_chunk is not None:
            yield read.only_chunk
            return
        start = 0
        for rows in self._chunks_at(scored.company, scored.now.date()):
            if rows.select(_KEYS) != read.keys.slice(start, rows.num_rows):
                break
            start += rows.num_rows
            yield rows
        if start < read.keys.num_rows:
            raise FeaturesReplaced(
                f"The features of {scored.company.slug} for {scored.now.date()} were built again while they "
                "were scored."
            )

    def _standing(self, company: Company, day: date, version: ModelVersion, model: TrainedModel) -> "Standing | None":
        """The set that was published for an earlier date, and the model that made it; None before the first."""
        with self._warehouse.connect(Role.ml) as conn:
            before = publication_before(conn, self._contract, company.company_id, day)
        if before is None:
            return None
        older = model if before.model_version == str(version) else self._older_model(before)
        return Standing(before, older.at(before.as_of_date) if older else None)

    def _earlier(self, scored: "Scored", standing: "Standing") -> "Earlier":
        """What was published for an earlier date, and what its model says of then and now."""
        company, before, model = scored.company, standing.publication, standing.model
        published = published_probabilities(self._warehouse, self._contract, company.company_id, before.as_of_date)
        entities = pd.Index(scored.read.keys[ENTITY_ID].to_pandas())
        probability = aligned(entities, published[ENTITY_ID], published[PROBABILITY].to_numpy())
        unknown = np.full(len(entities), np.nan)
        if model is None:
            return Earlier(before, probability, unknown, unknown, None)
        behaved = log_odds(model, scored.read.margins[-1][:, 0])
        try:
            then = self._read(company, before.as_of_date, [partial(_readable_margins, model)])
        except FeaturesNotBuilt:
            return Earlier(before, probability, unknown, behaved, None)
        rebuilt = aligned(entities, then.keys[ENTITY_ID], log_odds(model, then.margins[0][:, 0]))
        rows_then = (
            partial(self._rows, company, before.as_of_date) if model.estimator is scored.model.estimator else None
        )
        return Earlier(before, probability, rebuilt, behaved, rows_then)

    def _older_model(self, published: PublishedSet) -> TrainedModel | None:
        """The model of a published set; None where the registry no longer has it."""
        try:
            return self._registry.load(published.version)
        except (RegistryError, ArtefactError, ValueError):
            return None

    @property
    def _contract(self) -> Contract:
        return self._relations.contract

    def _champion(self, company: Company) -> ModelVersion:
        with self._warehouse.connect(Role.ml) as conn:
            return champion_of(conn, self._task, self._registry, company)

    def _rows(self, company: Company, as_of_date: date, entities: tuple[str, str]) -> pa.Table:
        attributes = company.custom_attributes
        return rows_at(
            self._warehouse, self._relations, company.company_id, as_of_date, self.names, attributes, entities
        )

    def _chunks_at(self, company: Company, as_of_date: date) -> Iterator[pa.Table]:
        attributes = company.custom_attributes
        return chunks_at(
            *(self._warehouse, self._relations, company.company_id, as_of_date), self.names, attributes, rows=CHUNK_ROWS
        )

    def _described(self, company: Company) -> list[Feature]:
        return described(self._features, company)

    def weights(self, company: Company, rows: int = 1_000) -> dict[str, float]:
        """Each feature's share of all contributions to the champion's scores: mean of their sizes, summing to 1.

        From the first ``rows`` entities of the company's newest scoring date. Raises NoModel, FeaturesNotBuilt
        and FrameError as ``stage`` does.
        """
        model = self._registry.load(self._champion(company))
        today = self._clock.for_company(company).date()
        attributes = company.custom_attributes
        frame = next(
            chunks_at(self._warehouse, self._relations, company.company_id, today, self.names, attributes, rows=rows)
        ).to_pandas()
        model.check_frame(frame, self._task)
        contributions = model.score(frame).contributions
        assert contributions is not None  # noqa: S101 - scored with reasons
        sizes = contributions.abs().mean()
        return {str(name): float(size / (sizes.sum() or 1.0)) for name, size in sizes.items()}

    @property
    def names(self) -> list[str]:
        """The features that the matrix has."""
        return [feature.name for feature in self._features]


def champion_of(
    conn: psycopg.Connection[Any], task: PredictionTask, registry: ModelRegistry, company: Company
) -> ModelVersion:
    """The model that publishes for the company. Raises NoModel before its first training."""
    chosen = chosen_model(conn, company.company_id, task.name)
    champion = registry.champion_version(chosen) if chosen else None
    if champion is None:
        raise NoModel(f"{company.slug} has no {task.name} champion yet: run `churn train --company {company.slug}`.")
    return champion


def described(features: Sequence[Feature], company: Company) -> list[Feature]:
    """The features as the company reads of them: money in its currency, and its own attributes."""
    in_currency = [
        replace(feature, unit=company.currency) if feature.unit == MONEY else feature for feature in features
    ]
    return [*in_currency, *features_of_attributes(company.custom_attributes)]


def _unexplained_chunks(scored: Scored) -> Iterator[Encoded]:
    for start in range(0, scored.read.keys.num_rows, CHUNK_ROWS):
        keys = scored.read.keys.slice(start, CHUNK_ROWS)
        yield encode_scores(scored.rows(keys.to_pandas(), slice(start, start + keys.num_rows)))


def _vouched_margins(task: PredictionTask, model: TrainedModel, frame: pd.DataFrame) -> FloatArray:
    """The margins of the model that publishes, and its curve's shares beside them: (rows, 1 + days)."""
    model.check_frame(frame, task)
    matrix = model.encoder.encode(frame)
    return np.column_stack([model.estimator.margins(matrix), model.curve.shares(matrix)])


def _readable_margins(model: TrainedModel, frame: pd.DataFrame) -> FloatArray:
    """What a model says of rows that it need not vouch for, (rows, 1); NaN where it cannot read them."""
    try:
        return model.estimator.margins(model.encoder.encode(frame))[:, None]
    except ModelError:
        return np.full((len(frame), 1), np.nan)
