"""What customers are worth: what a valuation reads, and what it leaves behind.

How a value comes about belongs in `pipeline.decisions` and `ml_assets.lifetime`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.rows import class_row

from warehouse import relations
from warehouse.connection import Warehouse
from warehouse.frames import copy_arrow, read_arrow
from warehouse.prediction.task_relations import TaskRelations
from warehouse.roles import Role

VALUES = pa.schema(
    [
        ("company_id", pa.int32()),
        ("customer_id", pa.string()),
        ("valued_on", pa.date32()),
        ("method", pa.string()),
        *((name, pa.float64()) for name in ("expected_low", "expected_value", "expected_high", "value_at_risk")),
        ("probability_alive", pa.float64()),
        ("value_segment", pa.string()),
    ]
)
"""The columns of values to write."""

MOVES = pa.schema(
    [
        ("company_id", pa.int32()),
        ("customer_id", pa.string()),
        ("moved_on", pa.date32()),
        *((name, pa.string()) for name in ("value_segment", "previous_segment", "cause")),
    ]
)
"""The columns of moves between segments to write."""


@dataclass(frozen=True)
class Threshold:
    """From which value on a customer is a VIP, and on how many customers that rests."""

    vip_from: float
    customers: int


def read_standings(warehouse: Warehouse, company_id: int, churn: TaskRelations) -> pa.Table:
    """Each customer as they stand now, by customer_id.

    Columns: customer_id, customer_status, purchases, first_purchase_date, last_purchase_date, today, revenue_so_far,
    monthly_revenue (all money as double precision, in the company's currency), previous_segment (at the end of the day
    before; null where there was none), and of the published score of churn, null without one: probability, risk_level,
    horizon_curve (JSON text).
    """
    query = sql.SQL("""
        select
            standing.customer_id, standing.customer_status, standing.purchases,
            standing.first_purchase_date, standing.last_purchase_date, standing.today,
            standing.revenue_so_far::double precision as revenue_so_far,
            coalesce(
                features.monthly_price_in_company_currency, greatest(standing.revenue_90d, 0)::double precision / 3
            ) as monthly_revenue,
            coalesce(moved_today.previous_segment, known.value_segment) as previous_segment,
            score.{probability} as probability, score.risk_level, score.horizon_curve::text as horizon_curve
        from {standing} as standing
        left join {scores} as score
            on score.company_id = standing.company_id and score.{entity} = standing.customer_id
        left join {features} as features
            on features.company_id = score.company_id and features.customer_id = score.{entity}
            and features.as_of_date = score.as_of_date
        left join {values} as known
            on known.company_id = standing.company_id and known.customer_id = standing.customer_id
        left join {moves} as moved_today
            on moved_today.company_id = standing.company_id and moved_today.customer_id = standing.customer_id
            and moved_today.moved_on = standing.today
        where standing.company_id = {company}
        order by standing.customer_id
    """).format(
        standing=relations.CUSTOMERS_STANDING.identifier,
        scores=churn.contract.current.identifier,
        features=relations.CUSTOMER_FEATURES.identifier,
        values=relations.CUSTOMER_VALUES.identifier,
        moves=relations.SEGMENT_MOVES.identifier,
        probability=sql.Identifier(churn.contract.probability),
        entity=sql.Identifier(churn.contract.entity_id),
        company=sql.Literal(company_id),
    )
    return read_arrow(warehouse, query, role=Role.ml)


def threshold_of(conn: psycopg.Connection[Any], company_id: int, today: date) -> Threshold | None:
    """What holds in the month of a day; None where it was not set yet."""
    with conn.cursor(row_factory=class_row(Threshold)) as cursor:
        return cursor.execute(
            relations.compose(
                "select vip_from, customers from {value_thresholds} where company_id = %s and valid_from = %s"
            ),
            [company_id, today.replace(day=1)],
        ).fetchone()


def write_values(
    conn: psycopg.Connection[Any],
    company_id: int,
    today: date,
    *,
    values: pa.Table,
    moves: pa.Table,
    new_threshold: Threshold | None,
) -> None:
    """Put a company's values and its moves of today in place of those before, in one transaction.

    `values` has VALUES' columns and `moves` MOVES'.
    """
    with conn.transaction(), conn.cursor() as cursor:
        cursor.execute(relations.compose("delete from {customer_values} where company_id = %s"), [company_id])
        copy_arrow(cursor, values.select(VALUES.names).cast(VALUES), relations.CUSTOMER_VALUES)
        if new_threshold is not None:
            cursor.execute(
                relations.compose("""
                insert into {value_thresholds} (company_id, valid_from, vip_from, customers) values (%s, %s, %s, %s)
                """),
                [company_id, today.replace(day=1), new_threshold.vip_from, new_threshold.customers],
            )
        cursor.execute(
            relations.compose("delete from {segment_moves} where company_id = %s and moved_on = %s"),
            [company_id, today],
        )
        copy_arrow(cursor, moves.select(MOVES.names).cast(MOVES), relations.SEGMENT_MOVES)
