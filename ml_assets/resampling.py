"""Draws of entities for bootstraps.

The rows of one entity are not independent: resampling them one by one would claim too narrow an interval.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt


def members(entities: np.ndarray) -> npt.NDArray[np.intp]:
    """Each row's entity as a number from 0, shape (rows,)."""
    return np.unique(entities, return_inverse=True)[1]


def entity_draws(member: npt.NDArray[np.intp], seed: int, rounds: int) -> Iterator[npt.NDArray[np.intp]]:
    """Per round how often each entity is drawn, with replacement and as many as there are: shape (entities,)."""
    size, random = int(member.max()) + 1, np.random.default_rng(seed)
    return (np.bincount(random.integers(0, size, size), minlength=size) for _ in range(rounds))


def standard_error_of_mean(values: npt.NDArray[np.float64], member: npt.NDArray[np.intp]) -> float:
    """Of the mean of the values, shape (rows,), where those of one entity are not independent."""
    sums = np.bincount(member, weights=values - values.mean())
    return float(np.sqrt((sums**2).sum()) / len(values))
