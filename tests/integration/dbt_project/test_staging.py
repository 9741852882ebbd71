"""Staging on real versions: the newest of an event, and freshness asked of those tables only that somebody has."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from pipeline.companies import parse_definition
from pipeline.connectors.contract import ENTITIES
from tests.conftest import TestServer
from tests.integration.dbt_project.dbt_runs import PROJECT, DbtRuns, warehouse_for_a_module
from warehouse.companies.quarantine import begin_quarantines
from warehouse.companies.registry import add_company, disable_company, enable_company
from warehouse.connection import Warehouse

pytestmark = pytest.mark.xdist_group("dbt_staging")

AT = datetime(2025, 1, 3, tzinfo=UTC)
ACME = {"slug": "acme", "name": "Acme", "connector": "files", "churn_kind": "cancellation", "currency": "EUR"}


@pytest.fixture(scope="module")
def warehouse(postgres: TestServer, template_database: str) -> Iterator[Warehouse]:
    with warehouse_for_a_module(postgres, template_database) as warehouse:
        with warehouse.connect() as connection:
            assert add_company(connection, parse_definition(ACME), "tests").company_id == 1
        yield warehouse


@pytest.fixture(scope="module")
def dbt(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> DbtRuns:
    folder = tmp_path_factory.mktemp("dbt")
    warehouse.write_dbt_profile(folder)
    return DbtRuns(PROJECT, folder)


def test_an_event_shows_its_newest_version_unless_it_was_deleted(warehouse: Warehouse, dbt: DbtRuns) -> None:
    with warehouse.connect() as connection:
        for event_id, day, amount, is_deleted in (
            ("kept", 3, 5, False),
            ("kept", 4, 2, False),
            ("gone", 3, 5, False),
            ("gone", 5, None, True),
        ):
            connection.execute(
                "insert into raw.events (company_id, event_id, updated_at, known_at, is_backfill, is_deleted, load_id,"
                " customer_id, name, amount, occurred_at, attributes)"
                """ values (1, %s, %s, %s, false, %s, 1, 'c1', 'session', %s, %s, '{"device": "web"}')""",
                [event_id, AT.replace(day=day), AT.replace(day=day), is_deleted, amount, AT],
            )
        connection.commit()
        dbt.run("run", "--select", "stg_crm__event_versions", "stg_crm__events")
        assert connection.execute(
            "select event_id, event_name, amount, attributes ->> 'device', occurred_at from staging.stg_crm__events"
        ).fetchall() == [("kept", "session", Decimal(2), "web", AT)]
        assert connection.execute("select count(*) from staging.stg_crm__event_versions").fetchall() == [(4,)]


def test_of_versions_with_one_updated_at_the_one_known_later_stands_in_front_and_was_made_when_it_was_known(
    warehouse: Warehouse, dbt: DbtRuns
) -> None:
    left_at = AT.replace(day=9)
    with warehouse.connect() as connection:
        for revision, made_at, known_at, cancelled_at in (
            (0, None, AT, None),
            (1, AT.replace(day=10), AT.replace(day=10), left_at),
        ):
            connection.execute(
                "insert into raw.customers (company_id, customer_id, updated_at, revision, made_at, known_at,"
                " is_backfill, is_deleted, load_id, created_at, cancelled_at)"
                " values (1, 'anna', %s, %s, %s, %s, %s, false, 1, %s, %s)",
                [AT, revision, made_at, known_at, revision == 0, AT, cancelled_at],
            )
        connection.commit()
        dbt.run("run", "--select", "stg_crm__customer_versions", "stg_crm__customers", "int_customers__leavings")
        newest = connection.execute("select cancelled_at, updated_at from staging.stg_crm__customers").fetchall()
        assert newest == [(left_at, AT.replace(day=10))]
        leavings = connection.execute("select left_at from intermediate.int_customers__leavings").fetchall()
        assert leavings == [(left_at,)]


def test_freshness_is_asked_of_the_tables_that_a_company_has(warehouse: Warehouse, dbt: DbtRuns) -> None:
    with warehouse.connect() as connection:
        add_company(connection, parse_definition(ACME | {"entities": ["customers"]}), "tests")
        connection.execute(
            "insert into ops.load_log (company_id, entity, is_backfill, known_at, finished_at, status)"
            " select company_id, 'customers', true, now(), now(), 'succeeded' from ops.companies"
        )
        connection.commit()
        assert set(dbt.run("source", "freshness", "--select", "source:raw.*")) == set(ENTITIES)
        add_company(connection, parse_definition(ACME | {"entities": ["customers", "events"]}), "tests")
        connection.commit()
    with pytest.raises(AssertionError) as late:
        dbt.run("source", "freshness", "--select", "source:raw.*")
    assert [line.split(":")[0] for line in str(late.value).splitlines() if ": " in line][:1] == ["events"]


def test_who_is_disabled_or_left_out_is_not_worked_on(warehouse: Warehouse, dbt: DbtRuns) -> None:
    customer = (
        "insert into raw.customers (company_id, customer_id, updated_at, known_at, is_backfill, is_deleted, load_id)"
        " values (1, 'c1', now(), now(), true, false, 1)"
    )
    with warehouse.connect() as connection:
        connection.execute("truncate raw.customers")
        connection.execute(customer)
        connection.commit()
        dbt.run("run", "--select", "stg_crm__customer_versions", "stg_ops__companies", "stg_ops__registered_companies")

        def seen() -> tuple[object, ...]:
            views = ("stg_crm__customer_versions", "stg_ops__companies", "stg_ops__registered_companies")
            counts = [connection.execute(f"select count(*) from staging.{view}").fetchone() for view in views]
            return tuple(count for (count,) in filter(None, counts))

        assert seen() == (1, 1, 1)
        disable_company(connection, "acme", "tests")
        assert seen() == (0, 0, 1)
        enable_company(connection, "acme", "tests")
        begin_quarantines(connection, {1: ("a step", "a reason")}, made_by="sql", dagster_run_id=None)
        assert seen() == (0, 0, 1)
