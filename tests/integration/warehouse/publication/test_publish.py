"""Publishing one company's scores: all of them or none, and a feed that a consumer can follow."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import psycopg
import pyarrow as pa
import pytest

from pipeline.prediction.tasks import task_named
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.publication.gate import run_gate
from warehouse.publication.publish import (
    SCORES,
    NotPublishable,
    newest_publication,
    publish_staged_scores,
    stage_scores,
)
from warehouse.roles import Role

CHURN = task_named("churn").relations
FIRST_DAY = date(2026, 1, 1)
NOW = datetime(2026, 1, 1, 6, tzinfo=UTC)


@pytest.fixture
def company(warehouse: Warehouse, add_company: Callable[..., Company]) -> Company:
    """A company whose tables were loaded just before the first day, with a feature matrix to be covered."""
    company = add_company(slug="acme")
    with warehouse.connect() as conn:
        conn.execute(
            "create table features.churn_feature_matrix (company_id int, customer_id text, as_of_date date);"
            "grant select on features.churn_feature_matrix to churn_ml"
        )
        _load(conn, company, NOW - timedelta(days=1))
    return company


def _load(conn: psycopg.Connection[Any], company: Company, known_at: datetime) -> None:
    for entity in company.entities:
        conn.execute(
            "insert into ops.load_log (company_id, entity, is_backfill, known_at, status, finished_at)"
            " values (%s, %s, false, %s, 'succeeded', %s)",
            [company.company_id, entity, known_at, known_at],
        )


def _scores(company: Company, day: date, probabilities: dict[str, float], version: str = "churn-acme v1") -> pa.Table:
    rows = [
        {
            "company_id": company.company_id,
            "task": CHURN.name,
            "entity_id": customer,
            "as_of_date": day,
            "probability": probability,
            "risk_level": "high" if probability > 0.5 else "low",
            "percentile": 50.0,
            "baseline_log_odds": 0.0,
            "reasons": orjson.dumps([_reason(probability)]).decode(),
            "model_version": version,
            "evidence_level": "own_model",
            "row_hash": f"{probability:.2f}",
            "scored_at": datetime(day.year, day.month, day.day, 6, tzinfo=UTC),
        }
        for customer, probability in probabilities.items()
    ]
    return pa.Table.from_pylist(rows, schema=SCORES)


def _reason(probability: float) -> dict[str, object]:
    import math

    return {"feature": "tenure_days", "contribution": math.log(probability / (1 - probability))}


def _judge(warehouse: Warehouse, company: Company, scores: pa.Table) -> list[str]:
    """Stage and judge; returns the names of the checks that failed."""
    day = scores["as_of_date"][0].as_py()
    with warehouse.connect() as conn:
        conn.execute("delete from features.churn_feature_matrix where as_of_date = %s", [day])
        conn.cursor().executemany(
            "insert into features.churn_feature_matrix values (%s, %s, %s)",
            [(company.company_id, customer, day) for customer in scores["entity_id"].to_pylist()],
        )
    with warehouse.connect(Role.ml) as conn:
        stage_scores(conn, company.company_id, CHURN.name, scores)
    with warehouse.connect(Role.ml) as conn:
        return [check.name for check in run_gate(conn, CHURN, company, day, NOW) if not check.passed]


def _publish(warehouse: Warehouse, company: Company, day: date, probabilities: dict[str, float]) -> Any:
    with warehouse.connect() as conn:
        _load(conn, company, datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=1))
    assert _judge(warehouse, company, _scores(company, day, probabilities)) == []
    with warehouse.connect(Role.publisher) as conn:
        return publish_staged_scores(conn, CHURN.contract, company.company_id, day, NOW)


def _current(conn: psycopg.Connection[Any], company: Company) -> dict[str, float]:
    rows = conn.execute(
        "select customer_id, churn_probability from predictions.churn_current where company_id = %s",
        [company.company_id],
    )
    return dict(rows.fetchall())


def test_a_published_set_is_the_current_one_and_its_rows_stand_in_the_feed(
    warehouse: Warehouse, company: Company
) -> None:
    published = _publish(warehouse, company, FIRST_DAY, {"a": 0.2, "b": 0.9})
    assert (published.scores, published.upserts, published.deletes) == (2, 2, 0)
    with warehouse.connect() as conn:
        assert _current(conn, company) == {"a": 0.2, "b": 0.9}
        assert conn.execute("select count(*) from ml.staged_scores").fetchone() == (0,)


def test_only_meaningful_changes_reach_the_feed(warehouse: Warehouse, company: Company) -> None:
    _publish(warehouse, company, FIRST_DAY, {"a": 0.2, "b": 0.9, "c": 0.4})
    published = _publish(warehouse, company, FIRST_DAY + timedelta(days=1), {"a": 0.2, "b": 0.1, "d": 0.3})
    assert (published.upserts, published.deletes) == (2, 1)
    with warehouse.connect() as conn:
        feed = conn.execute(
            "select operation, customer_id from predictions.churn_changes order by change_id offset 3"
        ).fetchall()
    assert sorted(feed) == [("delete", "c"), ("upsert", "b"), ("upsert", "d")]


def test_publishing_the_same_scores_again_changes_nothing_for_a_reader_of_the_feed(
    warehouse: Warehouse, company: Company
) -> None:
    _publish(warehouse, company, FIRST_DAY, {"a": 0.2})
    again = _publish(warehouse, company, FIRST_DAY, {"a": 0.2})
    assert (again.scores, again.upserts, again.deletes) == (1, 0, 0)


def test_an_older_date_replaces_its_own_rows_and_leaves_the_current_set_alone(
    warehouse: Warehouse, company: Company
) -> None:
    _publish(warehouse, company, FIRST_DAY, {"a": 0.2})
    _publish(warehouse, company, FIRST_DAY + timedelta(days=1), {"a": 0.3})
    replay = _publish(warehouse, company, FIRST_DAY, {"a": 0.7})
    assert (replay.upserts, replay.deletes) == (0, 0)
    with warehouse.connect() as conn:
        assert _current(conn, company) == {"a": 0.3}


def test_what_fails_the_gate_is_not_published_and_the_old_set_stands(warehouse: Warehouse, company: Company) -> None:
    _publish(warehouse, company, FIRST_DAY, dict.fromkeys("abcdefgh", 0.2))
    tomorrow = FIRST_DAY + timedelta(days=1)
    with warehouse.connect() as conn:
        _load(conn, company, NOW)
    assert _judge(warehouse, company, _scores(company, tomorrow, {"a": 0.2})) == ["no sudden loss of customers"]
    with warehouse.connect(Role.publisher) as conn, pytest.raises(NotPublishable, match="passed the gate"):
        publish_staged_scores(conn, CHURN.contract, company.company_id, tomorrow, NOW)
    with warehouse.connect() as conn:
        assert len(_current(conn, company)) == 8


def test_scores_staged_after_the_gate_judged_need_a_verdict_of_their_own(
    warehouse: Warehouse, company: Company
) -> None:
    assert _judge(warehouse, company, _scores(company, FIRST_DAY, {"a": 0.2})) == []
    with warehouse.connect(Role.ml) as conn:
        stage_scores(conn, company.company_id, CHURN.name, _scores(company, FIRST_DAY, {"a": 0.99}))
    with warehouse.connect(Role.publisher) as conn, pytest.raises(NotPublishable):
        publish_staged_scores(conn, CHURN.contract, company.company_id, FIRST_DAY, NOW)


def test_the_gate_names_what_is_wrong(warehouse: Warehouse, company: Company) -> None:
    scores = _scores(company, FIRST_DAY, {"a": 0.2, "b": 0.4})
    probability, baseline = map(scores.schema.get_field_index, ("probability", "baseline_log_odds"))
    impossible = scores.set_column(probability, "probability", pa.array([0.2, 1.0]))
    assert _judge(warehouse, company, impossible) == ["probabilities lie between 0 and 1"]
    unexplained = scores.set_column(baseline, "baseline_log_odds", pa.array([0.0, 0.5]))
    assert _judge(warehouse, company, unexplained) == ["reasons add up to the published log-odds"]
    with warehouse.connect() as conn:
        conn.execute("insert into features.churn_feature_matrix values (%s, 'c', %s)", [company.company_id, FIRST_DAY])
    with warehouse.connect(Role.ml) as conn:
        failed = [check for check in run_gate(conn, CHURN, company, FIRST_DAY, NOW) if not check.passed]
    assert "every active customer has a score" in [check.name for check in failed]


def test_the_gate_adds_up_several_reasons_as_it_does_a_single_one(warehouse: Warehouse, company: Company) -> None:
    scores = _scores(company, FIRST_DAY, {"a": 0.5, "b": 0.5})
    single, pair, none = (
        f"[{', '.join(parts)}]" for parts in (['{"contribution": 1}'], ['{"contribution": 1}'] * 2, [])
    )
    for reasons, sums in ((single, 1.0), (pair, 2.0), (none, 0.0)):
        place = scores.schema.get_field_index("reasons")
        given = scores.set_column(place, "reasons", pa.array([reasons, single]))
        for missed in (0.0, 1.0):
            baseline = given.schema.get_field_index("baseline_log_odds")
            staged = given.set_column(baseline, "baseline_log_odds", pa.array([missed - sums, -1.0]))
            expected = ["reasons add up to the published log-odds"] if missed else []
            assert _judge(warehouse, company, staged) == expected, (reasons, missed)


def test_the_gate_stops_a_customer_who_stands_twice(warehouse: Warehouse, company: Company) -> None:
    scores = _scores(company, FIRST_DAY, {"a": 0.2, "b": 0.4})
    assert _judge(warehouse, company, scores) == []
    with warehouse.connect(Role.ml) as conn:
        stage_scores(conn, company.company_id, CHURN.name, pa.concat_tables([scores, scores.slice(0, 1)]))
        failed = [check for check in run_gate(conn, CHURN, company, FIRST_DAY, NOW) if not check.passed]
    assert [check.name for check in failed] == ["every active customer has a score"]
    assert failed[0].detail.endswith("1 of a customer who has one already")


def test_an_outage_of_the_source_holds_publication(warehouse: Warehouse, company: Company) -> None:
    after_the_outage = FIRST_DAY + timedelta(days=5)
    scores = _scores(company, after_the_outage, {"a": 0.2})
    assert _judge(warehouse, company, scores) == ["features rest on fresh loads"]


def test_a_catch_up_load_on_the_day_itself_is_not_in_that_days_features(warehouse: Warehouse, company: Company) -> None:
    after_the_outage = FIRST_DAY + timedelta(days=5)
    with warehouse.connect() as conn:
        _load(conn, company, NOW + timedelta(days=5))
    assert _judge(warehouse, company, _scores(company, after_the_outage, {"a": 0.2})) == [
        "features rest on fresh loads"
    ]
    next_day = after_the_outage + timedelta(days=1)
    assert _judge(warehouse, company, _scores(company, next_day, {"a": 0.2})) == []


def test_a_company_without_publications_has_none(warehouse: Warehouse, company: Company) -> None:
    with warehouse.connect() as conn:
        assert newest_publication(conn, CHURN.contract, company.company_id) is None
