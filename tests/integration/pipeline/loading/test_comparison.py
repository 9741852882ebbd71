"""Ids are compared, not counts: what came late is fetched, what is gone is marked deleted, and both are said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.loading.sync import LoadResult, sync_company
from tests.integration.company_folders import put_secret
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY, StandIn, crm, payment
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.roles import Role
from warehouse.settings import Settings

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
DDL = (
    "create table public.accounts (id bigint primary key, signed_up timestamptz, changed timestamptz, team_size int,"
    " budget numeric, is_reseller boolean, about jsonb, industry text)"
)


@dataclass
class Database:
    """A company whose customers stand in a Postgres table, and its syncs by the day."""

    warehouse: Warehouse
    company: Company
    engine: sa.Engine
    home: Path

    def run(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql(statement)

    def add(self, number: int, changed: str) -> None:
        self.run(
            f"insert into public.accounts values ({number}, '2024-01-01Z', '{changed}Z', 12, 1.50, true,"
            " '{\"a\": [1]}', '007')"
        )

    def sync(self, day: float, **mapping: Any) -> LoadResult:
        settings = self.company.connector_settings
        tables = {"customers": settings["tables"]["customers"] | mapping}
        company = self.company.model_copy(update={"connector_settings": settings | {"tables": tables}})
        clock = Clock(NOW + timedelta(days=day))
        (result,) = sync_company(self.warehouse, company, clock, Settings(home=self.home), ["customers"])
        assert result.received == result.loaded + result.unchanged + result.rejected
        return result

    def live(self) -> set[str]:
        with self.warehouse.connect(Role.operator) as connection:
            rows = connection.execute(
                "select customer_id from (select distinct on (customer_id) * from raw.customers"
                " order by customer_id, updated_at desc, revision desc) as newest where not is_deleted"
            )
            return {customer_id for (customer_id,) in rows}


@pytest.fixture
def database(
    warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    url = warehouse.url()
    monkeypatch.setenv("CHURN_SOURCE_ACME__URL", url)
    company = add_company(
        "acme",
        connector="sql_database",
        entities=["customers"],
        connector_settings={
            "url": "env:CHURN_SOURCE_ACME__URL",
            "tables": {
                "customers": {
                    "schema": "public",
                    "table": "accounts",
                    "columns": {"customer_id": "id", "created_at": "signed_up", "updated_at": "changed"},
                }
            },
        },
    )
    engine = sa.create_engine(url)
    opened = Database(warehouse, company, engine, tmp_path)
    opened.run(DDL)
    for number in range(1, 6):
        opened.add(number, f"2025-05-0{number}")
    yield opened
    engine.dispose()


def test_a_row_that_was_committed_late_and_one_that_is_gone_cancel_out_in_counts_and_not_in_ids(
    database: Database,
) -> None:
    assert (database.sync(0).loaded, database.live()) == (5, {"1", "2", "3", "4", "5"})
    database.add(6, "2025-05-02 12:00")
    database.run("delete from public.accounts where id = 1")
    same_count = database.sync(1)
    assert (same_count.late, same_count.vanished, same_count.unaccounted) == (0, 0, 0)
    repaired = database.sync(7)
    assert (repaired.status, repaired.loaded, repaired.late, repaired.vanished) == ("succeeded", 1, 1, 1)
    assert repaired.unaccounted == 0
    assert database.live() == {"2", "3", "4", "5", "6"}
    assert database.sync(8).late == 0


def test_counts_that_differ_are_looked_into_at_once(database: Database) -> None:
    database.sync(0)
    database.add(6, "2025-05-02 12:00")
    result = database.sync(1)
    assert (result.late, result.vanished, result.unaccounted) == (1, 0, 0)


def test_an_edit_that_was_committed_late_is_found_by_its_moment(database: Database) -> None:
    database.sync(0)
    database.run("update public.accounts set industry = 'new', changed = '2025-05-04Z' where id = 1")
    assert database.sync(1).late == 0
    assert database.sync(7).late == 1


def test_a_table_that_shows_a_part_deletes_nothing(database: Database) -> None:
    database.sync(0, complete=False)
    database.run("delete from public.accounts where id < 3")
    results = [database.sync(day, complete=False) for day in (1, 7)]
    assert [(result.vanished, result.unaccounted) for result in results] == [(0, 2), (0, 2)]
    assert len(database.live()) == 5


def test_a_table_without_an_updated_at_is_compared_row_by_row(database: Database) -> None:
    columns = {"customer_id": "id", "created_at": "signed_up"}
    database.run("alter table public.accounts drop column changed")
    assert database.sync(0, columns=columns).loaded == 5
    database.run("update public.accounts set team_size = 13 where id = 2")
    database.run("delete from public.accounts where id = 5")
    result = database.sync(1, columns=columns)
    assert (result.received, result.loaded, result.unchanged, result.vanished) == (4, 1, 3, 1)
    assert (result.unaccounted, database.live()) == (0, {"1", "2", "3", "4"})


def test_a_table_whose_updated_at_is_the_day_of_signup_is_compared_row_by_row_too(database: Database) -> None:
    columns = {"customer_id": "id", "created_at": "signed_up", "updated_at": "signed_up"}
    assert database.sync(0, columns=columns).loaded == 5
    database.run("update public.accounts set industry = 'new' where id = 2")
    assert database.sync(1, columns=columns).loaded == 1


def test_attributes_keep_the_types_of_their_columns(database: Database) -> None:
    database.sync(0)
    with database.warehouse.connect(Role.operator) as connection:
        attributes, team_size = connection.execute(
            "select attributes - 'team_size', attributes -> 'team_size' from raw.customers where customer_id = '1'"
        ).fetchone() or (None, None)
    assert team_size == 12
    assert attributes == {"budget": 1.5, "is_reseller": True, "about": {"a": [1]}, "industry": "007"}


def test_an_api_that_passed_over_a_record_while_paging_is_read_again(
    warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path
) -> None:
    put_secret(tmp_path, "acme", "key", API_KEY)
    payments = [payment(number, f"2025-02-01T{number // 3:02d}:00:00Z") for number in range(60)]
    with crm({"payments": payments}) as stand_in:
        company = add_company(
            "acme",
            entities=["customers", "payments"],
            connector_settings={"base_url": stand_in.url, "api_key": "file:key", "page_size": 10},
        )
        ordered, asked = StandIn._sorted, [0]

        def passing_over_one(entity: str) -> list[dict[str, Any]]:
            asked[0] += 1
            records = ordered(stand_in, entity)
            return [record for record in records if record["id"] != "p30"] if asked[0] <= 6 else records

        stand_in._sorted = passing_over_one  # type: ignore[method-assign]
        (result,) = sync_company(warehouse, company, Clock(NOW), Settings(home=tmp_path), ["payments"])
    assert (result.status, result.late, result.unaccounted) == ("succeeded", 1, 0)
    assert result.received == result.loaded + result.unchanged + result.rejected
    with warehouse.connect(Role.operator) as connection:
        amount = connection.execute("select amount from raw.payments where payment_id = 'p30'").fetchone()
        kept = connection.execute("select late, vanished from ops.load_log").fetchone()
    assert (amount, kept) == ((Decimal("30.2500"),), (1, 0))
