"""Which months are replayed, in which order, and for how long. Pure: what is known of them comes in."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from ml_assets.task import Rung

Work = Literal["full", "recipe"]
"""Every candidate is tried, or one is fitted as an earlier training of the same year settled it."""

RECIPE_COST = 0.1
"""About what a month by a recipe takes, of what one takes in which every candidate is tried."""


def months_due(unpublished: Mapping[date, str], replayed: Mapping[date, str]) -> list[date]:
    """The months to replay, oldest first.

    ``unpublished`` has the version of the features that each month has today, ``replayed`` the one that it was
    replayed with: a month is replayed once, and again where these differ.
    """
    return [month for month, version in sorted(unpublished.items()) if replayed.get(month) != version]


def opening_months(rungs: Mapping[date, Rung]) -> dict[date, date]:
    """For each month that carries a model: the first month of its year that stood on the same rung.

    There every candidate is tried, as a training of that day would have; the months after it start from what that
    settled. It is settled once a year, by what was known at that time alone.
    """
    openings: dict[date, date] = {}
    first: dict[tuple[int, Rung], date] = {}
    for month, rung in sorted(rungs.items()):
        if rung != "rule":
            openings[month] = first.setdefault((month.year, rung), month)
    return openings


def in_order(due: Collection[date], openings: Mapping[date, date]) -> list[date]:
    """The newest months first, each after the month that it starts from where that is due, too."""
    ordered: dict[date, None] = {}
    for month in sorted(due, reverse=True):
        opening = openings.get(month, month)
        if opening in due:
            ordered.setdefault(opening)
        ordered.setdefault(month)
    return list(ordered)


@dataclass
class Budget:
    """Seconds that may be spent; None has no end. The first piece of work is always done, so that all are, in time."""

    seconds: float | None
    now: Callable[[], float] = time.monotonic
    _begun_at: float = field(init=False)
    _taken: dict[Work, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._begun_at = self.now()

    def allowed(self, months: Sequence[date], work_of: Callable[[date], Work]) -> Iterator[date]:
        """The months, for as long as the next would end in time if it took as long as the last one like it."""
        for month in months:
            work, begun_at = work_of(month), self.now()
            if self._taken and self.seconds is not None:
                expected = self._taken.get(work, RECIPE_COST * min(self._taken.values()))
                if begun_at - self._begun_at + expected > self.seconds:
                    return
            yield month
            self._taken[work] = self.now() - begun_at
