"""What a purchase brings: the Gamma-Gamma model of spend.

Fader and Hardie (2013), The Gamma-Gamma Model of Monetary Value. Each customer's purchases vary around a mean of their
own, which does not depend on how often they buy; the mean of few purchases is drawn towards everybody's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from ml_assets.errors import LifetimeError
from ml_assets.frames import FloatArray
from ml_assets.lifetime.likelihood import likeliest

STARTS = ((0.0, 0.0, 0.0), (1.5, 1.2, 0.0), (3.0, 3.0, 0.0))


@dataclass(frozen=True)
class SpendModel:
    """A fitted Gamma-Gamma: a purchase follows Gamma(p, nu), nu over customers Gamma(q, v)."""

    p: float
    q: float
    v: float

    def expected_spend(self, purchases: FloatArray, mean_spend: FloatArray) -> FloatArray:
        """What each customer's next purchase brings, (customers,); everybody's mean where there were no purchases."""
        seen = np.where(purchases > 0, purchases * mean_spend, 0.0)
        return np.asarray(self.p * (self.v + seen) / (self.p * purchases + self.q - 1))

    def drawn_totals(
        self, purchases: FloatArray, mean_spend: FloatArray, counts: FloatArray, random: np.random.Generator
    ) -> FloatArray:
        """What `counts` (customers, draws) further purchases may bring together, of the same shape."""
        seen = np.where(purchases > 0, purchases * mean_spend, 0.0)
        shape = counts.shape
        rate = random.gamma((self.q + self.p * purchases)[:, None], 1 / (self.v + seen)[:, None], shape)
        return np.asarray(np.where(counts > 0, random.gamma(np.maximum(self.p * counts, 1e-9)) / rate, 0.0))

    def log_likelihood(self, purchases: FloatArray, mean_spend: FloatArray) -> float:
        """The mean logarithm of each customer's likelihood."""
        shape = self.p * purchases
        return float(
            np.mean(
                gammaln(shape + self.q)
                - gammaln(shape)
                - gammaln(self.q)
                + self.q * np.log(self.v)
                + (shape - 1) * np.log(mean_spend)
                + shape * np.log(purchases)
                - (shape + self.q) * np.log(self.v + purchases * mean_spend)
            )
        )


def fit_spend(purchases: FloatArray, mean_spend: FloatArray) -> SpendModel:
    """The model under which the mean spends, (customers,), of so many purchases each are likeliest.

    Customers without purchases, or whose purchases brought nothing, tell nothing. Raises LifetimeError without others.
    """
    tells = (purchases > 0) & (mean_spend > 0)
    if not np.any(tells):
        raise LifetimeError("No purchase brought anything, so nothing tells what the next one brings.")
    count, unit = purchases[tells], float(np.mean(mean_spend[tells]))
    scaled = mean_spend[tells] / unit

    def log_likelihood(given: FloatArray) -> float:
        p, above, v = given
        return SpendModel(p, 1 + above, v).log_likelihood(count, scaled)

    p, above, v = likeliest(log_likelihood, STARTS)
    return SpendModel(float(p), 1 + float(above), float(v) * unit)
