"""The depth and number of boosted trees, where a fit is not told: as deep as the rows give reason for.

Trees of depth 1 add up like a sum, deeper ones know what two features mean together. Which of it is there to be found
shows on the later part of the fit rows; where that cannot tell, the trees whose reasons cost least are taken, which
vary least with the rows that they happened to see, too.
"""

from collections.abc import Callable, Mapping

import numpy as np

from ml_assets.estimators.base import FitRows, Settings, log_losses
from ml_assets.frames import FloatArray

DEPTHS = (1, 2, 3)
LARGEST_TREES = 600
PATIENCE = 40
WITHOUT_CHOICE = {"max_depth": 2, "trees": 80}
"""Where there are too few dates for a later part."""

StopEarly = Callable[[int, np.ndarray, np.ndarray], tuple[int, FloatArray]]
"""Grows trees of a depth on the earlier rows for as long as the later ones gain by it: how many, and the later rows'
margins, shape (later rows,)."""


def choose_shape(rows: FitRows, settings: Settings, stop_early: StopEarly) -> dict[str, int]:
    """`max_depth` and `trees`: the settings' own, else what does best on the later rows, or as well at less cost.

    Depths are tried from the least one on, for as long as the next one does better.
    """
    given = {name: int(settings[name]) for name in WITHOUT_CHOICE if name in settings}
    if "trees" in given or rows.inner is None:
        return {**WITHOUT_CHOICE, **given}
    early, late = rows.inner
    losses: dict[tuple[int, int], FloatArray] = {}
    least = np.inf
    for depth in (given["max_depth"],) if given else DEPTHS:
        trees, margins = stop_early(depth, early, late)
        losses[depth, trees] = later_losses = log_losses(margins, rows.outcomes[late])
        if later_losses.mean() >= least:
            break
        least = later_losses.mean()
    depth, trees = min(_near_the_best(losses), key=lambda shape: tree_reason_cost(*shape))
    return {"max_depth": depth, "trees": trees}


def tree_reason_cost(depth: int, trees: int) -> float:
    """Trees * leaves * depth^2, the order of TreeSHAP, of trees with as many leaves as their depth allows."""
    return float(trees * 2**depth * depth**2)


def _near_the_best(losses: Mapping[tuple[int, int], FloatArray]) -> list[tuple[int, int]]:
    """The shapes within one standard error of the best, by their losses of the same rows (Breiman et al. 1984)."""
    best = min(losses.values(), key=lambda each: float(each.mean()))
    return [shape for shape, each in losses.items() if (each - best).mean() <= (each - best).std() / np.sqrt(len(best))]
