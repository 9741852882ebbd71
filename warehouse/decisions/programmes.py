"""What a decision reads: customers as they stand, who is a control, and for whom something was decided before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.rows import class_row, dict_row

from warehouse import relations
from warehouse.connection import Warehouse
from warehouse.decisions.publication import CONTRACT
from warehouse.frames import copy_arrow, read_arrow
from warehouse.prediction.task_relations import TaskRelations
from warehouse.roles import Role

Connection = psycopg.Connection[Any]

DECIDING_LOCK = 7_412_033

CONTROLS = pa.schema(
    [
        ("company_id", pa.int32()),
        ("action", pa.string()),
        ("customer_id", pa.string()),
        ("bucket", pa.int16()),
        ("is_control", pa.bool_()),
        ("propensity", pa.float64()),
        ("drawn_on", pa.date32()),
    ]
)
"""The columns of a draw to write."""


@dataclass(frozen=True)
class StandingProgramme:
    """An action as a programme: the salt of its draw, and whether it stopped by itself."""

    action: str
    salt: str
    stopped_on: date | None


def is_built(warehouse: Warehouse) -> bool:
    """Whether dbt has built what a decision reads; before the first run it has not."""
    with warehouse.connect(Role.ml) as conn:
        row = conn.execute(
            "select to_regclass(%s) is not null and to_regclass(%s) is not null",
            [str(relations.CUSTOMERS_STANDING), str(relations.CUSTOMER_FEATURES)],
        ).fetchone()
    return row == (True,)


def hold_decisions(conn: Connection, company_id: int) -> None:
    """Let nobody else draw or decide for the company until the transaction ends: two would spend one budget twice."""
    conn.execute("select pg_advisory_xact_lock(%s, %s)", [DECIDING_LOCK, company_id])


def begin_programmes(conn: Connection, company_id: int, actions: Sequence[str], today: date) -> list[StandingProgramme]:
    """The programmes of these actions, by name; one that was never there begins today, with a salt of its own."""
    conn.execute(
        relations.compose("""
        insert into {programmes} (company_id, action, began_on)
        select %s, wanted.action, %s from unnest(%s::text[]) as wanted (action)
        on conflict (company_id, action) do nothing
        """),
        [company_id, today, list(actions)],
    )
    with conn.cursor(row_factory=class_row(StandingProgramme)) as cursor:
        return cursor.execute(
            relations.compose("""
            select action, salt, stopped_on from {programmes} where company_id = %s and action = any(%s) order by action
            """),
            [company_id, list(actions)],
        ).fetchall()


def today_of(conn: Connection, company_id: int) -> date | None:
    """The company's own day, as its customers were last built; None where it has none."""
    row = conn.execute(
        sql.SQL("select max(today) from {} where company_id = %s").format(relations.CUSTOMERS_STANDING.identifier),
        [company_id],
    ).fetchone()
    return row[0] if row else None


def undrawn_customers(conn: Connection, company_id: int, action: str) -> list[str]:
    """Customers who are in neither group of a programme yet."""
    rows = conn.execute(
        relations.compose(
            """
            select standing.customer_id from {standing} as standing
            where standing.company_id = %(company)s and not exists (
                select from {control_groups} as drawn
                where drawn.company_id = %(company)s and drawn.action = %(action)s
                    and drawn.customer_id = standing.customer_id
            )
            order by standing.customer_id
            """,
            standing=relations.CUSTOMERS_STANDING.identifier,
        ),
        {"company": company_id, "action": action},
    ).fetchall()
    return [customer for (customer,) in rows]


def write_controls(conn: Connection, drawn: pa.Table) -> None:
    """Keep a draw, with CONTROLS' columns. It is never drawn again."""
    with conn.cursor() as cursor:
        copy_arrow(cursor, drawn.select(CONTROLS.names).cast(CONTROLS), relations.CONTROL_GROUPS)


def read_customers(warehouse: Warehouse, company_id: int, churn: TaskRelations) -> pa.Table:
    """Active customers with a current score, by customer_id.

    Columns: customer_id, as_of_date, today, probability, probability_low, probability_high (the probability where no
    range is published), risk_level, plan_name, value_segment; and in the company's currency, null where unknown:
    monthly_revenue, expected_value, expected_low, expected_high, value_at_risk.
    """
    query = sql.SQL("""
        select
            score.{entity} as customer_id, score.as_of_date, standing.today,
            score.{probability} as probability,
            coalesce(score.probability_low, score.{probability}) as probability_low,
            coalesce(score.probability_high, score.{probability}) as probability_high,
            score.risk_level, features.plan_name, known.value_segment,
            coalesce(
                features.monthly_price_in_company_currency, greatest(standing.revenue_90d, 0)::double precision / 3
            ) as monthly_revenue,
            known.expected_value, known.expected_low, known.expected_high, known.value_at_risk
        from {scores} as score
        inner join {standing} as standing
            on standing.company_id = score.company_id and standing.customer_id = score.{entity}
        left join {values} as known
            on known.company_id = score.company_id and known.customer_id = score.{entity}
        left join {features} as features
            on features.company_id = score.company_id and features.customer_id = score.{entity}
            and features.as_of_date = score.as_of_date
        where score.company_id = {company} and standing.customer_status = 'active'
        order by score.{entity}
    """).format(
        scores=churn.contract.current.identifier,
        standing=relations.CUSTOMERS_STANDING.identifier,
        features=relations.CUSTOMER_FEATURES.identifier,
        values=relations.CUSTOMER_VALUES.identifier,
        probability=sql.Identifier(churn.contract.probability),
        entity=sql.Identifier(churn.contract.entity_id),
        company=sql.Literal(company_id),
    )
    return read_arrow(warehouse, query, role=Role.ml)


def read_controls(warehouse: Warehouse, company_id: int, action: str) -> pa.Table:
    """A programme's draw: customer_id, is_control, propensity."""
    query = relations.compose(
        "select customer_id, is_control, propensity from {control_groups}"
        " where company_id = {company} and action = {action}",
        company=sql.Literal(company_id),
        action=sql.Literal(action),
    )
    return read_arrow(warehouse, query, role=Role.ml)


def read_enrolments(warehouse: Warehouse, company_id: int, since: date) -> pa.Table:
    """What was decided from a day on, with ENROLMENTS' columns, by day and customer."""
    query = relations.compose(
        "select * from {enrolments} where company_id = {company} and decided_on >= {since}"
        " order by decided_on, customer_id",
        company=sql.Literal(company_id),
        since=sql.Literal(since),
    )
    return read_arrow(warehouse, query, role=Role.ml)


def newest_plans(conn: Connection, company_id: int) -> list[dict[str, Any]]:
    """Each programme as it was on the newest day of decision, with the columns of ml.programme_plans."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            relations.compose("""
            select * from {programme_plans} as plans
            where plans.company_id = %(company)s and plans.decided_on = (
                select max(newest.decided_on) from {programme_plans} as newest where newest.company_id = %(company)s
            )
            order by plans.action
            """),
            {"company": company_id},
        ).fetchall()


def decision_of(conn: Connection, company_id: int, customer_id: str) -> dict[str, Any] | None:
    """A customer's decision in the current set; None where the set has none."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            CONTRACT.compose("select * from {current} where company_id = %s and customer_id = %s"),
            [company_id, customer_id],
        ).fetchone()
