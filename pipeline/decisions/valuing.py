"""A company's customers valued and put into segments, once per run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from ml_assets.lifetime.segments import Standing, causes_of_moves, segments_of, vip_threshold
from ml_assets.lifetime.value import Terms
from pipeline.decisions.lifetime_value import Valuation, value_customers
from pipeline.prediction.tasks import churn_settings_of, task_named
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.prediction.customer_values import Threshold, read_standings, threshold_of, write_values
from warehouse.roles import Role


@dataclass(frozen=True)
class Valued:
    """What was done for a company: customers, how many have a value, moves between segments; and why none, if so."""

    customers: int
    valued: int
    moves: int
    refusal: str | None


def value_company(warehouse: Warehouse, company: Company) -> Valued:
    """Value each customer as of now, and keep values, segments and who moved."""
    standings = read_standings(warehouse, company.company_id, task_named("churn").relations)
    if not standings.num_rows:
        return Valued(0, 0, 0, None)
    terms = Terms(company.margin_share, company.yearly_discount)
    valuation = value_customers(standings, churn_settings_of(company), terms)
    today: date = standings.column("today")[0].as_py()
    standing = _standing(standings, valuation)
    with warehouse.connect(Role.ml) as conn:
        known = threshold_of(conn, company.company_id, today)
        threshold = known or _new_threshold(standing)
        segments = segments_of(standing, threshold.vip_from if threshold else np.inf)
        moves = _moves(company.company_id, standings, standing, segments, today)
        write_values(
            conn,
            company.company_id,
            today,
            values=_values(company.company_id, standings, valuation, segments, today),
            moves=moves,
            new_threshold=None if known else threshold,
        )
    return Valued(len(segments), int(np.sum(~np.isnan(valuation.likely))), moves.num_rows, valuation.refusal)


def _new_threshold(standing: Standing) -> Threshold | None:
    vip_from = vip_threshold(standing)
    return None if vip_from is None else Threshold(vip_from, int(np.sum(standing.value > 0)))


def _standing(standings: pa.Table, valuation: Valuation) -> Standing:
    words = {name: _words(standings, name) for name in ("customer_status", "risk_level", "previous_segment")}
    return Standing(
        is_there=words["customer_status"] == "active",
        has_paid=standings.column("purchases").to_numpy() > 0,
        value=valuation.likely,
        alive=valuation.alive,
        risk_level=words["risk_level"],
        before=words["previous_segment"],
    )


def _words(table: pa.Table, name: str) -> np.ndarray:
    """A column of text, "" where it is null."""
    return np.array(["" if word is None else word for word in table.column(name).to_pylist()], dtype=object)


def _values(company_id: int, standings: pa.Table, valuation: Valuation, segments: np.ndarray, today: date) -> pa.Table:
    probability = standings.column("probability").to_numpy(zero_copy_only=False).astype(float)
    figures = {
        "expected_low": valuation.low,
        "expected_value": valuation.likely,
        "expected_high": valuation.high,
        "value_at_risk": probability * valuation.likely,
        "probability_alive": valuation.alive,
    }
    return pa.table(
        {
            "company_id": pa.repeat(pa.scalar(company_id, pa.int32()), len(segments)),
            "customer_id": standings.column("customer_id"),
            "valued_on": pa.repeat(pa.scalar(today, pa.date32()), len(segments)),
            "method": pa.array(valuation.method.tolist(), pa.string()),
            **{name: pa.array(column, pa.float64(), from_pandas=True) for name, column in figures.items()},
            "value_segment": pa.array(segments.tolist(), pa.string()),
        }
    )


def _moves(company_id: int, standings: pa.Table, standing: Standing, segments: np.ndarray, today: date) -> pa.Table:
    """Whoever had a segment and has another one now: a first segment is no move."""
    rows = np.flatnonzero((standing.before != "") & (standing.before != segments))
    return pa.table(
        {
            "company_id": pa.repeat(pa.scalar(company_id, pa.int32()), len(rows)),
            "customer_id": standings.column("customer_id").take(pa.array(rows)),
            "moved_on": pa.repeat(pa.scalar(today, pa.date32()), len(rows)),
            "value_segment": pa.array(segments[rows].tolist(), pa.string()),
            "previous_segment": pa.array(standing.before[rows].tolist(), pa.string()),
            "cause": pa.array(causes_of_moves(standing, segments)[rows].tolist(), pa.string()),
        }
    )
