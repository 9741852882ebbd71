"""Removing a company: nothing of it stays but the audit log, and nothing of another company goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pipeline.prediction.tasks import CONTRACTS
from tests.conftest import TestServer
from tests.integration.company_ids import take_ids_of_no_other_test
from warehouse.companies.definition import Company
from warehouse.companies.registry import disable_company, get_company, issue_company_password
from warehouse.connection import Warehouse
from warehouse.errors import CompanyNotFound, CompanyStillActive
from warehouse.landing import version_log
from warehouse.landing.version_log import LoadInProgress, VersionLog
from warehouse.privacy.company_removal import company_rows, erase_rows, remove_company
from warehouse.publication.export import Format, reading_as_company
from warehouse.publication.feed import PublisherBusy, hold_publications, publishing_lock
from warehouse.role_check import roles_out_of_order
from warehouse.roles import Role, take_on_company_login

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def companies(warehouse: Warehouse, add_company: Callable[..., Company]) -> tuple[Company, Company]:
    """Two companies with a row in every table of theirs."""
    with warehouse.connect() as connection:
        take_ids_of_no_other_test(connection)
    gone, stays = add_company("gone"), add_company("stays")
    with warehouse.connect() as connection:
        # As a mart that dbt makes: not in any list of ours.
        connection.execute("create table analytics.some_mart (company_id int, words text)")
        for company in (gone, stays):
            _fill(connection, company.company_id)
    return gone, stays


def _fill(connection: psycopg.Connection[Any], company_id: int) -> None:
    statements = (
        "insert into raw.customers (company_id, customer_id, updated_at, known_at, is_backfill, is_deleted, load_id)"
        " values (%(id)s, 'c1', now(), now(), true, false, 1)",
        "insert into raw.rejected_records (company_id, entity, load_id, reason, payload_hash)"
        " values (%(id)s, 'customers', 1, 'no date', 'abc')",
        "insert into ops.sync_cursors (company_id, entity) values (%(id)s, 'customers')",
        "insert into ops.run_log (company_id, stage, started_at, status) values (%(id)s, 'sync', now(), 'succeeded')",
        "insert into analytics.some_mart values (%(id)s, 'mine')",
        "with run as (insert into ml.training_runs (task, company_id, rung, status, model_name)"
        " values ('churn', %(id)s, 'rule', 'promoted', 'churn-x') returning training_run_id)"
        " insert into ml.evaluations (training_run_id, company_id, task, candidate, metric, value)"
        " select training_run_id, %(id)s, 'churn', 'rule', 'auc', 0.5 from run",
    )
    for statement in statements:
        connection.execute(statement, {"id": company_id})


def test_every_row_of_the_company_goes_and_no_row_of_another(
    warehouse: Warehouse, companies: tuple[Company, Company]
) -> None:
    gone, stays = companies
    with warehouse.connect() as connection:
        before = company_rows(connection, gone.company_id)
        others = company_rows(connection, stays.company_id)
        disable_company(connection, "gone", "operator")
        erased = remove_company(connection, "gone", "operator")
    assert erased == before
    assert {"raw.customers", "ml.evaluations", "ml.training_runs", "analytics.some_mart"} <= erased.keys()
    with warehouse.connect() as connection:
        assert company_rows(connection, gone.company_id) == {}
        assert company_rows(connection, stays.company_id) == others
        with pytest.raises(CompanyNotFound):
            get_company(connection, "gone")


def test_who_removed_it_stays_in_the_audit_log(warehouse: Warehouse, companies: tuple[Company, Company]) -> None:
    gone, _ = companies
    with warehouse.connect() as connection:
        disable_company(connection, "gone", "operator")
        remove_company(connection, "gone", "somebody")
        trail = connection.execute(
            "select action, actor, before ->> 'slug' from ops.audit_log where company_id = %s order by audit_id",
            (gone.company_id,),
        ).fetchall()
    assert [action for action, *_ in trail] == [
        "company.added",
        "company.task_switched_on",
        "company.disabled",
        "company.task_switched_off",
        "company.erased",
        "company.removed",
    ]
    assert trail[-1] == ("company.removed", "somebody", "gone")
    assert [actor for _, actor, _ in trail] == ["tests", "tests", "operator", "somebody", "somebody", "somebody"]


def test_its_logins_are_dropped_and_an_open_session_ends(
    warehouse: Warehouse, companies: tuple[Company, Company]
) -> None:
    with warehouse.connect() as connection:
        login, password = issue_company_password(connection, "gone", Role.company, "operator")
        disable_company(connection, "gone", "operator")
    address = make_conninfo(warehouse.url("postgresql"), user=login, password=password)
    session = psycopg.connect(address, autocommit=True)
    # What a login can leave behind, though it may write nothing.
    session.execute("set default_transaction_read_only = off")
    session.execute("alter default privileges in schema analytics grant select on tables to public")
    with warehouse.connect() as connection:
        remove_company(connection, "gone", "operator")
        left = connection.execute("select rolname from pg_roles where rolname like %s", (f"{login}%",)).fetchall()
    assert left == []
    with pytest.raises(psycopg.OperationalError):
        session.execute("select 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(address)


def test_an_active_company_is_not_removed(warehouse: Warehouse, companies: tuple[Company, Company]) -> None:
    gone, _ = companies
    with warehouse.connect() as connection, pytest.raises(CompanyStillActive, match="churn company disable gone"):
        remove_company(connection, "gone", "operator")
    with warehouse.connect() as connection:
        assert company_rows(connection, gone.company_id)


def test_a_load_under_way_is_waited_for_and_nothing_is_half_removed(
    warehouse: Warehouse, companies: tuple[Company, Company], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, _ = companies
    monkeypatch.setattr(version_log.hold_off_loads, "__defaults__", (1,))
    with warehouse.connect() as connection:
        disable_company(connection, "gone", "operator")
        rows = company_rows(connection, gone.company_id)
    with warehouse.connect(Role.loader, autocommit=True) as loading, warehouse.connect() as connection:
        with (
            VersionLog(loading, gone.company_id, "tickets").lock(),
            pytest.raises(LoadInProgress, match="still running"),
        ):
            remove_company(connection, "gone", "operator")
        connection.rollback()
        assert company_rows(connection, gone.company_id) == rows


def test_a_publication_under_way_is_waited_for_before_any_table_is_held(
    warehouse: Warehouse, companies: tuple[Company, Company], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, stays = companies
    monkeypatch.setattr(hold_publications, "__defaults__", (timedelta(seconds=1),))
    with warehouse.connect() as connection:
        disable_company(connection, "gone", "operator")
    with warehouse.connect(Role.publisher, autocommit=True) as publishing, warehouse.connect() as connection:
        with publishing_lock(publishing, stays.company_id):
            with pytest.raises(PublisherBusy):
                remove_company(connection, "gone", "operator")
            connection.rollback()
            # The other way round it would hold tables that the publication goes on to write: a deadlock.
            publishing.execute("lock table predictions.churn_scores_v1 in row exclusive mode nowait")
        assert remove_company(connection, "gone", "operator")


def test_what_a_late_writer_left_is_erased_by_a_second_look(
    warehouse: Warehouse, companies: tuple[Company, Company]
) -> None:
    gone, _ = companies
    with warehouse.connect() as connection:
        disable_company(connection, "gone", "operator")
        remove_company(connection, "gone", "operator")
        connection.execute("insert into analytics.some_mart values (%s, 'late')", (gone.company_id,))
        assert erase_rows(connection, gone.company_id) == {"analytics.some_mart": 1}


def test_a_company_that_was_exported_and_reported_on_can_be_removed(
    warehouse: Warehouse, companies: tuple[Company, Company]
) -> None:
    """Reading as a company takes on its login, without its rights; that much stood in the way of dropping it."""
    gone, _ = companies
    with warehouse.connect() as connection:
        take_on_company_login(connection, gone.company_id, Role.company)
    for contract in CONTRACTS:
        with reading_as_company(warehouse, contract, gone.company_id) as reader:
            reader.write_current(BytesIO(), Format.csv)
    with warehouse.connect() as connection:
        disable_company(connection, "gone", "operator")
        remove_company(connection, "gone", "operator")
        assert _logins(connection, gone) == []


def test_what_its_logins_made_in_other_databases_goes_too(
    warehouse: Warehouse, companies: tuple[Company, Company], postgres: TestServer
) -> None:
    gone, _ = companies
    with warehouse.connect() as connection:
        login, password = issue_company_password(connection, "gone", Role.company, "operator")
    for database in ("postgres", "template1"):
        with _open_to(postgres, database, login):
            address = make_conninfo(warehouse.url("postgresql"), user=login, password=password, dbname=database)
            with psycopg.connect(address, autocommit=True) as session:
                session.execute("set default_transaction_read_only = off")
                session.execute("select lo_from_bytea(0, 'something')")
                session.execute("alter default privileges grant select on tables to public")
    with warehouse.connect() as connection:
        told = [line for line in roles_out_of_order(connection) if line.startswith(login)]
        assert {line.split(": ")[0] for line in told} == {
            f"{login} owns something, or has rights, in the database {database}"
            for database in ("postgres", "template1")
        }
        disable_company(connection, "gone", "operator")
        remove_company(connection, "gone", "operator")
        assert _logins(connection, gone) == []


def test_a_companys_login_may_enter_no_database_beside_the_warehouse(
    warehouse: Warehouse, companies: tuple[Company, Company]
) -> None:
    with warehouse.connect() as connection:
        login, password = issue_company_password(connection, "gone", Role.company, "operator")
    for database in ("postgres", "template1"):
        address = make_conninfo(warehouse.url("postgresql"), user=login, password=password, dbname=database)
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(address)


def _logins(connection: psycopg.Connection[Any], company: Company) -> list[tuple[str]]:
    pattern = f"company\\_{company.company_id}%"
    return connection.execute("select rolname from pg_roles where rolname like %s", [pattern]).fetchall()


@contextmanager
def _open_to(postgres: TestServer, database: str, login: str) -> Iterator[None]:
    """As a server is where nobody took the right to connect from public."""
    names = sql.Identifier(database), sql.Identifier(login)
    postgres.administrator.execute(sql.SQL("grant connect on database {} to {}").format(*names))
    try:
        yield
    finally:
        postgres.administrator.execute(sql.SQL("revoke connect on database {} from {}").format(*names))
