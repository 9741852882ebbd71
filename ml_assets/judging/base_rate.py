"""Drift of the base rate: how many have the outcome now, and how many had it when the model learned.

A feature's drift can be seen on the day; this one only once a date's outcomes are mature. It is what a published
probability is most easily wrong by, for every one of them rests on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml_assets.judging.limits import usual_log_odds

FALSE_ALARMS = 0.005
"""Chance that a newly mature date of a stable company is called a drift."""


@dataclass(frozen=True)
class DateOutcomes:
    """Mature outcomes of one as_of_date (ISO 8601): `entities` asked about, of whom `outcomes` had it."""

    as_of_date: str
    entities: int
    outcomes: int

    @property
    def rate(self) -> float:
        """In (0, 1): half an outcome is added to either side, so that no odds are infinite."""
        return (self.outcomes + 0.5) / (self.entities + 1)

    @property
    def log_odds(self) -> float:
        """Natural logarithm."""
        return float(np.log(self.rate / (1 - self.rate)))

    @property
    def variance(self) -> float:
        """What chance gives the log odds."""
        return 1 / (self.outcomes + 0.5) + 1 / (self.entities - self.outcomes + 0.5)


@dataclass(frozen=True)
class RateDrift:
    """A newly mature date beside the training span; rates in (0, 1), indices as for a feature of two values."""

    newest: DateOutcomes
    in_training: float
    psi: float
    usual: float
    is_drifted: bool


def measure_rate(training: Sequence[DateOutcomes], since: Sequence[DateOutcomes]) -> RateDrift | None:
    """The newest date of `since` against those of the training span. None without either."""
    asked = [day for day in training if day.entities]
    newest = max((day for day in since if day.entities), key=lambda day: day.as_of_date, default=None)
    if newest is None or not asked:
        return None
    past = [day.log_odds for day in asked]
    mean = float(np.mean(past))
    limit = usual_log_odds(
        past, variances=[day.variance for day in asked], variance=newest.variance, chance=FALSE_ALARMS
    )
    moved = newest.log_odds - mean
    in_training = _probability(mean)
    return RateDrift(
        newest=newest,
        in_training=in_training,
        psi=_psi(in_training, newest.rate),
        usual=_psi(in_training, _probability(mean + np.copysign(limit, moved))),
        is_drifted=abs(moved) > limit,
    )


def _probability(log_odds: float) -> float:
    return float(1 / (1 + np.exp(-log_odds)))


def _psi(expected: float, actual: float) -> float:
    log_odds_ratio = np.log(actual / expected) - np.log((1 - actual) / (1 - expected))
    return float((actual - expected) * log_odds_ratio)
