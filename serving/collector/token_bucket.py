"""So many a second, and a burst: a pace that is kept in two numbers, however many are taken at once.

pyrate-limiter's buckets hold an item for each that was taken, and so hundreds for each batch of events.
"""

from __future__ import annotations

import math


class TokenBucket:
    """``per_second`` tokens come in, up to ``burst``; times are seconds of a clock that only goes forward."""

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self.per_second = per_second
        self._burst = burst
        self._tokens = burst
        self._filled_at = now

    def take(self, tokens: float, now: float) -> int:
        """Take tokens where there are so many: 0; else the whole seconds to wait for them, and none are taken."""
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self.per_second)
        self._filled_at = now
        if tokens <= self._tokens:
            self._tokens -= tokens
            return 0
        return max(1, math.ceil((tokens - self._tokens) / self.per_second))
