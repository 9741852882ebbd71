"""A time without an offset is read in the zone that is said of it, whatever the connector."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.companies import parse_definition
from pipeline.connectors.contract import CUSTOMERS, Chunk
from pipeline.connectors.errors import MappingError
from pipeline.connectors.source import source_for
from tests.integration.company_folders import imports, put_secret
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY, crm
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.settings import Settings

CREATED, UPDATED = "2025-01-02 10:00:00", "2025-01-03 10:00:00"
IN_KOLKATA = (datetime(2025, 1, 2, 4, 30, tzinfo=UTC), datetime(2025, 1, 3, 4, 30, tzinfo=UTC))
IN_UTC = (datetime(2025, 1, 2, 10, tzinfo=UTC), datetime(2025, 1, 3, 10, tzinfo=UTC))
MIXED = (IN_KOLKATA[0], IN_UTC[1])
CASES = [
    ({}, {}, IN_KOLKATA),
    ({"time_zone": "UTC"}, {}, IN_UTC),
    ({"time_zone": "UTC", "time_zones": {"created_at": "Asia/Kolkata"}}, {}, MIXED),
    ({}, {"time_zone": "UTC"}, IN_UTC),
    ({"time_zone": "America/New_York"}, {"time_zone": "UTC", "time_zones": {"created_at": "Asia/Kolkata"}}, MIXED),
    ({"time_zones": {"created_at": "America/New_York"}}, {"time_zone": "UTC"}, IN_UTC),
]


def read(home: Path, connector: str, settings: dict[str, Any], since: datetime | None = None) -> Chunk:
    fields = {
        "slug": "acme",
        "name": "Acme",
        "connector": connector,
        "connector_settings": settings,
        "entities": ["customers"],
        "churn_kind": "cancellation",
        "currency": "INR",
        "time_zone": "Asia/Kolkata",
    }
    company = Company(company_id=1, is_active=True, **parse_definition(fields).model_dump())
    with closing(source_for(company, Settings(home=home), Clock(datetime(2026, 1, 1, tzinfo=UTC)))) as source:
        (chunk,) = source.read(CUSTOMERS, since, 100)
    return chunk


def times(chunk: Chunk) -> tuple[datetime, datetime]:
    (row,) = chunk.accepted.to_pylist()
    return row["created_at"], row["updated_at"]


@pytest.mark.parametrize(("whole", "column", "expected"), CASES)
def test_files_and_databases_read_each_time_in_its_zone(
    tmp_path: Path, whole: dict[str, Any], column: dict[str, Any], expected: tuple[datetime, datetime]
) -> None:
    (imports(tmp_path) / "people.csv").write_text(f"customer_id,created_at,updated_at\n1,{CREATED},{UPDATED}\n")
    in_files = read(tmp_path, "files", whole | {"files": {"customers": {"path": "people.csv"} | column}})
    assert times(in_files) == expected
    url = f"sqlite:///{imports(tmp_path) / 'crm.db'}"
    put_secret(tmp_path, "acme", "address", url)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("create table people (customer_id text, created_at datetime, updated_at datetime)")
        connection.execute(
            sa.text("insert into people values ('1', :created, :updated)"), {"created": CREATED, "updated": UPDATED}
        )
    engine.dispose()
    tables = {"customers": {"table": "people"} | column}
    assert times(read(tmp_path, "sql_database", whole | {"url": "file:address", "tables": tables})) == expected


@pytest.mark.parametrize(("whole", "expected"), [(whole, expected) for whole, column, expected in CASES if not column])
def test_a_crm_is_read_in_its_zone(tmp_path: Path, whole: dict[str, Any], expected: tuple[datetime, datetime]) -> None:
    put_secret(tmp_path, "acme", "key", API_KEY)
    with crm({"customers": [{"id": "1", "created_at": CREATED, "updated_at": UPDATED}]}) as stand_in:
        assert (
            times(read(tmp_path, "habari_api", whole | {"base_url": stand_in.url, "api_key": "file:key"})) == expected
        )


def test_what_is_new_in_a_database_is_asked_for_in_the_zone_of_its_column(tmp_path: Path, warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute("create schema crm")
        connection.execute(
            "create table crm.people as select '1' as customer_id, timestamp '2025-01-02 10:00' as created_at,"
            " timestamp '2025-01-03 10:00' as updated_at"
        )
    put_secret(tmp_path, "acme", "address", warehouse.url())
    tables = {"customers": {"schema": "crm", "table": "people"}}
    settings = {"url": "file:address", "tables": tables, "time_zones": {"updated_at": "UTC"}}
    # In the company's zone the row would lie five and a half hours before this moment.
    assert times(read(tmp_path, "sql_database", settings, datetime(2025, 1, 3, 9, 59, tzinfo=UTC))) == MIXED


def test_a_check_shows_times_as_given_as_read_and_in_which_zone(tmp_path: Path) -> None:
    (imports(tmp_path) / "people.csv").write_text(f"customer_id,created_at,updated_at\n1,{CREATED},{UPDATED}\n")
    chunk = read(tmp_path, "files", {"time_zone": "UTC", "files": {"customers": {"path": "people.csv"}}})
    assert {(example.column, example.given, example.read_as, example.time_zone) for example in chunk.examples} == {
        ("created_at", CREATED, IN_UTC[0], "UTC"),
        ("updated_at", UPDATED, IN_UTC[1], "UTC"),
    }


@pytest.mark.parametrize(
    "settings",
    [{"time_zone": "Mars/Olympus"}, {"time_zones": {"birthday": "UTC"}}, {"time_zones": {"created_at": "x"}}],
)
def test_a_zone_or_column_that_is_none_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(MappingError, match="time_zone"):
        read(tmp_path, "files", settings | {"files": {"customers": {"path": "people.csv"}}})
