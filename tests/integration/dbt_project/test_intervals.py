"""Intervals that a run keeps up record by record equal those worked out from all versions at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.conftest import TestServer
from tests.integration.crm_history import END, FIRST_LOAD, History, generate
from tests.integration.dbt_project.dbt_runs import PROJECT, VIEWS_STAND, DbtRuns, warehouse_for_a_module
from tests.integration.dbt_project.dbt_world import record_load, register_companies
from warehouse.connection import Warehouse

FIRST_RUN = END.replace(month=5)

pytestmark = pytest.mark.xdist_group("dbt_intervals")

INTERVALS = tuple(sorted(path.stem for path in (PROJECT / "models").rglob("int_*__intervals.sql")))
NEEDED = tuple(f"+{name}" for name in INTERVALS)
SELECTED = ("run", "--select", *NEEDED, *VIEWS_STAND)


@pytest.fixture(scope="module")
def warehouse(postgres: TestServer, template_database: str) -> Iterator[Warehouse]:
    with warehouse_for_a_module(postgres, template_database) as warehouse:
        yield warehouse


@pytest.fixture(scope="module")
def dbt(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> DbtRuns:
    folder = tmp_path_factory.mktemp("dbt")
    warehouse.write_dbt_profile(folder)
    return DbtRuns(PROJECT, folder)


@pytest.fixture(scope="module")
def history(warehouse: Warehouse, dbt: DbtRuns) -> History:
    """Two companies, of which the intervals were built before the last load."""
    with warehouse.connect() as connection:
        company_ids = register_companies(connection, now=FIRST_RUN, first_load=FIRST_LOAD)
        history = generate(company_ids, customers=40, seed=22)
        history.write(connection, known_before=FIRST_RUN)
    dbt.run("build", "--select", *NEEDED, "--exclude-resource-type", "test", "unit_test")
    return history


def _tables(connection: psycopg.Connection[Any]) -> dict[str, list[tuple[Any, ...]]]:
    return {
        name: sorted(connection.execute(f"select {name}::text from intermediate.{name}").fetchall())
        for name in INTERVALS
    }


def _touched(dbt: DbtRuns) -> dict[str, int]:
    written = dbt.run(*SELECTED)
    return {name: written[name] or 0 for name in INTERVALS}


def _assert_equal_to_a_full_build(warehouse: Warehouse, dbt: DbtRuns) -> None:
    with warehouse.connect() as connection:
        kept_up = _tables(connection)
    dbt.run(*SELECTED, "--full-refresh")
    with warehouse.connect() as connection:
        assert kept_up == _tables(connection)


def test_new_loads_touch_their_own_records_only(warehouse: Warehouse, dbt: DbtRuns, history: History) -> None:
    with warehouse.connect() as connection:
        for company_id in (1, 2):
            record_load(connection, company_id, END, is_backfill=False)
        history.write(connection)

    touched = _touched(dbt)

    with warehouse.connect() as connection:
        sizes = {name: len(rows) for name, rows in _tables(connection).items()}
    assert all(0 < touched[name] < sizes[name] for name in INTERVALS if sizes[name])
    _assert_equal_to_a_full_build(warehouse, dbt)


def test_nothing_new_touches_nothing(dbt: DbtRuns, history: History) -> None:
    assert _touched(dbt) == dict.fromkeys(INTERVALS, 0)


def test_a_late_chunk_of_an_older_load_and_a_forgotten_customer_are_found(
    warehouse: Warehouse, dbt: DbtRuns, history: History
) -> None:
    """Neither has a load id that is newer than what was built."""
    with warehouse.connect() as connection:
        connection.execute(
            "insert into raw.payments (company_id, customer_id, payment_id, updated_at, known_at, is_backfill,"
            " is_deleted, load_id, kind, status, amount, issued_at)"
            " select company_id, customer_id, payment_id, updated_at + interval '1 hour', known_at, false, false,"
            " load_id, kind, 'void', amount, issued_at from raw.payments"
            " where company_id = 1 and not is_deleted and not is_backfill order by load_id, payment_id limit 3"
        )
        for table in ("customers", "tickets", "payments"):
            connection.execute(f"delete from raw.{table} where company_id = 2 and customer_id = 'c1'")

    touched = _touched(dbt)

    with warehouse.connect() as connection:
        gone = "select count(*) from intermediate.int_customers__intervals where company_id = 2 and customer_id = 'c1'"
        assert connection.execute(gone).fetchone() == (0,)
    assert touched["int_payments__intervals"] > 0
    _assert_equal_to_a_full_build(warehouse, dbt)


def test_other_rates_and_other_settings_touch_what_rests_on_them(
    warehouse: Warehouse, dbt: DbtRuns, history: History
) -> None:
    with warehouse.connect() as connection:
        connection.execute("update staging.exchange_rates set rate_to_eur = rate_to_eur * 2 where currency = 'GBP'")
    touched = _touched(dbt)
    assert touched["int_payments__intervals"] > 0
    assert touched["int_tickets__intervals"] == 0
    _assert_equal_to_a_full_build(warehouse, dbt)

    with warehouse.connect() as connection:
        connection.execute("update ops.companies set currency = 'GBP' where company_id = 1")
    _touched(dbt)
    _assert_equal_to_a_full_build(warehouse, dbt)
