"""The world's calendar. Every moment in the simulator is an integer of seconds since 1970 in UTC."""

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MINUTE = 60
HOUR = 3600
DAY = 24 * HOUR
YEAR = 365 * DAY

#: Stands for "has not happened and will not"; later than every moment of the world.
NEVER = np.iinfo(np.int64).max


def seconds(moment: datetime) -> int:
    """Seconds since 1970 of an aware datetime."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; give an aware datetime")
    return int(moment.timestamp())


def as_datetime(moment: int) -> datetime:
    """The aware UTC datetime of a moment."""
    return datetime.fromtimestamp(int(moment), UTC)


HISTORY_START = seconds(datetime(2024, 10, 1, tzinfo=UTC))
#: Where a new world's clock stands: 24 months of history lie behind it.
STARTING_CLOCK = seconds(datetime(2026, 10, 1, 6, tzinfo=UTC))
#: How far the clock can be moved: three months, so that every outcome at the starting clock comes true.
WORLD_END = seconds(datetime(2027, 1, 1, 6, tzinfo=UTC))


def month_starts() -> list[int]:
    """00:00 UTC of the first day of every month from the history's start to the world's end, both included."""
    months = range(2024 * 12 + 9, 2027 * 12 + 1)
    return [seconds(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)) for month in months]
