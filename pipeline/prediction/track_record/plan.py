"""Which months are replayed, in which order, and for how long. Pure: what is known of them comes in."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from ml_assets.task import Rung
from ml_assets.training.ladder import RungDecision

Work = Literal["full", "recipe"]
"""Every candidate is tried, or one is fitted as the training of an earlier month settled it."""

GROWTH = 2
"""How many times more outcomes are a reason to try every candidate again."""

RECIPE_COST = 0.1
"""About what a month by a recipe takes, of what one takes in which every candidate is tried."""


def months_due(unpublished: Mapping[date, str], replayed: Mapping[date, str]) -> list[date]:
    """The months to replay, oldest first.

    ``unpublished`` has the version of the features that each month has today, ``replayed`` the one that it was
    replayed with: a month is replayed once, and again where these differ.
    """
    return [month for month, version in sorted(unpublished.items()) if replayed.get(month) != version]


def opening_months(decisions: Mapping[date, RungDecision]) -> dict[date, date]:
    """For each month that carries a model: the month at which every candidate is tried, for it and those after it.

    It is the first one on its rung, and each at which twice as many outcomes were known as at the last: with so much
    more to learn from, another kind of model or more columns may be better. What is settled there rests on what was
    known at that time alone.
    """
    openings: dict[date, date] = {}
    last: dict[Rung, date] = {}
    for month, decision in sorted(decisions.items()):
        if decision.rung == "rule":
            continue
        before = last.get(decision.rung)
        if before is None or _outcomes(decision) >= GROWTH * _outcomes(decisions[before]):
            last[decision.rung] = month
        openings[month] = last[decision.rung]
    return openings


def _outcomes(decision: RungDecision) -> int:
    counts = decision.pool if decision.rung == "pooled_model" and decision.pool else decision.own
    return counts.outcomes


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
