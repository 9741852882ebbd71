"""What makes a real CRM's records dirty, each kind with its rate. Nothing here changes who churns."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

import numpy as np

from demo.world.companies import Company
from demo.world.moments import DAY, HOUR, NEVER, STARTING_CLOCK, WORLD_END, Bools, Floats, Ints, seconds
from demo.world.records import Events, Payments, Tickets, nevers
from demo.world.support import solve


@dataclass(frozen=True)
class Rates:
    """The share of records that each kind of dirt touches; of the entity's records unless it says else."""

    #: A field is edited 30 to 300 days after the record was made.
    late_customer_edits: float = 0.04
    late_ticket_edits: float = 0.01
    late_payment_edits: float = 0.01
    #: Customers deleted on their request, of those who have left.
    deleted_customers: float = 0.015
    #: Second accounts of a customer, as a share of customers; most are merged (deleted) within two months.
    duplicate_customers: float = 0.010
    merged_duplicates: float = 0.85
    #: The company's own test accounts, as a share of customers.
    test_customers: float = 0.007
    #: Tickets that are spam, soon deleted.
    spam_tickets: float = 0.008
    #: Tickets taken over from an older system, opened before their customer's account.
    tickets_before_customer: float = 0.004
    #: Charges made twice by mistake: void within days, half of them deleted later.
    doubled_charges: float = 0.005
    #: Events that reach the CRM late, from devices that were offline: up to four days after.
    late_events: float = 0.02
    #: Events of robots, found and deleted within days.
    robot_events: float = 0.006
    late_event_edits: float = 0.004
    late_send_edits: float = 0.002
    #: Refunds, of the charges that were paid.
    refunds: float = 0.015
    #: Records that break the contract, each kind; half of them are mended after the starting clock.
    broken: float = 0.0012
    missing_email: float = 0.03
    missing_phone: float = 0.25
    missing_country: float = 0.015
    missing_signup_channel: float = 0.02
    missing_time_zone: float = 0.01
    missing_category: float = 0.05
    missing_priority: float = 0.01
    missing_method: float = 0.02
    missing_custom: float = 0.03
    #: Records touched at the very second of the starting clock; every other one is seen a minute later.
    touched_at_starting_clock: float = 0.01


RATES = Rates()
SEEN_LATE_BY = 60
LARGEST_BROKEN_SHARE = 0.003

#: Moments at which a share of an entity's records were touched by one script: ties larger than a page.
BATCH_EDITS: dict[str, tuple[tuple[int, float], ...]] = {
    "customers": (
        (seconds(datetime(2025, 3, 31, 2, tzinfo=UTC)), 0.20),
        (seconds(datetime(2026, 9, 20, 2, tzinfo=UTC)), 0.40),
        (seconds(datetime(2026, 10, 2, 2, tzinfo=UTC)), 0.10),
    ),
    "tickets": (
        (seconds(datetime(2026, 2, 1, 2, tzinfo=UTC)), 0.08),
        (seconds(datetime(2026, 10, 3, 2, tzinfo=UTC)), 0.01),
    ),
    "payments": (
        (seconds(datetime(2025, 12, 31, 2, tzinfo=UTC)), 0.06),
        (seconds(datetime(2026, 10, 3, 2, tzinfo=UTC)), 0.01),
    ),
    "events": (
        (seconds(datetime(2026, 3, 15, 2, tzinfo=UTC)), 0.02),
        (seconds(datetime(2026, 10, 3, 2, tzinfo=UTC)), 0.01),
    ),
    "sends": (
        (seconds(datetime(2026, 4, 20, 2, tzinfo=UTC)), 0.06),
        (seconds(datetime(2026, 10, 3, 2, tzinfo=UTC)), 0.01),
    ),
}


class Defect(IntEnum):
    """How a record breaks the contract."""

    NONE = 0
    NO_CUSTOMER = 1
    AMOUNT_NO_NUMBER = 2
    UNREADABLE_DATE = 3


def some(count: int, share: float, rng: np.random.Generator) -> Bools:
    """A random mask of about this share."""
    return rng.random(count) < share


def late_edits(since: Ints, share: float, rng: np.random.Generator) -> Ints:
    """Moments of edits long after; NEVER for most."""
    count = len(since)
    return np.where(some(count, share, rng), since + rng.integers(30 * DAY, 300 * DAY, count), NEVER)


def batch_edits(entity: str, since: Ints, rng: np.random.Generator) -> list[Ints]:
    """One array of moments per script run: the run's moment for the records it touched, else NEVER."""
    return [np.where(some(len(since), share, rng) & (since < at), at, NEVER) for at, share in BATCH_EDITS[entity]]


def starting_clock_edits(since: Ints, rng: np.random.Generator) -> tuple[Ints, Bools]:
    """Touches at the very second of the starting clock, and which of them the CRM shows only later."""
    touched = some(len(since), RATES.touched_at_starting_clock, rng) & (since < STARTING_CLOCK - DAY)
    is_late = np.zeros(len(since), dtype=np.bool_)
    is_late[np.flatnonzero(touched)[::2]] = True
    return np.where(touched, STARTING_CLOCK, NEVER), is_late


def break_records(kinds: Sequence[Defect], since: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Per record the way it is broken, and when it is mended. An entity too small for a handful of them stays whole."""
    count = len(since)
    defect = np.zeros(count, dtype=np.int64)
    exposed = np.flatnonzero(since < STARTING_CLOCK)
    if len(kinds) <= len(exposed) * LARGEST_BROKEN_SHARE:
        for kind in kinds:
            defect[rng.choice(exposed, max(1, round(len(exposed) * RATES.broken)), replace=False)] = kind
    is_mended = (defect > 0) & some(count, 0.5, rng)
    return defect, np.where(is_mended, STARTING_CLOCK + rng.integers(DAY, 20 * DAY, count), NEVER)


def delete_leavers(left_at: Ints, rng: np.random.Generator) -> Ints:
    """When customers who left are deleted on their request; `left_at` is NEVER for who stays."""
    count = len(left_at)
    deleted = some(count, RATES.deleted_customers, rng) & (left_at < WORLD_END)
    return np.where(deleted, np.where(deleted, left_at, 0) + rng.integers(30 * DAY, 200 * DAY, count), NEVER)


def spam_tickets(opened_at: Ints, customer: Ints, rng: np.random.Generator) -> tuple[Tickets, Ints]:
    """Tickets that are never answered, and when each is deleted; made beside a sample of true ones."""
    beside = np.flatnonzero(some(len(opened_at), RATES.spam_tickets, rng))
    count = len(beside)
    at = opened_at[beside] + rng.integers(HOUR, 4 * HOUR, count)
    spam = Tickets(
        customer=customer[beside],
        opened_at=at,
        first_response_at=nevers(count),
        first_resolved_at=nevers(count),
        reopened_at=nevers(count),
        resolved_at=nevers(count),
        satisfaction=np.ones(count, dtype=np.int64),
        satisfaction_at=nevers(count),
    )
    return spam, at + rng.integers(HOUR, 9 * DAY, count)


def tickets_before_customer(
    company: Company, created_at: Ints, trouble: Floats, tickets: int, rng: np.random.Generator
) -> Tickets:
    """Tickets from an older system: opened before the account they hang on was made."""
    customer = rng.integers(0, len(created_at), max(1, round(tickets * RATES.tickets_before_customer)))
    opened_at = created_at[customer] - rng.integers(DAY, 20 * DAY, len(customer))
    return solve(customer, opened_at, trouble[customer], company.support, rng)


def late_events(occurred_at: Ints, rng: np.random.Generator) -> Ints:
    """When each event reached the CRM: at once, but for the few from devices that were offline."""
    is_late = some(len(occurred_at), RATES.late_events, rng)
    return occurred_at + np.where(is_late, rng.integers(HOUR, 4 * DAY, len(occurred_at)), 0)


def robot_events(events: Events, rng: np.random.Generator) -> tuple[Events, Ints]:
    """Events that no customer caused, right after true ones, and when each is found and deleted."""
    robots = events.rows(some(len(events), RATES.robot_events, rng))
    robots.occurred_at = robots.occurred_at + rng.integers(1, 60, len(robots))
    return robots, robots.occurred_at + rng.integers(6 * DAY, 12 * DAY, len(robots))


def refunds(payments: Payments, rng: np.random.Generator) -> Payments:
    """Refunds of paid charges, wholly or in part, each a record of its own."""
    refunded = payments.rows(some(len(payments), RATES.refunds, rng) & (payments.paid_at != NEVER))
    count = len(refunded)
    at = refunded.paid_at + rng.integers(DAY, 30 * DAY, count)
    part = np.where(rng.random(count) < 0.6, 1.0, rng.uniform(0.1, 0.9, count))
    refunded.created_at, refunded.due_at, refunded.paid_at = at, nevers(count), at + HOUR
    refunded.amount = np.maximum(np.rint(refunded.amount * part), 1).astype(np.int64)
    refunded.failed_at, refunded.failed_attempts = nevers(count), np.zeros(count, dtype=np.int64)
    refunded.discount = np.zeros(count, dtype=np.int64)
    refunded.is_refund = np.ones(count, dtype=np.bool_)
    return refunded


def doubled_charges(payments: Payments, rng: np.random.Generator) -> tuple[Payments, Ints]:
    """Charges made a second time by mistake and then made void, and when half of them are deleted."""
    doubled = payments.rows(some(len(payments), RATES.doubled_charges, rng))
    count = len(doubled)
    doubled.created_at = doubled.created_at + rng.integers(60, HOUR, count)
    doubled.paid_at, doubled.failed_at = nevers(count), nevers(count)
    doubled.failed_attempts = np.zeros(count, dtype=np.int64)
    doubled.voided_at = doubled.created_at + rng.integers(HOUR, 5 * DAY, count)
    deleted_at = doubled.voided_at + rng.integers(DAY, 30 * DAY, count)
    return doubled, np.where(some(count, 0.5, rng), deleted_at, NEVER)
