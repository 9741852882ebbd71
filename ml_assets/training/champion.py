"""Whether a newly trained model replaces the champion, the model that publishes today: both judged on the same rows."""

from typing import Any, Literal

import numpy as np
import pandas as pd

from ml_assets.errors import FrameError
from ml_assets.estimators.candidates import fit_candidate
from ml_assets.estimators.rules import PriorRule
from ml_assets.frames import DateArray, FloatArray
from ml_assets.judging.evaluate import Metrics, evaluate
from ml_assets.model.trained import TrainedModel, TrainingFacts
from ml_assets.task import PredictionTask
from ml_assets.training.choosing import RULE, Candidate, calibrated, judge
from ml_assets.training.lessons import Lessons, Rows
from ml_assets.training.promotion import Judged, judge_promotion
from ml_assets.training.splits import TimeSplit

CHAMPION = "champion"
Status = Literal["promoted", "kept_champion", "too_few_outcomes"]


def segments_of(frame: pd.DataFrame, task: PredictionTask, chosen: np.ndarray) -> np.ndarray | None:
    """The chosen rows' segments as text, None where missing; None where the frame has no such column."""
    if task.segment_feature not in frame.columns:
        return None
    column = frame[task.segment_feature][chosen].astype(object)
    return column.where(column.notna(), None).to_numpy()


def compare_with_champion(
    challenger: Candidate,
    facts: TrainingFacts,
    champion: TrainedModel,
    rows: Rows,
    lessons: Lessons,
    split: TimeSplit,
    task: PredictionTask,
    decision: dict[str, Any],
    evaluations: dict[str, Metrics],
) -> Status:
    """Judge the challenger, as it was before its last fit, and the champion on the same test rows.

    On those that the champion has not learned from. Where it has seen them all, its settings are judged in its place,
    fitted on the challenger's rows. The comparison is added to `decision` under "champion", the champion's metrics to
    `evaluations`. A champion of another feature version, or that cannot score these rows, is replaced without a
    comparison. `facts` are the challenger's.
    """
    if champion.facts.feature_version != facts.feature_version:
        decision["champion"] = {
            "promoted": True,
            "is_compared": False,
            "reason": f"the champion was trained on feature version {champion.facts.feature_version}, "
            f"and the matrix is of version {facts.feature_version}",
        }
        return "promoted"
    test = rows.of(split, "test")
    unseen = test & _not_seen_by(champion, rows.dates)
    is_unseen = bool(0 < rows.outcomes[unseen].sum() < unseen.sum())
    same = unseen if is_unseen else test
    try:
        theirs = champion.score(rows.frame[same], explain=False).probability
        if not is_unseen and not isinstance(champion.estimator, PriorRule):
            theirs = _by_its_settings(champion, rows, lessons, split)
    except FrameError as error:
        decision["champion"] = {
            "promoted": True,
            "is_compared": False,
            "reason": f"the champion cannot score this matrix: {error}",
        }
        return "promoted"
    ours = challenger.test_probabilities[same[test]]
    seed = lessons.seed
    evaluations[CHAMPION] = judge(theirs, rows, same, seed)
    if not 0 < rows.outcomes[same].sum() < same.sum():
        decision["champion"] = {
            "promoted": False,
            "is_compared": True,
            "reason": "the same later rows hold one class only",
        }
        return "kept_champion"
    judged = Judged(rows.outcomes[same], rows.entities[same], segments_of(rows.frame, task, same))
    beats_rule = decision["chosen"] == RULE or bool(decision["gate"]["passed"])
    decision["champion"] = {
        **judge_promotion(ours, theirs, judged, task.promotion, beats_rule=beats_rule, seed=seed),
        "challenger_log_loss": evaluate(ours, rows.outcomes[same])["log_loss"],
        "champion_log_loss": evaluations[CHAMPION]["log_loss"],
        "champion_has_seen_these_rows": not is_unseen,
    }
    return "promoted" if decision["champion"]["promoted"] else "kept_champion"


def _by_its_settings(champion: TrainedModel, rows: Rows, lessons: Lessons, split: TimeSplit) -> FloatArray:
    """The test rows' probabilities by the champion's settings, fitted on what the challenger learned from."""
    settings = champion.estimator.settings()
    first, last = (
        fit_candidate(champion.estimator.kind, lesson.fit_rows, settings) for lesson in (lessons.first, lessons.last)
    )
    return calibrated(first, last, rows, lessons, split).test_probabilities


def _not_seen_by(champion: TrainedModel, dates: DateArray) -> np.ndarray:
    """Which dates, shape (rows,), lie a horizon or more after the last one that the champion learned from."""
    if champion.facts.last_seen_date is None:
        return np.ones(len(dates), dtype=bool)
    horizon = np.timedelta64(champion.facts.horizon_days, "D")
    return dates >= np.datetime64(champion.facts.last_seen_date, "D") + horizon
