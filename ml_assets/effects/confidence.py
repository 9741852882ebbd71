"""The effect of a treatment that chance gave, with a range that holds whenever one looks.

Source: I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas, "Time-uniform central limit theory and
asymptotic confidence sequences", Annals of Statistics 52 (2024), arXiv 2103.06476.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_assets.frames import FloatArray

MISTAKES = 0.05
"""In how many of a hundred programmes the range may ever, at any look, leave out the true effect."""

TUNED_AT = 500
"""The number of customers at which the range is tightest; it holds at every other too."""


@dataclass(frozen=True)
class Effect:
    """The mean difference that treatment makes for a customer, and its range; `scatter` is that of one customer."""

    low: float
    likely: float
    high: float
    scatter: float


def effect_scores(is_treated: NDArray[np.bool_], outcome: FloatArray, propensity: FloatArray) -> FloatArray:
    """What each customer tells of the effect, in the order in which outcomes came in; all (customers,).

    The doubly robust score m1 - m0 + D (Y - m1) / p - (1 - D) (Y - m0) / (1 - p), where D says whether the customer was
    treated, with probability p (above 0, below 1), Y is the outcome, and m1, m0 are the means of treated and controls
    **before** this customer: so the mean of a score, given what came before, is exactly the effect.
    """
    treated = is_treated.astype(float)
    with_treatment = _means_before(treated, outcome)
    without = _means_before(1 - treated, outcome)
    return np.asarray(
        with_treatment
        - without
        + treated * (outcome - with_treatment) / propensity
        - (1 - treated) * (outcome - without) / (1 - propensity)
    )


def effect_of(scores: FloatArray) -> Effect:
    """The effect by its scores, (customers,), one or more, with the Gaussian-mixture asymptotic confidence sequence:

        mean +- s sqrt( 2 (t r + 1) / (t^2 r) log( sqrt(t r + 1) / a ) ),
        r = (-2 log a + log(-2 log a) + 1) / TUNED_AT

    with t the customers, s the standard deviation of the scores, a MISTAKES.
    """
    mean, scatter = float(scores.mean()), float(scores.std())
    half = scatter * float(_width(len(scores)))
    return Effect(mean - half, mean, mean + half, scatter)


def customers_needed(scatter: float, difference: float, most: int = 10_000_000) -> int | None:
    """How many customers it takes until the range is narrower than a difference on either side; None beyond `most`.

    `scatter` as `effect_of` says it, `difference` in the same unit, above 0.
    """
    low, high = 1, most
    if scatter * _width(most) > difference:
        return None
    while low < high:
        middle = (low + high) // 2
        if scatter * _width(middle) <= difference:
            high = middle
        else:
            low = middle + 1
    return low


def _width(customers: int) -> float:
    """Half of the range in standard deviations; it falls as customers grow."""
    tuning = (-2 * np.log(MISTAKES) + np.log(-2 * np.log(MISTAKES)) + 1) / TUNED_AT
    spread = customers * tuning + 1
    return float(np.sqrt(2 * spread / (customers**2 * tuning) * np.log(np.sqrt(spread) / MISTAKES)))


def _means_before(belongs: FloatArray, outcome: FloatArray) -> FloatArray:
    """The group's mean outcome before each customer; everybody's while the group has none, and 0 before the first."""
    count, total = np.cumsum(belongs) - belongs, np.cumsum(belongs * outcome) - belongs * outcome
    before = np.arange(len(outcome))
    everybody = (np.cumsum(outcome) - outcome) / np.maximum(before, 1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), everybody))
