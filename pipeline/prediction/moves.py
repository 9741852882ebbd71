"""Why scores moved since the set that was published before."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ml_assets.frames import FloatArray
from ml_assets.model.trained import TrainedModel
from ml_assets.scoring.moves import largest_changes, split_moves
from ml_assets.task import ENTITY_ID
from pipeline.prediction.scored import KnownParts, Scored, ends
from warehouse.prediction.feature_store import FeaturesNotBuilt
from warehouse.publication.publish import PublishedSet


@dataclass(frozen=True)
class Standing:
    """The set published before, and its model; None where the registry no longer has it."""

    publication: PublishedSet
    model: TrainedModel | None


@dataclass(frozen=True)
class Earlier:
    """The set published before; arrays are by the entities that are scored now, NaN where it did not hold them.

    `rows_then` reads the features of that date from one entity to another; None where another model scored them.
    """

    publication: PublishedSet
    probability: FloatArray
    rebuilt: FloatArray
    behaved: FloatArray
    rows_then: Callable[[tuple[str, str]], pa.Table] | None

    def moves(
        self,
        scored: Scored,
        chunk: slice,
        frame: pd.DataFrame,
        parts: FloatArray | None,
        known: KnownParts | None,
    ) -> pa.Table:
        """Why the scores of a chunk moved: a row for each entity whose score did."""
        model, before = scored.model, self.probability[chunk]
        now = scored.published.log_odds[chunk]
        split = split_moves(np.log(before / (1 - before)), self.rebuilt[chunk], self.behaved[chunk], now)
        moved = np.flatnonzero(~np.isnan(before) & split.has_moved)
        feature, change = np.full(len(moved), None, dtype=object), np.full(len(moved), np.nan)
        old = (
            None
            if parts is None
            else self._old_parts(model, frame.iloc[moved], None if known is None else known.parts[moved])
        )
        if old is not None and parts is not None:
            names = [each.name for each in model.encoder.features]
            has_old = ~np.isnan(old).any(axis=1)
            before_now = [model.calibrator.slope * side[has_old] for side in (old, parts[moved])]
            feature[has_old], change[has_old] = largest_changes(before_now[0], before_now[1], names)
        return pa.table(
            {
                "company_id": np.full(len(moved), scored.company.company_id, dtype=np.int32),
                "task": pa.array([scored.task.name] * len(moved), pa.string()),
                "entity_id": pa.array(frame[ENTITY_ID].iloc[moved], pa.string()),
                "as_of_date": pa.array([scored.now.date()] * len(moved), pa.date32()),
                "previous_as_of_date": pa.array([self.publication.as_of_date] * len(moved), pa.date32()),
                "model_version": pa.array([str(scored.version)] * len(moved), pa.string()),
                "previous_model_version": pa.array([self.publication.model_version] * len(moved), pa.string()),
                "previous_probability": before[moved],
                "log_odds_change": split.total[moved],
                "behaviour": split.behaviour[moved],
                "model": split.model[moved],
                "correction": split.correction[moved],
                "main_feature": pa.array(feature, pa.string()),
                "main_feature_change": pa.array(change, pa.float64(), from_pandas=True),
            }
        )

    def _old_parts(self, model: TrainedModel, moved: pd.DataFrame, stored: FloatArray | None) -> FloatArray | None:
        """The earlier parts of entities that moved: as stored, or made again where that is cheap."""
        if self.rows_then is None:
            return None
        if stored is not None:
            return stored
        old = np.full((len(moved), len(model.encoder.features)), np.nan)
        if moved.empty:
            return old
        try:
            rows = self.rows_then(ends(moved))
        except FeaturesNotBuilt:
            return old
        places = pd.Index(rows[ENTITY_ID].to_pandas()).get_indexer(pd.Index(moved[ENTITY_ID]))
        held = places >= 0
        if held.any():
            frame = rows.take(pa.array(places[held])).to_pandas()
            old[held] = model.estimator.parts(model.encoder.encode(frame))[0]
        return old


def explain(
    model: TrainedModel, matrix: FloatArray, known: KnownParts | None
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """The rows' parts, and which of them had to be made."""
    fresh = np.ones(len(matrix), dtype=bool) if known is None else ~known.is_same
    if known is None or fresh.all():
        return model.estimator.parts(matrix)[0], fresh
    parts = known.parts.copy()
    parts[fresh] = model.estimator.parts(matrix[fresh])[0]
    return parts, fresh


def parts_table(scored: Scored, frame: pd.DataFrame, signatures: npt.NDArray[np.int64], parts: FloatArray) -> pa.Table:
    """The rows to keep of a chunk's parts, one per entity: columns of `score_history.EXPLAINED`."""
    return pa.table(
        {
            "company_id": np.full(len(frame), scored.company.company_id, dtype=np.int32),
            "task": pa.array([scored.task.name] * len(frame), pa.string()),
            "entity_id": pa.array(frame[ENTITY_ID], pa.string()),
            "model_version": pa.array([str(scored.version)] * len(frame), pa.string()),
            "signature": signatures,
            "parts": pa.array([row.tobytes() for row in np.ascontiguousarray(parts)], pa.binary()),
        }
    )
