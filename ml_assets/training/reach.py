"""How far a model's scores reach: the curve over several horizons, and how well it held at each.

The curve rests on rows that the model has not learned from; what a curve is belongs in `model/curve.py`.
"""

from typing import Any

import numpy as np

from ml_assets.frames import FloatArray
from ml_assets.judging.evaluate import calibration_error, log_losses_of
from ml_assets.model.calibrate import AffineCalibrator
from ml_assets.model.curve import HorizonCurve, fit_curve
from ml_assets.model.explain import bound_log_odds
from ml_assets.task import OBSERVED_DAYS, OUTCOME_DAYS, PredictionTask
from ml_assets.training.choosing import Candidate
from ml_assets.training.lessons import Rows
from ml_assets.training.splits import TimeSplit


def learn_curve(
    candidate: Candidate,
    calibrator: AffineCalibrator,
    rows: Rows,
    split: TimeSplit,
    task: PredictionTask,
    horizon_days: int,
) -> tuple[HorizonCurve, list[dict[str, Any]]]:
    """The curve of what publishes, by the calibration and test rows; and how it held on the test rows, as JSON.

    What is judged was learned from the calibration rows alone; without them nothing is. A frame without the columns
    OUTCOME_DAYS and OBSERVED_DAYS gives a curve of the horizon alone.
    """
    if OUTCOME_DAYS not in rows.frame.columns:
        return HorizonCurve(horizon_days), []
    test, calibrate = rows.of(split, "test"), rows.of(split, "calibrate")
    later = bound_log_odds(calibrator.log_odds(candidate.test_margins))
    judged: list[dict[str, Any]] = []
    known, log_odds = [test], [later]
    if candidate.calibration_rows is not None:
        unseen = candidate.calibration_rows
        known.append(calibrate)
        log_odds.append(bound_log_odds(unseen.fitted.log_odds(unseen.margins)))
        judged = _judge(_fit(known[1:], log_odds[1:], rows, task, horizon_days), later, rows, test)
    return _fit(known, log_odds, rows, task, horizon_days), judged


def _fit(
    parts: list[np.ndarray], log_odds: list[FloatArray], rows: Rows, task: PredictionTask, horizon_days: int
) -> HorizonCurve:
    outcome_days, observed_days = (_days(rows, name) for name in (OUTCOME_DAYS, OBSERVED_DAYS))
    return fit_curve(
        np.concatenate(log_odds),
        np.concatenate([outcome_days[part] for part in parts]),
        np.concatenate([observed_days[part] for part in parts]),
        horizon_days=horizon_days,
        curve_days=task.curve_days,
        minimum_outcomes=task.split.minimum_outcomes,
    )


def _judge(curve: HorizonCurve, log_odds: FloatArray, rows: Rows, test: np.ndarray) -> list[dict[str, Any]]:
    """By horizon, among the rows that were observed to it: rows, outcomes, promised, kept, log loss and ECE."""
    outcome_days, observed_days = (_days(rows, name)[test] for name in (OUTCOME_DAYS, OBSERVED_DAYS))
    judged = []
    for days, probabilities in zip(curve.days, curve.probabilities(log_odds).T, strict=True):
        seen = observed_days >= days
        if not seen.any():
            break
        promised, outcomes = probabilities[seen], (outcome_days[seen] < days).astype(np.float64)
        judged.append(
            {
                "days": days,
                "rows": int(seen.sum()),
                "outcomes": int(outcomes.sum()),
                "promised": float(promised.mean()),
                "kept": float(outcomes.mean()),
                "log_loss": float(log_losses_of(promised, outcomes).mean()),
                "calibration_error": calibration_error(promised, outcomes),
            }
        )
    return judged


def _days(rows: Rows, name: str) -> FloatArray:
    return rows.frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
