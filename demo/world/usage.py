"""What customers do in a product, and what they say of it: signs of what moves them, causes of nothing.

Sessions follow the same hidden activity that the bills' seats follow, and grades the same hidden hazard; both are
drawn from what holds in their month, so that they tell of no later one. The draws are a stream of their own.
"""

import numpy as np

from demo.world.companies import Usage
from demo.world.moments import Floats, Ints
from demo.world.records import Events

EVENT_NAMES = ("session", "report_exported", "colleague_invited")
SHARES = (0.82, 0.13, 0.05)
SESSION = 0
#: The share of customers who are asked for a grade at a month's start, and of them who answer.
ASKED_SHARE = 0.33
ANSWERING_SHARE = 0.45
NO_GRADE = -1
MEAN_GRADE = 8.0
GRADE_PER_LOG_HAZARD = 1.3


def draw_habits(count: int, usage: Usage, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Each customer's lasting sessions a month and minutes a session, at full activity."""
    sessions = usage.sessions_per_month * rng.lognormal(0, usage.spread, count)
    return sessions, usage.median_minutes * rng.lognormal(0, usage.spread, count)


def spread_evenly(expected: Floats, start: int, end: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Moments of a span, `expected` of them on average per customer, as regular as habits are: (customers, moments)."""
    counts = np.floor(expected + rng.random(len(expected))).astype(np.int64)
    customer = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(customer)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = (place + rng.random(len(customer))) / counts[customer]
    return customer, start + (share * (end - start)).astype(np.int64)


def use(customer: Ints, at: Ints, minutes: Floats, rng: np.random.Generator) -> Events:
    """Events of these customers at these moments; `minutes` is what each session lasts on average."""
    count = len(customer)
    kind = rng.choice(len(EVENT_NAMES), count, p=SHARES).astype(np.int64)
    lasted = np.rint(100 * np.maximum(minutes * rng.lognormal(0, 0.25, count), 0.5)).astype(np.int64)
    return Events(
        customer=customer,
        occurred_at=at,
        kind=kind,
        amount=np.where(kind == SESSION, lasted, 0),
    )


def grade(log_hazard: Floats, usual: float, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Who answers how likely they would recommend the product, 0 to 10: (customers, grades)."""
    answers = np.flatnonzero(rng.random(len(log_hazard)) < ASKED_SHARE * ANSWERING_SHARE)
    opinion = MEAN_GRADE - GRADE_PER_LOG_HAZARD * (log_hazard[answers] - usual)
    return answers, np.clip(np.rint(opinion + rng.normal(0, 1.6, len(answers))), 0, 10).astype(np.int64)
