"""A company's rows as they are scored: their keys, margins and parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from foundation.model_version import ModelVersion
from ml_assets.frames import VERSION_COLUMN, FloatArray
from ml_assets.model.explain import bound_log_odds
from ml_assets.model.trained import Scores, TrainedModel
from ml_assets.scoring.rows import percentiles, score_rows
from ml_assets.task import ENTITY_ID, Feature, PredictionTask
from warehouse.companies.definition import Company


@dataclass(frozen=True)
class Read:
    """One date's rows: their keys, the margins that each reader made, how many lack each feature, and the rows
    themselves where they are few.

    Margins have shape (rows, 1), or of the model that publishes (rows, 1 + days): its curve's shares beside them.
    """

    keys: pa.Table
    margins: tuple[FloatArray, ...]
    missing: Mapping[str, int]
    only_chunk: pa.Table | None


@dataclass(frozen=True)
class Scored:
    """A company's rows with their margins, and what they are published as."""

    task: PredictionTask
    company: Company
    model: TrainedModel
    version: ModelVersion
    now: datetime
    read: Read
    explain: bool

    @property
    def margins(self) -> FloatArray:
        return self.read.margins[0][:, 0]

    @property
    def shares(self) -> FloatArray:
        """How much of each one's risk has come by each day of the model's curve, (rows, days)."""
        return self.read.margins[0][:, 1:]

    @property
    def feature_version(self) -> str:
        return str(self.read.keys[VERSION_COLUMN][0])

    @cached_property
    def published(self) -> Scores:
        return self.model.publish(pd.DataFrame(), self.margins)

    @cached_property
    def places(self) -> FloatArray:
        return percentiles(self.published.probability, np.zeros(len(self.margins)))

    def rows(
        self, frame: pd.DataFrame, chunk: slice, parts: FloatArray | None = None, described: Sequence[Feature] = ()
    ) -> pa.Table:
        """The rows to stage of a chunk's entities, explained where their parts are given."""
        scores = self.model.publish(frame, self.margins[chunk], parts, self.shares[chunk])
        rows = score_rows(
            self.model, scores, self.task, self.places[chunk], model_version=str(self.version), described=described
        )
        rows["task"] = self.task.name
        rows["scored_at"] = pd.Timestamp(self.now)
        return pa.Table.from_pandas(rows, preserve_index=False)


@dataclass(frozen=True)
class KnownParts:
    """Parts that were made before, NaN where none were, and whether they are those of the row as it is now."""

    parts: FloatArray
    is_same: npt.NDArray[np.bool_]


def log_odds(model: TrainedModel, margins: FloatArray) -> FloatArray:
    """Published log-odds of margins; NaN where there is none."""
    return np.asarray(bound_log_odds(model.calibrator.log_odds(margins)))


def ends(frame: pd.DataFrame) -> tuple[str, str]:
    """The first and the last entity in the order that the database gave them."""
    ids = frame[ENTITY_ID]
    return str(ids.iloc[0]), str(ids.iloc[-1])


def aligned(entities: pd.Index, ids: pa.ChunkedArray, values: FloatArray) -> FloatArray:
    """Values in the order of these entities, NaN where there is none."""
    places = pd.Index(ids.to_pandas()).get_indexer(entities)
    return np.where(places >= 0, values[places], np.nan) if len(values) else np.full(len(entities), np.nan)
