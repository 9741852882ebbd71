"""How far a model's scores reach: the curve over several horizons, and how well it held at each.

The curve is learned from the rows that the model learned from; what a curve is belongs in `model/curve.py`.
"""

from typing import Any

import numpy as np

from ml_assets.frames import FloatArray
from ml_assets.judging.evaluate import calibration_error, log_losses_of
from ml_assets.model.curve import HorizonCurve, fit_curve
from ml_assets.task import OBSERVED_DAYS, OUTCOME_DAYS, PredictionTask
from ml_assets.training.lessons import Lesson, Rows


def learn_curve(
    lesson: Lesson, log_odds: FloatArray, rows: Rows, task: PredictionTask, horizon_days: int
) -> HorizonCurve:
    """The curve, from the lesson's rows as far as they were seen by now.

    `log_odds`, (learned rows,), are the published ones before any level. Their model has seen these rows, and so have
    the trees: on rows held out the lines are nearly the same, since both are shallow. A frame without the columns
    OUTCOME_DAYS and OBSERVED_DAYS gives a curve of the horizon alone.
    """
    if OUTCOME_DAYS not in rows.frame.columns:
        return HorizonCurve.flat(horizon_days)
    learned = lesson.learned
    matrix, came, observed = (
        lesson.matrix[learned],
        _days(rows, OUTCOME_DAYS)[learned],
        _days(rows, OBSERVED_DAYS)[learned],
    )
    curve = fit_curve(
        matrix,
        came,
        observed,
        horizon_days=horizon_days,
        curve_days=task.curve_days,
        minimum_outcomes=task.split.minimum_outcomes,
        seed=lesson.fit_rows.seed,
        threads=lesson.fit_rows.threads,
    )
    return curve.fitted(log_odds, curve.shares(matrix), came, observed, rows.dates[learned])


def judge_curve(
    curve: HorizonCurve, log_odds: FloatArray, lesson: Lesson, rows: Rows, test: np.ndarray
) -> list[dict[str, Any]]:
    """By horizon, among the test rows that were seen to it: rows, outcomes, promised, kept, log loss and ECE, as JSON.

    `log_odds` are the published ones of the test rows; `test` is their mask (rows,).
    """
    if curve.trees is None:
        return []
    outcome_days, observed_days = (_days(rows, name)[test] for name in (OUTCOME_DAYS, OBSERVED_DAYS))
    probabilities = curve.probabilities(log_odds, curve.shares(lesson.matrix[test]))
    judged = []
    for days, promised in zip(curve.days, probabilities.T, strict=True):
        seen = observed_days >= days
        if not seen.any():
            break
        outcomes = (outcome_days[seen] < days).astype(np.float64)
        judged.append(
            {
                "days": days,
                "rows": int(seen.sum()),
                "outcomes": int(outcomes.sum()),
                "promised": float(promised[seen].mean()),
                "kept": float(outcomes.mean()),
                "log_loss": float(log_losses_of(promised[seen], outcomes).mean()),
                "calibration_error": calibration_error(promised[seen], outcomes),
            }
        )
    return judged


def _days(rows: Rows, name: str) -> FloatArray:
    return rows.frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
