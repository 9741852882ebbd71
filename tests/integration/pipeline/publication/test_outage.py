"""An outage is not churn: payments stop arriving for three days, and nobody is called a churner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from pipeline.prediction.tasks import task_named
from tests.integration.published import Score, score_table
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.landing.silence import judge
from warehouse.publication.gate import run_gate
from warehouse.publication.holds import Knowledge, NotHeld, accept, list_flips, list_holds, release
from warehouse.publication.publish import NotPublishable, newest_publication, publish_staged_scores, stage_scores
from warehouse.relations import Relation
from warehouse.roles import Role

CHURN = task_named("churn").relations
LAST_GOOD_DAY = date(2026, 3, 10)
CUSTOMERS = 60
REPAIRED = Relation("features", "repaired_matrix")
SILENT = "no source fell silent"


@dataclass
class World:
    """A company whose customers pay every other day; who has not paid for longer than three days is at high risk."""

    warehouse: Warehouse
    company: Company

    def pay(self, first: date, last: date, *, known_at: datetime | None = None) -> None:
        """Every other customer pays at noon of each day; known an hour later, or at ``known_at``."""
        with self.warehouse.connect() as conn:
            conn.execute(
                "insert into raw.payments (company_id, payment_id, updated_at, known_at, is_backfill, is_deleted,"
                " load_id, customer_id, kind, status, paid_at)"
                " select %(company)s, format('p%%s-%%s', day::date, customer), day, coalesce(%(known)s, day), false,"
                " false, 1, 'c' || customer, 'charge', 'succeeded', day"
                " from generate_series(%(first)s::date + interval '12 hours', %(last)s::date + interval '12 hours',"
                " interval '1 day') as day, generate_series(0, %(customers)s - 1) as customer"
                " where (customer + (day::date - date '2026-01-01')) %% 2 = 0",
                {
                    "company": self.company.company_id,
                    "known": known_at,
                    "first": first,
                    "last": last,
                    "customers": CUSTOMERS,
                },
            )

    def pay_by_the_hour(
        self, conn: psycopg.Connection[Any], start: datetime, end: datetime, *, is_backfill: bool = False
    ) -> None:
        """Three customers pay in each hour from `start` on, before `end`, when a load reads them."""
        conn.execute(
            "insert into raw.payments (company_id, payment_id, updated_at, known_at, is_backfill, is_deleted, load_id,"
            " customer_id, kind, status, paid_at)"
            " select %(company)s, format('h%%s-%%s', extract(epoch from hour), customer), hour,"
            " case when %(is_backfill)s then hour else %(end)s end, %(is_backfill)s, false, 1,"
            " 'c' || (extract(epoch from hour)::bigint / 3600 * 3 + customer) %% %(customers)s,"
            " 'charge', 'succeeded', hour"
            " from generate_series(%(start)s, %(end)s - interval '1 second', interval '1 hour') as hour,"
            " generate_series(0, 2) as customer",
            {
                "company": self.company.company_id,
                "is_backfill": is_backfill,
                "start": start,
                "end": end,
                "customers": CUSTOMERS,
            },
        )

    def load(
        self,
        day: date,
        *,
        customers_live: int = CUSTOMERS,
        failed: tuple[str, ...] = (),
        hour: int = 23,
        is_backfill: bool = False,
    ) -> None:
        """Loads of the evening, or of another hour: they succeed, whatever they bring."""
        at = _at(day, hour)
        with self.warehouse.connect() as conn:
            for entity in self.company.entities:
                conn.execute(
                    "insert into ops.load_log (company_id, entity, is_backfill, known_at, status, finished_at,"
                    " source_live) values (%s, %s, %s, %s, %s, %s, %s)",
                    [
                        self.company.company_id,
                        entity,
                        is_backfill,
                        at,
                        "failed" if entity in failed else "succeeded",
                        at,
                        customers_live if entity == "customers" else None,
                    ],
                )

    def build(self, day: date, relation: str = "churn_feature_matrix", known_column: str = "known_at") -> None:
        """The date's features: days since the last payment that was known before it."""
        with self.warehouse.connect() as conn:
            conn.execute(f"delete from features.{relation} where as_of_date = %s", [day])
            conn.execute(
                f"insert into features.{relation}"
                " select %(company)s, customer_id, %(day)s, %(day)s::date - max(paid_at)::date, 12, '{}'"
                f" from raw.payments where {known_column} < %(day)s::timestamp at time zone 'UTC'"
                " group by customer_id",
                {"company": self.company.company_id, "day": day},
            )

    def score(self, day: date, knowledge: Knowledge | None = None) -> dict[str, str]:
        """Stage the scores that the features give, and judge them; returns the checks that failed."""
        matrix = (knowledge or Knowledge.of(CHURN.matrix, day)).matrix
        with self.warehouse.connect() as conn:
            rows = conn.execute(
                f"select customer_id, days from {matrix} where as_of_date = %s order by 1", [day]
            ).fetchall()
        scores = {customer: Score(0.9 if days > 3 else 0.1) for customer, days in rows}
        with self.warehouse.connect(Role.ml) as conn:
            table = score_table(self.company.company_id, day, scores)
            stage_scores(conn, self.company.company_id, CHURN.name, table)
        with self.warehouse.connect(Role.ml) as conn:
            checks = run_gate(conn, CHURN, self.company, day, _at(day, 1), knowledge)
        return {check.name: check.detail for check in checks if not check.passed}

    def publish(self, day: date) -> tuple[int, int]:
        with self.warehouse.connect(Role.publisher, autocommit=True) as conn:
            done = publish_staged_scores(conn, CHURN.contract, self.company.company_id, day, _at(day, 2))
        return done.upserts, done.deletes

    def high(self) -> int:
        """How many a reader is told are at high risk, in the current set or anywhere in the feed."""
        return int(
            self._value(
                "select (select count(*) from predictions.churn_current where risk_level = 'high')"
                " + (select count(*) from predictions.churn_changes where risk_level = 'high')"
            )
        )

    def standing(self) -> date | None:
        with self.warehouse.connect() as conn:
            newest = newest_publication(conn, CHURN.contract, self.company.company_id)
        return newest.as_of_date if newest else None

    def _value(self, query: str) -> Any:
        with self.warehouse.connect() as conn:
            row = conn.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def _at(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def _after(days: int) -> date:
    return LAST_GOOD_DAY + timedelta(days=days)


@pytest.fixture
def world(warehouse: Warehouse, add_company: Callable[..., Company]) -> World:
    """Ten weeks of payments up to the eve of the last good day, whose scores are published."""
    company = add_company(entities=("customers", "payments"))
    with warehouse.connect() as conn:
        for relation in ("churn_feature_matrix", REPAIRED.name):
            conn.execute(
                f"create table features.{relation} (company_id int, customer_id text, as_of_date date, days int,"
                " seats int, custom_attributes jsonb)"
            )
        conn.execute("grant select on all tables in schema features to churn_ml")
    world = World(warehouse, company)
    world.pay(_after(-75), _after(-1))
    world.load(_after(-1))
    world.build(LAST_GOOD_DAY)
    assert world.score(LAST_GOOD_DAY) == {}
    world.publish(LAST_GOOD_DAY)
    return world


def test_payments_that_stop_for_three_days_flip_nobody_and_are_replayed_after_the_repair(world: World) -> None:
    for days in (1, 2, 3, 4):
        # From the last good day's midnight on the source answers, and gives no payments.
        world.load(_after(days - 1))
        world.build(_after(days))
        until = f"{_after(days - 1)} 23:00 UTC"
        reason = f"far fewer payments than usual: 0 in the day up to {until}, usually 30"
        assert world.score(_after(days)) == {SILENT: reason}
        with pytest.raises(NotPublishable):
            world.publish(_after(days))
    assert world.high() == 0
    assert world.standing() == LAST_GOOD_DAY

    with world.warehouse.connect() as conn:
        holds = list_holds(conn, world.company.company_id, CHURN.name, only_open=True)
        assert [(hold.as_of_date, hold.flips) for hold in holds] == [
            (_after(4), 60),
            (_after(3), 60),
            (_after(2), 30),
            (_after(1), 0),
        ]
        assert {hold.standing_date for hold in holds} == {LAST_GOOD_DAY}
        flips = list_flips(conn, world.company.company_id, CHURN.name, _after(2))
    assert {(flip.published_level, flip.held_level) for flip in flips} == {("low", "high")}

    # The repair brings what was missed, and is known only now.
    world.pay(LAST_GOOD_DAY, _after(4), known_at=_at(_after(4), 20))
    world.load(_after(4))
    world.build(_after(5))
    assert world.score(_after(5)) == {}
    assert world.publish(_after(5)) == (0, 0)
    assert world.standing() == _after(5)

    # As it was known the date stays held; as the source said it, it is what it should have been.
    assert SILENT in world.score(_after(3))
    world.build(_after(3), REPAIRED.name, known_column="updated_at")
    knowledge = Knowledge(REPAIRED, _at(_after(5), 3))
    assert world.score(_after(3), knowledge) == {}
    assert world.publish(_after(3)) == (0, 0)
    with world.warehouse.connect(Role.publisher) as conn:
        assert release(conn, world.company.company_id, CHURN.name, _after(3), _at(_after(5), 3), "replayed")
        assert not release(conn, world.company.company_id, CHURN.name, _after(3), _at(_after(5), 3), "replayed")
    assert world.standing() == _after(5)
    assert world.high() == 0


DAILY = (6,)
HOURLY = tuple(range(24))


@pytest.mark.parametrize("hours", [DAILY, HOURLY], ids=["daily", "hourly"])
def test_a_day_of_which_hours_were_never_read_is_not_silent_on_the_first_days(
    warehouse: Warehouse, world: World, hours: tuple[int, ...]
) -> None:
    """The first load is at 06:00, as the README's is: what happened later that day is read on the next one."""
    with warehouse.connect() as conn:
        conn.execute("truncate ops.load_log, raw.payments")
        conn.execute("delete from predictions.churn_publications_v1")
    first_day = LAST_GOOD_DAY
    first_load = _at(first_day, 6)
    with warehouse.connect() as conn:
        world.pay_by_the_hour(conn, first_day - timedelta(days=75), first_load, is_backfill=True)
    world.load(first_day, hour=6, is_backfill=True)
    read_until = first_load
    for days in range(3):
        day = _after(days)
        world.build(day)
        assert world.score(day) == {}, f"day {days + 1}"
        world.publish(day)
        for load in (_at(day, hour) for hour in hours):
            if load > read_until:
                with warehouse.connect() as conn:
                    world.pay_by_the_hour(conn, read_until, load)
                world.load(day, hour=load.hour)
                read_until = load
    # From here on the source answers and gives nothing.
    for days in (3, 4):
        for hour in hours:
            world.load(_after(days), hour=hour)
    world.build(_after(5))
    assert set(world.score(_after(5))) == {SILENT}


def test_a_load_that_failed_holds_what_rests_on_more_than_a_day_ago(world: World) -> None:
    tomorrow, day_after = _after(1), _after(2)
    world.load(LAST_GOOD_DAY, failed=("payments",))
    world.build(tomorrow)
    assert "features rest on fresh loads" in world.score(tomorrow)
    world.pay(LAST_GOOD_DAY, tomorrow)
    world.load(tomorrow)
    world.build(day_after)
    assert world.score(day_after) == {}


def test_a_table_that_shrank_in_the_source_holds_publication(world: World) -> None:
    tomorrow = _after(1)
    world.pay(LAST_GOOD_DAY, LAST_GOOD_DAY)
    world.load(LAST_GOOD_DAY, customers_live=50)
    world.build(tomorrow)
    assert world.score(tomorrow) == {
        "no table shrank": "the source lost customers: it counts 50 after 60 at the last publication"
    }


def test_a_feature_that_goes_missing_for_many_at_once_holds_publication_and_a_few_do_not(world: World) -> None:
    tomorrow = _after(1)
    world.pay(LAST_GOOD_DAY, LAST_GOOD_DAY)
    world.load(LAST_GOOD_DAY)
    world.build(tomorrow)
    missing = "update features.churn_feature_matrix set seats = null where as_of_date = %s and customer_id < %s"
    with world.warehouse.connect() as conn:
        conn.execute(missing, [tomorrow, "c2"])
    assert world.score(tomorrow) == {}
    with world.warehouse.connect() as conn:
        conn.execute(missing, [tomorrow, "c4"])
    reason = "seats is missing for 57% of customers, 0% on 2026-03-10"
    assert world.score(tomorrow) == {"no feature went missing for many at once": reason}


def test_what_somebody_accepts_passes_for_a_week_and_is_in_the_audit_log(world: World) -> None:
    for days in (1, 2):
        world.load(_after(days - 1))
        world.build(_after(days))
    assert SILENT in world.score(_after(1))
    with world.warehouse.connect() as conn:
        accept(conn, world.company.company_id, CHURN.name, _after(1), _at(_after(1), 9), "ada", "closed for the week")
        with pytest.raises(NotHeld, match="churn holds"):
            accept(
                conn, world.company.company_id, CHURN.name, _after(2), _at(_after(1), 9), "ada", "closed for the week"
            )
        audit = conn.execute("select actor, action, after ->> 'because' from ops.audit_log").fetchall()
    assert ("ada", "publication.accepted", "closed for the week") in audit
    assert world.score(_after(1)) == {}
    assert world.score(_after(2)) == {}
    later = _after(9)
    world.load(_after(8))
    world.build(later)
    assert SILENT in world.score(later)


def test_a_company_that_has_published_nothing_is_not_held_for_silence(
    warehouse: Warehouse, add_company: Callable[..., Company], world: World
) -> None:
    with warehouse.connect() as conn:
        conn.execute("truncate predictions.churn_publications_v1")
    world.load(_after(2))
    world.build(_after(3))
    assert world.score(_after(3)) == {}


@pytest.mark.parametrize(
    ("by_day", "is_silent"),
    [
        (dict.fromkeys(range(1, 63), 30), True),
        (dict.fromkeys(range(63), 30), False),
        ({0: 20} | dict.fromkeys(range(1, 63), 30), False),
        # Closed at the weekend, and today is Sunday.
        ({day: 0 if day % 7 in (0, 1) else 30 for day in range(63)}, False),
        # Two a day: one silent day means nothing, a silent week does.
        (dict.fromkeys(range(1, 63), 2), False),
        (dict.fromkeys(range(7, 63), 2), True),
        # Bills go out on the first of the month, and nothing comes in between.
        ({day: 900 if day % 30 == 12 else 0 for day in range(63)}, False),
        # A week is not long enough to know what is usual.
        (dict.fromkeys(range(1, 8), 30), False),
        ({}, False),
    ],
)
def test_silence_is_judged_by_the_same_weekdays_before_it(by_day: dict[int, int], is_silent: bool) -> None:
    assert (judge("payments", by_day) is not None) == is_silent
