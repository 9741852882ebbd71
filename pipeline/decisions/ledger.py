"""What a company's programmes earned: treated against controls, as a whole, by month of the decision and by segment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from ml_assets.effects.confidence import customers_needed, effect_of, effect_scores
from ml_assets.frames import FloatArray
from pipeline.decisions.choice import BoolArray
from pipeline.prediction.tasks import task_named
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.decisions import ledger as stored
from warehouse.decisions.programmes import hold_decisions
from warehouse.roles import Role

FEWEST, FEWEST_WHO_LEFT = 50, 10
"""Known outcomes of treated and of controls, and of each those who left, below which no range is said: the theory holds
for many, and of few its ranges are too narrow.
"""


@dataclass(frozen=True)
class Outcomes:
    """First decisions of a programme in the order in which outcomes become known, all (customers,).

    `is_known`: the horizon is over; `left`: the customer left in it. `worth`, `cost` and `promised`: money of the
    company, as it was said on the day of the decision.
    """

    is_known: BoolArray
    is_treated: BoolArray
    left: BoolArray
    propensity: FloatArray
    worth: FloatArray
    cost: FloatArray
    promised: FloatArray
    month: np.ndarray
    segment: np.ndarray
    decided_on: np.ndarray

    def of(self, rows: BoolArray) -> Outcomes:
        """Those of some rows."""
        return Outcomes(**{name: column[rows] for name, column in vars(self).items()})


def is_enough(is_treated: BoolArray, stays: FloatArray) -> bool:
    """Whether a range may be said: both groups have FEWEST outcomes, of whom FEWEST_WHO_LEFT left."""
    return all(
        group.sum() >= FEWEST and (group & (stays == 0)).sum() >= FEWEST_WHO_LEFT for group in (is_treated, ~is_treated)
    )


def keep_ledger(warehouse: Warehouse, company: Company) -> int:
    """Work out what each programme of a company earned, and stop those that surely lose; returns how many stopped.

    A stopped programme decides nothing new while `stops_at_loss` holds; what it decided stands.
    """
    read = stored.read_outcomes(warehouse, company.company_id, task_named("churn").relations)
    if read is None or not read.num_rows:
        return 0
    today: date = read.column("today")[0].as_py()
    horizon = int(company.tasks["churn"]["horizon_days"]) if "churn" in company.tasks else 0
    rows = [
        {"company_id": company.company_id, "action": action, "graded_on": today} | row
        for action in sorted(set(read.column("action").to_pylist()))
        for row in ledger_of(_outcomes(read, action), today, horizon)
    ]
    stops = {action.name for action in company.actions if action.stops_at_loss}
    losing = [row for row in rows if row["scope"] == "programme" and row["action"] in stops and _surely_loses(row)]
    with warehouse.connect(Role.ml) as conn, conn.transaction():
        hold_decisions(conn, company.company_id)
        stored.write_ledger(conn, company.company_id, rows)
        return sum(stored.stop(conn, company.company_id, row["action"], today, _why(company, row)) for row in losing)


def ledger_of(outcomes: Outcomes, today: date, horizon_days: int) -> Iterator[dict[str, Any]]:
    """A programme's lines: as a whole, each month of decision, each segment; columns as in ml.uplift_ledger."""
    yield _line("programme", "all", outcomes, today, horizon_days)
    for scope, column in (("month", outcomes.month), ("segment", outcomes.segment)):
        for part in sorted(set(column.tolist())):
            yield _line(scope, part, outcomes.of(column == part), today, horizon_days)


def _line(scope: str, part: str, outcomes: Outcomes, today: date, horizon_days: int) -> dict[str, Any]:
    known = outcomes.of(outcomes.is_known)
    treated, controls = known.is_treated, ~known.is_treated
    line: dict[str, Any] = {
        "scope": scope,
        "part": part,
        "enrolled": len(outcomes.is_known),
        "matured": len(treated),
        "treated": int(treated.sum()),
        "controls": int(controls.sum()),
        "treated_left": int((treated & known.left).sum()),
        "controls_left": int((controls & known.left).sum()),
        "promised": float(known.promised[treated].sum()),
        "spent": float(known.cost[treated].sum()),
    }
    stays = (~known.left).astype(float)
    if not is_enough(treated, stays):
        return line | dict.fromkeys(stored.ESTIMATES)
    saved = effect_of(effect_scores(treated, stays, known.propensity))
    money = effect_of(effect_scores(treated, stays * known.worth - treated * known.cost, known.propensity))
    count = int(treated.sum())
    needed = _needed(known, money.scatter)
    return line | {
        "saved_low": saved.low,
        "saved": saved.likely,
        "saved_high": saved.high,
        "earned_low": money.low * count,
        "earned": money.likely * count,
        "earned_high": money.high * count,
        "customers_needed": needed,
        "expected_end": _expected_end(outcomes, needed, today, horizon_days),
    }


def _needed(known: Outcomes, scatter: float) -> int | None:
    """Known outcomes until the range is narrower than what is promised of one customer."""
    promised = abs(float(known.promised.mean()))
    return customers_needed(scatter, promised) if promised > 0 else None


def _expected_end(outcomes: Outcomes, needed: int | None, today: date, horizon_days: int) -> date | None:
    """When so many outcomes are known, at the pace of decisions so far; None where that is beyond ten years."""
    if needed is None or needed <= outcomes.is_known.sum():
        return None
    days = max(1, (today - outcomes.decided_on.min()).days)
    per_day = len(outcomes.is_known) / days
    ahead = max(0, needed - len(outcomes.is_known)) / per_day + horizon_days
    return today + timedelta(days=int(ahead)) if ahead < 3650 else None


def _surely_loses(row: dict[str, Any]) -> bool:
    return row["earned_high"] is not None and row["earned_high"] < 0


def _why(company: Company, row: dict[str, Any]) -> str:
    return (
        f"it earned {row['earned_low']:,.2f} to {row['earned_high']:,.2f} {company.currency} with "
        f"{row['treated']:,} treated customers and {row['controls']:,} controls"
    )


def _outcomes(read: pa.Table, action: str) -> Outcomes:
    rows = [row for row in read.to_pylist() if row["action"] == action]

    def column(name: str, kind: type = float) -> np.ndarray:
        return np.array([row[name] for row in rows], dtype=kind)

    return Outcomes(
        is_known=np.array([row["is_churned"] is not None for row in rows], dtype=bool),
        is_treated=~column("is_control", bool),
        left=np.array([bool(row["is_churned"]) for row in rows], dtype=bool),
        propensity=column("draw_propensity"),
        worth=column("worth"),
        cost=column("cost"),
        promised=column("net_value"),
        month=np.array([row["decided_on"].replace(day=1).isoformat() for row in rows], dtype=object),
        segment=column("value_segment", object),
        decided_on=column("decided_on", object),
    )
