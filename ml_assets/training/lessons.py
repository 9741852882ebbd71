"""What a candidate learns from: the checked rows of a training, encoded, split by time and with chosen features."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.errors import FrameError, LabelError, TrainingChangedError
from ml_assets.estimators.base import FitRows
from ml_assets.frames import (
    DateArray,
    FeatureEncoder,
    FloatArray,
    as_of_dates,
    check_features,
    check_keys,
    labelled_rows,
    outcomes_of,
    plain_values,
)
from ml_assets.task import ENTITY_ID, OUTCOME, Feature, PredictionTask
from ml_assets.training.feature_selection import Selection, every_feature, select_features
from ml_assets.training.splits import (
    LEARNED,
    Part,
    TimeSplit,
    buckets_of,
    inner_split,
    inner_split_by_entity,
)


@dataclass(frozen=True)
class Rows:
    """Labelled rows as arrays, all of shape (rows, ...)."""

    frame: pd.DataFrame
    outcomes: FloatArray
    dates: DateArray
    entities: np.ndarray
    buckets: np.ndarray

    def of(self, split: TimeSplit, *parts: Part) -> np.ndarray:
        """Mask of the rows of these parts of a split, shape (rows,)."""
        return split.mask(self.dates, self.buckets, *parts)

    def until(self, day: str | None) -> np.ndarray:
        """Mask of the rows up to a date (ISO 8601), shape (rows,); None: of all."""
        return np.ones(len(self.dates), dtype=bool) if day is None else self.dates <= np.datetime64(day, "D")


@dataclass(frozen=True)
class Lesson:
    """What candidates are fitted on: the rows of some parts, and all rows encoded as those of these parts are."""

    encoder: FeatureEncoder
    matrix: FloatArray
    learned: np.ndarray
    fit_rows: FitRows

    def narrowed(self, kept: npt.NDArray[np.intp]) -> "Lesson":
        """The same with these features only."""
        if len(kept) == len(self.encoder.features):
            return self
        encoder, matrix = self.encoder.narrowed(kept), np.asfortranarray(self.matrix[:, kept])
        # Taken from the matrix again, as `repeat` will: rows that lie otherwise in memory add up to other last digits.
        fit_rows = replace(self.fit_rows, matrix=matrix[self.learned], encoder=encoder)
        return Lesson(encoder, matrix, self.learned, fit_rows)


@dataclass(frozen=True)
class Lessons:
    """The fit part's, and the one that what publishes learns from; the same where there are no calibration dates."""

    first: Lesson
    last: Lesson
    horizon_days: int

    @property
    def seed(self) -> int:
        """What chance is drawn from."""
        return self.last.fit_rows.seed


def fingerprint(frame: pd.DataFrame, features: Sequence[Feature], task: PredictionTask) -> str:
    """A hash of keys, features and labels that does not depend on the order of the rows."""
    plain = pd.DataFrame(
        {
            "company_id": frame["company_id"].astype("str"),
            ENTITY_ID: frame[ENTITY_ID].astype("str"),
            "as_of_date": as_of_dates(frame).astype("int64"),
            OUTCOME: outcomes_of(frame, task),
            **{f.name: plain_values(frame[f.name], f) for f in sorted(features, key=lambda f: f.name)},
        }
    )
    hashes = np.sort(pd.util.hash_pandas_object(plain, index=False).to_numpy())
    digest = hashlib.blake2b(",".join(plain.columns).encode(), digest_size=16)
    digest.update(hashes.tobytes())
    return digest.hexdigest()


def check_input(frame: pd.DataFrame, features: Sequence[Feature], task: PredictionTask, horizon_days: int) -> None:
    """Raise a `FrameError` where the frame lacks keys, features or the label, or the horizon is no number of days."""
    if horizon_days < 1:
        raise FrameError(f"horizon_days must be at least 1, got {horizon_days!r}")
    if not features:
        raise FrameError(f"task {task.name!r} was given no features to train on")
    check_keys(frame, task)
    check_features(frame, features)
    if OUTCOME not in frame.columns:
        raise LabelError(f"the training frame lacks the label {OUTCOME!r} of task {task.name!r}")


def read_rows(frame: pd.DataFrame, task: PredictionTask) -> Rows:
    """The labelled rows of the frame; its entities are numbered, those of different companies differently."""
    labelled = labelled_rows(frame, task)
    entities = labelled.groupby(["company_id", ENTITY_ID], sort=False).ngroup().to_numpy()
    buckets = buckets_of(labelled["company_id"].to_numpy(), labelled[ENTITY_ID].to_numpy())
    return Rows(labelled, outcomes_of(labelled, task), as_of_dates(labelled), entities, buckets)


def check_fingerprint(actual: str, recorded: str) -> None:
    """Raise TrainingChangedError where the rows are not those of the record."""
    if actual != recorded:
        raise TrainingChangedError(
            f"the rows are not those that the model was trained on (fingerprint {actual}, recorded {recorded}): labels "
            "or features were corrected, or customers erased, since"
        )


def make_lessons(
    rows: Rows,
    features: Sequence[Feature],
    split: TimeSplit,
    horizon_days: int,
    seed: int,
    threads: int,
    *,
    selects_features: bool = True,
) -> tuple[Lessons, Selection]:
    """The first lesson and the last, each with the features that stay, and what stayed in the last.

    Where features were selected before, all of them stay.
    """
    select = select_features if selects_features else every_feature
    first, selection = _selected(make_lesson(rows, features, split, ["fit"], horizon_days, seed, threads), select)
    if not split.calibrate:
        return Lessons(first, first, horizon_days), selection
    last, selection = _selected(make_lesson(rows, features, split, LEARNED, horizon_days, seed, threads), select)
    return Lessons(first, last, horizon_days), selection


def _selected(lesson: Lesson, select: Callable[[FitRows], Selection]) -> tuple[Lesson, Selection]:
    selection = select(lesson.fit_rows)
    return lesson.narrowed(selection.kept), selection


def make_lesson(
    rows: Rows,
    features: Sequence[Feature],
    split: TimeSplit,
    parts: Sequence[Part],
    horizon_days: int,
    seed: int,
    threads: int,
) -> Lesson:
    """What is learned from the rows of these parts: all features, encoded by what those rows hold."""
    learned = rows.of(split, *parts)
    encoder = FeatureEncoder.fit(rows.frame[learned], features)
    matrix = encoder.encode(rows.frame)
    outcomes = rows.outcomes[learned]
    if split.mode == "by_entity":
        inner = inner_split_by_entity(outcomes, rows.buckets[learned])
    else:
        inner = inner_split(rows.dates[learned], outcomes, horizon_days=horizon_days)
    return Lesson(encoder, matrix, learned, FitRows(matrix[learned], outcomes, encoder, inner, seed, threads))
