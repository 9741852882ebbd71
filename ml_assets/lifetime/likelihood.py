"""The search for the parameters under which what was seen is likeliest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import minimize

from ml_assets.frames import FloatArray

LARGEST_LOG = 12.0
"""Of a parameter, either way: beyond it a likelihood is flat, and a customer like any other."""

SEARCH = {"ftol": 1e-12, "maxiter": 300}


def likeliest(log_likelihood: Callable[[FloatArray], float], starts: Sequence[Sequence[float]]) -> FloatArray:
    """The positive parameters, (parameters,), at which the likelihood is largest.

    `starts` are logarithms of parameters from which the search starts; the best end counts.
    """

    def cost(logs: FloatArray) -> float:
        return -log_likelihood(np.exp(logs))

    bounds = [(-LARGEST_LOG, LARGEST_LOG)] * len(starts[0])
    ends = [minimize(cost, start, method="L-BFGS-B", bounds=bounds, options=SEARCH) for start in starts]
    return np.asarray(np.exp(min(ends, key=lambda end: float(end.fun)).x))
