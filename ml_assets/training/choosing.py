"""Choosing among candidates: each is fitted, calibrated and judged on rows that it has not seen; one may publish.

Whether what was chosen replaces the model that publishes today belongs in `champion.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from ml_assets.errors import FrameError
from ml_assets.estimators.base import Estimator, Settings, log_losses
from ml_assets.estimators.blend import blend
from ml_assets.estimators.candidates import BLEND, BLENDED, fit_candidate
from ml_assets.estimators.rules import BinnedRule
from ml_assets.frames import FloatArray
from ml_assets.judging.dates import JudgedDate, calibration_over_dates, is_worse_than_raw, judge_dates
from ml_assets.judging.evaluate import Metrics, evaluate, metric_intervals
from ml_assets.model.calibrate import (
    AffineCalibrator,
    fit_calibrator,
    grown,
    identity,
    levelled,
    with_range,
)
from ml_assets.model.explain import bound_log_odds, probabilities_of
from ml_assets.model.level import Level, measure_level
from ml_assets.resampling import members, standard_error_of_mean
from ml_assets.task import Gate, PredictionTask
from ml_assets.training.lessons import Lessons, Rows
from ml_assets.training.promotion import paired_loss_interval
from ml_assets.training.splits import TimeSplit

RULE = "rule"
BASE_RATE = "base_rate"
CHANCE = 0.5
"""The AUC of a coin."""


@dataclass(frozen=True)
class _CalibrationRows:
    """How the first fit did on rows that it had not seen: its margins there, the line that they need, its losses."""

    fitted: AffineCalibrator
    margins: FloatArray
    losses: FloatArray


@dataclass(frozen=True)
class Candidate:
    """A candidate as fitted on the fit dates and, to be published, on the calibration dates too; its test margins.

    The calibrator has the intercept before any level, `test_shifts` what the level of each test row's date adds, and
    `judged_dates` how it did by date. A constant has no level.
    """

    first: Estimator
    estimator: Estimator
    calibrator: AffineCalibrator
    test_margins: FloatArray
    test_shifts: FloatArray
    level: Level | None
    judged_dates: tuple[JudgedDate, ...] = ()
    calibration_rows: _CalibrationRows | None = None
    metrics: Metrics = field(default_factory=dict)

    @property
    def selection_losses(self) -> FloatArray | None:
        """Log loss of each calibration row, by which candidates are compared; None without calibration dates."""
        return None if self.calibration_rows is None else self.calibration_rows.losses

    @property
    def selection_loss(self) -> float | None:
        """The mean of those."""
        return None if self.selection_losses is None else float(self.selection_losses.mean())

    @cached_property
    def test_log_odds(self) -> FloatArray:
        """Its calibrated log-odds of the test rows, at the level of each one's date."""
        return bound_log_odds(self.calibrator.log_odds(self.test_margins) + self.test_shifts)

    @cached_property
    def test_probabilities(self) -> FloatArray:
        """The same as probabilities."""
        return probabilities_of(self.test_log_odds)


def fit_candidates(
    rows: Rows, lessons: Lessons, split: TimeSplit, task: PredictionTask, settings: Mapping[str, Settings]
) -> tuple[dict[str, Candidate], dict[str, str]]:
    """Every candidate that could be fitted, the rule last, and why the others could not."""
    test = rows.of(split, "test")
    fitted: dict[str, Candidate] = {}
    failed: dict[str, str] = {}
    for name in (*task.candidates, RULE):
        try:
            first, last = _fit(name, lessons, settings, fitted)
            candidate = calibrated(first, last, rows, lessons, split)
            metrics = judge(candidate.test_probabilities, rows, test, lessons.seed)
        except Exception as error:  # noqa: BLE001 - whatever a library raises, the other candidates go on
            failed[name] = f"{type(error).__name__}: {error}"
            continue
        fitted[name] = replace(candidate, metrics={**metrics, **calibration_over_dates(candidate.judged_dates)})
    if RULE not in fitted:
        raise FrameError(f"not even the rule could be fitted: {failed[RULE]}")
    fitted[RULE] = _not_worse_than_constant(fitted[RULE], rows, lessons, split)
    return fitted, failed


def _not_worse_than_constant(rule: Candidate, rows: Rows, lessons: Lessons, split: TimeSplit) -> Candidate:
    """The rule, or the share of outcomes of all earlier rows where the rule is surely worse than that."""
    if not is_worse_than_constant(rule, rows, split, lessons.seed):
        return rule
    test = rows.of(split, "test")
    estimator = cast(BinnedRule, rule.estimator).levelled_out(_earlier_share(rows, split))
    flat = replace(
        rule,
        estimator=estimator,
        calibrator=identity("the rule is surely worse than a constant on the test rows: the constant is published"),
        test_margins=estimator.margins(lessons.last.matrix[test]),
        test_shifts=np.zeros(int(test.sum())),
        level=None,
        judged_dates=(),
    )
    return replace(flat, metrics=judge(flat.test_probabilities, rows, test, lessons.seed))


def _fit(
    name: str, lessons: Lessons, settings: Mapping[str, Settings], fitted: Mapping[str, Candidate]
) -> tuple[Estimator, Estimator]:
    """The candidate as fitted in the first lesson, and in the last with the settings that the first one found."""
    if name == BLEND:
        missing = [member for member in BLENDED if member not in fitted]
        if missing:
            raise FrameError(f"nothing to blend without {', '.join(missing)}")
        members = [fitted[member] for member in BLENDED]
        return blend([member.first for member in members]), blend([member.estimator for member in members])
    kind = BinnedRule.kind if name == RULE else name
    first = fit_candidate(kind, lessons.first.fit_rows, settings.get(name, {}))
    return first, fit_again(first, lessons)


def fit_again(first: Estimator, lessons: Lessons) -> Estimator:
    """The same estimator on the last lesson, with the settings that the first fit found."""
    if lessons.last is lessons.first:
        return first
    return fit_candidate(first.kind, lessons.last.fit_rows, first.settings())


def calibrated(first: Estimator, last: Estimator, rows: Rows, lessons: Lessons, split: TimeSplit) -> Candidate:
    """Both fits with slope and level, and the first one's losses on the calibration rows as the fitted line has them.

    The slope that the first fit's margins need there is given to the last one's, as far as it has not learned better
    from more outcomes; its level is that of all dates. The margin is published as it is where slope and level do worse
    on the dates that the fits had not seen.
    """
    calibrate, test = rows.of(split, "calibrate"), rows.of(split, "test")
    later, calibration_rows, fitted = last.margins(lessons.last.matrix), None, identity()
    if calibrate.any():
        margins, outcomes = first.margins(lessons.first.matrix[calibrate]), rows.outcomes[calibrate]
        fitted = fit_calibrator(margins, outcomes)
        calibration_rows = _CalibrationRows(fitted, margins, log_losses(fitted.log_odds(margins), outcomes))
    then, now = (rows.outcomes[lesson.learned].sum() for lesson in (lessons.first, lessons.last))
    line, level = _levelled(grown(fitted, then, now), later, rows, lessons.last.learned, lessons.horizon_days)
    judged = [*_judged_calibration_dates(first, rows, lessons, split)]
    if split.mode != "by_entity":
        judged += judge_dates(later[test], rows.outcomes[test], rows.dates[test], line, level)
    if is_worse_than_raw(judged):
        line = _raw(line, judged)
        level = replace(measure_level(later, rows.outcomes, rows.dates, line, lessons.horizon_days), is_applied=False)
    return Candidate(
        first,
        last,
        line,
        test_margins=later[test],
        test_shifts=level.shifts_of(rows.dates[test]),
        level=level,
        judged_dates=tuple(judged),
        calibration_rows=calibration_rows,
    )


def _levelled(
    fitted: AffineCalibrator, margins: FloatArray, rows: Rows, learned: np.ndarray, horizon_days: int
) -> tuple[AffineCalibrator, Level]:
    """The line with the level of the rows that were learned from, and how far each date is from it."""
    line = levelled(fitted, margins[learned], rows.outcomes[learned])
    return line, measure_level(margins, rows.outcomes, rows.dates, line, horizon_days)


def _judged_calibration_dates(first: Estimator, rows: Rows, lessons: Lessons, split: TimeSplit) -> Iterator[JudgedDate]:
    """The calibration dates by the first fit, which has not seen them: its level alone, for the slope has."""
    calibrate = rows.of(split, "calibrate")
    if split.mode == "by_entity" or not calibrate.any():
        return
    margins = first.margins(lessons.first.matrix)
    line, level = _levelled(identity(), margins, rows, lessons.first.learned, lessons.horizon_days)
    yield from judge_dates(margins[calibrate], rows.outcomes[calibrate], rows.dates[calibrate], line, level)


def _raw(line: AffineCalibrator, judged: Sequence[JudgedDate]) -> AffineCalibrator:
    published, raw = (np.mean([getattr(day, name) for day in judged]) for name in ("brier", "raw_brier"))
    return identity(
        f"the fitted line (slope {line.slope:.3g}) and the level are worse calibrated over {len(judged)} dates that "
        f"were not learned from than the margin as it is: Brier score {published:.5f} against {raw:.5f}"
    )


def judge(probabilities: FloatArray, rows: Rows, test: np.ndarray, seed: int) -> Metrics:
    """Metrics of the probabilities on these rows (`test`: a mask, shape (rows,)), with intervals over entities."""
    outcomes, entities, dates = rows.outcomes[test], rows.entities[test], rows.dates[test]
    intervals = metric_intervals(probabilities, outcomes, entities, dates, seed=seed)
    return {**evaluate(probabilities, outcomes, dates), **intervals}


def calibrator_with_range(candidate: Candidate, rows: Rows, split: TimeSplit, seed: int) -> AffineCalibrator:
    """The calibrator with the spread of its line over the customers of the calibration rows, or of the test rows."""
    held_out = rows.of(split, "calibrate" if split.calibrate else "test")
    outcomes, entities = rows.outcomes[held_out], rows.entities[held_out]
    if candidate.calibration_rows is None:
        return with_range(candidate.calibrator, candidate.test_margins, outcomes, entities, seed)
    line = with_range(candidate.calibration_rows.fitted, candidate.calibration_rows.margins, outcomes, entities, seed)
    return replace(candidate.calibrator, covariance=line.covariance)


def base_rate_metrics(rows: Rows, split: TimeSplit) -> Metrics:
    """What saying the share of outcomes of all earlier rows would give on the test rows."""
    return evaluate(_constant(rows, split), rows.outcomes[rows.of(split, "test")])


def is_worse_than_constant(candidate: Candidate, rows: Rows, split: TimeSplit, seed: int) -> bool:
    """Whether saying the share of outcomes of all earlier rows has less log loss on the test rows, beyond chance."""
    test = rows.of(split, "test")
    _, _, high = paired_loss_interval(
        candidate.test_probabilities, _constant(rows, split), rows.outcomes[test], rows.entities[test], seed=seed
    )
    return high < 0


def _constant(rows: Rows, split: TimeSplit) -> FloatArray:
    return np.full(int(rows.of(split, "test").sum()), _earlier_share(rows, split))


def _earlier_share(rows: Rows, split: TimeSplit) -> float:
    return float(rows.outcomes[rows.of(split, "fit", "calibrate")].mean())


def choose(
    candidates: dict[str, Candidate], rows: Rows, split: TimeSplit, task: PredictionTask, seed: int
) -> tuple[str, dict[str, Any]]:
    """The best candidate on the calibration rows, or one near it (see `_pick_near`), if it passes the gate."""
    names = [name for name in candidates if name != RULE]
    if not names:
        return RULE, {"chosen": RULE, "reason": "no candidate could be fitted"}
    chosen_on = "calibration rows"
    losses = {name: candidates[name].selection_loss for name in names}
    if any(loss is None for loss in losses.values()):
        chosen_on = "test rows, since there are no calibration dates"
        losses = {name: candidates[name].metrics["log_loss"] for name in names}
    best = min(names, key=lambda name: _or_infinity(losses[name]))
    picked = _pick_near(best, names, candidates, rows.entities[rows.of(split, "calibrate")])
    gate = judge_gate(
        candidates[picked].metrics,
        candidates[RULE].metrics,
        task.gate,
        is_worse_than_constant=is_worse_than_constant(candidates[picked], rows, split, seed),
    )
    decision: dict[str, Any] = {
        "candidate": picked,
        "candidate_chosen_on": chosen_on,
        "candidate_with_least_loss": best,
        "selection_log_loss": losses,
        "reason_cost": {name: candidates[name].estimator.reason_cost() for name in names},
        "gate": gate,
        "chosen": picked if gate["passed"] else RULE,
    }
    return str(decision["chosen"]), decision


def _pick_near(best: str, names: Sequence[str], candidates: dict[str, Candidate], entities: np.ndarray) -> str:
    """Of those within one standard error of the best, in pairs and by entities: the blend, else the cheapest reasons.

    The mean of two models varies less with the rows that they happened to see, and a straight line's reasons cost
    nothing: the blend's cost as much as those of its trees alone.
    """
    least = candidates[best].selection_losses
    if least is None:
        return best
    near = []
    for name in names:
        losses = candidates[name].selection_losses
        if losses is not None and losses.mean() - least.mean() <= standard_error_of_mean(
            losses - least, members(entities)
        ):
            near.append(name)
    return min(
        near,
        key=lambda name: (
            name != BLEND,
            candidates[name].estimator.reason_cost(),
            _or_infinity(candidates[name].selection_loss),
        ),
    )


def judge_gate(candidate: Metrics, rule: Metrics, gate: Gate, *, is_worse_than_constant: bool) -> dict[str, Any]:
    """Whether a candidate beats the rule by log loss or average precision on the same rows, with figures.

    And is told from chance: one whose AUC's interval reaches down to 0.5 may rank no better than a coin. And is not
    surely worse than a constant: who ranks well may still promise what does not come.
    """
    loss_gain = _difference(rule["log_loss"], candidate["log_loss"])
    precision_gain = _difference(candidate["average_precision"], rule["average_precision"])
    passed_by = [
        name
        for name, gain, needed in (
            ("log_loss", loss_gain, gate.log_loss_gain),
            ("average_precision", precision_gain, gate.average_precision_gain),
        )
        if gain is not None and gain > needed
    ]
    auc_low = candidate["auc_low"]
    is_told_from_chance = auc_low is not None and auc_low > CHANCE
    return {
        "passed": bool(passed_by) and is_told_from_chance and not is_worse_than_constant,
        "passed_by": passed_by,
        "is_worse_than_constant": is_worse_than_constant,
        "is_told_from_chance": is_told_from_chance,
        "log_loss_gain": loss_gain,
        "average_precision_gain": precision_gain,
    }


def _or_infinity(loss: float | None) -> float:
    return np.inf if loss is None else loss


def _difference(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right
