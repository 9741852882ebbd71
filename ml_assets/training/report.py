"""What a model card shows of a training besides the metrics, judged on rows that nothing had learned from."""

from typing import Any

import numpy as np

from ml_assets.estimators.candidates import fit_candidate, shallower
from ml_assets.frames import FloatArray
from ml_assets.judging.evaluate import evaluate
from ml_assets.judging.report import describe_model
from ml_assets.task import PredictionTask
from ml_assets.training.champion import segments_of
from ml_assets.training.choosing import Candidate, calibrated, fit_again
from ml_assets.training.lessons import Lessons, Rows
from ml_assets.training.promotion import paired_loss_interval
from ml_assets.training.reach import judge_curve, learn_curve
from ml_assets.training.splits import TimeSplit

_DRIVER_ROWS = 1_000


def report_of(
    chosen: Candidate,
    rows: Rows,
    lessons: Lessons,
    split: TimeSplit,
    task: PredictionTask,
) -> dict[str, Any]:
    """What a model card shows besides the metrics; the weights of features come from at most _DRIVER_ROWS test rows."""
    test = rows.of(split, "test")
    some = np.flatnonzero(test)[:: max(1, int(test.sum()) // _DRIVER_ROWS)][:_DRIVER_ROWS]
    parts, _ = chosen.estimator.parts(lessons.last.matrix[some])
    probabilities, last = chosen.test_probabilities, lessons.last
    log_odds = chosen.calibrator.log_odds(chosen.estimator.margins(last.matrix[last.learned]))
    return {
        **describe_model(
            probabilities,
            rows.outcomes[test],
            rows.entities[test],
            rows.dates[test],
            segments_of(rows.frame, task, test),
            parts * chosen.calibrator.slope,
            lessons.last.encoder.features,
            seed=lessons.seed,
        ),
        "dates": [judged.describe() for judged in chosen.judged_dates],
        "reason_cost": chosen.estimator.reason_cost(),
        "shallower": _judge_shallower(chosen, probabilities, rows, lessons, split),
        "horizons": judge_curve(
            learn_curve(last, log_odds, rows, task, lessons.horizon_days),
            chosen.test_log_odds,
            lessons.last,
            rows,
            test,
        ),
    }


def _judge_shallower(
    chosen: Candidate,
    probabilities: FloatArray,
    rows: Rows,
    lessons: Lessons,
    split: TimeSplit,
) -> dict[str, Any] | None:
    """What the same model with trees one level less deep would lose on the test rows, and what its reasons cost."""
    settings = shallower(chosen.estimator.settings())
    if settings is None:
        return None
    test = rows.of(split, "test")
    first = fit_candidate(chosen.estimator.kind, lessons.first.fit_rows, settings)
    estimator = fit_again(first, lessons)
    other = calibrated(first, estimator, rows, lessons, split).test_probabilities
    loss, low, high = paired_loss_interval(
        probabilities, other, rows.outcomes[test], rows.entities[test], seed=lessons.seed
    )
    return {
        "log_loss_lost": loss,
        "log_loss_lost_low": low,
        "log_loss_lost_high": high,
        "auc": evaluate(other, rows.outcomes[test], rows.dates[test])["auc"],
        "reason_cost": estimator.reason_cost(),
    }
