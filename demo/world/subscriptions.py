"""The simulator of a company with subscriptions: churn is a cancellation.

A customer's hazard is set at each month's first moment from what has happened before it, and holds for the
month. So the probability of cancelling within 30 days is known exactly, and no later fact leaks into it.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from demo.world.companies import Company, Usage
from demo.world.moments import DAY, HOUR, MINUTE, NEVER, YEAR, Bools, Floats, Ints, month_starts
from demo.world.records import Changes, Events, History, Payments, Tickets, Truth, first_event_after, nevers
from demo.world.support import count_slow, count_unsolved, draw_trouble, solve
from demo.world.usage import NO_GRADE, draw_habits, grade, spread_evenly, use

RETURNING_SHARE = 0.04
RECORDED_LATE_SHARE = 0.08
DISCOUNT_SHARE = 0.25
DISCOUNT = 0.18
PLAN_CHANGE_SHARE = 0.01
#: Seats are given up after they have gone unused: the power of activity that sessions and their length follow.
USE_FALLS_FASTER = 1.5
NOT_YET, ACTIVE, LEFT = 0, 1, 2


@dataclass
class _State:
    """What the customers of one company are like now; every array has one entry per customer."""

    created_at: Ints
    joined_at: Ints
    status: Ints
    returns_at: Ints
    plan: Ints
    price: Floats
    is_discounted: Bools
    discount_ends_at: Ints
    full_seats: Floats
    activity: Floats
    slope: Floats
    slope_months: Ints
    billed_seats: Floats
    billing_offset: Ints
    ticket_rate: Floats
    trouble: Floats
    fail_share: Floats
    late_share: Floats
    rise: Floats
    rise_at: Ints
    changes: dict[str, list[Changes]] = field(default_factory=dict)
    tickets: list[Tickets] = field(default_factory=list)
    payments: list[Payments] = field(default_factory=list)
    events: list[Events] = field(default_factory=list)

    def note(self, name: str, customer: Ints, at: Ints, value: Ints) -> None:
        """Keep a change of a customer field for the record."""
        self.changes.setdefault(name, []).append(Changes(customer, at, value))


@dataclass
class _Presence:
    """The span of one month in which each customer is there; where `is_there` is false it means nothing."""

    is_there: Bools
    since: Ints
    until: Ints

    def holds(self, customer: Ints, at: Ints) -> Bools:
        """Whether these customers are there at these moments."""
        return self.is_there[customer] & (at >= self.since[customer]) & (at < self.until[customer])


class _Product:
    """The product that customers use and grade. Its draws, a stream of their own, move nothing else in the world."""

    def __init__(self, usage: Usage, state: _State, usual_log_hazard: float, rng: np.random.Generator) -> None:
        count = len(state.created_at)
        self._sessions, self._minutes = draw_habits(count, usage, rng)
        self._usual_log_hazard = usual_log_hazard
        self._rng = rng
        state.note("nps", np.arange(count), state.created_at, np.full(count, NO_GRADE))

    def play_month(self, state: _State, presence: _Presence, log_hazard: Floats, start: int, end: int) -> None:
        """The month's events and grades."""
        rate = self._sessions * state.activity**USE_FALLS_FASTER * (end - start) / (30 * DAY)
        used, at = spread_evenly(rate, start, end, self._rng)
        kept = presence.holds(used, at)
        used, at = used[kept], at[kept]
        state.events.append(use(used, at, self._minutes[used] * state.activity[used] ** USE_FALLS_FASTER, self._rng))
        answering, grades = grade(log_hazard, self._usual_log_hazard, self._rng)
        answered_at = start + self._rng.integers(DAY, 12 * DAY, len(answering))
        kept = presence.holds(answering, answered_at)
        state.note("nps", answering[kept], answered_at[kept], grades[kept])


def simulate(company: Company, created_at: Ints, price_factor: Floats, rng: np.random.Generator) -> History:
    """Play customers from the company's first month to the world's end.

    `created_at` and `price_factor` (what a unit of the company's currency costs in the customer's) have one
    entry per customer.
    """
    state = _begin(company, created_at, price_factor, rng)
    product = _Product(company.usage, state, company.base_log_hazard, rng.spawn(1)[0]) if company.usage else None
    truth: list[Truth] = []
    starts = [start for start in month_starts() if start >= company.founded_at]
    for start, end in pairwise(starts):
        truth.append(_play_month(company, state, product, start, end, rng))
    changes = {name: Changes.joined(parts) for name, parts in state.changes.items()}
    rows = {name: np.concatenate([month[name] for month in truth]) for name in truth[0]}
    return History(
        created_at=created_at,
        changes=changes,
        tickets=Tickets.joined(state.tickets),
        payments=Payments.joined(state.payments),
        events=Events.joined([Events.none(), *state.events]),
        truth=rows | _outcomes(rows, changes["cancelled_at"], company.horizon_days),
    )


def _begin(company: Company, created_at: Ints, price_factor: Floats, rng: np.random.Generator) -> _State:
    count = len(created_at)
    plan = rng.choice(len(company.plans), count, p=[each.share for each in company.plans]).astype(np.int64)
    is_discounted = rng.random(count) < DISCOUNT_SHARE
    prices = np.array([each.price for each in company.plans], dtype=np.float64)[plan] * price_factor
    for rise_at, rise in company.price_rises.items():
        prices = np.where(created_at >= rise_at, prices * (1 + rise), prices)
    usual_seats = np.array([each.median_seats for each in company.plans])[plan]
    seats = np.clip(np.rint(usual_seats * rng.lognormal(0, 0.5, count)), 2, 400)
    state = _State(
        created_at=created_at,
        joined_at=created_at.copy(),
        status=np.full(count, NOT_YET),
        returns_at=nevers(count),
        plan=plan,
        price=np.rint(np.where(is_discounted, prices * (1 - DISCOUNT), prices)),
        is_discounted=is_discounted.copy(),
        discount_ends_at=np.where(is_discounted, created_at + YEAR, NEVER),
        full_seats=seats,
        activity=np.ones(count),
        slope=np.zeros(count),
        slope_months=np.zeros(count, dtype=np.int64),
        billed_seats=np.full((count, 4), np.nan),
        billing_offset=rng.integers(0, 28 * DAY, count),
        ticket_rate=company.support.tickets_per_month * rng.gamma(1.2, 1 / 1.2, count),
        trouble=draw_trouble(count, company.support, rng),
        fail_share=np.clip(company.failed_share * rng.lognormal(0, 1.1, count), 0, 0.5),
        late_share=np.clip(company.late_share * rng.lognormal(0, 0.9, count), 0, 0.7),
        rise=np.zeros(count),
        rise_at=nevers(count),
    )
    everyone = np.arange(count)
    state.note("plan", everyone, created_at, plan)
    state.note("seats", everyone, created_at, seats.astype(np.int64))
    state.note("price", everyone, created_at, state.price.astype(np.int64))
    state.note("is_active", everyone, created_at, np.ones(count, dtype=np.int64))
    state.note("cancelled_at", everyone, created_at, nevers(count))
    return state


def _play_month(
    company: Company, state: _State, product: _Product | None, start: int, end: int, rng: np.random.Generator
) -> Truth:
    """One month: who leaves, what is asked, what is billed. Returns the truth's rows at the month's start."""
    state.status[(state.status == NOT_YET) & (state.created_at < start)] = ACTIVE
    drivers = _drivers(company, state, start)
    log_hazard = np.minimum(company.base_log_hazard + sum(drivers.values(), np.zeros(len(state.status))), 1.0)
    is_at_risk = state.status == ACTIVE
    leaves_at = start + rng.exponential(30 * DAY, len(log_hazard)) / np.exp(log_hazard)
    has_left = is_at_risk & (leaves_at < end)
    presence = _presence(state, is_at_risk, np.where(has_left, leaves_at, end).astype(np.int64), start, end)
    _raise_prices(company, state, presence, start, end, rng)
    _change_plans(company, state, presence, start, end, rng)
    _ask(company, state, presence, start, end, rng)
    _bill(state, presence, start, rng)
    if product is not None:
        product.play_month(state, presence, log_hazard, start, end)
    _leave(state, np.flatnonzero(has_left), presence.until, rng)
    _drift(state, rng)
    chosen = np.flatnonzero(is_at_risk)
    rows: Truth = {
        "customer": chosen,
        "as_of": np.full(len(chosen), start),
        "churn_probability": 1 - np.exp(-np.exp(log_hazard[chosen]) * company.horizon_days / 30),
        "log_hazard": log_hazard[chosen],
    }
    return rows | {f"contribution_{name}": value[chosen] for name, value in drivers.items()}


def _drivers(company: Company, state: _State, at: int) -> dict[str, Floats]:
    """Each driver's share of the log hazard, from what happened strictly before the moment `at`."""
    count = len(state.status)
    weights = company.drivers
    tickets = Tickets.joined(state.tickets[-8:]) if state.tickets else None
    payments = Payments.joined(state.payments[-5:]) if state.payments else None
    unsolved = count_unsolved(tickets, at, count) if tickets else np.zeros(count)
    slow = count_slow(tickets, at, count) if tickets else np.zeros(count)
    failed, late = count_troubled_payments(payments, at, count) if payments else (np.zeros(count), np.zeros(count))
    tenure = np.maximum(at - state.joined_at, 0)
    has_risen = (state.rise_at < at) & (state.rise_at >= at - 95 * DAY)
    risks = np.array([each.risk for each in company.plans])
    return {
        "unsolved_tickets": weights.unsolved_tickets * np.minimum(unsolved, 3),
        "slow_tickets": weights.slow_tickets * np.minimum(slow, 3),
        "failed_payments": weights.failed_payments * np.minimum(failed, 3),
        "late_payments": weights.late_payments * np.minimum(late, 3),
        "falling_activity": weights.falling_activity * _fall(state.billed_seats),
        "young_tenure": weights.young_tenure * np.exp(-tenure / (150 * DAY)),
        "price_rise": weights.price_rise * np.where(has_risen, state.rise, 0.0) / 0.10,
        "plan": risks[state.plan],
    }


def _fall(billed_seats: Floats) -> Floats:
    """How far the last bill's seats lie below the mean of the three before, as a logarithm in [-0.2, 1]."""
    last = billed_seats[:, 3]
    known = np.isfinite(billed_seats[:, :3])
    before = np.where(known, billed_seats[:, :3], 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    is_known = np.isfinite(last) & (before > 0)
    ratio = np.divide(before, last, out=np.ones_like(before), where=is_known)
    return np.asarray(np.clip(np.log(ratio), -0.2, 1.0))


def count_troubled_payments(payments: Payments, at: int, customers: int) -> tuple[Ints, Ints]:
    """Charges that failed, and that were more than three days late without failing, in the 90 days before."""
    failed = (payments.failed_at < at) & (payments.failed_at >= at - 90 * DAY)
    is_due = (payments.due_at < at) & (payments.due_at >= at - 90 * DAY) & (payments.failed_at >= at)
    late = is_due & (np.minimum(payments.paid_at, at) - payments.due_at > 3 * DAY)
    return (
        np.bincount(payments.customer[failed], minlength=customers),
        np.bincount(payments.customer[late], minlength=customers),
    )


def _presence(state: _State, is_at_risk: Bools, until: Ints, start: int, end: int) -> _Presence:
    """Who is there from when to when this month; those who come back are let in again."""
    comes_back = (state.returns_at >= start) & (state.returns_at < end)
    back = np.flatnonzero(comes_back)
    state.joined_at[back] = state.returns_at[back]
    state.status[back] = ACTIVE
    state.billed_seats[back] = np.nan
    state.note("is_active", back, state.returns_at[back], np.ones(len(back), dtype=np.int64))
    state.note("cancelled_at", back, state.returns_at[back], nevers(len(back)))
    is_new = (state.created_at >= start) & (state.created_at < end)
    return _Presence(
        is_there=is_at_risk | comes_back | is_new,
        since=np.where(is_at_risk, start, state.joined_at),
        until=until,
    )


def _raise_prices(
    company: Company, state: _State, presence: _Presence, start: int, end: int, rng: np.random.Generator
) -> None:
    """List prices rise on the company's dates for who is there already; discounts end after a year."""
    ends = (state.discount_ends_at >= start) & (state.discount_ends_at < end)
    rise = np.where(ends, 1 / (1 - DISCOUNT), 1.0)
    if start in company.price_rises:
        rise = np.where(state.created_at < start, rise * (1 + company.price_rises[start]), rise)
    raised = np.flatnonzero(presence.is_there & (rise > 1))
    at = start + rng.integers(HOUR, 12 * HOUR, len(raised))
    kept = presence.holds(raised, at)
    raised, at = raised[kept], at[kept]
    state.price[raised] = np.rint(state.price[raised] * rise[raised])
    state.is_discounted[raised[ends[raised]]] = False
    state.rise[raised], state.rise_at[raised] = rise[raised] - 1, at
    state.note("price", raised, at, state.price[raised].astype(np.int64))


def _change_plans(
    company: Company, state: _State, presence: _Presence, start: int, end: int, rng: np.random.Generator
) -> None:
    """A few customers take another plan; the price of a seat moves with the list."""
    moved = np.flatnonzero(rng.random(len(state.plan)) < PLAN_CHANGE_SHARE)
    at = rng.integers(start, end, len(moved))
    kept = presence.holds(moved, at)
    moved, at = moved[kept], at[kept]
    prices = np.array([each.price for each in company.plans], dtype=np.float64)
    plan = rng.integers(0, len(prices), len(moved))
    state.price[moved] = np.rint(state.price[moved] * prices[plan] / prices[state.plan[moved]])
    state.plan[moved] = plan
    state.note("plan", moved, at, plan)
    state.note("price", moved, at, state.price[moved].astype(np.int64))


def _ask(company: Company, state: _State, presence: _Presence, start: int, end: int, rng: np.random.Generator) -> None:
    """Tickets of the month."""
    asked = np.repeat(np.arange(len(state.status)), rng.poisson(state.ticket_rate * (end - start) / (30 * DAY)))
    at = rng.integers(start, end, len(asked))
    kept = presence.holds(asked, at)
    asked, at = asked[kept], at[kept]
    state.tickets.append(solve(asked, at, state.trouble[asked], company.support, rng))


def _bill(state: _State, presence: _Presence, start: int, rng: np.random.Generator) -> None:
    """The month's invoices: price times the seats in use, which is where falling activity shows."""
    at = start + state.billing_offset
    billed = np.flatnonzero(presence.holds(np.arange(len(at)), at))
    seats = np.maximum(np.rint(state.full_seats[billed] * state.activity[billed]), 1)
    before = state.billed_seats[billed, 3]
    state.billed_seats[billed] = np.column_stack([state.billed_seats[billed, 1:], seats])
    moved = np.isfinite(before) & (before != seats)
    state.note("seats", billed[moved], at[billed[moved]], seats[moved].astype(np.int64))
    amount = (seats * state.price[billed]).astype(np.int64)
    state.payments.append(_collect(state, billed, at[billed] + MINUTE, amount, rng))


def _collect(state: _State, customer: Ints, at: Ints, amount: Ints, rng: np.random.Generator) -> Payments:
    """Play these invoices to their end: paid in time, late, failed and mended, or failed for good."""
    count = len(customer)
    due_at = at + 14 * DAY
    draw = rng.random(count)
    fails = draw < state.fail_share[customer]
    is_late = ~fails & (draw < state.fail_share[customer] + state.late_share[customer])
    delay = np.where(is_late, (4 + rng.exponential(9, count)) * DAY, -rng.uniform(0, 13.9, count) * DAY)
    failed_at = np.where(fails, due_at + rng.integers(0, 4 * DAY, count), NEVER)
    is_mended = fails & (rng.random(count) < 0.55)
    mended_at = np.where(is_mended, np.where(fails, failed_at, 0) + rng.integers(DAY, 20 * DAY, count), NEVER)
    return Payments(
        customer=customer,
        created_at=at,
        due_at=due_at,
        paid_at=np.where(fails, mended_at, due_at + delay.astype(np.int64)),
        failed_at=failed_at,
        voided_at=nevers(count),
        failed_attempts=np.where(fails, rng.integers(1, 5, count), 0),
        amount=amount,
        discount=np.where(state.is_discounted[customer], np.rint(amount * DISCOUNT / (1 - DISCOUNT)), 0).astype(
            np.int64
        ),
        is_refund=np.zeros(count, dtype=np.bool_),
    )


def _leave(state: _State, left: Ints, until: Ints, rng: np.random.Generator) -> None:
    """Cancellations; the CRM learns of some a few days late, and a few customers will come back."""
    at = until[left]
    is_told_late = rng.random(len(left)) < RECORDED_LATE_SHARE
    seen_at = at + np.where(is_told_late, rng.integers(DAY, 7 * DAY, len(left)), rng.integers(0, HOUR, len(left)))
    state.status[left] = LEFT
    comes_back = rng.random(len(left)) < RETURNING_SHARE
    state.returns_at[left] = np.where(comes_back, at + rng.integers(60 * DAY, 240 * DAY, len(left)), NEVER)
    state.note("is_active", left, seen_at, np.zeros(len(left), dtype=np.int64))
    state.note("cancelled_at", left, seen_at, at)


def _drift(state: _State, rng: np.random.Generator) -> None:
    """Activity moves in spells: mostly none, at times months of decline or of growth."""
    count = len(state.status)
    state.slope_months = np.maximum(state.slope_months - 1, 0)
    state.slope[state.slope_months == 0] = 0.0
    draw = rng.random(count)
    falls = (state.slope_months == 0) & (draw < 0.05)
    grows = (state.slope_months == 0) & (draw > 0.96)
    state.slope = np.where(falls, -rng.uniform(0.10, 0.40, count), state.slope)
    state.slope = np.where(grows, rng.uniform(0.03, 0.10, count), state.slope)
    state.slope_months = np.where(falls | grows, rng.integers(2, 6, count), state.slope_months)
    state.activity = np.clip(state.activity * np.exp(state.slope + rng.normal(0, 0.015, count)), 0.1, 3.0)


def _outcomes(rows: Truth, cancellations: Changes, horizon_days: int) -> Truth:
    """Whether and when each row's customer cancelled within the horizon."""
    gone = cancellations.rows(cancellations.value != NEVER)
    churned_at = first_event_after(gone.customer, gone.value, rows["customer"], rows["as_of"])
    is_churned = churned_at < rows["as_of"] + horizon_days * DAY
    return {"churned": is_churned, "churned_at": np.where(is_churned, churned_at, NEVER)}
