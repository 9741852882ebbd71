"""Requests that are not taken: the status, why, and when to come again."""

from __future__ import annotations


class Refusal(Exception):
    """A request is answered with this, and nothing of it is kept. ``retry_after`` is in seconds; None: never."""

    def __init__(self, status: int, error: str, retry_after: int | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.retry_after = retry_after


BEHIND_SECONDS = 1
AWAY_SECONDS = 5


def behind() -> Refusal:
    """More is waiting than is held in memory."""
    return Refusal(503, "The collector is behind: send it again.", BEHIND_SECONDS)


def away() -> Refusal:
    """The warehouse does not answer, or has no room."""
    return Refusal(503, "The warehouse does not take events at the moment: send it again.", AWAY_SECONDS)
