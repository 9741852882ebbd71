"""How many purchases customers without a contract have still to make: the BG/NBD model.

Fader, Hardie and Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2), 275-284. While a
customer is there, purchases come at random at a rate of their own (gamma over customers), and after each of them the
customer may leave for good with a chance of their own (beta over customers). All times are in one unit, here days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.special import betaln, expit, gammaln

from ml_assets.errors import LifetimeError
from ml_assets.frames import FloatArray
from ml_assets.lifetime.likelihood import likeliest

NODES = 48
"""Of the quadrature over the chance of leaving.

Expectations of a year are right to five digits or more where purchases are counted by day, so that nobody has more of
them than days.
"""

MOST_FITTED = 20_000
"""Customers on whom a model is fitted: of more of them, evenly chosen ones tell as much."""

STARTS = ((0.0, 0.0, 0.0, 0.0), (-1.0, 1.0, -1.0, 1.0))
"""Logarithms of r, alpha (in mean gaps), a and b from which the search starts; the better end counts."""


@dataclass(frozen=True)
class PurchaseHistory:
    """What was seen of each customer, all of shape (customers,).

    `repeats` counts the purchases after the first, `last` is the time from the first to the last of them (0 without
    any), `age` the time from the first to now. Raises LifetimeError where they contradict each other.
    """

    repeats: FloatArray
    last: FloatArray
    age: FloatArray

    def __post_init__(self) -> None:
        possible = (
            np.isfinite(self.repeats)
            & (self.repeats >= 0)
            & (self.last >= 0)
            & (self.last <= self.age)
            & ((self.repeats > 0) == (self.last > 0))
        )
        if not np.all(possible):
            raise LifetimeError(f"{int(np.sum(~possible))} purchase histories contradict themselves.")

    def __len__(self) -> int:
        return len(self.repeats)


@dataclass(frozen=True)
class PurchaseModel:
    """A fitted BG/NBD: rates follow Gamma(r, alpha), chances of leaving after a purchase Beta(a, b)."""

    r: float
    alpha: float
    a: float
    b: float

    def probability_alive(self, history: PurchaseHistory) -> FloatArray:
        """The chance that each customer is still there, (customers,); 1 before the first repeat (eq. 11)."""
        return np.asarray(expit(-self._log_odds_of_having_left(history)))

    def expected_purchases(self, history: PurchaseHistory, time: float) -> FloatArray:
        """How many purchases each customer makes within `time` from now, (customers,).

        Equal to eq. 10, whose hypergeometric function has poles and overflows. Given a chance p of leaving, a customer
        who is there makes (1 - (1 + p time / (alpha + age)) ** -(r + repeats)) / p purchases; what is left is the mean
        over p, by Gauss-Jacobi quadrature for each number of repeats.
        """
        purchases = np.empty(len(history))
        for repeats in np.unique(history.repeats):
            of_these = history.repeats == repeats
            leaving, weights = _beta_quadrature(self.a, self.b + repeats)
            ratio = time / (self.alpha + history.age[of_these])
            paid = -np.expm1(-(self.r + repeats) * np.log1p(np.outer(ratio, leaving))) / leaving
            purchases[of_these] = paid @ weights
        return np.asarray(purchases * self.probability_alive(history))

    def drawn_purchases(
        self, history: PurchaseHistory, time: float, draws: int, random: np.random.Generator
    ) -> FloatArray:
        """How many purchases each customer may make within `time`: (customers, draws), from the posterior."""
        shape = (len(history), draws)
        alive = random.random(shape) < self.probability_alive(history)[:, None]
        rate = random.gamma((self.r + history.repeats)[:, None], 1 / (self.alpha + history.age)[:, None], shape)
        leaving = random.beta(self.a, (self.b + history.repeats)[:, None], shape)
        until_leaving = random.geometric(np.clip(leaving, 1e-12, 1.0))
        return np.asarray(np.where(alive, np.minimum(random.poisson(rate * time), until_leaving), 0), dtype=float)

    def _log_odds_of_having_left(self, history: PurchaseHistory) -> FloatArray:
        """Minus infinity before the first repeat: nobody leaves without a purchase."""
        with np.errstate(divide="ignore"):
            repeated = np.where(history.repeats > 0, 0.0, -np.inf)
        after = np.maximum(history.repeats, 1)
        return np.asarray(
            repeated
            + np.log(self.a)
            - np.log(self.b + after - 1)
            + (self.r + history.repeats) * (np.log(self.alpha + history.age) - np.log(self.alpha + history.last))
        )

    def log_likelihood(self, history: PurchaseHistory) -> float:
        """The mean logarithm of each customer's likelihood (eq. 6)."""
        repeats = history.repeats
        of_rate = gammaln(self.r + repeats) - gammaln(self.r) + self.r * np.log(self.alpha)
        of_staying = betaln(self.a, self.b + repeats) - betaln(self.a, self.b)
        alive = -(self.r + repeats) * np.log(self.alpha + history.age)
        return float(np.mean(of_rate + of_staying + alive + np.logaddexp(0, self._log_odds_of_having_left(history))))


def fit_purchases(history: PurchaseHistory) -> PurchaseModel:
    """The model under which these histories are likeliest. Raises LifetimeError where nobody bought twice."""
    if not np.any(history.repeats > 0):
        raise LifetimeError("Nobody bought a second time, so nothing tells when the next purchase comes.")
    every = slice(None, None, -(-len(history) // MOST_FITTED))
    unit = float(np.mean(history.age[history.age > 0]))
    scaled = PurchaseHistory(history.repeats[every], history.last[every] / unit, history.age[every] / unit)

    r, alpha, a, b = likeliest(lambda given: PurchaseModel(*given).log_likelihood(scaled), STARTS)
    return PurchaseModel(float(r), float(alpha) * unit, float(a), float(b))


def _beta_quadrature(a: float, b: float) -> tuple[FloatArray, FloatArray]:
    """Points of (0, 1) and their weights, which add up to 1, for a mean over Beta(a, b).

    Golub and Welsch (1969), Calculation of Gauss Quadrature Rules, Mathematics of Computation 23, for Jacobi's
    polynomials: without the weights' total, which overflows for large a or b.
    """
    order, above, both = np.arange(1, NODES), b - a, a + b - 2
    twice = 2 * order + both
    middle = np.concatenate([[-above / (a + b)], -above * both / (twice * (twice + 2))])
    aside = 4 * order * (order + b - 1) * (order + a - 1) / (twice**2 * (twice + 1))
    aside[1:] *= (order[1:] + both) / (twice[1:] - 1)
    nodes, vectors = eigh_tridiagonal(middle, np.sqrt(aside))
    return np.maximum((1 + nodes) / 2, np.finfo(float).tiny), np.square(vectors[0])
