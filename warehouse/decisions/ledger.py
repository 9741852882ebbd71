"""What became of those for whom an action was decided, and the ledger that rests on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import psycopg
import pyarrow as pa
from psycopg import sql

from warehouse import relations
from warehouse.connection import Warehouse
from warehouse.frames import copy_arrow, read_arrow
from warehouse.prediction.task_relations import TaskRelations
from warehouse.roles import Role

ESTIMATES = (
    *("saved_low", "saved", "saved_high", "earned_low", "earned", "earned_high"),
    *("customers_needed", "expected_end"),
)
"""The columns that are null while too few outcomes are known."""

LEDGER = pa.schema(
    [
        ("company_id", pa.int32()),
        *((name, pa.string()) for name in ("action", "scope", "part")),
        *((name, pa.int64()) for name in ("enrolled", "matured", "treated", "controls")),
        *((name, pa.int64()) for name in ("treated_left", "controls_left")),
        *((name, pa.float64()) for name in ESTIMATES[:6]),
        *((name, pa.float64()) for name in ("promised", "spent")),
        ("customers_needed", pa.int64()),
        ("expected_end", pa.date32()),
        ("graded_on", pa.date32()),
    ]
)
"""The columns of the ledger to write."""


def read_outcomes(warehouse: Warehouse, company_id: int, churn: TaskRelations) -> pa.Table | None:
    """Each customer's first decision of each programme, with what became of it, by the date it rests on.

    Columns: action, customer_id, decided_on, is_control, draw_propensity, cost, worth, net_value, value_segment,
    is_churned (null while the horizon lasts, or where no outcome can be told), today. None before dbt's first build.
    """
    with warehouse.connect(Role.ml) as conn:
        built = conn.execute(
            "select to_regclass(%s) is not null and to_regclass(%s) is not null",
            [str(churn.label_versions), str(relations.CUSTOMERS_STANDING)],
        ).fetchone()
    if built != (True,):
        return None
    query = sql.SQL("""
        with firsts as (
            select distinct on (action, customer_id) * from {enrolments}
            where company_id = {company} order by action, customer_id, decided_on
        ),
        labels as (
            select distinct on (as_of_date, {entity}) as_of_date, {entity} as customer_id, {outcome} as is_churned
            from {labels}
            where company_id = {company} and as_of_date in (select as_of_date from firsts)
            order by as_of_date, {entity}, label_version desc
        )
        select firsts.action, firsts.customer_id, firsts.decided_on, firsts.is_control, firsts.draw_propensity,
            firsts.cost, firsts.worth, firsts.net_value, firsts.value_segment, labels.is_churned,
            (select max(today) from {standing} where company_id = {company}) as today
        from firsts
        left join labels on labels.as_of_date = firsts.as_of_date and labels.customer_id = firsts.customer_id
        order by firsts.as_of_date, firsts.decided_on, firsts.customer_id
    """).format(
        enrolments=relations.ENROLMENTS.identifier,
        labels=churn.label_versions.identifier,
        standing=relations.CUSTOMERS_STANDING.identifier,
        entity=sql.Identifier(churn.contract.entity_id),
        outcome=sql.Identifier(churn.label),
        company=sql.Literal(company_id),
    )
    return read_arrow(warehouse, query, role=Role.ml)


def write_ledger(conn: psycopg.Connection[Any], company_id: int, lines: Sequence[Mapping[str, Any]]) -> None:
    """Put a company's ledger, with LEDGER's columns, in place of the one before, in the transaction that is on."""
    conn.execute(relations.compose("delete from {uplift_ledger} where company_id = %s"), [company_id])
    with conn.cursor() as cursor:
        copy_arrow(cursor, pa.Table.from_pylist(list(lines), schema=LEDGER), relations.UPLIFT_LEDGER)


class Saved(NamedTuple):
    """By how much more of the treated stay than of controls, with its range, and which share of controls leaves."""

    low: float
    likely: float
    high: float
    controls_leave: float


def read_saved(conn: psycopg.Connection[Any], company_id: int) -> dict[str, Saved]:
    """What the ledger says of each whole programme, by action; of one with too few outcomes nothing."""
    rows = conn.execute(
        relations.compose("""
        select action, saved_low, saved, saved_high, controls_left::double precision / controls from {uplift_ledger}
        where company_id = %s and scope = 'programme' and saved is not null and controls_left > 0
        """),
        [company_id],
    )
    return {action: Saved(*figures) for action, *figures in rows}


def stop(conn: psycopg.Connection[Any], company_id: int, action: str, today: date, why: str) -> int:
    """Stop a programme that runs; returns 1, or 0 where it had stopped before."""
    return conn.execute(
        relations.compose("""
        update {programmes} set stopped_on = %s, stopped_because = %s
        where company_id = %s and action = %s and stopped_on is null
        """),
        [today, why, company_id, action],
    ).rowcount
