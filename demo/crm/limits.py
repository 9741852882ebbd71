"""What makes the CRM refuse a sound request now and then: the rate limit and passing failures."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass
class RateLimit:
    """A bucket per key: `burst` requests at once, refilled at `per_second`. A burst of 0 means no limit."""

    burst: int = 20
    per_second: float = 15.0
    now: Callable[[], float] = time.monotonic
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)

    def allows(self, key: str) -> bool:
        """Whether a request of this key may pass now; if so, it is counted."""
        if self.burst == 0:
            return True
        now = self.now()
        tokens, seen_at = self._buckets.get(key, (float(self.burst), now))
        tokens = min(self.burst, tokens + (now - seen_at) * self.per_second)
        is_allowed = tokens >= 1
        self._buckets[key] = (tokens - 1 if is_allowed else tokens, now)
        return is_allowed


class Failures:
    """Passing failures: a seeded share of requests is answered with 503."""

    def __init__(self, share: float, seed: int) -> None:
        if not 0 <= share < 1:
            raise ValueError(f"a failure rate of {share}: give a share from 0 up to, but not including, 1")
        self._share = share
        self._random = np.random.default_rng(seed)

    def strike(self) -> bool:
        """Whether the next request fails."""
        return bool(self._random.random() < self._share)
