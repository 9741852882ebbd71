"""The one clock. Load time, scoring date, freshness and maturity all ask it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Protocol

from warehouse.settings import Settings


class HasOwnClock(Protocol):
    """Whatever may stand at a moment of its own, as a company whose data ended in the past."""

    @property
    def clock_at(self) -> datetime | None: ...


@dataclass(frozen=True)
class Clock:
    """Says what time it is: `fixed_at` where that is set, else the system's time."""

    fixed_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.fixed_at is not None and self.fixed_at.tzinfo is None:
            raise ValueError(f"a clock's time needs an offset from UTC: {self.fixed_at.isoformat()} has none")

    @classmethod
    def from_settings(cls, settings: Settings) -> Clock:
        """A clock that stands at CHURN_NOW, or runs where that is not set."""
        return cls(settings.now)

    def now(self) -> datetime:
        """The moment, aware, in UTC."""
        return datetime.now(UTC) if self.fixed_at is None else self.fixed_at.astimezone(UTC)

    def for_company(self, company: HasOwnClock) -> datetime:
        """The company's now: its own clock where it has one, else `now()`; aware, in UTC."""
        return self.now() if company.clock_at is None else company.clock_at.astimezone(UTC)

    def known_from(self, company: HasOwnClock) -> datetime:
        """From when a load that the company makes now counts as known; aware, in UTC.

        That is `for_company`, but for a clock that stands at midnight: such a load has read all of the day that ended,
        and a date may use only what was known before its own midnight.
        """
        now = self.for_company(company)
        return now - timedelta.resolution if now.time() == time() else now
