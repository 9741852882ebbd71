"""Business metrics that programs ask for by name: which mart has each, and what it means there.

What a metric means stands once, in dbt's descriptions, which the marts carry as comments. As a company's own login.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from foundation.errors import ChurnError
from warehouse.relations import Relation

Connection = psycopg.Connection[Any]
MOST_POINTS = 5_000


class UnknownMetric(ChurnError):
    """No metric has this name."""

    advice = "GET /v1/metrics lists them."


@dataclass(frozen=True)
class Metric:
    """A column of a mart by a period and dimensions. ``unit``: share, count, currency, hours or 1 to 5."""

    name: str
    mart: str
    column: str
    unit: str
    period: str = "month"
    dimensions: tuple[str, ...] = ()

    @property
    def relation(self) -> Relation:
        """Where it stands."""
        return Relation("analytics", self.mart)


@dataclass(frozen=True)
class Point:
    """A metric's value in the period that begins with ``period``; null where it cannot be said."""

    period: date
    dimensions: dict[str, str | None]
    value: float | None


@dataclass(frozen=True)
class Described:
    """A metric with what its column and its mart mean."""

    metric: Metric
    definition: str
    population: str


_SEGMENT = ("segment",)

METRICS: tuple[Metric, ...] = (
    Metric("churn_rate", "churn_by_month", "churn_rate", "share", dimensions=_SEGMENT),
    Metric("customers", "churn_by_month", "customers_at_end", "count", dimensions=_SEGMENT),
    Metric("customers_joined", "churn_by_month", "customers_joined", "count", dimensions=_SEGMENT),
    Metric("customers_churned", "churn_by_month", "customers_churned", "count", dimensions=_SEGMENT),
    Metric("net_revenue", "revenue_statistics_by_month", "net_revenue", "currency"),
    Metric("paying_customers", "revenue_statistics_by_month", "paying_customers", "count"),
    Metric(
        "net_revenue_per_paying_customer", "revenue_statistics_by_month", "net_revenue_per_paying_customer", "currency"
    ),
    Metric(
        *("gross_revenue_retention", "revenue_retention_by_quarter", "gross_revenue_retention", "share"),
        *("quarter_start", _SEGMENT),
    ),
    Metric(
        *("net_revenue_retention", "revenue_retention_by_quarter", "net_revenue_retention", "share"),
        *("quarter_start", _SEGMENT),
    ),
    Metric("customers_by_risk", "risk_by_month", "customers", "count", dimensions=("risk_level",)),
    Metric("expected_churners", "risk_by_month", "expected_churners", "count", dimensions=("risk_level",)),
    Metric(
        *("monthly_revenue_at_risk", "risk_by_month", "monthly_revenue_at_risk", "currency"),
        dimensions=("risk_level",),
    ),
    Metric("tickets_opened", "ticket_statistics_by_month", "tickets_opened", "count"),
    Metric("average_satisfaction", "ticket_statistics_by_month", "average_satisfaction", "1 to 5"),
    Metric("median_resolution_hours", "ticket_statistics_by_month", "median_resolution_hours", "hours"),
)

_DESCRIPTIONS: LiteralString = """
    select asked.name, coalesce(col_description(pg_class.oid, pg_attribute.attnum), ''),
        coalesce(obj_description(pg_class.oid, 'pg_class'), '')
    from unnest(%s::text[], %s::text[], %s::text[]) as asked (name, mart, value)
    inner join pg_namespace on pg_namespace.nspname = 'analytics'
    inner join pg_class on pg_class.relnamespace = pg_namespace.oid and pg_class.relname = asked.mart
    inner join pg_attribute on pg_attribute.attrelid = pg_class.oid and pg_attribute.attname = asked.value
"""


def metric_named(name: str) -> Metric:
    """The metric of this name. Raises UnknownMetric."""
    for metric in METRICS:
        if metric.name == name:
            return metric
    raise UnknownMetric(f"There is no metric {name!r}")


def describe_metrics(connection: Connection, metrics: Sequence[Metric] = METRICS) -> list[Described]:
    """Those of the metrics whose marts are built, with what they mean."""
    asked = [[metric.name for metric in metrics], [metric.mart for metric in metrics]]
    asked.append([metric.column for metric in metrics])
    texts = {name: (column, mart) for name, column, mart in connection.execute(_DESCRIPTIONS, asked)}
    return [
        Described(metric, texts[metric.name][0], " ".join(texts[metric.name][1].split()))
        for metric in metrics
        if metric.name in texts
    ]


def metric_points(
    connection: Connection, metric: Metric, company_id: int, first: date | None, last: date | None
) -> list[Point]:
    """The metric's values by period, oldest first; the newest MOST_POINTS of those that begin within the dates."""
    period, dimensions = sql.Identifier(metric.period), [sql.Identifier(name) for name in metric.dimensions]
    query = sql.SQL(
        "select {columns} from {mart} where company_id = %(company)s"
        " and (%(first)s::date is null or {period} >= %(first)s) and (%(last)s::date is null or {period} <= %(last)s)"
        " order by {period} desc, {order} limit %(most)s"
    ).format(
        columns=sql.SQL(", ").join([period, sql.Identifier(metric.column), *dimensions]),
        mart=metric.relation.identifier,
        period=period,
        order=sql.SQL(", ").join(dimensions or [period]),
    )
    asked = {"company": company_id, "first": first, "last": last, "most": MOST_POINTS}
    rows = connection.execute(query, asked).fetchall()
    return [
        Point(begins, dict(zip(metric.dimensions, of, strict=True)), _number(value))
        for begins, value, *of in reversed(rows)
    ]


def _number(value: Decimal | float | None) -> float | None:
    return None if value is None else float(value)
