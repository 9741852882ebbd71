"""The simulator of a company without contracts: churn is silence.

A customer buys at a rate that is set at each month's first moment from what has happened before it. Silence
feeds on itself: past one and a half of the company's usual gaps, the rate falls with every further gap.

A customer leaves at the moment at which no successful payment has come for as many days as the horizon has.
The truth is the probability that none comes until then, along the path on which nothing is bought: recency goes
on, and everything else stays as it stands, for tickets arise only from purchases.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from demo.world.campaigns import Answers, Shoppers, begin_marketing, expected_purchases, send_campaign
from demo.world.companies import Company
from demo.world.moments import DAY, HOUR, MINUTE, NEVER, Bools, Floats, Ints, month_starts
from demo.world.records import (
    Campaigns,
    Changes,
    Events,
    History,
    Payments,
    Sends,
    Tickets,
    Truth,
    first_event_after,
    last_event_before,
    nevers,
)
from demo.world.support import count_slow, count_unsolved, draw_trouble, solve

RETRIED_SHARE = 0.6
VOUCHER_SHARE = 0.08
FORGETTING = 0.5
DEEPEST_SILENCE = -3.5
RISING_SHARE = 0.4
#: How much of a fall in activity shows in the size of purchases, besides their number.
SHRINKING = 0.8


@dataclass
class _State:
    """What the customers of one company are like now; every array has one entry per customer.

    `payments` are those of their own accord, `payments_made` those that there are with what campaigns did.
    """

    created_at: Ints
    rate: Floats
    activity: Floats
    slope: Floats
    slope_months: Ints
    last_bought_at: Ints
    last_paid_at: Ints
    basket: Floats
    price_factor: Floats
    has_rising_prices: Bools
    rise: Floats
    rise_at: Ints
    trouble: Floats
    ticket_share: Floats
    fail_share: Floats
    vouchers: np.random.Generator
    answers: Answers | None = None
    tickets: list[Tickets] = field(default_factory=list)
    payments: list[Payments] = field(default_factory=list)
    payments_made: list[Payments] = field(default_factory=list)


def simulate(company: Company, created_at: Ints, price_factor: Floats, rng: np.random.Generator) -> History:
    """Play customers from the company's first month to the world's end.

    `created_at` and `price_factor` (what a unit of the company's currency costs in the customer's) have one
    entry per customer.
    """
    state = _begin(company, created_at, price_factor, rng)
    truth: list[Truth] = []
    starts = [start for start in month_starts() if start >= company.founded_at]
    for start, end in pairwise(starts):
        truth.append(_play_month(company, state, start, end, rng))
    payments = Payments.joined(state.payments_made)
    everyone = np.arange(len(created_at))
    return History(
        created_at=created_at,
        changes={"is_active": Changes(everyone, created_at, np.ones(len(created_at), dtype=np.int64))},
        tickets=Tickets.joined(state.tickets),
        payments=payments,
        events=Events.none(),
        truth=_with_outcomes(_joined_truth(truth), payments, company.horizon_days),
        campaigns=Campaigns.joined([Campaigns.none(), *(state.answers.campaigns if state.answers else ())]),
        sends=Sends.joined([Sends.none(), *(state.answers.sends if state.answers else ())]),
        campaign_truth=_joined_truth(state.answers.truth) if state.answers else {},
    )


def _joined_truth(parts: list[Truth]) -> Truth:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _begin(company: Company, created_at: Ints, price_factor: Floats, rng: np.random.Generator) -> _State:
    count = len(created_at)
    gap = company.median_gap_days * rng.lognormal(0, 0.55, count)
    before = company.founded_at - (rng.exponential(1.0, count) * gap * DAY).astype(np.int64)
    vouchers = rng.spawn(1)[0]
    return _State(
        created_at=created_at,
        rate=1 / gap,
        activity=np.zeros(count),
        slope=np.zeros(count),
        slope_months=np.zeros(count, dtype=np.int64),
        last_bought_at=np.maximum(before, created_at),
        last_paid_at=np.maximum(before, created_at),
        basket=company.median_basket * price_factor * rng.lognormal(0, 0.6, count),
        price_factor=price_factor,
        has_rising_prices=rng.random(count) < RISING_SHARE,
        rise=np.zeros(count),
        rise_at=nevers(count),
        trouble=draw_trouble(count, company.support, rng),
        ticket_share=np.clip(company.support.tickets_per_purchase * rng.gamma(1.2, 1 / 1.2, count), 0, 0.6),
        fail_share=np.clip(company.failed_share * rng.lognormal(0, 1.0, count), 0, 0.6),
        vouchers=vouchers,
        answers=begin_marketing(company.marketing, count, vouchers.spawn(1)[0]) if company.marketing else None,
    )


def _play_month(company: Company, state: _State, start: int, end: int, rng: np.random.Generator) -> Truth:
    """One month of purchases. Returns the truth's rows at the month's start."""
    drivers = _drivers(company, state, start)
    others = sum(drivers.values(), np.zeros(len(state.rate)))
    log_rate = np.log(state.rate) - company.base_log_hazard - others
    recency = _forgetting(company, state, start)
    silence = _silence_probability(company, state, log_rate, start)
    _raise_prices(company, state, start, rng)
    rate = np.exp(log_rate - recency)
    _buy(company, state, rate, start, end, rng)
    _hear_of_campaign(state, rate, start)
    chosen = np.flatnonzero(state.created_at < start)
    rows: Truth = {
        "customer": chosen,
        "as_of": np.full(len(chosen), start),
        "churn_probability": silence[chosen],
        "log_hazard": -(log_rate - recency)[chosen],
        "contribution_usual_gap": -np.log(state.rate)[chosen],
        "contribution_recency": recency[chosen],
    }
    _drift(state, rng)
    return rows | {f"contribution_{name}": value[chosen] for name, value in drivers.items()}


def _drivers(company: Company, state: _State, at: int) -> dict[str, Floats]:
    """What lengthens the gap to the next purchase, in logarithms, from before the moment `at`."""
    count = len(state.rate)
    weights = company.drivers
    tickets = Tickets.joined(state.tickets[-8:]) if state.tickets else None
    payments = Payments.joined(state.payments[-4:]) if state.payments else None
    unsolved = count_unsolved(tickets, at, count) if tickets else np.zeros(count)
    slow = count_slow(tickets, at, count) if tickets else np.zeros(count)
    failed = np.zeros(count)
    if payments:
        recent = (payments.failed_at < at) & (payments.failed_at >= at - 90 * DAY)
        failed = np.bincount(payments.customer[recent], minlength=count).astype(np.float64)
    tenure = np.maximum(at - state.created_at, 0)
    has_risen = (state.rise_at < at) & (state.rise_at >= at - 95 * DAY)
    return {
        "unsolved_tickets": weights.unsolved_tickets * np.minimum(unsolved, 3),
        "slow_tickets": weights.slow_tickets * np.minimum(slow, 3),
        "failed_payments": weights.failed_payments * np.minimum(failed, 3),
        "falling_activity": weights.falling_activity * -state.activity,
        "young_tenure": weights.young_tenure * np.exp(-tenure / (120 * DAY)),
        "price_rise": weights.price_rise * np.where(has_risen, state.rise, 0.0) / 0.10,
    }


def _forgetting(company: Company, state: _State, at: int) -> Floats:
    """How much a long silence has lowered the rate by a moment, as a positive logarithm."""
    gaps = np.maximum(at - state.last_bought_at, 0) / DAY / company.median_gap_days
    return np.minimum(FORGETTING * np.maximum(gaps - 1.5, 0.0), -DEEPEST_SILENCE)


def _silence_probability(company: Company, state: _State, log_rate: Floats, start: int) -> Floats:
    """Probability of no successful payment until the silence is up, as things stand at the month's start."""
    expected = np.zeros(len(log_rate))
    days_left = company.horizon_days - (start - state.last_paid_at) / DAY
    by_campaigns = np.zeros(len(log_rate))
    for month in range(company.horizon_days // 30):
        days = np.clip(days_left - 30 * month, 0, 30)
        expected += days * np.exp(log_rate - _forgetting(company, state, start + month * 30 * DAY))
        if state.answers:
            by_campaigns += days / 30 * expected_purchases(state.answers)
    return np.exp(-expected * _paid_share(state) - by_campaigns)


def _paid_share(state: _State) -> Floats:
    """Of each customer's purchases the share that is paid in the end."""
    return 1 - state.fail_share * (1 - RETRIED_SHARE)


def _hear_of_campaign(state: _State, rate: Floats, start: int) -> None:
    """Send the month's campaign, and let it change what its customers bought. `rate` is of purchases a day.

    The hidden rate depends on what a customer buys unasked: what a campaign brings or costs leaves it as it is.
    """
    payments = state.payments[-1]
    if state.answers:
        basket = state.basket * np.exp(SHRINKING * state.activity)
        shoppers = Shoppers(state.created_at, rate * _paid_share(state), basket, state.price_factor)
        payments = send_campaign(state.answers, shoppers, payments, start)
    state.payments_made.append(payments)
    paid = payments.rows(payments.paid_at != NEVER)
    np.maximum.at(state.last_paid_at, paid.customer, paid.paid_at)


def _raise_prices(company: Company, state: _State, start: int, rng: np.random.Generator) -> None:
    if start not in company.price_rises:
        return
    raised = np.flatnonzero(state.has_rising_prices & (state.created_at < start))
    state.basket[raised] *= 1 + company.price_rises[start]
    state.rise[raised] = company.price_rises[start]
    state.rise_at[raised] = start + rng.integers(HOUR, 12 * HOUR, len(raised))


def _buy(company: Company, state: _State, rate: Floats, start: int, end: int, rng: np.random.Generator) -> None:
    """The month's purchases, their payments, and the tickets that some of them cause."""
    bought = np.repeat(np.arange(len(rate)), rng.poisson(rate * (end - start) / DAY))
    at = rng.integers(start, end, len(bought))
    later = at > state.created_at[bought]
    first = np.flatnonzero((state.created_at >= start) & (state.created_at < end))
    customer = np.concatenate([bought[later], first])
    at = np.concatenate([at[later], state.created_at[first] + 5 * MINUTE])
    order = np.lexsort((at, customer))
    customer, at = customer[order], at[order]
    payments = _pay(state, customer, at, rng)
    state.payments.append(payments)
    paid = payments.rows(payments.paid_at != NEVER)
    np.maximum.at(state.last_bought_at, paid.customer, paid.paid_at)
    asks = rng.random(len(customer)) < state.ticket_share[customer]
    asked, asked_at = customer[asks], at[asks] + rng.integers(DAY, 6 * DAY, int(asks.sum()))
    state.tickets.append(solve(asked, asked_at, state.trouble[asked], company.support, rng))


def _pay(state: _State, customer: Ints, at: Ints, rng: np.random.Generator) -> Payments:
    """Each purchase is paid at once, or fails; most failed ones are tried again within the hour."""
    count = len(customer)
    fails = rng.random(count) < state.fail_share[customer]
    basket = state.basket[customer] * np.exp(SHRINKING * state.activity[customer])
    amount = np.maximum(np.rint(basket * rng.lognormal(0, 0.25, count)), 199).astype(np.int64)
    failed_at = np.where(fails, at + rng.integers(5, MINUTE, count), NEVER)
    paid_at = np.where(fails, NEVER, at + rng.integers(5, 3 * MINUTE, count))
    tried = Payments(
        customer=customer,
        created_at=at,
        due_at=at,
        paid_at=paid_at,
        failed_at=failed_at,
        voided_at=nevers(count),
        failed_attempts=np.where(fails, rng.integers(1, 4, count), 0),
        amount=amount,
        discount=_vouchers(amount, state.vouchers),
        is_refund=np.zeros(count, dtype=np.bool_),
    )
    again = tried.rows(np.flatnonzero(fails & (rng.random(count) < RETRIED_SHARE)))
    again.created_at = again.failed_at + rng.integers(MINUTE, HOUR, len(again))
    again.due_at = again.created_at
    again.paid_at = again.created_at + rng.integers(5, MINUTE, len(again))
    again.failed_at, again.failed_attempts = nevers(len(again)), np.zeros(len(again), dtype=np.int64)
    return Payments.joined([tried, again])


def _vouchers(amount: Ints, rng: np.random.Generator) -> Ints:
    """What a voucher took off some purchases before they came to this amount; it moves nobody to buy."""
    has_voucher = rng.random(len(amount)) < VOUCHER_SHARE
    return np.where(has_voucher, np.rint(amount * rng.uniform(0.05, 0.35, len(amount))), 0).astype(np.int64)


def _drift(state: _State, rng: np.random.Generator) -> None:
    """Interest falls in spells of months, and comes back slowly."""
    count = len(state.rate)
    state.slope_months = np.maximum(state.slope_months - 1, 0)
    state.slope[state.slope_months == 0] = 0.02
    falls = (state.slope_months == 0) & (rng.random(count) < 0.035)
    state.slope = np.where(falls, -rng.uniform(0.25, 0.7, count), state.slope)
    state.slope_months = np.where(falls, rng.integers(2, 4, count), state.slope_months)
    state.activity = np.clip(state.activity + state.slope, -2.5, 0.0)


def _with_outcomes(rows: Truth, payments: Payments, horizon_days: int) -> Truth:
    """Keep the rows of customers whose silence was not up, and add whether it was before they paid again, and when.

    Rows whose window ends after the world are left out: their outcome is not known.
    """
    paid = payments.rows((payments.paid_at != NEVER) & ~payments.is_refund)
    window = horizon_days * DAY
    last = last_event_before(paid.customer, paid.paid_at, rows["customer"], rows["as_of"])
    kept = np.flatnonzero((last >= rows["as_of"] - window) & (rows["as_of"] + window <= month_starts()[-1]))
    chosen = {name: values[kept] for name, values in rows.items()}
    following = first_event_after(paid.customer, paid.paid_at, chosen["customer"], chosen["as_of"])
    silent_at = last[kept] + window
    is_churned = following >= silent_at
    return chosen | {"churned": is_churned, "churned_at": np.where(is_churned, silent_at, NEVER)}
