"""Whether a newly trained model replaces the champion, the model that publishes today: both judged on the same rows."""

from typing import Any, Literal

import numpy as np
import pandas as pd

from ml_assets.errors import FrameError
from ml_assets.frames import DateArray
from ml_assets.judging.evaluate import Metrics, evaluate
from ml_assets.model.trained import TrainedModel
from ml_assets.task import PredictionTask
from ml_assets.training.choosing import RULE, judge
from ml_assets.training.lessons import Rows
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
    model: TrainedModel,
    champion: TrainedModel,
    rows: Rows,
    split: TimeSplit,
    task: PredictionTask,
    decision: dict[str, Any],
    evaluations: dict[str, Metrics],
) -> Status:
    """Judge both on the test rows that the champion has not learned from (on all, if there are none).

    The comparison is added to `decision` under "champion", the champion's metrics to `evaluations`. A champion of
    another feature version, or that cannot score these rows, is replaced without a comparison.
    """
    if champion.facts.feature_version != model.facts.feature_version:
        decision["champion"] = {
            "promoted": True,
            "is_compared": False,
            "reason": f"the champion was trained on feature version {champion.facts.feature_version}, "
            f"and the matrix is of version {model.facts.feature_version}",
        }
        return "promoted"
    test = rows.of(split, "test")
    unseen = test & _not_seen_by(champion, rows.dates)
    same = unseen if 0 < rows.outcomes[unseen].sum() < unseen.sum() else test
    frame = rows.frame[same]
    try:
        theirs = champion.score(frame, explain=False).probability
    except FrameError as error:
        decision["champion"] = {
            "promoted": True,
            "is_compared": False,
            "reason": f"the champion cannot score this matrix: {error}",
        }
        return "promoted"
    ours = model.score(frame, explain=False).probability
    seed = model.facts.seed
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
        "champion_has_seen_these_rows": bool((same & ~_not_seen_by(champion, rows.dates)).any()),
    }
    return "promoted" if decision["champion"]["promoted"] else "kept_champion"


def _not_seen_by(champion: TrainedModel, dates: DateArray) -> np.ndarray:
    """Which dates, shape (rows,), lie a horizon or more after the last one that the champion learned from."""
    if champion.facts.last_seen_date is None:
        return np.ones(len(dates), dtype=bool)
    horizon = np.timedelta64(champion.facts.horizon_days, "D")
    return dates >= np.datetime64(champion.facts.last_seen_date, "D") + horizon
