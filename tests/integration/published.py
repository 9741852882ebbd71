"""Sets of scores to publish without a model: staged, waved through the gate, and read back as a follower would."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import orjson
import psycopg
import pyarrow as pa

from pipeline.prediction.tasks import task_named
from warehouse.connection import Warehouse
from warehouse.publication.contract import Contract
from warehouse.publication.feed import DEFAULT_BANDS, Bands
from warehouse.publication.publish import SCORES, Publication, publish_staged_scores, stage_scores
from warehouse.roles import Role

FIRST_DAY = date(2026, 1, 1)
CHURN = task_named("churn").relations.contract


class Score(NamedTuple):
    """A customer's probability, risk level (of the probability, if none is given) and reasons in their order."""

    probability: float
    level: str = ""
    reasons: tuple[str, ...] = ("tenure_days", "seats", "tickets_open")


def at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 6, tzinfo=UTC)


def score_table(
    company_id: int, day: date, scores: Mapping[str, Score], version: str = "churn-acme v1", task: str = CHURN.task
) -> pa.Table:
    rows = []
    for customer, score in scores.items():
        level = score.level or ("high" if score.probability >= 0.5 else "low")
        reasons = [_reason(name, 0.0) for name in score.reasons]
        reasons.append(_reason("other", math.log(score.probability / (1 - score.probability))))
        rows.append(
            {
                "company_id": company_id,
                "task": task,
                "entity_id": customer,
                "as_of_date": day,
                "probability": score.probability,
                "risk_level": level,
                "percentile": 50.0,
                "baseline_log_odds": 0.0,
                "reasons": orjson.dumps(reasons).decode(),
                "model_version": version,
                "evidence_level": "own_model",
                "row_hash": f"{level}|{score.probability:.2f}|{'|'.join(score.reasons)}",
                "scored_at": at(day),
            }
        )
    return pa.Table.from_pylist(rows, schema=SCORES)


def _reason(feature: str, contribution: float) -> dict[str, object]:
    description = {"label": feature, "value": 2, "unit": "days", "family": "customer", "text": f"{feature}: 2 days"}
    return {"feature": feature, "contribution": contribution} | description


def stage(
    warehouse: Warehouse,
    company_id: int,
    day: date,
    scores: Mapping[str, Score],
    version: str = "churn-acme v1",
    task: str = CHURN.task,
) -> None:
    """Stage scores, with a verdict that lets them pass."""
    with warehouse.connect(Role.ml) as conn:
        stage_scores(conn, company_id, task, score_table(company_id, day, scores, version, task))
        conn.execute(
            "insert into ml.publication_gates (company_id, task, as_of_date, staged_at, checked_at, is_passed, checks)"
            " select %s, %s, %s, max(staged_at), now(), true, '[]' from ml.staged_scores"
            " where company_id = %s and task = %s",
            [company_id, task, day, company_id, task],
        )


def publish(
    warehouse: Warehouse,
    company_id: int,
    day: date,
    scores: Mapping[str, Score],
    version: str = "churn-acme v1",
    bands: Bands = DEFAULT_BANDS,
    contract: Contract = CHURN,
) -> Publication:
    stage(warehouse, company_id, day, scores, version, contract.task)
    with warehouse.connect(Role.publisher, autocommit=True) as conn:
        return publish_staged_scores(conn, contract, company_id, day, at(day), bands=bands)


class SteppedConnection(psycopg.Connection[Any]):
    """A connection that calls ``before`` with the number of each statement, from 0, before it sends it."""

    before: Callable[[int], None] = staticmethod(lambda _: None)
    statements = 0

    def execute(self, *arguments: Any, **named: Any) -> psycopg.Cursor[Any]:
        type(self).before(self.statements)
        self.statements += 1
        return super().execute(*arguments, **named)


def stepped(warehouse: Warehouse, before: Callable[[int], None]) -> SteppedConnection:
    """A publisher's connection whose statements can be waited for."""
    kind = type("Stepped", (SteppedConnection,), {"before": staticmethod(before)})
    connection: SteppedConnection = kind.connect(
        warehouse.url("postgresql"), autocommit=True, options="-c TimeZone=UTC -c role=churn_publisher"
    )
    return connection


PUBLISHED = """
    select
        (select json_agg(json_build_array(customer_id, as_of_date, churn_probability) order by customer_id)
            from predictions.churn_current where company_id = %(company)s),
        (select json_agg(json_build_array(customer_id, as_of_date, churn_probability, change_id) order by customer_id)
            from predictions.churn_snapshot where company_id = %(company)s),
        (select json_agg(json_build_array(change_id, operation, customer_id, as_of_date) order by change_id)
            from predictions.churn_changes where company_id = %(company)s),
        (select json_agg(json_build_array(as_of_date, scores, newest_cursor) order by as_of_date)
            from predictions.churn_publications where company_id = %(company)s),
        (select newest_cursor from predictions.churn_cursors where company_id = %(company)s)
"""


def published(conn: psycopg.Connection[Any], company_id: int) -> tuple[Any, ...]:
    """All that a reader sees of a company, by one statement; raises where its parts do not agree."""
    parts = conn.execute(PUBLISHED, {"company": company_id}).fetchone()
    assert parts is not None
    current, snapshot, changes, publications, cursor = parts
    if cursor is None:
        assert (current, snapshot, changes, publications) == (None, None, None, None)
        return parts
    assert {row[0] for row in current} == {row[0] for row in snapshot}
    assert len({row[1] for row in current}) == 1, "two dates in one set"
    assert publications[-1][:2] == [current[0][1], len(current)]
    assert cursor == changes[-1][0] == max(row[2] for row in publications)
    return parts


@dataclass
class Follower:
    """A consumer of the feed that does what docs/predictions-contract.md asks, and may stop after any page."""

    company_id: int
    cursor: int = 0
    snapshots: int = 0
    replica: dict[str, tuple[date, float, str]] = field(default_factory=dict)

    def poll(self, conn: psycopg.Connection[Any], limit: int = 1000) -> int:
        """Apply one page; returns the number of its rows."""
        page = conn.execute(
            "select change_id, operation, customer_id, as_of_date, churn_probability, risk_level"
            " from predictions.churn_changes where company_id = %s and change_id > %s order by change_id limit %s",
            [self.company_id, self.cursor, limit],
        ).fetchall()
        (oldest,) = conn.execute(
            "select coalesce(max(oldest_cursor), 0) from predictions.churn_cursors where company_id = %s",
            [self.company_id],
        ).fetchone() or (0,)
        if 0 < self.cursor < oldest:
            self._start_over(conn)
            return 1
        for change_id, operation, customer, *content in page:
            self.cursor = change_id
            if operation == "delete":
                self.replica.pop(customer, None)
            else:
                self.replica[customer] = tuple(content)
        return len(page)

    def _start_over(self, conn: psycopg.Connection[Any]) -> None:
        self.snapshots += 1
        self.replica = snapshot(conn, self.company_id)
        rows = conn.execute(
            "select newest_cursor from predictions.churn_cursors where company_id = %s", [self.company_id]
        ).fetchone()
        self.cursor = rows[0] if rows else 0

    def catch_up(self, conn: psycopg.Connection[Any]) -> None:
        while self.poll(conn):
            pass


def snapshot(conn: psycopg.Connection[Any], company_id: int) -> dict[str, tuple[date, float, str]]:
    rows = conn.execute(
        "select customer_id, as_of_date, churn_probability, risk_level from predictions.churn_snapshot"
        " where company_id = %s",
        [company_id],
    ).fetchall()
    return {customer: tuple(content) for customer, *content in rows}
