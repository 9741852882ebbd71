"""Decisions as tables to publish, with their reasons in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipeline.decisions.choice import HUNDREDTHS, NOTHING
from pipeline.decisions.decide import WEAKER, Decisions
from pipeline.decisions.programmes import Customers, Effect, Programme, net_value
from warehouse.companies.actions import Action
from warehouse.companies.definition import Company
from warehouse.decisions.publication import DECISIONS, ENROLMENTS, PLANS

Enrolment = Mapping[str, Any]


def enrolments(
    company_id: int,
    today: date,
    as_of_date: date,
    customers: Customers,
    programmes: Sequence[Programme],
    decided: Decisions,
) -> pa.Table:
    """What is newly decided, with ENROLMENTS' columns."""
    outlook, rows = decided.outlook, np.flatnonzero(decided.chosen != NOTHING)
    places = decided.chosen[rows]
    is_control = decided.is_control[rows]
    drawn = np.array([programmes[place].draw_propensity[row] for row, place in zip(rows, places, strict=True)])
    bounds = {bound: outlook.column(bound)[rows, places] for bound in ("low", "likely", "high")}
    return pa.table(
        {
            "company_id": pa.repeat(pa.scalar(company_id, pa.int32()), len(rows)),
            "action": pa.array([programmes[place].action.name for place in places], pa.string()),
            "customer_id": pa.array(customers.customer_id[rows].tolist(), pa.string()),
            "decided_on": pa.repeat(pa.scalar(today, pa.date32()), len(rows)),
            "as_of_date": pa.repeat(pa.scalar(as_of_date, pa.date32()), len(rows)),
            "is_control": pa.array(is_control, pa.bool_()),
            "is_explored": pa.array(decided.is_explored[rows], pa.bool_()),
            "propensity": pa.array(decided.propensity[rows], pa.float64()),
            "draw_propensity": pa.array(drawn, pa.float64()),
            "cost": pa.array(outlook.cost[rows, places] / HUNDREDTHS, pa.float64()),
            "worth": pa.array(customers.worth[rows], pa.float64()),
            "net_value_low": pa.array(bounds["low"], pa.float64()),
            "net_value": pa.array(bounds["likely"], pa.float64()),
            "net_value_high": pa.array(bounds["high"], pa.float64()),
            "rests_on": pa.array([programmes[place].effect.rests_on for place in places], pa.string()),
            "value_segment": pa.array(customers.segment[rows].tolist(), pa.string()),
        },
        schema=ENROLMENTS,
    )


def decisions(
    company: Company,
    as_of_date: date,
    read: pa.Table,
    programmes: Sequence[Programme],
    decided: Decisions,
    in_force: Mapping[str, Enrolment],
) -> pa.Table:
    """A decision for every customer of `read`, with DECISIONS' columns. `in_force`: those that stand, by customer."""
    ids = read.column("customer_id").to_pylist()
    labels = {programme.action.name: programme.action for programme in programmes}
    nothing = _why_nothing(company.currency, programmes, decided)
    standing = [in_force.get(customer) for customer in ids]
    reasons = [
        _why(company.currency, labels[enrolled["action"]], enrolled) if enrolled else [nothing[row]]
        for row, enrolled in enumerate(standing)
    ]
    names = ("action", "propensity", "net_value_low", "net_value", "net_value_high", "cost", "rests_on", "decided_on")
    columns: dict[str, Any] = {name: [each and each[name] for each in standing] for name in names}
    columns |= {
        "company_id": [company.company_id] * len(ids),
        "customer_id": ids,
        "as_of_date": [as_of_date] * len(ids),
        "is_control": [bool(each and each["is_control"]) for each in standing],
        "reasons": [orjson.dumps(sentences).decode() for sentences in reasons],
        "row_hash": [
            f"{each['action']}|{each['is_control']}|{each['decided_on']}" if each else "" for each in standing
        ],
    }
    published = ("value_segment", "expected_value", "expected_low", "expected_high", "value_at_risk")
    columns |= {name: read.column(name).to_pylist() for name in published}
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in DECISIONS}, schema=DECISIONS)


def plans(
    company_id: int,
    today: date,
    starts: Mapping[str, date],
    programmes: Sequence[Programme],
    decided: Decisions,
    enrolled: pa.Table,
    customers: Customers,
) -> pa.Table:
    """Each programme on the day, with PLANS' columns: its period so far and today, and what today's choice brings."""
    rows = []
    for place, programme in enumerate(programmes):
        action, new = programme.action, decided.treated(place)
        values = decided.outlook.values[place]
        weaker = net_value(customers, action, _weaker(programme.effect))
        begins = programme.has_paid_fixed or bool(new.any())
        used = programme.used.spent + programme.used.explored_spent + int(values.cost[new].sum())
        rows.append(
            {
                "company_id": company_id,
                "action": action.name,
                "decided_on": today,
                "period_start": starts[action.name],
                "label": action.label,
                "channel": action.channel,
                "owner": action.owner,
                "budget": action.budget,
                "spent": used / HUNDREDTHS + (action.cost_fixed if begins else 0),
                "capacity": action.capacity,
                "treated": programme.used.treated + programme.used.explored + int(new.sum()),
                "controls": _controls(enrolled, action.name, starts[action.name], decided, place),
                "eligible": int(decided.outlook.eligible[:, place].sum()),
                "net_value_low": float(values.low[new].sum()),
                "net_value": float(values.likely[new].sum()),
                "net_value_high": float(values.high[new].sum()),
                "at_most_more": decided.at_most_more,
                "net_value_with_tenth_more": float(decided.more[place]),
                "net_value_at_weaker_effect": float(weaker.likely[new].sum()),
                "status": "stopped" if programme.is_stopped else "runs" if begins else "nothing_earns",
            }
        )
    return pa.Table.from_pylist(rows, schema=PLANS)


def _controls(enrolled: pa.Table, action: str, start: date, decided: Decisions, place: int) -> int:
    """Controls of the period: those of before, and today's."""
    before = sum(
        row["is_control"] and row["action"] == action and row["decided_on"] >= start for row in enrolled.to_pylist()
    )
    return int(before) + int(((decided.chosen == place) & decided.is_control).sum())


def _weaker(effect: Effect) -> Effect:
    return Effect(effect.low * WEAKER, effect.likely * WEAKER, effect.high * WEAKER, effect.rests_on)


def _why(currency: str, action: Action, enrolled: Enrolment) -> list[str]:
    """Why an action was decided for a customer, of what weighs most first."""
    low, likely, high = (enrolled[name] for name in ("net_value_low", "net_value", "net_value_high"))
    sentences = []
    if enrolled["is_control"]:
        sentences.append(
            "Chance leaves this customer alone, so that it can be known what the action earns: do nothing."
        )
    if enrolled["is_explored"]:
        sentences.append("Chosen by chance to learn: only the likely effect earns, not the cautious one.")
    sentences.append(
        f"{action.label} is expected to bring {likely:,.2f} {currency} after its cost ({low:,.2f} to {high:,.2f})."
    )
    sentences.append(
        f"The customer is worth {enrolled['worth']:,.2f} {currency} in twelve months; the action costs "
        f"{enrolled['cost']:,.2f}, and its effect is {enrolled['rests_on']}."
    )
    return sentences


def _why_nothing(currency: str, programmes: Sequence[Programme], decided: Decisions) -> list[str]:
    """Why nothing is done for each customer, were nothing done."""
    outlook = decided.outlook
    low = np.where(outlook.eligible, np.nan_to_num(outlook.column("low"), nan=-np.inf), -np.inf)
    best = low.argmax(axis=1)
    earns, begins = low.max(axis=1) > 0, outlook.may_begin
    sentences = []
    for row in range(len(low)):
        label = programmes[best[row]].action.label
        if not outlook.eligible[row].any():
            sentences.append("No action that runs is meant for this customer, or what they are worth is not known.")
        elif not begins[row].any():
            sentences.append("Every action meant for this customer was decided for them a short while ago, and rests.")
        elif not earns[row]:
            sentences.append(
                f"Nothing earns here: by its cautious effect {label} would bring {low[row, best[row]]:,.2f} {currency}."
            )
        else:
            sentences.append("Others bring more for the same money: budget or capacity is used up, or rests.")
    return sentences
