"""The rows of a change of features, as they are and as they would be, and which features differ between the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.errors import FrameError
from ml_assets.frames import check_features, plain_values
from ml_assets.task import ENTITY_ID, OUTCOME, Feature

KEYS = ["company_id", ENTITY_ID, "as_of_date"]


@dataclass(frozen=True)
class FeatureChange:
    """The features that a change adds, alters and takes away; `before` and `after` are all that there are."""

    before: tuple[Feature, ...]
    after: tuple[Feature, ...]
    added: tuple[Feature, ...]
    altered: tuple[Feature, ...]
    removed: tuple[Feature, ...]

    @property
    def new(self) -> tuple[Feature, ...]:
        """What was not there before under this name and with these values."""
        return (*self.added, *self.altered)

    @property
    def is_empty(self) -> bool:
        """Whether no feature differs."""
        return not (self.new or self.removed)


@dataclass(frozen=True)
class SameRows:
    """Two frames of the same rows in the same order, before a change and after; and the rows that only one has."""

    before: pd.DataFrame
    after: pd.DataFrame
    only_before: int
    only_after: int


def same_rows(before: pd.DataFrame, after: pd.DataFrame) -> SameRows:
    """The rows that both frames have, by KEYS. Outcomes are those of `before`, if it has any."""
    keyed = [frame.assign(as_of_date=pd.to_datetime(frame["as_of_date"])) for frame in (before, after)]
    places = [pd.MultiIndex.from_frame(frame[KEYS]) for frame in keyed]
    if any(place.has_duplicates for place in places):
        raise FrameError("a row's key stands twice: rows before and after a change cannot be told apart")
    positions = places[1].get_indexer(places[0])
    both = positions >= 0
    kept_before = before[both].reset_index(drop=True)
    kept_after = after.iloc[positions[both]].reset_index(drop=True)
    if OUTCOME in kept_before.columns:
        kept_after[OUTCOME] = kept_before[OUTCOME].to_numpy()
    return SameRows(kept_before, kept_after, int((~both).sum()), len(after) - int(both.sum()))


def find_change(rows: SameRows, before: Sequence[Feature], after: Sequence[Feature]) -> FeatureChange:
    """Which features differ: by name, by kind, or by any value of the same rows."""
    old, new = ({feature.name: feature for feature in features} for features in (before, after))
    check_features(rows.before, before)
    check_features(rows.after, after)
    return FeatureChange(
        before=tuple(before),
        after=tuple(after),
        added=tuple(feature for feature in after if feature.name not in old),
        altered=tuple(
            feature for feature in after if feature.name in old and _differs(rows, old[feature.name], feature)
        ),
        removed=tuple(feature for feature in before if feature.name not in new),
    )


def _differs(rows: SameRows, old: Feature, new: Feature) -> bool:
    if old.kind != new.kind:
        return True
    return bool(differing(plain_values(rows.before[old.name], old), plain_values(rows.after[new.name], new)).any())


def differing(old: npt.NDArray[Any], new: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which values are other ones, shape (rows,); two missing ones are the same, and so is another last digit."""
    if old.dtype == new.dtype == np.float64:
        return np.asarray(~np.isclose(old, new, rtol=1e-9, atol=1e-12, equal_nan=True))
    return np.asarray((old != new) & ~(pd.isna(old) & pd.isna(new)))
