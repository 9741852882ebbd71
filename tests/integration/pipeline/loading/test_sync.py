"""Syncing a company: nothing lost, nothing doubled, and what fails says why."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.loading.sync import LoadResult, sync_company
from tests.integration.company_folders import put_secret
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY, StandIn, crm, payment, refusal
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.landing.version_log import VersionLog
from warehouse.roles import Role
from warehouse.settings import Settings

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
CLOCK = Clock(NOW)


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    start = datetime(2025, 2, 1, tzinfo=UTC)
    payments = [payment(number, f"{start + timedelta(hours=number // 3):%Y-%m-%dT%H:%M:%SZ}") for number in range(60)]
    customers = [
        {"id": f"c{number}", "created_at": "2025-01-01", "updated_at": "2025-01-05T00:00:00Z"} for number in range(7)
    ]
    with crm({"payments": payments, "customers": customers}) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    put_secret(tmp_path, "acme", "key", API_KEY)
    return Settings(home=tmp_path)


@pytest.fixture
def company(stand_in: StandIn, add_company: Callable[..., Company]) -> Company:
    return add_company(
        "acme",
        entities=["customers", "payments"],
        connector_settings={"base_url": stand_in.url, "api_key": "file:key", "page_size": 10},
    )


Sync = Callable[..., LoadResult]


@pytest.fixture
def sync(warehouse: Warehouse, company: Company, settings: Settings) -> Sync:
    """Syncs the payments and returns the result; keywords change the company's settings or our own."""

    def run(now: datetime = NOW, limit: float = 0.05, **changes: Any) -> LoadResult:
        changed = company.model_copy(
            update={"connector_settings": company.connector_settings | changes} if changes else {}
        )
        ours = settings.model_copy(update={"reject_limit": limit})
        (result,) = sync_company(warehouse, changed, Clock(now), ours, ["payments"], chunk_rows=20)
        return result

    return run


def test_a_load_under_a_clock_at_midnight_is_known_to_the_day_that_the_clock_says(
    warehouse: Warehouse, sync: Sync
) -> None:
    moved_to = datetime(2025, 6, 20, tzinfo=UTC)
    sync()
    assert sync(now=moved_to).status == "succeeded"
    rows = query(warehouse, "select max(known_at) < '2025-06-20T00:00Z' from ops.load_log")
    assert rows == [(True,)]


def query(warehouse: Warehouse, text: str) -> list[tuple[Any, ...]]:
    with warehouse.connect(Role.operator) as connection:
        return connection.execute(text).fetchall()


def stored(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return query(
        warehouse,
        "select payment_id, updated_at, amount, is_deleted from raw.payments order by payment_id, updated_at",
    )


def test_a_first_sync_takes_everything_and_agrees_with_the_source(
    warehouse: Warehouse, company: Company, settings: Settings
) -> None:
    seen: list[LoadResult] = []
    results = sync_company(
        warehouse, company, CLOCK, settings, dagster_run_id="run-1", progress=seen.append, chunk_rows=20
    )
    assert [(result.entity, result.status, result.loaded, result.is_backfill) for result in results] == [
        ("customers", "succeeded", 7, True),
        ("payments", "succeeded", 60, True),
    ]
    assert results[1].unaccounted == 0
    assert [result.received for result in seen if result.entity == "payments"] == [20, 40, 60, 60]
    assert query(
        warehouse,
        "select entity, dagster_run_id, status, known_at, updated_since, received, loaded, unchanged, rejected,"
        " source_live, warehouse_live from ops.load_log order by load_id",
    ) == [
        ("customers", "run-1", "succeeded", NOW, None, 7, 7, 0, 0, 7, 7),
        ("payments", "run-1", "succeeded", NOW, None, 60, 60, 0, 0, 60, 60),
    ]


def test_the_next_sync_asks_from_shortly_before_the_cursor_and_loads_nothing_twice(
    warehouse: Warehouse, stand_in: StandIn, sync: Sync
) -> None:
    sync()
    before = stored(warehouse)
    result = sync()
    assert stand_in.asked("payments")[-1]["updated_since"] == "2025-02-01T18:55:00+00:00"
    assert (result.received, result.loaded, result.unchanged, result.is_backfill) == (3, 0, 3, False)
    assert stored(warehouse) == before


def test_a_record_stamped_with_the_last_seen_moment_or_a_little_before_is_not_lost(
    warehouse: Warehouse, stand_in: StandIn, sync: Sync
) -> None:
    sync()
    stand_in.records["payments"] += [
        payment(100, "2025-02-01T19:00:00Z"),
        payment(101, "2025-02-01T18:56:00Z"),
    ]
    later = NOW + timedelta(days=1)
    assert sync(now=later).loaded == 2
    assert query(
        warehouse, "select payment_id, known_at, is_backfill from raw.payments where load_id = 2 order by 1"
    ) == [("p100", later, False), ("p101", later, False)]


def test_edits_and_deletions_become_further_versions(warehouse: Warehouse, stand_in: StandIn, sync: Sync) -> None:
    sync()
    payments = stand_in.records["payments"]
    payments[3] |= {"amount": "99.00", "updated_at": "2025-03-01T00:00:00Z"}
    payments[4] = {"id": "p4", "updated_at": "2025-03-02T00:00:00Z", "deleted": True}
    result = sync()
    assert (result.loaded, result.source_deleted, result.warehouse_deleted, result.unaccounted) == (2, 1, 1, 0)
    versions = [row for row in stored(warehouse) if row[0] in ("p3", "p4")]
    assert [(row[0], row[2] and float(row[2]), row[3]) for row in versions] == [
        ("p3", 3.25, False),
        ("p3", 99.0, False),
        ("p4", 4.25, False),
        ("p4", None, True),
    ]


def test_a_sync_that_broke_off_goes_on_where_it_stopped_and_is_still_the_first(
    warehouse: Warehouse, stand_in: StandIn, sync: Sync
) -> None:
    stand_in.misbehave = lambda _, parameters, __: refusal(400, "no") if parameters.get("cursor") == "40" else None
    broken = sync()
    assert (broken.status, broken.loaded) == ("failed", 40)
    assert "answers 400" in (broken.error or "")
    stand_in.misbehave = lambda *_: None
    stand_in.requests.clear()
    rest = sync(now=NOW + timedelta(days=2))
    assert stand_in.asked("payments")[0]["updated_since"] == "2025-02-01T12:55:00+00:00"
    assert (rest.status, rest.is_backfill, rest.loaded, rest.unaccounted) == ("succeeded", True, 20, 0)
    assert query(
        warehouse, "select count(*), bool_and(is_backfill), bool_and(known_at = updated_at) from raw.payments"
    ) == [(60, True, True)]
    assert sync().is_backfill is False


def test_rejected_records_explain_what_the_warehouse_lacks(warehouse: Warehouse, stand_in: StandIn, sync: Sync) -> None:
    stand_in.records["payments"][5]["amount"] = "n/a"
    stand_in.records["payments"][26]["customer_id"] = None
    result = sync()
    assert (result.status, result.rejected, result.source_live, result.warehouse_live) == ("succeeded", 2, 60, 58)
    assert result.unaccounted == 0
    assert query(warehouse, "select record_id, reason, payload->>'type' from raw.rejected_records order by 1 desc") == [
        ("p5", 'amount "n/a" is not a number; if it stands for no value, say so by values: {"n/a": ""}', "charge"),
        ("p26", "customer_id is missing", "charge"),
    ]
    again = sync()
    assert (again.status, again.unaccounted) == ("succeeded", 0)


def test_a_record_that_vanished_at_the_source_without_a_tombstone_gets_one(
    warehouse: Warehouse, stand_in: StandIn, sync: Sync
) -> None:
    sync()
    del stand_in.records["payments"][7]
    later = NOW + timedelta(days=1)
    result = sync(now=later)
    assert (result.status, result.vanished, result.late, result.unaccounted) == ("succeeded", 1, 0, 0)
    assert query(
        warehouse,
        "select payment_id, revision, made_at, known_at, customer_id from raw.payments where is_deleted",
    ) == [("p7", 1, later, later, "c0")]


def test_past_the_share_of_rejects_the_load_fails_and_the_cursor_stays(
    warehouse: Warehouse, stand_in: StandIn, sync: Sync
) -> None:
    for record in stand_in.records["payments"][25:32]:
        record["created_at"] = "31/12/2024"
    result = sync()
    assert result.status == "failed"
    assert "created_at" not in (result.error or "")
    assert 'issued_at "31/12/2024" is not a date and time' in (result.error or "")
    assert "CHURN_REJECT_LIMIT" in (result.error or "")
    assert query(warehouse, "select count(*) from raw.rejected_records") == [(7,)]
    assert query(warehouse, "select cursor_updated_at, backfill_completed_at from ops.sync_cursors") == [
        (datetime(2025, 2, 1, 6, tzinfo=UTC), None)
    ]
    assert sync().status == "failed"
    assert query(warehouse, "select count(*) from raw.rejected_records") == [(7,)]
    lenient = sync(limit=0.5)
    assert (lenient.status, lenient.warehouse_live, lenient.unaccounted) == ("succeeded", 53, 0)
    assert sync().status == "succeeded"


def test_a_failing_entity_does_not_stop_the_others(
    warehouse: Warehouse, company: Company, settings: Settings, stand_in: StandIn
) -> None:
    stand_in.misbehave = lambda path, *_: refusal(404, "gone") if path.endswith("customers") else None
    customers, payments = sync_company(warehouse, company, CLOCK, settings)
    assert (customers.status, payments.status) == ("failed", "succeeded")
    assert query(warehouse, "select entity, status, error from ops.load_log order by load_id") == [
        ("customers", "failed", customers.error),
        ("payments", "succeeded", None),
    ]
    assert customers.error is not None
    assert customers.error.startswith("Company acme, source Habari CRM at http://127.0.0.1")


@pytest.mark.parametrize(
    ("changes", "phrases"),
    [
        ({"api_key": "file:no-such-key"}, ["Secret file:no-such-key: cannot read"]),
        ({"api_key": "env:CHURN_SOURCE_ACME__NO_SUCH_VARIABLE"}, ["NO_SUCH_VARIABLE is not set"]),
        ({"page_siez": 3}, ["connector_settings.page_siez: there is no such setting", "page_size"]),
        ({"base_url": "crm.example.com"}, ["connector_settings.base_url: must look like https://"]),
        ({"page_size": 0}, ["connector_settings.page_size: "]),
    ],
)
def test_wrong_connector_settings_are_a_failed_load_that_names_them(
    warehouse: Warehouse, sync: Sync, changes: dict[str, Any], phrases: list[str]
) -> None:
    result = sync(**changes)
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.startswith("Company acme, source connector habari_api: ")
    for phrase in phrases:
        assert phrase in result.error
    assert query(warehouse, "select status, error from ops.load_log") == [("failed", result.error)]


def test_a_source_out_of_order_is_refused_and_what_the_cursor_passed_is_read_again(
    warehouse: Warehouse, stand_in: StandIn, sync: Sync
) -> None:
    stand_in._sorted = lambda entity: stand_in.records[entity][::-1]  # type: ignore[method-assign]
    result = sync()
    assert result.status == "failed"
    assert "do not come in order of updated_at" in (result.error or "")
    assert sync().status == "failed"
    del stand_in._sorted
    assert sync().unaccounted == 0


def test_a_defect_is_on_record_too_and_its_load_is_closed(
    warehouse: Warehouse, sync: Sync, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_: Any, **__: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(VersionLog, "count_records", break_down)
    result = sync()
    assert (result.status, result.error) == ("failed", "RuntimeError: a defect")
    assert "syncing payments of acme failed" in caplog.text
    assert query(warehouse, "select status from ops.load_log") == [("failed",)]


def test_two_syncs_at_once_load_everything_once(warehouse: Warehouse, company: Company, settings: Settings) -> None:
    results: list[LoadResult] = []

    def run() -> None:
        results.extend(sync_company(warehouse, company, CLOCK, settings, ["payments"], chunk_rows=5))

    both = [threading.Thread(target=run) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert [result.status for result in results] == ["succeeded", "succeeded"]
    assert sum(result.loaded for result in results) == 60
    assert len(stored(warehouse)) == 60
    assert query(warehouse, "select status, error from ops.load_log") == [("succeeded", None)] * 2


def test_a_sync_waits_for_the_one_before_it(warehouse: Warehouse, company: Company, settings: Settings) -> None:
    results: list[LoadResult] = []
    second = threading.Thread(
        target=lambda: results.extend(sync_company(warehouse, company, CLOCK, settings, ["payments"]))
    )
    with (
        warehouse.connect(Role.loader, autocommit=True) as connection,
        VersionLog(connection, company.company_id, "payments").lock(),
    ):
        second.start()
        second.join(timeout=1)
        assert second.is_alive()
        assert query(warehouse, "select count(*) from ops.load_log") == [(0,)]
    second.join()
    assert [result.status for result in results] == ["succeeded"]


def test_a_company_with_a_clock_of_its_own_sees_its_data_day_by_day(
    warehouse: Warehouse, company: Company, settings: Settings
) -> None:
    loaded = []
    for hour in (5, 10, 30):
        moment = datetime(2025, 2, 1, tzinfo=UTC) + timedelta(hours=hour)
        then = company.model_copy(update={"clock_at": moment})
        (result,) = sync_company(warehouse, then, CLOCK, settings, ["payments"])
        loaded.append((result.loaded, result.ahead))
    assert loaded == [(18, 42), (15, 27), (27, 0)]
    assert len(stored(warehouse)) == 60


def test_an_entity_that_the_company_does_not_have_is_a_callers_mistake(
    warehouse: Warehouse, company: Company, settings: Settings
) -> None:
    with pytest.raises(ValueError, match="company acme has no tickets; it has customers, payments"):
        sync_company(warehouse, company, CLOCK, settings, ["tickets"])


def test_a_result_is_plain_data(sync: Sync) -> None:
    assert dataclasses.asdict(sync())["entity"] == "payments"
