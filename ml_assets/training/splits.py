"""Splitting by time: fit on earlier dates, calibrate on later ones, judge on the last. Never by row.

Between two parts lies a gap of one horizon: the label of a row at date d is decided in [d, d + horizon),
so the last fit date plus the horizon must not reach past the first calibration date. Otherwise the model
would have read outcomes of the days it is judged on.

A calendar that is too short for that is no reason not to learn, where outcomes are many: then other entities of the
same dates are held out, and the record says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd

from foundation.counting import agreeing, counted
from ml_assets.frames import DateArray, FloatArray
from ml_assets.task import SplitSettings

_INNER_SHARE = 0.25
Mode = Literal["three_way", "two_way", "by_entity"]
Part = Literal["fit", "calibrate", "test"]
LEARNED: tuple[Part, ...] = ("fit", "calibrate")
"""The parts that what is published has learned from."""

BUCKETS = 10
_BUCKETS_OF: Mapping[Part, tuple[int, ...]] = {
    "fit": (0, 1, 2, 3, 4, 5),
    "calibrate": (6, 7),
    "test": (8, 9),
}
_INNER_BUCKETS = (4, 5)


@dataclass(frozen=True)
class DateCounts:
    """Rows and outcomes of one as_of_date."""

    as_of_date: date
    rows: int
    outcomes: int


@dataclass(frozen=True)
class TimeSplit:
    """The dates of each part. `mode` two_way has no calibration dates: the history is too short for them.

    In mode by_entity all parts have the same dates, and each has entities of its own.
    """

    mode: Mode
    fit: tuple[date, ...]
    calibrate: tuple[date, ...]
    test: tuple[date, ...]
    unused: tuple[date, ...]
    note: str

    def mask(self, dates: DateArray, buckets: np.ndarray, *parts: Part) -> np.ndarray:
        """Which rows belong to any of these parts; `dates` and `buckets` (of their entities) have shape (rows,)."""
        inside = np.zeros(len(dates), dtype=bool)
        for part in parts:
            rows = rows_on(dates, getattr(self, part))
            inside |= rows & np.isin(buckets, _BUCKETS_OF[part]) if self.mode == "by_entity" else rows
        return inside

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "TimeSplit":
        """Read back what `describe` gave."""
        fit, calibrate, test, unused = (
            tuple(date.fromisoformat(day) for day in record[part]) for part in ("fit", "calibrate", "test", "unused")
        )
        return cls(record["mode"], fit, calibrate, test, unused, record["note"])

    def describe(self) -> dict[str, object]:
        """The split as JSON-ready values."""
        parts = {"fit": self.fit, "calibrate": self.calibrate, "test": self.test, "unused": self.unused}
        return {
            "mode": self.mode,
            "note": self.note,
            **{name: [day.isoformat() for day in days] for name, days in parts.items()},
        }


@dataclass(frozen=True)
class NoSplit:
    """Why the dates do not allow a split."""

    reason: str


@dataclass(frozen=True)
class Fold:
    """One origin: masks of the rows before it, less a gap of one horizon, and of those after it."""

    fit: np.ndarray
    judge: np.ndarray
    first: date
    last: date

    def describe(self) -> dict[str, object]:
        """The dates that are judged, and the rows, as JSON-ready values."""
        return {
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "fit_rows": int(self.fit.sum()),
            "rows": int(self.judge.sum()),
        }


def rolling_folds(dates: DateArray, outcomes: FloatArray, *, horizon_days: int, count: int = 3) -> list[Fold]:
    """Folds whose origin rolls forward over the later half of the dates; each fits on all that came before.

    The label of the last fit date is decided before the first judged one. A fold without both classes on both sides
    is left out; with too short a history there are none.
    """
    days = np.unique(dates)
    blocks = [block for block in np.array_split(days[len(days) // 2 :], count) if len(block)]
    folds = []
    for block in blocks:
        judge = (dates >= block[0]) & (dates <= block[-1])
        fit = dates + np.timedelta64(horizon_days, "D") <= block[0]
        if all(part.any() and 0 < outcomes[part].sum() < part.sum() for part in (fit, judge)):
            folds.append(Fold(fit, judge, block[0].item(), block[-1].item()))
    return folds


def count_by_date(dates: DateArray, outcomes: FloatArray) -> list[DateCounts]:
    """Rows and outcomes of each date, earliest first."""
    days, position = np.unique(dates, return_inverse=True)
    rows = np.bincount(position, minlength=len(days))
    positive = np.bincount(position, weights=outcomes, minlength=len(days))
    return [
        DateCounts(as_of_date=day.item(), rows=int(count), outcomes=int(with_outcome))
        for day, count, with_outcome in zip(days, rows, positive, strict=True)
    ]


def split_rows(
    dates: DateArray,
    outcomes: FloatArray,
    buckets: np.ndarray,
    *,
    horizon_days: int,
    settings: SplitSettings,
    entity: str,
) -> TimeSplit | NoSplit:
    """How labelled rows are shared out, arrays (rows,): by time, and where the history is too short for that by entity.

    `entity` is what people call one. `NoSplit` says why neither can be, where outcomes are too few.
    """
    by_time = split_by_time(count_by_date(dates, outcomes), horizon_days=horizon_days, settings=settings)
    if isinstance(by_time, TimeSplit):
        return by_time
    by_entity = split_by_entity(dates, outcomes, buckets, settings, entity=entity)
    return by_entity if isinstance(by_entity, TimeSplit) else NoSplit(f"{by_time.reason}; {by_entity.reason}")


def split_by_time(counts: list[DateCounts], *, horizon_days: int, settings: SplitSettings) -> TimeSplit | NoSplit:
    """Share the dates out over fit, calibrate and test, with gaps of one horizon.

    With too short a history the calibration part is given up (two_way); if even fit and test cannot both
    hold outcomes the answer is `NoSplit`. Dates inside a gap are `unused`.
    """
    days = sorted(counts, key=lambda count: count.as_of_date)
    largest = max(1, int(len(days) * settings.largest_share))
    test = _latest(days, largest, settings)
    if test is None:
        return NoSplit(
            f"{counted(len(days), 'mature date')} {agreeing(len(days), 'hold')} fewer than "
            f"{settings.minimum_outcomes} rows with, or without, "
            "the outcome: nothing to judge on"
        )
    before_test = _before(days, test[0].as_of_date, horizon_days)
    calibrate = _latest(before_test, largest, settings)
    if calibrate is not None:
        fit = _before(days, calibrate[0].as_of_date, horizon_days)
        if _is_enough(fit, settings):
            return _split("three_way", days, fit, calibrate, test, "fitted, calibrated and judged on separate dates")
    if _is_enough(before_test, settings):
        note = "too short a history for calibration dates: the model's own probability is published"
        return _split("two_way", days, before_test, [], test, note)
    return NoSplit(
        f"{counted(len(days), 'mature date')} with a horizon of {counted(horizon_days, 'day')} "
        f"{agreeing(len(days), 'leave')} no earlier dates with "
        f"{settings.minimum_outcomes} rows with, and without, the outcome to fit on"
    )


def split_by_entity(
    dates: DateArray, outcomes: FloatArray, buckets: np.ndarray, settings: SplitSettings, *, entity: str
) -> TimeSplit | NoSplit:
    """Three parts of entities over all dates: six tenths to fit on, two to calibrate on and two to judge on.

    `entity` is what people call one. What it cannot show is whether tomorrow is like today. `NoSplit` where a part
    lacks outcomes.
    """
    days = tuple(day.item() for day in np.unique(dates))
    note = (
        f"too short a history to judge on later dates: fitted, calibrated and judged on different {entity}s of the "
        "same time"
    )
    split = TimeSplit("by_entity", days, days, days, (), note)
    for part in _BUCKETS_OF:
        counts = count_by_date(*(values[split.mask(dates, buckets, part)] for values in (dates, outcomes)))
        if not _is_enough(counts, settings):
            return NoSplit(
                f"the part to {part} holds fewer than {settings.minimum_outcomes} rows with, or without, the outcome"
            )
    return split


def buckets_of(company_ids: np.ndarray, entity_ids: np.ndarray) -> np.ndarray:
    """In which of ten parts an entity stands, shape (rows,): by its id alone, so the same at each training."""
    keys = pd.Series(company_ids).astype(str) + "/" + pd.Series(entity_ids).astype(str)
    hashed = pd.util.hash_array(keys.to_numpy(dtype=object), categorize=True)
    return np.asarray(hashed % BUCKETS)


def inner_split_by_entity(outcomes: FloatArray, buckets: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """`inner_split` for fit rows of mode by_entity: some of the fit entities and the others."""
    late = np.isin(buckets, _INNER_BUCKETS)
    return _both_classes(~late, late, outcomes)


def inner_split(dates: DateArray, outcomes: FloatArray, *, horizon_days: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Masks of an earlier and a later part of the fit rows, for choosing a model's size; None when too short.

    The later part is the last quarter of the dates, with the same gap of one horizon before it.
    """
    days = np.unique(dates)
    if len(days) < 3:
        return None
    first_late = days[-max(1, int(len(days) * _INNER_SHARE))]
    late = dates >= first_late
    early = dates + np.timedelta64(horizon_days, "D") <= first_late
    return _both_classes(early, late, outcomes)


def _both_classes(early: np.ndarray, late: np.ndarray, outcomes: FloatArray) -> tuple[np.ndarray, np.ndarray] | None:
    enough = all(part.any() and 0 < outcomes[part].sum() < part.sum() for part in (early, late))
    return (early, late) if enough else None


def rows_on(dates: DateArray, days: tuple[date, ...]) -> np.ndarray:
    """Mask of the rows whose as_of_date is one of the days."""
    return np.isin(dates, np.array(days, dtype="datetime64[D]"))


def _latest(days: list[DateCounts], largest: int, settings: SplitSettings) -> list[DateCounts] | None:
    """The shortest tail with the target, or of `largest` dates; longer only to reach the minimum."""
    for length in range(1, len(days) + 1):
        tail = days[-length:]
        reached = sum(day.outcomes for day in tail) >= settings.target_outcomes
        if _is_enough(tail, settings) and (reached or length >= largest):
            return tail
    return None


def _before(days: list[DateCounts], first: date, horizon_days: int) -> list[DateCounts]:
    return [day for day in days if day.as_of_date + timedelta(days=horizon_days) <= first]


def _is_enough(days: list[DateCounts], settings: SplitSettings) -> bool:
    outcomes = sum(day.outcomes for day in days)
    others = sum(day.rows - day.outcomes for day in days)
    return min(outcomes, others) >= settings.minimum_outcomes


def _split(
    mode: Mode,
    days: list[DateCounts],
    fit: list[DateCounts],
    calibrate: list[DateCounts],
    test: list[DateCounts],
    note: str,
) -> TimeSplit:
    used = {day.as_of_date for part in (fit, calibrate, test) for day in part}
    return TimeSplit(
        mode=mode,
        fit=tuple(day.as_of_date for day in fit),
        calibrate=tuple(day.as_of_date for day in calibrate),
        test=tuple(day.as_of_date for day in test),
        unused=tuple(day.as_of_date for day in days if day.as_of_date not in used),
        note=note,
    )
