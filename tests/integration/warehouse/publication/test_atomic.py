"""A publication is all or nothing: for readers at any isolation level, for whoever kills it, for two at once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import date, timedelta
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel

from tests.integration.processes import started
from tests.integration.published import CHURN, FIRST_DAY, Score, at, publish, published, stage, stepped
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.errors import WarehouseError
from warehouse.publication.feed import PUBLISHING_LOCK, PublisherBusy, compact_feed, publishing_lock
from warehouse.publication.publish import publish_staged_scores
from warehouse.roles import Role

SECOND_DAY = FIRST_DAY + timedelta(days=1)
OLD = {"a": Score(0.2), "b": Score(0.9), "c": Score(0.4)}
NEW = {"a": Score(0.7), "b": Score(0.9), "d": Score(0.3)}
MANY = 3000
SNAPSHOTS = (IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE)


def publish_in_steps(url: str, company_id: int, day: date, steps: Connection) -> None:
    """In a process of its own, which says before each statement how many there were."""
    with stepped(Warehouse(url), steps.send) as conn:
        publish_staged_scores(conn, CHURN, company_id, day, at(day))


@pytest.fixture
def company(add_company: Callable[..., Company]) -> Company:
    return add_company(slug="acme")


@contextmanager
def readers(warehouse: Warehouse, *levels: IsolationLevel) -> Iterator[list[psycopg.Connection[Any]]]:
    """A reader for each isolation level, in autocommit: each statement is a transaction of its own."""
    with ExitStack() as stack:
        opened = [stack.enter_context(warehouse.connect(Role.operator, autocommit=True)) for _ in levels]
        for reader, level in zip(opened, levels, strict=True):
            reader.isolation_level = level
        yield opened


def test_between_any_two_statements_readers_of_every_isolation_level_see_the_old_set(
    warehouse: Warehouse, company: Company
) -> None:
    publish(warehouse, company.company_id, FIRST_DAY, OLD)
    stage(warehouse, company.company_id, SECOND_DAY, NEW)
    seen = []
    with readers(warehouse, *SNAPSHOTS, IsolationLevel.READ_COMMITTED) as opened:
        before = published(opened[0], company.company_id)

        def look(_: int) -> None:
            seen.extend(published(reader, company.company_id) for reader in opened)

        with stepped(warehouse, look) as publisher:
            publish_staged_scores(publisher, CHURN, company.company_id, SECOND_DAY, at(SECOND_DAY))
        assert len(seen) > 30
        assert all(state == before for state in seen)
        for reader in opened:
            assert {row[0]: row[2] for row in published(reader, company.company_id)[0]} == {
                name: score.probability for name, score in NEW.items()
            }


def test_a_reader_inside_one_snapshot_keeps_the_old_set_though_a_new_one_is_published(
    warehouse: Warehouse, company: Company
) -> None:
    publish(warehouse, company.company_id, FIRST_DAY, OLD)
    with readers(warehouse, *SNAPSHOTS) as opened:
        for reader in opened:
            with reader.transaction():
                before = published(reader, company.company_id)
                publish(warehouse, company.company_id, FIRST_DAY, NEW)
                assert published(reader, company.company_id) == before
            assert published(reader, company.company_id) != before
            publish(warehouse, company.company_id, FIRST_DAY, OLD)


def test_whichever_statement_a_lost_connection_cuts_off_the_old_set_stands_and_the_next_try_completes(
    warehouse: Warehouse, company: Company
) -> None:
    statement = 0
    cut = True
    while cut:
        day = FIRST_DAY + timedelta(days=statement)
        stage(warehouse, company.company_id, day, NEW if statement % 2 else OLD)
        with warehouse.connect(autocommit=True) as owner:
            before = published(owner, company.company_id)
            cut = publish_and_lose_connection(warehouse, owner, company, statement)
            if cut:
                assert published(owner, company.company_id) == before
                with warehouse.connect(Role.publisher) as conn:
                    publish_staged_scores(conn, CHURN, company.company_id, day, at(day))
            after = published(owner, company.company_id)
        assert len(after[0]) == 3
        assert after != before
        statement += 1
    assert statement > 10


def publish_and_lose_connection(
    warehouse: Warehouse, owner: psycopg.Connection[Any], company: Company, statement: int
) -> bool:
    """Publish, with the backend terminated before that statement; False when there were not so many."""
    day = FIRST_DAY + timedelta(days=statement)

    def cut(number: int) -> None:
        if number == statement:
            owner.execute("select pg_terminate_backend(%s, 5000)", [backend])

    publisher = stepped(warehouse, cut)
    backend = publisher.info.backend_pid
    try:
        publish_staged_scores(publisher, CHURN, company.company_id, day, at(day))
    except psycopg.OperationalError:
        return True
    finally:
        publisher.close()
    return False


def test_a_publisher_killed_at_any_moment_leaves_the_old_set_or_the_new_one(
    warehouse: Warehouse, company: Company
) -> None:
    chance = random.Random(1)
    outcomes = set()
    for attempt in range(5):
        day = FIRST_DAY + timedelta(days=attempt)
        scores = {f"c{number}": Score(chance.uniform(0.1, 0.9)) for number in range(MANY)}
        stage(warehouse, company.company_id, day, scores)
        with warehouse.connect(autocommit=True) as owner:
            before = published(owner, company.company_id)
            publish_and_kill(warehouse, company, day, chance.randint(4, 14), chance.uniform(0, 0.05))
            # The killed publisher's backend may still be at its statement; whoever gets the lock comes after it.
            owner.execute("select pg_advisory_lock(%s)", [PUBLISHING_LOCK])
            owner.execute("select pg_advisory_unlock(%s)", [PUBLISHING_LOCK])
            after = published(owner, company.company_id)
            is_new = after[0] is not None and after[0][0][1] == day.isoformat()
            assert is_new or after == before
            assert (owner.execute("select count(*) from ml.staged_scores").fetchone() == (0,)) == is_new
            outcomes.add(is_new)
            if not is_new:
                with warehouse.connect(Role.publisher) as conn:
                    publish_staged_scores(conn, CHURN, company.company_id, day, at(day))
            assert {row[0]: row[2] for row in published(owner, company.company_id)[0]} == {
                name: score.probability for name, score in scores.items()
            }
    assert False in outcomes, "no kill came in time"


def publish_and_kill(warehouse: Warehouse, company: Company, day: date, statement: int, wait: float) -> None:
    """Publish in a process of its own, and kill it ``wait`` seconds after it came to that statement."""
    here, there = Pipe(duplex=False)
    with started(publish_in_steps, warehouse.url("postgresql"), company.company_id, day, there) as process:
        there.close()
        with here, suppress(EOFError):
            while here.recv() != statement:
                pass
        time.sleep(wait)
        process.kill()


def test_a_publisher_waits_for_another_and_says_so_when_it_will_wait_no_longer(
    warehouse: Warehouse, add_company: Callable[..., Company]
) -> None:
    first, second = add_company("first"), add_company("second")
    for company in (first, second):
        stage(warehouse, company.company_id, FIRST_DAY, OLD)
    with warehouse.connect(Role.publisher, autocommit=True) as other, ThreadPoolExecutor(1) as pool:
        with warehouse.connect(Role.publisher, autocommit=True) as conn, publishing_lock(conn, first.company_id):
            with pytest.raises(PublisherBusy, match="nothing of company 2 was published"):
                publish_staged_scores(
                    other, CHURN, second.company_id, FIRST_DAY, at(FIRST_DAY), wait=timedelta(milliseconds=200)
                )
            waiting = pool.submit(publish_staged_scores, other, CHURN, second.company_id, FIRST_DAY, at(FIRST_DAY))
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
        assert waiting.result(timeout=30).scores == 3


def test_the_same_publication_twice_at_once_is_one_publication(warehouse: Warehouse, company: Company) -> None:
    stage(warehouse, company.company_id, FIRST_DAY, OLD)

    def once(_: int) -> str:
        with warehouse.connect(Role.publisher, autocommit=True) as conn:
            conn.isolation_level = IsolationLevel.REPEATABLE_READ
            try:
                return str(publish_staged_scores(conn, CHURN, company.company_id, FIRST_DAY, at(FIRST_DAY)).upserts)
            except WarehouseError as error:
                return type(error).__name__

    with ThreadPoolExecutor(3) as pool:
        outcomes = sorted(pool.map(once, range(3)))
    assert outcomes == ["3", "NotPublishable", "NotPublishable"]
    with warehouse.connect() as conn:
        assert len(published(conn, company.company_id)[2]) == 3


def test_scores_staged_while_the_company_is_published_wait_and_are_neither_mixed_in_nor_lost(
    warehouse: Warehouse, company: Company
) -> None:
    stage(warehouse, company.company_id, FIRST_DAY, OLD)
    with ThreadPoolExecutor(1) as pool:
        staging = []

        def stage_anew(number: int) -> None:
            if number == 6:
                staging.append(pool.submit(stage, warehouse, company.company_id, FIRST_DAY, NEW))
                time.sleep(0.3)

        with stepped(warehouse, stage_anew) as publisher:
            publish_staged_scores(publisher, CHURN, company.company_id, FIRST_DAY, at(FIRST_DAY))
        staging[0].result(timeout=30)
    with warehouse.connect() as conn:
        current = published(conn, company.company_id)[0]
        assert {row[0]: row[2] for row in current} == {name: score.probability for name, score in OLD.items()}
        assert conn.execute("select entity_id from ml.staged_scores order by 1").fetchall() == [
            ("a",),
            ("b",),
            ("d",),
        ]


def test_a_publication_inside_another_transaction_is_refused_for_it_would_keep_the_lock(
    warehouse: Warehouse, company: Company
) -> None:
    with warehouse.connect(Role.publisher) as conn, conn.transaction(), pytest.raises(ValueError, match="inside"):
        publish_staged_scores(conn, CHURN, company.company_id, FIRST_DAY, at(FIRST_DAY))


def test_a_polling_cursor_skips_no_change_while_companies_publish_and_compact_at_once(
    warehouse: Warehouse, add_company: Callable[..., Company]
) -> None:
    companies = [add_company(slug).company_id for slug in ("one", "two", "three")]
    done = threading.Event()

    def work(company_id: int) -> None:
        chance = random.Random(company_id)
        for number in range(6):
            day = FIRST_DAY + timedelta(days=number)
            scores = {name: Score(chance.uniform(0.1, 0.9)) for name in "abcdefghijklmnopqrst"}
            stage(warehouse, company_id, day, scores)
            with stepped(warehouse, lambda _: time.sleep(chance.uniform(0, 0.01))) as conn:
                publish_staged_scores(conn, CHURN, company_id, day, at(day))

    def poll() -> list[int]:
        seen: list[int] = []
        with warehouse.connect(Role.operator, autocommit=True) as conn:
            while True:
                ends_after_this = done.is_set()
                page = conn.execute(
                    "select change_id from predictions.churn_changes where change_id > %s order by change_id limit 7",
                    [seen[-1] if seen else 0],
                ).fetchall()
                seen += [change_id for (change_id,) in page]
                if ends_after_this and not page:
                    return seen

    with ThreadPoolExecutor(4) as pool:
        polling = pool.submit(poll)
        for publishing in [pool.submit(work, company_id) for company_id in companies]:
            publishing.result()
        done.set()
        seen = polling.result(timeout=60)
    with warehouse.connect(Role.publisher) as conn:
        all_changes = conn.execute("select change_id from predictions.churn_changes order by 1").fetchall()
        assert seen == [change_id for (change_id,) in all_changes]
        assert len(seen) > 3 * 6 * 15
    with warehouse.connect(Role.publisher, autocommit=True) as conn:
        assert compact_feed(conn, CHURN, companies[0], at(FIRST_DAY + timedelta(days=30))) > 0


def test_a_large_set_is_taken_out_of_staging_whole(
    warehouse: Warehouse, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warehouse.publication.publish.ROWS_WORTH_TRUNCATING", 3)
    assert staging_after_publishing(warehouse, company, OLD) == ([], 0)
    assert staging_after_publishing(warehouse, company, dict(list(NEW.items())[:2]))[1] > 0


def test_what_another_company_staged_stands_and_who_reads_staging_holds_up_no_publication(
    warehouse: Warehouse, add_company: Callable[..., Company], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warehouse.publication.publish.ROWS_WORTH_TRUNCATING", 1)
    first, second = add_company("first"), add_company("second")
    stage(warehouse, second.company_id, FIRST_DAY, {"z": Score(0.2)})
    assert staging_after_publishing(warehouse, first, OLD)[0] == [(second.company_id, "z")]
    stage(warehouse, first.company_id, SECOND_DAY, NEW)
    with warehouse.connect(Role.operator) as reader:
        reader.execute("select count(*) from ml.staged_scores")
        assert staging_after_publishing(warehouse, second, {"z": Score(0.3)})[0] == [
            (first.company_id, name) for name in NEW
        ]
    with warehouse.connect(Role.operator) as reader:
        reader.execute("select count(*) from ml.staged_scores")
        assert staging_after_publishing(warehouse, first, NEW)[0] == []


def staging_after_publishing(
    warehouse: Warehouse, company: Company, scores: dict[str, Score]
) -> tuple[list[tuple[int, str]], int]:
    """Who is left in staging, and how many bytes it takes."""
    publish(warehouse, company.company_id, FIRST_DAY, scores)
    with warehouse.connect() as conn:
        rows = conn.execute("select company_id, entity_id from ml.staged_scores order by 1, 2").fetchall()
        size = conn.execute("select pg_relation_size('ml.staged_scores')").fetchone()
    return rows, int(size[0] if size else 0)
