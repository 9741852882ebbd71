"""A developer leaves code in tables for the owner to run, and tries to use up the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pipeline.prediction.tasks import CONTRACTS, CUSTOMER_TASKS
from tests.integration.company_ids import take_ids_of_no_other_test
from tests.integration.conftest import Churn
from warehouse import session_watch
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.developers import drop_built_of_companies, drop_place, make_place
from warehouse.login_limits import UNLIFTABLE_OF_DEVELOPERS
from warehouse.migrate import migrate
from warehouse.privacy.canaries import Canary, look_in_tables
from warehouse.privacy.erasure import customers_who_came_back, forget_customer, rows_of_customer

# Roles belong to the whole server: two of these at once would take one name.
pytestmark = pytest.mark.xdist_group("developers_code")

NOW = datetime(2025, 6, 1, tzinfo=UTC)
TRAP = "dev_mallory_features.trap"
TABLE = f"create table {TRAP} (company_id int, customer_id text, entity_id text, task text, ticket_id text)"
CODE = """
    create function dev_mallory.take_over() returns boolean language plpgsql as $$
    begin
        reset role;
        alter role dev_mallory createrole;
        return true;
    exception when others then return true;
    end $$;
    create function dev_mallory.take_over_by_trigger() returns trigger language plpgsql as $$
    begin
        perform dev_mallory.take_over();
        return old;
    end $$;
"""
KINDS = {
    "a trigger": f"create trigger now before delete on {TRAP} for each row"
    " execute function dev_mallory.take_over_by_trigger()",
    "a trigger at commit": f"create constraint trigger late after delete on {TRAP} deferrable initially deferred"
    " for each row execute function dev_mallory.take_over_by_trigger()",
    "a policy": f"create policy trap on {TRAP} using (dev_mallory.take_over());"
    f"alter table {TRAP} enable row level security, force row level security",
    "a type": "create type dev_mallory.id as (number int);"
    "create function dev_mallory.number_of(dev_mallory.id) returns int language sql"
    " as 'select $1.number from (select dev_mallory.take_over()) as trap';"
    "create cast (dev_mallory.id as int) with function dev_mallory.number_of as implicit;"
    f"alter table {TRAP} alter company_id type dev_mallory.id using row(company_id)::dev_mallory.id",
}


@pytest.fixture
def acme(warehouse: Warehouse, add_company: Callable[..., Company]) -> Company:
    """A company with one customer."""
    with warehouse.connect() as owner:
        take_ids_of_no_other_test(owner)
    company = add_company("acme")
    with warehouse.connect() as owner:
        owner.execute(
            "insert into raw.customers (company_id, customer_id, updated_at, known_at, is_backfill, is_deleted,"
            " load_id) values (%s, 'c1', %s, %s, true, false, 1)",
            [company.company_id, NOW, NOW],
        )
    return company


@pytest.fixture
def mallory(warehouse: Warehouse, acme: Company) -> Iterator[psycopg.Connection[Any]]:
    """A developer who may see that company."""
    with warehouse.connect() as owner:
        password = make_place(owner, "mallory", [acme.company_id], None)
    address = make_conninfo(warehouse.url("postgresql"), user="dev_mallory", password=password)
    with psycopg.connect(address, autocommit=True) as session:
        yield session
    with warehouse.connect() as owner:
        drop_place(owner, "mallory")


@pytest.fixture(params=KINDS)
def trap(request: pytest.FixtureRequest, mallory: psycopg.Connection[Any], acme: Company) -> str:
    mallory.execute(TABLE)
    mallory.execute(f"insert into {TRAP} values (%s, 'c1', 'c1', 'churn', 't1')", [acme.company_id])
    mallory.execute(CODE)
    mallory.execute(KINDS[request.param].encode())
    return TRAP


def has_taken_over(warehouse: Warehouse) -> bool:
    with warehouse.connect() as owner:
        (is_more,) = owner.execute("select rolcreaterole from pg_roles where rolname = 'dev_mallory'").fetchone() or (
            0,
        )
    return bool(is_more)


def exists(warehouse: Warehouse, relation: str) -> bool:
    with warehouse.connect() as owner:
        return owner.execute("select to_regclass(%s) is not null", [relation]).fetchone() == (True,)


def test_the_code_would_take_over_whoever_ran_it(warehouse: Warehouse, acme: Company, trap: str) -> None:
    """Else the tests below would show nothing."""
    with warehouse.connect() as owner:
        owner.execute(f"delete from {trap} where company_id = %s".encode(), [acme.company_id])
    assert has_taken_over(warehouse)


def test_forgetting_a_customer_runs_none_of_it(warehouse: Warehouse, acme: Company, trap: str) -> None:
    with warehouse.connect() as owner:
        rows_of_customer(owner, acme.company_id, "c1")
    receipt = forget_customer(warehouse, CUSTOMER_TASKS, acme, "c1", actor="ann", now=NOW, next_training=NOW)
    with warehouse.connect() as owner:
        customers_who_came_back(owner)
    assert not has_taken_over(warehouse)
    assert receipt.dropped == [trap]
    assert not exists(warehouse, trap)


def test_removing_a_company_runs_none_of_it(warehouse: Warehouse, acme: Company, trap: str, churn: Churn) -> None:
    done = churn("company", "remove", "acme", "--yes")
    assert done.exit_code == 0, done.output
    assert trap in " ".join(done.output.split())
    assert not has_taken_over(warehouse)
    assert not exists(warehouse, trap)


def test_looking_for_canaries_runs_none_of_it(warehouse: Warehouse, acme: Company, trap: str) -> None:
    with warehouse.connect() as owner:
        look_in_tables(owner, [Canary(acme.company_id, "acme", "c1", ("somebody-of-acme",))])
    assert not has_taken_over(warehouse)
    assert exists(warehouse, trap)


def test_a_developers_open_session_writes_nothing_after_an_erasure(
    warehouse: Warehouse, mallory: psycopg.Connection[Any]
) -> None:
    mallory.execute("begin isolation level repeatable read")
    mallory.execute(
        "create table dev_mallory_features.kept as select company_id, customer_id from dev_mallory_raw.customers"
    )
    drop_built_of_companies(warehouse)
    with pytest.raises(psycopg.OperationalError):
        mallory.execute("commit")
    assert not exists(warehouse, "dev_mallory_features.kept")


@pytest.mark.parametrize("setting", UNLIFTABLE_OF_DEVELOPERS)
def test_a_developer_cannot_lift_the_limits_of_disk_and_log(
    warehouse: Warehouse, mallory: psycopg.Connection[Any], setting: str
) -> None:
    with warehouse.connect() as owner:
        owner.execute(f"alter role dev_mallory reset {setting}".encode())
    migrate(warehouse, CONTRACTS)
    with warehouse.connect() as owner:
        (settings,) = owner.execute("select rolconfig from pg_roles where rolname = 'dev_mallory'").fetchone() or ([],)
    assert f"{setting}={UNLIFTABLE_OF_DEVELOPERS[setting]}" in settings
    for way in (f"set {setting} to default", f"alter role dev_mallory reset {setting}"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            mallory.execute(way.encode())


def test_a_developers_transaction_does_not_stay_open_for_ever(
    warehouse: Warehouse, mallory: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    mallory.execute("set idle_in_transaction_session_timeout = 0; set statement_timeout = 0")
    mallory.execute("begin")
    mallory.execute("notify filling, 'x'")
    with warehouse.connect() as owner:
        assert session_watch.end_overstaying_sessions(owner) == []
    monkeypatch.setattr(session_watch, "LONGEST_OF_SYNC", timedelta(0))
    with warehouse.connect() as owner:
        (ended,) = session_watch.end_overstaying_sessions(owner, longest=timedelta(0))
    assert (ended.login, ended.company_id) == ("dev_mallory", None)
    with pytest.raises(psycopg.OperationalError):
        mallory.execute("commit")


def test_a_function_in_a_developers_query_sees_no_row_of_another_company(
    warehouse: Warehouse, mallory: psycopg.Connection[Any], acme: Company, add_company: Callable[..., Company]
) -> None:
    zeta = add_company("zeta")
    with warehouse.connect() as owner:
        owner.execute(
            "insert into raw.customers (company_id, customer_id, updated_at, known_at, is_backfill, is_deleted,"
            " load_id) values (%s, 'zetas', %s, %s, true, false, 1)",
            [zeta.company_id, NOW, NOW],
        )
    mallory.execute(
        "create function dev_mallory.tell(text) returns boolean language plpgsql cost 0.0001 as"
        " $$ begin raise notice '%', $1; return true; end $$"
    )
    heard: list[str | None] = []
    mallory.add_notice_handler(lambda notice: heard.append(notice.message_primary))
    mallory.execute("select * from dev_mallory_raw.customers where dev_mallory.tell(customer_id)")
    mallory.execute("select * from dev_mallory_ops.companies where dev_mallory.tell(slug)")
    assert set(heard) == {"c1", "acme"}


@pytest.mark.parametrize(
    "statement",
    [
        "set role churn_operator",
        "set role company_{company}",
        "alter role company_{company} password 'mine'",
        "alter role company_{company} connection limit 0",
        "alter role churn_owner set search_path = dev_mallory",
        "grant dev_mallory to churn_owner with inherit true",
        "alter role dev_mallory connection limit -1",
        "create function public.upper(text) returns text language sql return 'mine'",
        "create schema pg_mine",
        "create event trigger mine on ddl_command_end execute function dev_mallory.take_over()",
        "alter function ops.open_windows(text) owner to dev_mallory",
        "alter default privileges for role churn_owner grant execute on functions to public",
        "select pg_catalog.pg_notify('filling', 'x')",
        "select pg_advisory_lock(1)",
    ],
)
def test_a_developers_login_gets_at_no_other_login_and_no_shared_means(
    mallory: psycopg.Connection[Any], acme: Company, statement: str
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        mallory.execute(statement.format(company=acme.company_id).encode())
