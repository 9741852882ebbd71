"""How a ticket is answered, solved, reopened and rated."""

import numpy as np

from demo.world.companies import Support
from demo.world.moments import DAY, HOUR, NEVER, Bools, Floats, Ints
from demo.world.records import Tickets, nevers

LONGEST_RESOLUTION = 120 * DAY
SLOW_AFTER = 5 * DAY


def draw_trouble(count: int, support: Support, rng: np.random.Generator) -> Floats:
    """Each customer's lasting factor on waiting times: some are always served slowly."""
    return rng.lognormal(0.0, support.trouble_spread, count)


def solve(customer: Ints, opened_at: Ints, trouble: Floats, support: Support, rng: np.random.Generator) -> Tickets:
    """Play the tickets of these customers to their end. `trouble` is per ticket."""
    count = len(customer)
    effort = _hours(support.resolution_hours * trouble, 0.9, rng)
    stuck = rng.random(count) < np.clip(support.stuck_share * trouble, 0.0, 0.6)
    effort = effort + np.where(stuck, rng.uniform(15 * DAY, 90 * DAY, count), 0.0)
    first_resolved = opened_at + np.clip(effort, HOUR // 2, LONGEST_RESOLUTION).astype(np.int64)
    waiting = np.minimum(_hours(support.first_response_hours * trouble, 0.8, rng), 0.8 * (first_resolved - opened_at))
    reopened = rng.random(count) < support.reopened_share
    reopened_at = first_resolved + rng.integers(6 * HOUR, 6 * DAY, count)
    resolved_at = np.where(
        reopened, reopened_at + np.clip(_hours(36 * trouble, 0.9, rng), HOUR, 20 * DAY), first_resolved
    )
    satisfaction, satisfaction_at = _rate(opened_at, resolved_at.astype(np.int64), rng)
    return Tickets(
        customer=customer,
        opened_at=opened_at,
        first_response_at=opened_at + waiting.astype(np.int64),
        first_resolved_at=first_resolved,
        reopened_at=np.where(reopened, reopened_at, NEVER),
        resolved_at=resolved_at.astype(np.int64),
        satisfaction=satisfaction,
        satisfaction_at=satisfaction_at,
    )


def _hours(median: Floats | float, spread: float, rng: np.random.Generator) -> Floats:
    """Log-normal durations in seconds around a median given in hours."""
    medians = np.asarray(median, dtype=np.float64)
    return medians * HOUR * rng.lognormal(0.0, spread, medians.shape)


def _rate(opened_at: Ints, resolved_at: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """A third of the tickets get a rating, worse the longer they took."""
    count = len(opened_at)
    days = (resolved_at - opened_at) / DAY
    score = np.clip(np.rint(4.6 - 0.7 * np.log1p(days) + rng.normal(0, 0.8, count)), 1, 5).astype(np.int64)
    rated = rng.random(count) < 0.35
    return score, np.where(rated, resolved_at + rng.integers(HOUR, 5 * DAY, count), nevers(count))


def count_unsolved(tickets: Tickets, at: int, customers: int) -> Ints:
    """Open tickets per customer at a moment; shape (customers,)."""
    reopened = (tickets.reopened_at < at) & (tickets.resolved_at >= at)
    untouched = (tickets.opened_at < at) & (tickets.first_resolved_at >= at)
    return _count(tickets.customer, reopened | untouched, customers)


def count_slow(tickets: Tickets, at: int, customers: int) -> Ints:
    """Tickets solved in the 90 days before a moment that had taken longer than five days."""
    recent = (tickets.resolved_at < at) & (tickets.resolved_at >= at - 90 * DAY)
    return _count(tickets.customer, recent & (tickets.resolved_at - tickets.opened_at > SLOW_AFTER), customers)


def _count(customer: Ints, chosen: Bools, customers: int) -> Ints:
    return np.bincount(customer[chosen], minlength=customers)
