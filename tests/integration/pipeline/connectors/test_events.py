"""Events, the entity that a company may have: the same rows from every source, and nothing where there are none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from pipeline.connectors.contract import EVENTS, PAYMENTS, Source, Totals
from pipeline.connectors.files import Files, FileSettings
from pipeline.connectors.habari_api import HabariApi, HabariSettings
from pipeline.connectors.sql_database import SqlDatabase, SqlSettings
from pipeline.connectors.validation import Reading
from pipeline.loading.sync import sync_company
from pipeline.reach import Reach
from tests.integration.company_folders import imports, put_secret
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY, crm, payment
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.landing.freshness import late_loads
from warehouse.settings import Settings

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
READING = Reading(ZoneInfo("UTC"), NOW)

ROWS = (
    ("e1", "c1", "session", "12.5", "2025-01-03T10:00:00Z", "2025-01-03T10:00:00Z", False, "web"),
    ("e2", "c1", "credit", "-3", "2025-01-04T10:00:00Z", "2025-01-06T10:00:00Z", False, None),
    ("e3", "c2", "session", None, "2025-01-05T10:00:00Z", "2025-01-07T10:00:00Z", True, "web"),
    ("e4", None, "session", "1", "2025-01-08T10:00:00Z", "2025-01-08T10:00:00Z", False, "web"),
)
COLUMNS = {"event_id": "id", "occurred_at": "at", "updated_at": "changed", "is_deleted": "gone"}
NAMES = ("id", "customer_id", "name", "amount", "at", "changed", "gone", "device")

Open = Callable[[Path], Iterator[Source]]


def from_habari(_: Path) -> Iterator[Source]:
    records = [
        {
            "id": key,
            "customer_id": customer,
            "name": name,
            "amount": amount,
            "created_at": at,
            "updated_at": changed,
            "deleted": gone,
            "custom": {"device": device} if device else {},
        }
        for key, customer, name, amount, at, changed, gone, device in ROWS
    ]
    with crm({"events": records}) as served:
        source = HabariApi(
            "acme", HabariSettings(base_url=served.url, api_key="env:KEY"), API_KEY, READING, Reach(Settings())
        )
        yield source
        source.close()


def from_sql_database(folder: Path) -> Iterator[Source]:
    url = f"sqlite:///{folder / 'crm.db'}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "create table usage"
            " (id text, customer_id text, name text, amount text, at text, changed text, gone boolean, device text)"
        )
        connection.exec_driver_sql("insert into usage values (?, ?, ?, ?, ?, ?, ?, ?)", list(ROWS))
    engine.dispose()
    tables = {"events": {"table": "usage", "columns": COLUMNS}}
    source = SqlDatabase(
        "acme", SqlSettings.model_validate({"url": "env:URL", "tables": tables}), url, READING, Settings()
    )
    yield source
    source.close()


def from_files(folder: Path) -> Iterator[Source]:
    lines = [json.dumps(dict(zip(NAMES, row, strict=True))) for row in ROWS]
    (imports(folder) / "usage.jsonl").write_text("\n".join(lines))
    mapping = {"events": {"path": "usage.jsonl", "columns": COLUMNS}}
    source = Files("acme", FileSettings.model_validate({"files": mapping}), Settings(home=folder), READING)
    yield source
    source.close()


@pytest.mark.parametrize("opening", [from_habari, from_sql_database, from_files])
def test_every_source_gives_the_same_events(opening: Open, tmp_path: Path) -> None:
    with contextmanager(opening)(tmp_path) as source:
        chunks = list(source.read(EVENTS, None, 100))
        totals = source.totals(EVENTS)
    rows = [row for chunk in chunks for row in chunk.accepted.to_pylist()]
    assert [(row["event_id"], row["name"], row["amount"], row["is_deleted"]) for row in rows] == [
        ("e1", "session", Decimal("12.5"), False),
        ("e2", "credit", Decimal(-3), False),
        ("e3", "session", None, True),
    ]
    assert rows[1]["occurred_at"] == datetime(2025, 1, 4, 10, tzinfo=UTC)
    assert [json.loads(row["attributes"] or "{}").get("device") for row in rows] == ["web", None, "web"]
    (rejected,) = [record for chunk in chunks for record in chunk.rejected]
    assert (rejected.record_id, rejected.reason) == ("e4", "customer_id is missing")
    assert totals == Totals(live=3, deleted=1)


def test_the_crms_discount_is_taken_for_what_was_off_the_amount() -> None:
    with crm({"payments": [payment(1, "2025-01-02T00:00:00Z", discount="2.50")]}) as served:
        source = HabariApi(
            "acme", HabariSettings(base_url=served.url, api_key="env:KEY"), API_KEY, READING, Reach(Settings())
        )
        (chunk,) = source.read(PAYMENTS, None, 10)
        source.close()
    (row,) = chunk.accepted.to_pylist()
    assert (row["amount"], row["discount_amount"], row["attributes"]) == (Decimal("1.25"), Decimal("2.5"), None)


def test_events_are_loaded_where_there_are_any_and_not_asked_for_elsewhere(
    warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path
) -> None:
    for slug in ("watched", "unwatched"):
        put_secret(tmp_path, slug, "key", API_KEY)
    settings, clock = Settings(home=tmp_path), Clock(NOW)
    event: dict[str, Any] = {
        "id": "e1",
        "customer_id": "c1",
        "name": "session",
        "amount": "5.00",
        "created_at": "2025-01-03T10:00:00Z",
        "updated_at": "2025-01-03T10:00:00Z",
        "deleted": False,
    }
    with crm({"events": [event]}) as watched, crm({}) as unwatched:
        for slug, served, entities in (
            ("watched", watched, ["customers", "events"]),
            ("unwatched", unwatched, ["customers"]),
        ):
            company = add_company(
                slug, entities=entities, connector_settings={"base_url": served.url, "api_key": "file:key"}
            )
            results = sync_company(warehouse, company, clock, settings)
            assert [(result.entity, result.status) for result in results] == [
                (entity, "succeeded") for entity in entities
            ]
    assert [len(served.asked("events")) for served in (watched, unwatched)] == [1, 0]
    with warehouse.connect() as connection:
        assert late_loads(connection, clock) == []
        assert connection.execute(
            "select companies.slug, events.event_id, events.amount, events.is_backfill"
            " from raw.events inner join ops.companies using (company_id)"
        ).fetchall() == [("watched", "e1", Decimal(5), True)]
