"""The change feed: what is a change and why, what compaction leaves, and a follower who stops and resumes."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.published import CHURN, FIRST_DAY, Follower, Score, at, publish, snapshot, stage
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.publication.feed import DEFAULT_BANDS, Bands, compact_feed, feed_cursors, withdraw_entity
from warehouse.roles import Role

DAY = timedelta(days=1)


@pytest.fixture
def company_id(add_company: Callable[..., Company]) -> int:
    return add_company(slug="acme").company_id


def changes(warehouse: Warehouse, company_id: int) -> list[tuple[Any, ...]]:
    with warehouse.connect() as conn:
        return conn.execute(
            "select operation, customer_id, change_reason from predictions.churn_changes where company_id = %s"
            " order by change_id",
            [company_id],
        ).fetchall()


def daily(warehouse: Warehouse, company_id: int, *scores: Score, bands: Bands = DEFAULT_BANDS) -> list[int]:
    """Publish one customer's scores day after day; returns how many changes each day sent."""
    return [
        publish(warehouse, company_id, FIRST_DAY + number * DAY, {"a": score}, bands=bands).upserts
        for number, score in enumerate(scores)
    ]


@pytest.mark.parametrize(
    "scores",
    [
        [Score(0.124), Score(0.126), Score(0.124), Score(0.135)],
        [Score(0.495, "low"), Score(0.505, "high"), Score(0.495, "low"), Score(0.505, "high")],
    ],
    ids=["a whole percent", "a risk threshold"],
)
def test_a_wobble_is_no_change(warehouse: Warehouse, company_id: int, scores: list[Score]) -> None:
    assert daily(warehouse, company_id, *scores) == [1, 0, 0, 0]


def test_a_slow_drift_is_sent_once_it_adds_up(warehouse: Warehouse, company_id: int) -> None:
    drift = [Score(0.10 + 0.006 * number) for number in range(9)]
    assert daily(warehouse, company_id, *drift) == [1, 0, 0, 0, 1, 0, 0, 0, 1]


def test_another_risk_level_is_sent_when_the_odds_moved_though_the_probability_hardly_did(
    warehouse: Warehouse, company_id: int
) -> None:
    rare = [Score(0.0149, "low"), Score(0.0151, "medium"), Score(0.0171, "medium")]
    assert daily(warehouse, company_id, *rare) == [1, 0, 1]


def test_reasons_that_change_places_are_no_change_until_the_first_is_no_longer_among_three(
    warehouse: Warehouse, company_id: int
) -> None:
    reasons = [("a", "b", "c", "d"), ("b", "a", "d", "c"), ("c", "d", "a", "b"), ("b", "c", "d", "a"), ("c", "b", "e")]
    assert daily(warehouse, company_id, *(Score(0.3, reasons=names) for names in reasons)) == [1, 0, 0, 1, 0]


def test_without_bands_every_difference_is_sent_and_the_same_scores_are_not(
    warehouse: Warehouse, company_id: int
) -> None:
    scores = [Score(0.3), Score(0.3001), Score(0.3001), Score(0.3001, "high")]
    assert daily(warehouse, company_id, *scores, bands=Bands(0, 0)) == [1, 1, 0, 1]


def test_a_change_says_whether_behaviour_a_model_or_a_correction_made_it(warehouse: Warehouse, company_id: int) -> None:
    publish(warehouse, company_id, FIRST_DAY, {"a": Score(0.2), "b": Score(0.2)}, "m v1")
    publish(warehouse, company_id, FIRST_DAY + DAY, {"a": Score(0.6), "b": Score(0.2)}, "m v1")
    publish(warehouse, company_id, FIRST_DAY + DAY, {"a": Score(0.4), "c": Score(0.2)}, "m v1")
    publish(warehouse, company_id, FIRST_DAY + DAY, {"a": Score(0.8), "c": Score(0.2)}, "m v2")
    publish(warehouse, company_id, FIRST_DAY + 2 * DAY, {"a": Score(0.1), "d": Score(0.2)}, "m v3")
    publish(warehouse, company_id, FIRST_DAY + 3 * DAY, {"a": Score(0.3), "d": Score(0.2)}, "m v3")
    operations = changes(warehouse, company_id)
    assert sorted(operations[:2]) == [("upsert", "a", "behaviour"), ("upsert", "b", "behaviour")]
    assert operations[2] == ("upsert", "a", "behaviour")
    assert sorted(operations[3:6]) == [
        ("delete", "b", "correction"),
        ("upsert", "a", "correction"),
        ("upsert", "c", "correction"),
    ]
    assert operations[6] == ("upsert", "a", "model")
    assert sorted(operations[7:10]) == [
        ("delete", "c", "behaviour"),
        ("upsert", "a", "model"),
        ("upsert", "d", "behaviour"),
    ]
    assert operations[10:] == [("upsert", "a", "behaviour")]


def test_a_customer_who_comes_back_is_sent_anew(warehouse: Warehouse, company_id: int) -> None:
    for number, present in enumerate(["ab", "b", "ab"]):
        publish(warehouse, company_id, FIRST_DAY + number * DAY, {name: Score(0.3) for name in present})
    assert [change[:2] for change in changes(warehouse, company_id)[2:]] == [("delete", "a"), ("upsert", "a")]


def compact(warehouse: Warehouse, company_id: int, day: int) -> int:
    with warehouse.connect(Role.publisher, autocommit=True) as conn:
        return compact_feed(conn, CHURN, company_id, at(FIRST_DAY + day * DAY))


def test_compaction_keeps_the_retention_and_the_newest_upsert_of_each_customer(
    warehouse: Warehouse, company_id: int
) -> None:
    """Of day 0: a and b are superseded, c stands. Of day 1: a is superseded, b's delete stands for nobody."""
    days = [
        {"a": Score(0.1), "b": Score(0.1), "c": Score(0.1)},
        {"a": Score(0.3), "c": Score(0.1)},
        {"a": Score(0.5), "c": Score(0.1)},
        {"a": Score(0.7), "c": Score(0.1)},
    ]
    for number, scores in enumerate(days):
        publish(warehouse, company_id, FIRST_DAY + number * DAY, scores)
    with warehouse.connect() as conn:
        before = snapshot(conn, company_id)
        assert compact(warehouse, company_id, 0) == 0
        assert compact(warehouse, company_id, 2) == 4
        assert snapshot(conn, company_id) == before
        cursors = feed_cursors(conn, CHURN, company_id)
    assert [change[:2] for change in changes(warehouse, company_id)] == [
        ("upsert", "c"),
        ("upsert", "a"),
        ("upsert", "a"),
    ]
    assert 0 < cursors.oldest < cursors.newest
    assert compact(warehouse, company_id, 2) == 0


def test_a_follower_behind_the_retention_is_told_and_one_that_kept_up_never_is(
    warehouse: Warehouse, company_id: int
) -> None:
    late, prompt = Follower(company_id), Follower(company_id)
    for number in range(4):
        publish(warehouse, company_id, FIRST_DAY + number * DAY, {"ab"[number % 2]: Score(0.3), "c": Score(0.5)})
        with warehouse.connect() as conn:
            prompt.catch_up(conn)
            if number == 0:
                late.catch_up(conn)
    compact(warehouse, company_id, 30)
    with warehouse.connect() as conn:
        late.catch_up(conn)
        prompt.catch_up(conn)
        newcomer = Follower(company_id)
        newcomer.catch_up(conn)
        assert late.replica == prompt.replica == newcomer.replica == snapshot(conn, company_id)
    assert (late.snapshots, prompt.snapshots, newcomer.snapshots) == (1, 0, 0)


def test_the_snapshot_carries_the_cursor_that_goes_with_it(warehouse: Warehouse, company_id: int) -> None:
    for number in range(3):
        publish(warehouse, company_id, FIRST_DAY + number * DAY, {"a": Score(0.1 + number / 4), "b": Score(0.2)})
    with warehouse.connect() as conn:
        cursors = conn.execute(
            "select distinct next_cursor from predictions.churn_snapshot where company_id = %s", [company_id]
        ).fetchall()
        newest = conn.execute("select max(change_id) from predictions.churn_changes").fetchone()
        assert cursors == [newest]
        assert feed_cursors(conn, CHURN, company_id).newest == newest[0]


def test_a_withdrawn_customer_is_nowhere_and_followers_clear_him_wherever_they_stand(
    warehouse: Warehouse, company_id: int
) -> None:
    publish(warehouse, company_id, FIRST_DAY, {"a": Score(0.1), "b": Score(0.2)})
    followers = [Follower(company_id), Follower(company_id)]
    with warehouse.connect() as conn:
        followers[0].catch_up(conn)
        publish(warehouse, company_id, FIRST_DAY + DAY, {"b": Score(0.2)})
        stage(warehouse, company_id, FIRST_DAY + 2 * DAY, {"a": Score(0.4)})
    with warehouse.connect(Role.publisher, autocommit=True) as conn:
        assert withdraw_entity(conn, CHURN, company_id, "a", at(FIRST_DAY + DAY)) is not None
        assert withdraw_entity(conn, CHURN, company_id, "stranger", at(FIRST_DAY + DAY)) is None
    with warehouse.connect() as conn:
        for follower in followers:
            follower.catch_up(conn)
            assert set(follower.replica) == {"b"}
        for relation, key in (
            ("predictions.churn_scores", "customer_id"),
            ("predictions.churn_snapshot", "customer_id"),
            ("ml.staged_scores", "entity_id"),
        ):
            assert conn.execute(f"select count(*) from {relation} where {key} = 'a'").fetchone() == (0,)
        assert conn.execute(
            "select operation, churn_probability, reasons, row_hash from predictions.churn_changes"
            " where customer_id = 'a'"
        ).fetchall() == [("delete", None, None, None)]


CUSTOMERS = "abcde"
SETS = st.dictionaries(
    st.sampled_from(CUSTOMERS),
    st.builds(
        Score,
        st.floats(0.01, 0.99),
        st.sampled_from(["low", "medium", "high"]),
        st.permutations(["r1", "r2", "r3", "r4"]).map(tuple),
    ),
    min_size=1,
)
ACTIONS = st.one_of(
    st.tuples(st.just("publish"), SETS, st.integers(0, 2), st.sampled_from(["m v1", "m v2"])),
    st.tuples(st.just("poll"), st.integers(0, 4)),
    st.tuples(st.just("compact"), st.integers(-1, 2)),
    st.tuples(st.just("withdraw"), st.sampled_from(CUSTOMERS)),
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(actions=st.lists(ACTIONS, min_size=3, max_size=14))
def test_a_follower_who_stops_anywhere_and_resumes_ends_with_the_snapshot_and_within_the_bands_of_current(
    warehouse: Warehouse, company_id: int, actions: list[tuple[Any, ...]]
) -> None:
    follower = Follower(company_id)
    day = FIRST_DAY
    with warehouse.connect(autocommit=True) as conn:
        empty(conn)
        for action, *details in actions:
            if action == "publish":
                scores, step, version = details
                day += step * DAY
                publish(warehouse, company_id, day, scores, version)
                assert_within_bands(conn, company_id)
            elif action == "poll":
                follower.poll(conn, limit=details[0])
            elif action == "compact":
                compact(warehouse, company_id, (day - FIRST_DAY).days - details[0])
            else:
                with warehouse.connect(Role.publisher, autocommit=True) as publisher:
                    withdraw_entity(publisher, CHURN, company_id, details[0], at(day))
        follower.catch_up(conn)
        newcomer = Follower(company_id)
        newcomer.catch_up(conn)
        assert follower.replica == newcomer.replica == snapshot(conn, company_id)
        assert_within_bands(conn, company_id)


def empty(conn: psycopg.Connection[Any]) -> None:
    conn.execute(
        "truncate predictions.churn_scores_v1, predictions.churn_publications_v1, predictions.churn_changes_v1,"
        " predictions.churn_sent_v1, predictions.churn_cursors_v1, ml.staged_scores, ml.publication_gates"
    )


def assert_within_bands(conn: psycopg.Connection[Any], company_id: int) -> None:
    """What docs/predictions-contract.md promises of a follower's copy, against the current scores."""
    current = conn.execute(
        "select customer_id, churn_probability, risk_level, reasons from predictions.churn_current"
        " where company_id = %s order by 1",
        [company_id],
    ).fetchall()
    sent = conn.execute(
        "select customer_id, churn_probability, risk_level, reasons from predictions.churn_snapshot"
        " where company_id = %s order by 1",
        [company_id],
    ).fetchall()
    assert [row[0] for row in current] == [row[0] for row in sent]
    for (_, exact, level, reasons), (_, held, held_level, held_reasons) in zip(current, sent, strict=True):
        assert abs(exact - held) < DEFAULT_BANDS.probability
        if level != held_level:
            assert abs(math.log(exact / (1 - exact)) - math.log(held / (1 - held))) < math.log(1 + DEFAULT_BANDS.odds)
        assert held_reasons[0]["feature"] in [reason["feature"] for reason in reasons[:3]]
