"""Least privilege, as a table: which role may run which statement; and what a company's login sees."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.login_limits import UNLIFTABLE
from warehouse.migrate import migrate
from warehouse.roles import CONNECTIONS, LOGIN_SETTINGS, Role, company_login, set_company_password

# A login's password is the server's, and the server is shared: one after the other.
pytestmark = pytest.mark.xdist_group("company_passwords")

TODAY = date(2026, 3, 1)

LOADER, ML, PUBLISHER, OPERATOR, COLLECTOR = Role.loader, Role.ml, Role.publisher, Role.operator, Role.collector

INSERT_CUSTOMER = """
    insert into raw.customers (company_id, customer_id, updated_at, known_at, is_backfill, is_deleted, load_id)
    values (1, 'c9', now(), now(), false, false, 1)
"""
INSERT_RUN = "insert into ops.run_log (stage, started_at, status) values ('x', now(), 'running')"
INSERT_TRACKED = """
    insert into raw.tracked_events (company_id, message_id, source, kind, received_at, occurred_at)
    values (1, 'm1', 'web', 'track', now(), now())
"""
INSERT_TRAINING = """
    insert into ml.training_runs (task, rung, status, model_name) values ('churn', 'rule', 'failed', 'rule')
"""
INSERT_PUBLICATION = """
    insert into predictions.churn_publications_v1 values (1, '2026-02-01', 'm', 'rule', 0, now())
"""

ALLOWED = [
    (LOADER, INSERT_CUSTOMER),
    (LOADER, "select * from raw.payments"),
    (LOADER, "insert into ops.sync_cursors (company_id, entity) values (1, 'customers')"),
    (LOADER, "update ops.load_log set received = 1"),
    (LOADER, INSERT_RUN),
    (LOADER, "create temporary table landing (id int)"),
    (ML, "select * from features.churn_feature_matrix"),
    (ML, "select slug from ops.companies"),
    (ML, INSERT_TRAINING),
    (ML, "delete from ml.staged_scores"),
    (ML, "select * from predictions.churn_current"),
    (PUBLISHER, INSERT_PUBLICATION),
    (PUBLISHER, "delete from predictions.churn_scores_v1"),
    (PUBLISHER, "select * from ml.staged_scores"),
    (PUBLISHER, INSERT_RUN),
    (PUBLISHER, "create temporary table staged (id int)"),
    (COLLECTOR, INSERT_TRACKED),
    (COLLECTOR, INSERT_TRACKED + " on conflict (company_id, message_id) do nothing returning message_id"),
    (
        COLLECTOR,
        "insert into raw.rejected_records (company_id, entity, reason, payload_hash) values (1, 'events', '', '')",
    ),
    (COLLECTOR, "select * from ops.find_write_key('x')"),
    (COLLECTOR, "select * from ops.forgotten('{1}', '{customer}', '{c1}')"),
    (COLLECTOR, "create temporary table arriving (id int)"),
    (OPERATOR, "select * from raw.customers"),
    (OPERATOR, "select * from ops.audit_log"),
    (OPERATOR, "select * from staging.stg_crm__customers"),
    (OPERATOR, "select * from analytics.customer_overview"),
    (OPERATOR, "select * from dagster.runs"),
]

DENIED = [
    (LOADER, "select * from predictions.churn_scores"),
    (LOADER, "select * from ml.training_runs"),
    (LOADER, "select * from features.churn_feature_matrix"),
    (LOADER, "update raw.customers set name = 'x'"),
    (LOADER, "delete from raw.customers"),
    (LOADER, "truncate raw.customers"),
    (LOADER, "update ops.companies set name = 'x'"),
    (LOADER, "select * from ops.audit_log"),
    (LOADER, "create table raw.mine (id int)"),
    (ML, INSERT_CUSTOMER),
    (ML, "select * from raw.customers"),
    (ML, "select * from staging.stg_crm__customers"),
    (ML, "update ml.training_runs set status = 'promoted'"),
    (ML, "delete from predictions.churn_scores"),
    (ML, "create temporary table mine (id int)"),
    (PUBLISHER, "select * from raw.customers"),
    (PUBLISHER, "select * from features.churn_feature_matrix"),
    (PUBLISHER, "insert into ml.staged_scores (company_id, entity_id, as_of_date) values (1, 'c', now())"),
    (PUBLISHER, "insert into ml.publication_gates (company_id) values (1)"),
    (COLLECTOR, "select * from raw.tracked_events"),
    (COLLECTOR, "select properties from raw.tracked_events"),
    (COLLECTOR, "update raw.tracked_events set name = 'x'"),
    (COLLECTOR, "delete from raw.tracked_events"),
    (COLLECTOR, "select * from raw.rejected_records"),
    (COLLECTOR, "select * from raw.customers"),
    (COLLECTOR, "select * from ops.write_keys"),
    (COLLECTOR, "select * from ops.companies"),
    (COLLECTOR, "select * from ops.erasure_key"),
    (COLLECTOR, "select * from ops.erasures"),
    (COLLECTOR, INSERT_CUSTOMER),
    (OPERATOR, "select * from ops.forgotten('{1}', '{customer}', '{c1}')"),
    (OPERATOR, "insert into ops.audit_log (actor, action) values ('x', 'x')"),
    (OPERATOR, "delete from ops.audit_log"),
    (OPERATOR, "update ops.companies set is_active = false"),
    (OPERATOR, "delete from predictions.churn_scores"),
    (OPERATOR, "create temporary table mine (id int)"),
]

DENIED_TO_COMPANIES = [
    "select * from raw.customers",
    "select * from ops.companies",
    "select * from features.churn_feature_matrix",
    "select * from ml.staged_scores",
    "select * from dagster.runs",
    "delete from predictions.churn_scores",
    "delete from predictions.churn_scores_v1",
    "update predictions.churn_cursors_v1 set oldest_cursor = 0",
    "insert into predictions.churn_scores select * from predictions.churn_scores",
    "create temporary table mine (id int)",
    "create table public.mine (id int)",
    "set role churn_company",
    "set role churn_operator",
    "set role churn_owner",
    "set role company_2",
    "set session authorization company_2",
    "alter table predictions.churn_scores_v1 disable row level security",
    "drop policy company_reads_its_own on predictions.churn_scores_v1",
    "create role company_2_friend",
    "alter role company_1 rename to company_2_too",
    "select pg_read_file('postgresql.conf')",
    "copy predictions.churn_scores to program 'cat'",
]


@pytest.fixture
def furnished(warehouse: Warehouse, add_company: Callable[..., Company]) -> Warehouse:
    """Two companies with a published score each, and tables where dbt and the tools make theirs."""
    first, second = add_company("one"), add_company("two")
    with warehouse.connect() as connection:
        for relation in ("features.churn_feature_matrix", "analytics.customer_overview", "dagster.runs"):
            connection.execute(f"create table {relation} (company_id int)")  # type: ignore[call-overload]
        connection.execute("create view staging.stg_crm__customers as select * from raw.customers")
        for company in (first, second):
            publish(connection, company.company_id)
    return warehouse


def publish(connection: psycopg.Connection, company_id: int) -> None:
    connection.execute(
        "insert into predictions.churn_scores values"
        " (%s, 'c1', %s, 0.5, 'medium', 50, 0, '[]', 'm1', 'rule', 'h', now())",
        (company_id, TODAY),
    )
    connection.execute(
        "insert into predictions.churn_publications values (%s, %s, 'm1', 'rule', 1, now())", (company_id, TODAY)
    )
    connection.execute(
        "insert into predictions.churn_changes"
        " (company_id, customer_id, operation, change_reason, as_of_date, changed_at)"
        " values (%s, 'c1', 'delete', 'behaviour', %s, now())",
        (company_id, TODAY),
    )


def login(warehouse: Warehouse, company_id: int, role: Role = Role.company) -> psycopg.Connection:
    """A connection as the company itself makes it, with its own password."""
    with warehouse.connect() as connection:
        user, password = set_company_password(connection, company_id, role)
    return psycopg.connect(make_conninfo(warehouse.url("postgresql"), user=user, password=password))


def test_each_role_may_do_its_work(furnished: Warehouse) -> None:
    refused = []
    for role, statement in ALLOWED:
        with furnished.connect(role) as connection:
            try:
                connection.execute(statement)  # type: ignore[call-overload]
            except psycopg.Error as error:
                refused.append((role, statement, str(error)))
            connection.rollback()
    assert refused == []


def test_no_role_may_do_anothers_work(furnished: Warehouse) -> None:
    permitted = []
    for role, statement in DENIED:
        with furnished.connect(role) as connection:
            try:
                connection.execute(statement)  # type: ignore[call-overload]
                permitted.append((role, statement))
            except psycopg.errors.InsufficientPrivilege:
                pass
            connection.rollback()
    assert permitted == []


@pytest.mark.parametrize("role", [Role.company, Role.company_sync])
def test_a_company_sees_its_own_scores_only(furnished: Warehouse, role: Role) -> None:
    for company_id in (1, 2):
        with login(furnished, company_id, role) as connection:
            for relation in ("churn_scores", "churn_publications", "churn_changes", "churn_current"):
                seen = connection.execute(f"select company_id from predictions.{relation}").fetchall()  # type: ignore[call-overload]
                assert seen == [(company_id,)], relation


@pytest.mark.parametrize("role", [Role.company, Role.company_sync])
def test_a_company_can_change_nothing_and_become_nobody_else(furnished: Warehouse, role: Role) -> None:
    permitted = []
    with login(furnished, 1, role) as connection:
        # A session may undo this one; what it may do then is what is asked here.
        connection.execute("set session characteristics as transaction read write")
        connection.commit()
        for statement in DENIED_TO_COMPANIES:
            try:
                connection.execute(statement)  # type: ignore[call-overload]
                permitted.append(statement)
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported):
                pass
            connection.rollback()
    assert permitted == []


@pytest.mark.parametrize("role", [Role.company, Role.company_sync])
def test_a_companys_session_starts_read_only_and_with_timeouts(furnished: Warehouse, role: Role) -> None:
    with login(furnished, 1, role) as connection:
        for setting, value in LOGIN_SETTINGS[role].items():
            assert connection.execute("select current_setting(%s)", [setting]).fetchone() == (value,)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("create table public.mine (id int)")
        connection.rollback()
        connection.execute("set statement_timeout = '50ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("select pg_sleep(5)")
        connection.rollback()
        assert connection.execute(
            "select rolconnlimit from pg_roles where rolname = current_user"
        ).fetchone() == (CONNECTIONS[role],)  # fmt: skip


def test_logins_of_before_get_their_limits_when_the_warehouse_is_migrated(furnished: Warehouse) -> None:
    with furnished.connect() as connection:
        connection.execute("alter role company_1 reset all")
    migrate(furnished)
    with furnished.connect() as connection:
        (settings,) = connection.execute("select rolconfig from pg_roles where rolname = 'company_1'").fetchone() or ()
    wanted = LOGIN_SETTINGS[Role.company] | UNLIFTABLE
    assert set(settings) == {f"{name}={value}" for name, value in wanted.items()}


@pytest.mark.parametrize(
    "trick",
    [
        "set row_security = off",
        "set session app.company_id = '2'",
        "set search_path = predictions, public",
        "set session characteristics as transaction read write",
        "set role none",
    ],
)
def test_no_setting_of_a_companys_session_shows_it_more(furnished: Warehouse, trick: str) -> None:
    with login(furnished, 1) as connection:
        connection.execute(trick)  # type: ignore[call-overload]
        try:
            seen = connection.execute("select company_id from predictions.churn_scores").fetchall()
        except psycopg.errors.InsufficientPrivilege:
            return
        assert seen == [(1,)]


def test_analytics_is_closed_to_companies_until_a_mart_grants_itself_with_a_policy(furnished: Warehouse) -> None:
    with login(furnished, 1) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select * from analytics.customer_overview")
    with furnished.connect() as connection:
        connection.execute(
            "insert into analytics.customer_overview values (1), (2);"
            "alter table analytics.customer_overview enable row level security;"
            "alter table analytics.customer_overview force row level security;"
            "create policy company on analytics.customer_overview for select to churn_company"
            "    using (company_id = split_part(current_user, '_', 2)::int);"
            "grant select on analytics.customer_overview to churn_company"
        )
    with login(furnished, 1) as connection:
        assert connection.execute("select * from analytics.customer_overview").fetchall() == [(1,)]


def test_reverse_etl_has_no_door_to_analytics(furnished: Warehouse) -> None:
    with (
        login(furnished, 1, Role.company_sync) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="schema analytics"),
    ):
        connection.execute("select * from analytics.customer_overview")


def test_a_company_cannot_log_in_before_it_gets_a_password(furnished: Warehouse) -> None:
    with furnished.connect() as connection:
        connection.execute("alter role company_2 nologin password null")
    address = make_conninfo(furnished.url("postgresql"), user=company_login(2, Role.company), password="guess")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(address)


def test_the_owner_sees_all_rows_though_security_is_forced_on_him(furnished: Warehouse) -> None:
    with furnished.connect() as connection:
        assert connection.execute("select count(*) from predictions.churn_scores").fetchone() == (2,)


def test_the_owner_does_not_inherit_what_companies_may(furnished: Warehouse) -> None:
    with furnished.connect() as connection:
        inherited = connection.execute(
            "select rolname from pg_roles where rolname like 'churn\\_%%'"
            " and rolname <> current_user and pg_has_role(current_user, rolname, 'usage')"
        ).fetchall()
    assert inherited == []
