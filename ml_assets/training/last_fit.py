"""The last fit: what publishes has learned from every mature date, the newest among them.

What is judged has not seen the newest dates, or it could not be judged. But they are those that tomorrow is most like,
and with a long horizon they and the gap before them are most of a short history. So the candidate that was chosen is
fitted once more on all rows, with its own settings and the slope that it was judged with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ml_assets.estimators.base import Estimator, FitRows
from ml_assets.estimators.candidates import fit_candidate
from ml_assets.frames import FeatureEncoder
from ml_assets.model.calibrate import AffineCalibrator, grown, levelled
from ml_assets.model.level import Level, measure_level
from ml_assets.task import Feature
from ml_assets.training.choosing import Candidate, calibrator_with_range
from ml_assets.training.feature_selection import Selection, every_feature, select_features
from ml_assets.training.lessons import Lesson, Lessons, Rows
from ml_assets.training.splits import TimeSplit


@dataclass(frozen=True)
class LastFit:
    """The chosen candidate as it publishes, the lesson that it had, and the features that stayed."""

    estimator: Estimator
    lesson: Lesson
    calibrator: AffineCalibrator
    level: Level | None
    selection: Selection

    @property
    def encoder(self) -> FeatureEncoder:
        """That of the rows it learned from."""
        return self.lesson.encoder


def fit_last(
    candidate: Candidate,
    rows: Rows,
    features: Sequence[Feature],
    lessons: Lessons,
    selection: Selection,
    split: TimeSplit,
    *,
    selects_features: bool = True,
) -> LastFit:
    """The candidate on all rows, levelled on all dates; `selection` is what it was judged with.

    A margin that was better as it is stays as it is, and a constant, which has no level, as it was judged.
    """
    calibrator = calibrator_with_range(candidate, rows, split, lessons.seed)
    if candidate.level is None:
        return LastFit(candidate.estimator, lessons.last, calibrator, None, selection)
    whole = learn_from(rows, features, None, lessons.seed, lessons.last.fit_rows.threads)
    selection = (select_features if selects_features else every_feature)(whole.fit_rows)
    whole = whole.narrowed(selection.kept)
    estimator = fit_candidate(candidate.estimator.kind, whole.fit_rows, candidate.estimator.settings())
    margins = estimator.margins(whole.matrix)
    line = calibrator
    if candidate.level.is_applied:
        judged_with = rows.outcomes[lessons.last.learned].sum()
        line = levelled(grown(calibrator, judged_with, rows.outcomes.sum()), margins, rows.outcomes)
    level = measure_level(margins, rows.outcomes, rows.dates, line, lessons.horizon_days)
    level = replace(level, is_applied=candidate.level.is_applied)
    return LastFit(estimator, whole, line, level, selection)


def learn_from(rows: Rows, features: Sequence[Feature], until: str | None, seed: int, threads: int) -> Lesson:
    """All rows up to a date as a lesson; there is no inner split, for the settings stand."""
    learned = rows.until(until)
    encoder = FeatureEncoder.fit(rows.frame[learned], features)
    matrix = encoder.encode(rows.frame)
    return Lesson(
        encoder, matrix, learned, FitRows(matrix[learned], rows.outcomes[learned], encoder, None, seed, threads)
    )
