"""One company's decisions: who is drawn, what is decided today, and publishing it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_assets.frames import FloatArray
from pipeline.decisions import tables
from pipeline.decisions.choice import HUNDREDTHS, BoolArray
from pipeline.decisions.decide import decide
from pipeline.decisions.draw import BUCKETS, draw_buckets, in_control
from pipeline.decisions.programmes import (
    Customers,
    Effect,
    Programme,
    Used,
    better_known,
    period_start,
    share_saved,
)
from pipeline.prediction.tasks import task_named
from warehouse.companies.actions import Action
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.decisions import programmes as stored
from warehouse.decisions.ledger import Saved, read_saved
from warehouse.decisions.publication import DecidedSet, publish_decisions
from warehouse.roles import Role

NO_ACTIONS = (
    "no actions are declared, so nothing is decided. `actions:` in the company's file declares what it can do for a "
    "customer: docs/decide.md"
)
NO_SCORES = "nobody has a published score of churn yet, so nothing is decided; `churn run` makes them"


@dataclass(frozen=True)
class Plan:
    """What is decided for a company on a day, before or after it is published: tables to publish, and to look at."""

    as_of_date: date
    decisions: pa.Table
    enrolments: pa.Table
    programmes: pa.Table


@dataclass(frozen=True)
class Decided:
    """What came of deciding: a published set, or why there is none; programmes that nothing was decided for by name."""

    published: DecidedSet | None
    refusal: str | None


def draw_control_groups(warehouse: Warehouse, company: Company) -> int:
    """Draw each programme's control group among customers who are new to it; returns how many were drawn.

    From names alone, so that it may and does come before scoring. Who was drawn once keeps their place.
    """
    if not company.actions or not stored.is_built(warehouse):
        return 0
    drawn = 0
    with warehouse.connect(Role.ml) as conn, conn.transaction():
        stored.hold_decisions(conn, company.company_id)
        today = stored.today_of(conn, company.company_id)
        if today is None:
            return 0
        shares = {action.name: action.control_share for action in company.actions}
        for programme in stored.begin_programmes(conn, company.company_id, list(shares), today):
            customers = stored.undrawn_customers(conn, company.company_id, programme.action)
            buckets = draw_buckets(programme.salt, company.company_id, programme.action, customers)
            share = shares[programme.action]
            stored.write_controls(
                conn,
                pa.table(
                    {
                        "company_id": pa.repeat(pa.scalar(company.company_id, pa.int32()), len(customers)),
                        "action": pa.repeat(programme.action, len(customers)),
                        "customer_id": pa.array(customers, pa.string()),
                        "bucket": pa.array(buckets, pa.int16()),
                        "is_control": pa.array(in_control(buckets, share)),
                        "propensity": pa.repeat(_propensity(share), len(customers)),
                        "drawn_on": pa.repeat(pa.scalar(today, pa.date32()), len(customers)),
                    }
                ),
            )
            drawn += len(customers)
    return drawn


def decide_company(warehouse: Warehouse, company: Company, now: datetime) -> Decided:
    """Decide for a company and publish it, whole or not at all. The same day again decides nothing new."""
    refusal = why_not(company)
    if refusal:
        return Decided(None, refusal)
    draw_control_groups(warehouse, company)
    with _held(warehouse, company):
        plan = plan_company(warehouse, company)
        if plan is None:
            return Decided(None, NO_SCORES)
        with warehouse.connect(Role.publisher, autocommit=True) as conn:
            published = publish_decisions(
                conn,
                company.company_id,
                plan.as_of_date,
                now,
                decisions=plan.decisions,
                enrolments=plan.enrolments,
                plans=plan.programmes,
            )
    return Decided(published, None)


def why_not(company: Company) -> str | None:
    """Why nothing can be decided for a company, by what it declares; None where something can."""
    if not company.actions:
        return NO_ACTIONS
    if "churn" not in company.tasks:
        return "its actions keep customers, and churn is not among its tasks, so nothing is decided"
    return None


def plan_company(warehouse: Warehouse, company: Company) -> Plan | None:
    """What deciding now would decide; writes nothing. None where nobody has a published score.

    Whoever was never drawn is decided for once they are: the draw comes first.
    """
    if not stored.is_built(warehouse):
        return None
    read = stored.read_customers(warehouse, company.company_id, task_named("churn").relations)
    if not read.num_rows:
        return None
    today: date = read.column("today")[0].as_py()
    enrolled = stored.read_enrolments(warehouse, company.company_id, _oldest_that_counts(company.actions, today))
    starts = {action.name: period_start(today, action.period) for action in company.actions}
    customers = _customers(read)
    programmes = _programmes(warehouse, company, customers, enrolled, starts, today)
    standing = _standing(enrolled, starts)
    stands = np.isin(customers.customer_id.astype(str), list(standing))
    decided = decide(customers, programmes, stands)
    as_of_date: date = pc.max(read.column("as_of_date")).as_py()
    new = tables.enrolments(company.company_id, today, as_of_date, customers, programmes, decided)
    in_force = standing | {row["customer_id"]: row for row in new.to_pylist()}
    return Plan(
        as_of_date,
        tables.decisions(company, as_of_date, read, programmes, decided, in_force),
        new,
        tables.plans(company.company_id, today, starts, programmes, decided, enrolled, customers),
    )


@contextmanager
def _held(warehouse: Warehouse, company: Company) -> Iterator[None]:
    """Nobody else decides for the company meanwhile."""
    with warehouse.connect(Role.ml) as conn, conn.transaction():
        stored.hold_decisions(conn, company.company_id)
        yield


def _oldest_that_counts(actions: Sequence[Action], today: date) -> date:
    """From which day on a decision can still stand, use a budget, or make somebody rest."""
    starts = [period_start(today, action.period) for action in actions]
    rests = [today - timedelta(days=action.cooldown_days) for action in actions]
    return min(*starts, *rests)


def _customers(read: pa.Table) -> Customers:
    def words(name: str) -> np.ndarray:
        return np.array(["" if word is None else word for word in read.column(name).to_pylist()], dtype=object)

    def figures(name: str) -> np.ndarray:
        return np.array(read.column(name).to_numpy(zero_copy_only=False), dtype=float)

    return Customers(
        customer_id=words("customer_id"),
        segment=words("value_segment"),
        risk_level=words("risk_level"),
        plan=words("plan_name"),
        probability=figures("probability"),
        probability_low=figures("probability_low"),
        probability_high=figures("probability_high"),
        worth=figures("expected_value"),
        monthly_revenue=figures("monthly_revenue"),
    )


def _standing(enrolled: pa.Table, starts: dict[str, date]) -> dict[str, dict[str, object]]:
    """Earlier decisions of the period that is on, by customer. One of an action that is gone stands no longer."""
    return {
        row["customer_id"]: row
        for row in enrolled.to_pylist()
        if row["action"] in starts and row["decided_on"] >= starts[row["action"]]
    }


def _programmes(
    warehouse: Warehouse,
    company: Company,
    customers: Customers,
    enrolled: pa.Table,
    starts: dict[str, date],
    today: date,
) -> list[Programme]:
    with warehouse.connect(Role.ml) as conn, conn.transaction(force_rollback=True):
        known = stored.begin_programmes(conn, company.company_id, list(starts), today)
        saved = read_saved(conn, company.company_id)
    by_name = {programme.action: programme for programme in known}
    return [
        _programme(
            warehouse,
            company,
            action,
            by_name[action.name],
            _effect(action, saved.get(action.name)),
            customers,
            enrolled,
            starts[action.name],
            today,
        )
        for action in company.actions
    ]


def _effect(action: Action, saved: Saved | None) -> Effect:
    believed = action.saved_share
    measured = None if saved is None else share_saved(*saved)
    return better_known(Effect(believed.low, believed.likely, believed.high), measured)


def _programme(
    warehouse: Warehouse,
    company: Company,
    action: Action,
    programme: stored.StandingProgramme,
    effect: Effect,
    customers: Customers,
    enrolled: pa.Table,
    start: date,
    today: date,
) -> Programme:
    is_control, draw_propensity = _groups(warehouse, company, action, programme.salt, customers)
    own = enrolled.filter(pc.equal(enrolled.column("action"), action.name))
    rested_from = today - timedelta(days=action.cooldown_days)
    recent = own.filter(pc.greater(own.column("decided_on"), pa.scalar(rested_from, pa.date32())))
    return Programme(
        action,
        effect,
        _used(own.filter(pc.greater_equal(own.column("decided_on"), pa.scalar(start, pa.date32())))),
        is_control=is_control,
        draw_propensity=draw_propensity,
        explore_bucket=draw_buckets(
            programme.salt, company.company_id, f"{action.name} tries from {start}", list(customers.customer_id)
        ),
        is_resting=np.isin(customers.customer_id.astype(str), recent.column("customer_id").to_pylist()),
        is_stopped=programme.stopped_on is not None and action.stops_at_loss,
    )


def _groups(
    warehouse: Warehouse, company: Company, action: Action, salt: str, customers: Customers
) -> tuple[BoolArray, FloatArray]:
    """Who is a control, and with which probability each was to be treated; both (customers,).

    Who is not drawn yet is laid where the draw will lay them, which knows no more than their name.
    """
    ids = list(customers.customer_id)
    is_control = in_control(draw_buckets(salt, company.company_id, action.name, ids), action.control_share)
    propensity = np.full(len(ids), _propensity(action.control_share))
    place = {customer: row for row, customer in enumerate(ids)}
    for drawn in stored.read_controls(warehouse, company.company_id, action.name).to_pylist():
        row = place.get(drawn["customer_id"])
        if row is not None:
            is_control[row], propensity[row] = drawn["is_control"], drawn["propensity"]
    return is_control, propensity


def _propensity(control_share: float) -> float:
    """With which probability a customer is no control: the share of the buckets."""
    return 1 - round(control_share * BUCKETS) / BUCKETS


def _used(of_period: pa.Table) -> Used:
    """What a programme's decisions of the period use; controls use nothing."""
    cost = np.rint(of_period.column("cost").to_numpy(zero_copy_only=False).astype(float) * HUNDREDTHS).astype(int)
    treated = ~np.array(of_period.column("is_control").to_pylist(), dtype=bool)
    explored = np.array(of_period.column("is_explored").to_pylist(), dtype=bool)
    exploited = treated & ~explored
    tried = treated & explored
    return Used(int(cost[exploited].sum()), int(exploited.sum()), int(cost[tried].sum()), int(tried.sum()))
