"""Why a score moved since the one before: what the customer did, another model, or data that were corrected.

Written as a chain of scores, each differing from the last in one thing, so that the parts add up by construction:
published -> the earlier model on the earlier date as it is known today (correction) -> the earlier model on the new
date (behaviour) -> the new model on the new date (model). Each scores at the level of its date's month, so that
a new level of the same model is a part of the model's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_assets.frames import FloatArray

ROUNDING = 1e-9


@dataclass(frozen=True)
class Moves:
    """Per customer, in log-odds, shape (rows,): total = behaviour + model + correction."""

    total: FloatArray
    behaviour: FloatArray
    model: FloatArray
    correction: FloatArray

    @property
    def has_moved(self) -> npt.NDArray[np.bool_]:
        """Whether any part is not zero."""
        return np.asarray((self.behaviour != 0) | (self.model != 0) | (self.correction != 0))


def split_moves(published: FloatArray, rebuilt: FloatArray, behaved: FloatArray, now: FloatArray) -> Moves:
    """The parts of each change, from log-odds (rows,).

    `published`: as it was published. `rebuilt`: the same model on the same date's features as they are today; NaN
    where they are gone, which counts as no correction. `behaved`: that model on the new date's features; NaN where
    it cannot read them, and then all is the new model's. `now`: the new score. What is below the rounding of a
    stored probability (1e-9) is nothing.
    """
    rebuilt = np.where(np.isnan(rebuilt) | np.isnan(behaved), published, rebuilt)
    behaved = np.where(np.isnan(behaved), rebuilt, behaved)
    correction, behaviour, model = (
        _plain(later - earlier) for later, earlier in ((rebuilt, published), (behaved, rebuilt), (now, behaved))
    )
    return Moves(behaviour + model + correction, behaviour, model, correction)


def largest_changes(
    before: FloatArray, after: FloatArray, names: Sequence[str]
) -> tuple[npt.NDArray[np.object_], FloatArray]:
    """Per row the feature whose part changed most, and by how much; of equal changes the first in alphabetical order.

    `before` and `after` are parts of the same features, shape (rows, features).
    """
    order = sorted(range(len(names)), key=lambda position: names[position])
    changes = (after - before)[:, order]
    largest = np.abs(np.round(changes, 9)).argmax(axis=1)
    ordered = np.array([names[position] for position in order], dtype=object)
    return ordered[largest], changes[np.arange(len(changes)), largest]


def _plain(part: FloatArray) -> FloatArray:
    return np.where(np.abs(part) < ROUNDING, 0.0, part)
