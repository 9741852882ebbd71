"""Tracked events land once each, the counts add up, and nobody who was forgotten comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.prediction.tasks import CUSTOMER_TASKS
from pipeline.streaming.tracked_events import read_event
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.landing.tracked import Arrival, Outcome, land, prepare
from warehouse.privacy.company_removal import remove_company
from warehouse.privacy.erasure import forget_customer, rows_of_customer
from warehouse.roles import Role

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def arrival(company: Company, raw: Any, allowed: list[str] | None = None) -> Arrival:
    return Arrival(company.company_id, "web", read_event(raw, NOW, consent_categories=allowed))


def track(number: int, **fields: Any) -> dict[str, Any]:
    return {"type": "track", "messageId": f"m{number}", "event": "e", "anonymousId": "visitor-of-c1"} | fields


def land_all(warehouse: Warehouse, arrivals: list[Arrival], collector: str = "one") -> list[Outcome]:
    with warehouse.connect(Role.collector) as conn:
        prepare(conn)
        return [landed.outcome for landed in land(conn, collector, arrivals)]


@given(
    batches=st.lists(
        st.lists(
            st.tuples(st.integers(0, 4), st.sampled_from(["good", "wrong", "nothing", "no consent"])), max_size=12
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_received_is_loaded_duplicate_rejected_or_dropped(
    warehouse: Warehouse, add_company: Callable[..., Company], batches: list[list[tuple[int, str]]]
) -> None:
    with warehouse.connect() as conn:
        has = conn.execute("select company_id from ops.companies where slug = 'acme'").fetchone()
        conn.execute("truncate raw.tracked_events, raw.rejected_records, ops.collected_events")
    company = add_company("acme") if has is None else Companies.kept
    Companies.kept = company
    seen: set[int] = set()
    outcomes: list[Outcome] = []
    for batch in batches:
        arrivals, expected = [], []
        for number, kind in batch:
            consent = {"consent": {"category": "other" if kind == "no consent" else "analytics"}}
            raw = {"context": consent} if kind == "nothing" else track(number, context=consent)
            if kind == "wrong":
                raw["event"] = None
            arrivals.append(arrival(company, raw, ["analytics"]))
            if kind == "good":
                expected.append(Outcome.duplicate if number in seen else Outcome.loaded)
                seen.add(number)
            else:
                expected.append(Outcome.dropped if kind == "no consent" else Outcome.rejected)
        assert land_all(warehouse, arrivals) == expected
        outcomes += expected
    with warehouse.connect() as conn:
        (counts,) = conn.execute(
            "select coalesce(sum(received), 0), coalesce(sum(loaded), 0), coalesce(sum(duplicate), 0),"
            " coalesce(sum(rejected), 0), coalesce(sum(dropped), 0) from ops.collected_events"
        ).fetchall()
        stored = conn.execute("select count(*) from raw.tracked_events").fetchone()
    assert counts == (len(outcomes), *(outcomes.count(outcome) for outcome in Outcome))
    assert stored == (len(seen),)


class Companies:
    """The company that all examples of a test share."""

    kept: Company


def test_two_collectors_with_the_same_events_land_each_once(
    warehouse: Warehouse, add_company: Callable[..., Company]
) -> None:
    company = add_company("acme")
    outcomes: list[Outcome] = []

    def land_some(collector: str, numbers: list[int]) -> None:
        for first in range(0, 200, 20):
            arrivals = [arrival(company, track(number)) for number in numbers[first : first + 20]]
            outcomes.extend(land_all(warehouse, arrivals, collector))

    forward = list(range(200))
    threads = [
        threading.Thread(target=land_some, args=("one", forward)),
        threading.Thread(target=land_some, args=("two", forward[::-1])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count(Outcome.loaded), outcomes.count(Outcome.duplicate)) == (200, 200)


def identify(number: int, customer: str, visitor: str) -> dict[str, Any]:
    return {"type": "identify", "messageId": f"i{number}", "userId": customer, "anonymousId": visitor}


def test_a_forgotten_customers_events_go_with_those_of_their_devices_and_do_not_come_back(
    warehouse: Warehouse, add_company: Callable[..., Company]
) -> None:
    company, other = add_company("acme"), add_company("other")
    mine = [
        track(1),
        identify(1, "c1", "visitor-of-c1"),
        track(2, userId="c1", anonymousId=None),
        {"type": "alias", "messageId": "x1", "userId": "c1", "previousId": "earlier-of-c1"},
        track(3, anonymousId="earlier-of-c1"),
        {"type": "alias", "messageId": "x2", "userId": "c2", "previousId": "c1"},
        {"type": "track", "messageId": "wrong", "event": 7, "userId": "c1"},
    ]
    others = [track(4, anonymousId="visitor-of-c2"), identify(2, "c2", "visitor-of-c1"), track(5, userId="c2")]
    land_all(warehouse, [arrival(company, raw) for raw in mine + others])
    land_all(warehouse, [arrival(other, raw) for raw in mine])

    receipt = forget_customer(warehouse, CUSTOMER_TASKS, company, "c1", actor="tests", now=NOW, next_training=NOW)
    assert receipt.rows == {"raw.tracked_events": 6, "raw.rejected_records": 1}
    with warehouse.connect() as conn:
        assert rows_of_customer(conn, company.company_id, "c1") == {}
        assert rows_of_customer(conn, other.company_id, "c1") == receipt.rows
        kept = conn.execute(
            "select message_id from raw.tracked_events where company_id = %s order by 1", [company.company_id]
        ).fetchall()
    assert kept == [("i2",), ("m4",), ("m5",)]

    again = [raw | {"messageId": f"again-{number}"} for number, raw in enumerate(mine[:6])]
    assert land_all(warehouse, [arrival(company, raw) for raw in again]) == [Outcome.dropped] * 6
    # Whoever uses that device now is somebody else.
    assert land_all(warehouse, [arrival(company, track(9, userId="c2"))]) == [Outcome.loaded]
    with warehouse.connect() as conn:
        assert rows_of_customer(conn, company.company_id, "c1") == {}


def test_a_removed_companys_events_go_and_later_ones_do_not_land(
    warehouse: Warehouse, add_company: Callable[..., Company]
) -> None:
    company = add_company("acme")
    land_all(warehouse, [arrival(company, track(1)), arrival(company, "no event")])
    with warehouse.connect() as conn:
        conn.execute("update ops.companies set is_active = false")
        erased = remove_company(conn, "acme", "tests")
    assert erased["raw.tracked_events"] == erased["ops.collected_events"] == erased["raw.rejected_records"] == 1
    assert land_all(warehouse, [arrival(company, track(2))]) == [Outcome.dropped]
    with warehouse.connect() as conn:
        assert conn.execute("select from raw.tracked_events").fetchall() == []


def test_a_forgetting_under_way_keeps_events_waiting(warehouse: Warehouse, add_company: Callable[..., Company]) -> None:
    company = add_company("acme")
    landed: list[list[Outcome]] = []
    with warehouse.connect() as conn:
        conn.execute(
            "select pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"load {company.company_id} tracked_events"]
        )
        thread = threading.Thread(target=lambda: landed.append(land_all(warehouse, [arrival(company, track(1))])))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
    thread.join(10)
    assert landed == [[Outcome.loaded]]


@pytest.mark.parametrize("customer", ["c1", "ü", "x" * 200])
def test_postgres_knows_the_forgotten_by_the_hash_that_python_makes(
    warehouse: Warehouse, add_company: Callable[..., Company], customer: str
) -> None:
    company = add_company("acme")
    land_all(warehouse, [arrival(company, track(1, userId=customer))])
    forget_customer(warehouse, CUSTOMER_TASKS, company, customer, actor="tests", now=NOW, next_training=NOW)
    assert land_all(
        warehouse, [arrival(company, track(2, userId=customer)), arrival(company, track(3, userId="another"))]
    ) == [Outcome.dropped, Outcome.loaded]
