"""One curve per entity over several horizons, through the published probability of the task's own.

A discrete-time hazard (Allison 1982, Sociological Methodology 13): each row becomes one row per step between two
horizons, for as long as the entity was still without the outcome and was seen to the step's end, and small boosted
trees read its features and the step. The hazards' sum up to a horizon, relative to that up to the task's own, says how
much of an entity's risk has come by then. A line for each day, in the log of the risk, then says what came of it: who
is at high risk of the next weeks need not be at as high a risk of half a year. The curve never falls, ends where the
history does, and keeps the published probability, its level and its order, as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from ml_assets.estimators.base import predicting_threads
from ml_assets.frames import DateArray, FloatArray
from ml_assets.model.explain import SMALLEST_PROBABILITY, probabilities_of
from ml_assets.model.level import needed_shift

DECIMALS = 6
TREES: dict[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.1,
    "num_leaves": 8,
    "min_data_in_leaf": 40,
    "lambda_l2": 5.0,
    "feature_fraction": 0.5,
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}
ROUNDS = 60
FEWEST_DATES = 5
"""Of fewer dates nobody can tell what is usual of a day from what those months had of their own."""
LINE_SDS = (0.5, 0.3)
"""How far a day's line may lie from the risk as it is, in the log: its height and its slope."""
RISK_BOUNDS = (-12.0, 3.5)
"""Within which the log of a risk lies, so that no probability is 0 or 1."""
LARGEST_HAZARD = 30.0
"""Log-odds beyond which no step's hazard lies, so that no sum is zero or infinite."""


@dataclass(frozen=True)
class HorizonCurve:
    """How risk comes over the days. `days` grow, and one of them is the horizon.

    `trees` are the hazard's, as LightGBM writes them; without them nothing is known but the horizon itself. `lines` has
    height and slope by day, of the days that have one.
    """

    horizon_days: int
    days: tuple[int, ...]
    trees: str | None = None
    threads: int = 2
    lines: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def flat(cls, horizon_days: int) -> "HorizonCurve":
        """The curve of the horizon alone."""
        return cls(horizon_days, (horizon_days,))

    @cached_property
    def _booster(self) -> Any:
        import lightgbm

        return lightgbm.Booster(model_str=self.trees)

    def shares(self, matrix: FloatArray) -> FloatArray:
        """How much of the horizon's risk has come within each of `days`: (rows, days), growing, 1 at the horizon.

        `matrix` (rows, features) is encoded as the model's. Beyond the horizon it is more than 1.
        """
        if self.trees is None or len(matrix) == 0:
            return np.ones((len(matrix), len(self.days)))
        threads = predicting_threads(matrix, self.threads)
        hazards = np.empty((len(matrix), len(self.days)))
        for position, end in enumerate(self.days):
            inputs = np.column_stack([matrix, np.full(len(matrix), float(end))])
            log_odds = self._booster.predict(inputs, raw_score=True, num_threads=threads)
            hazards[:, position] = np.logaddexp(0.0, np.clip(log_odds, -LARGEST_HAZARD, LARGEST_HAZARD))
        total = np.cumsum(hazards, axis=1)
        return np.asarray(total / total[:, [self.days.index(self.horizon_days)]])

    def probabilities(self, log_odds: FloatArray, shares: FloatArray) -> FloatArray:
        """The probability of the outcome within each of `days`, (rows, days), by published log-odds and `shares`."""
        published, own = probabilities_of(log_odds)[:, None], self.days.index(self.horizon_days)
        risks = np.logaddexp(0.0, log_odds)[:, None] * shares
        for place, day in enumerate(self.days):
            if day in self.lines:
                risks[:, place] = _on_line(np.log(risks[:, place]), *self.lines[day])
        curve = np.round(np.clip(-np.expm1(-risks), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY), DECIMALS)
        curve[:, :own] = np.minimum(curve[:, :own], published)
        curve[:, own + 1 :] = np.maximum(curve[:, own + 1 :], published)
        curve[:, [own]] = published
        # A day's line may cross its neighbour's: the one nearer to the horizon stands.
        curve[:, :own] = np.minimum.accumulate(curve[:, own - 1 :: -1], axis=1)[:, ::-1] if own else curve[:, :own]
        curve[:, own:] = np.maximum.accumulate(curve[:, own:], axis=1)
        return np.asarray(curve)

    def fitted(
        self,
        log_odds: FloatArray,
        shares: FloatArray,
        outcome_days: FloatArray,
        observed_days: FloatArray,
        dates: DateArray,
    ) -> "HorizonCurve":
        """The curve with a line for each day but the horizon's, from the rows, (rows, ...), that were seen to it.

        `log_odds` are the published ones before any level: each date has the level at which the horizon's risk is what
        came of it, so that a line says how the days differ from the horizon and not how the dates did. Days that were
        seen of fewer than FEWEST_DATES dates have none.
        """
        came = np.where(np.isnan(outcome_days), np.inf, outcome_days)
        levelled, lines = log_odds.copy(), {}
        for day in np.unique(dates):
            there = dates == day
            levelled[there] += needed_shift(log_odds[there], (came[there] < self.horizon_days).astype(np.float64))[0]
        risks = np.log(np.logaddexp(0.0, levelled)[:, None] * shares)
        for place, end in enumerate(self.days):
            seen = observed_days >= end
            if end != self.horizon_days and len(np.unique(dates[seen])) >= FEWEST_DATES:
                lines[end] = _fit_line(risks[seen, place], came[seen] < end)
        return replace(self, lines=lines)

    def record(self) -> dict[str, Any]:
        """The curve as JSON-ready values."""
        return {
            "horizon_days": self.horizon_days,
            "days": self.days,
            "trees": self.trees,
            "threads": self.threads,
            "lines": [[day, *line] for day, line in self.lines.items()],
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "HorizonCurve":
        """Read back what `record` gave; a curve of an older release has no lines."""
        lines = {int(day): (height, slope) for day, height, slope in record.get("lines", ())}
        return cls(**{**record, "days": tuple(record["days"]), "lines": lines})


def _on_line(log_risk: FloatArray, height: float, slope: float) -> FloatArray:
    return np.exp(np.clip(height + slope * log_risk, *RISK_BOUNDS))


def _fit_line(log_risk: FloatArray, has_outcome: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Height and slope at which the outcomes, (rows,), are likeliest, with a prior; each has 1 - exp(-risk)."""
    from scipy.optimize import minimize

    def loss(line: FloatArray) -> tuple[float, FloatArray]:
        risk = _on_line(log_risk, *line)
        losses = np.where(has_outcome, -np.log(-np.expm1(-risk)), risk)
        slopes = np.where(has_outcome, -risk / np.expm1(risk), risk)
        away = (line - np.array([0.0, 1.0])) / np.array(LINE_SDS)
        gradient = np.array([slopes.sum(), slopes @ log_risk]) + away / np.array(LINE_SDS)
        return float(losses.sum() + 0.5 * away @ away), gradient

    height, slope = minimize(
        loss, np.array([0.0, 1.0]), jac=True, method="L-BFGS-B", bounds=[(None, None), (0, None)]
    ).x
    return float(height), float(slope)


def fit_curve(
    matrix: FloatArray,
    outcome_days: FloatArray,
    observed_days: FloatArray,
    *,
    horizon_days: int,
    curve_days: Sequence[int],
    minimum_outcomes: int,
    seed: int,
    threads: int,
) -> HorizonCurve:
    """Learn the hazard from encoded rows (rows, features) and the days, (rows,), to their outcome and of what is known.

    `outcome_days` is NaN where no outcome is known; a row tells of a step when it was observed to its end. A step needs
    `minimum_outcomes` rows with the outcome and as many without; one that has fewer is joined to the next. Without
    enough up to the horizon there are no further days.
    """
    import lightgbm

    came = np.where(np.isnan(outcome_days), np.inf, outcome_days)
    observed = np.nan_to_num(observed_days, nan=0.0)
    days = _steps(came, observed, horizon_days, curve_days, minimum_outcomes)
    if len(days) < 2:
        return HorizonCurve.flat(horizon_days)
    at_risk = [(came >= begin) & (observed >= end) for begin, end in zip((0, *days), days, strict=False)]
    inputs = [
        np.column_stack([matrix[rows], np.full(rows.sum(), float(end))])
        for rows, end in zip(at_risk, days, strict=True)
    ]
    outcomes = [came[rows] < end for rows, end in zip(at_risk, days, strict=True)]
    rows = lightgbm.Dataset(np.vstack(inputs), np.concatenate(outcomes), params={"verbosity": -1})
    booster = lightgbm.train({**TREES, "seed": seed, "num_threads": threads}, rows, num_boost_round=ROUNDS)
    return HorizonCurve(horizon_days, days, booster.model_to_string(), threads)


def _steps(
    came: FloatArray, observed: FloatArray, horizon_days: int, curve_days: Sequence[int], minimum_outcomes: int
) -> tuple[int, ...]:
    """The days at which a step ends that holds enough rows with and without the outcome; empty without the horizon."""

    def is_enough(begin: int, end: int) -> bool:
        at_risk = (came >= begin) & (observed >= end)
        outcomes = int((came[at_risk] < end).sum())
        return min(outcomes, int(at_risk.sum()) - outcomes) >= minimum_outcomes

    days: list[int] = []
    for end in sorted({*curve_days, horizon_days}):
        while end == horizon_days and days and not is_enough(days[-1], end):
            days.pop()
        if is_enough(days[-1] if days else 0, end):
            days.append(end)
        elif end == horizon_days:
            return ()
    return tuple(days)


def expected_days(days: Sequence[int], probabilities: FloatArray) -> FloatArray:
    """Days without the outcome that are to be expected up to the last of `days`, (rows,), of (rows, days).

    Between two horizons the hazard is taken to be constant.
    """
    remaining = np.column_stack([np.ones(len(probabilities)), 1.0 - probabilities])
    before, after = remaining[:, :-1], remaining[:, 1:]
    fall = np.log(before / after)
    mean = np.where(fall > 1e-9, (before - after) / np.maximum(fall, 1e-9), before)
    return np.asarray(mean @ np.diff([0, *days]).astype(np.float64))


def write_curves(curve: HorizonCurve, log_odds: FloatArray, shares: FloatArray) -> list[str]:
    """Per row {within, reach_days, expected_days} as JSON text: what is published of the curve.

    `within` has a probability by number of days, `expected_days` the days without the outcome among the next
    `reach_days`.
    """
    probabilities = curve.probabilities(log_odds, shares)
    names, reach = [str(day) for day in curve.days], curve.days[-1]
    expected = np.round(expected_days(curve.days, probabilities), 1).tolist()
    return [
        orjson.dumps(
            {"within": dict(zip(names, row, strict=True)), "reach_days": reach, "expected_days": days}
        ).decode()
        for row, days in zip(probabilities.tolist(), expected, strict=True)
    ]
