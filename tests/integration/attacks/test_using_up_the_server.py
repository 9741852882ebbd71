"""A company's login tries to use up the server's disk, memory, queue, log and connections."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path

import dagster as dg
import psutil
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from orchestration import automation
from orchestration.cli import main as cli
from orchestration.resources import WarehouseResource
from pipeline.integrations.metabase import login
from tests.conftest import TestServer
from warehouse import session_watch
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.embedded.server import BACKEND_MEMORY, EmbeddedServer
from warehouse.login_limits import OWNER_GROUPS, UNLIFTABLE, ensure_unliftable, left_open_by_server
from warehouse.roles import CONNECTIONS, Role, company_login, ensure_company_logins, set_company_password
from warehouse.session_watch import end_overstaying_sessions

Connect = Callable[..., psycopg.Connection]

LIFTED = (
    "set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; set default_transaction_read_only = off"
)
PADDING = "x" * 1_000_000


@pytest.fixture
def connect(warehouse: Warehouse, lone_acme: Company) -> Iterator[Connect]:
    """Opens a session of the company's, with every limit lifted that a session may lift."""
    with warehouse.connect() as owner:
        passwords = {role: set_company_password(owner, lone_acme.company_id, role) for role in CONNECTIONS}
    with ExitStack() as sessions:

        def open_one(role: Role = Role.company) -> psycopg.Connection:
            login, password = passwords[role]
            address = make_conninfo(warehouse.url("postgresql"), user=login, password=password)
            session = sessions.enter_context(psycopg.connect(address, autocommit=True))
            session.execute(LIFTED)
            return session

        yield open_one


@pytest.mark.parametrize("role", CONNECTIONS)
@pytest.mark.parametrize(
    "growing",
    [
        "select count(*) from (select repeat(n::text, 200) from generate_series(1, 2000000) as n order by 1) as sorted",
        "declare kept cursor with hold for select repeat(n::text, 200) from generate_series(1, 2000000) as n",
    ],
)
def test_temporary_files_end_at_the_limit(connect: Connect, role: Role, growing: str) -> None:
    session = connect(role)
    with pytest.raises(psycopg.errors.ConfigurationLimitExceeded, match="temp_file_limit"):
        session.execute(growing)  # type: ignore[call-overload]


@pytest.mark.parametrize("limit", UNLIFTABLE)
@pytest.mark.parametrize(
    "lifting",
    ["set {} = -1", "reset {}", "set local {} = default", "alter role {role} reset {}", "alter role {role} reset all"],
)
def test_no_session_lifts_a_limit(connect: Connect, limit: str, lifting: str) -> None:
    session = connect()
    before = session.execute("select current_setting(%s)", [limit]).fetchone()
    assert before == (UNLIFTABLE[limit],)
    with suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue):
        session.execute(lifting.format(limit, role=session.info.user))  # type: ignore[call-overload]
    assert session.execute("select current_setting(%s)", [limit]).fetchone() == before
    assert connect().execute("select current_setting(%s)", [limit]).fetchone() == before


def test_memory_ends_with_an_error_of_that_session_and_no_other(connect: Connect) -> None:
    greedy, modest = connect(), connect()
    greedy.execute("set work_mem = '1TB'")
    with pytest.raises(psycopg.errors.OutOfMemory):
        greedy.execute(
            "select from (select repeat('x', 2000) || n from generate_series(1, 1500000) n order by 1) as kept"
        )
    assert greedy.execute("select 1").fetchone() == (1,)
    assert modest.execute("select 2").fetchone() == (2,)


def test_what_fills_the_queue_and_the_log_of_changes_is_not_theirs_to_call(connect: Connect) -> None:
    for call in ("pg_notify('run_events', 'x')", "pg_logical_emit_message(false, 'x', 'x')"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connect().execute(f"select {call}")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "loud",
    [
        f"select '{PADDING}'::int",
        f"select 1 / 0 -- {PADDING}",
        f"do $$ begin raise exception '{PADDING}'; end $$",
        f"do $$ begin raise warning '{PADDING}'; raise log '{PADDING}'; end $$",
        f"set debug_print_parse = on; select '{PADDING}'",
    ],
)
def test_no_statement_fills_the_servers_log(connect: Connect, postgres: TestServer, loud: str) -> None:
    session = connect()
    before = postgres.server.log.stat().st_size
    with suppress(psycopg.Error):
        session.execute(loud)  # type: ignore[call-overload]
    assert postgres.server.log.stat().st_size - before < len(PADDING) / 2


def is_over(session: psycopg.Connection) -> bool:
    """Whether the server has ended a session, which it does at the next chance."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            session.execute("select")
        except psycopg.OperationalError:
            return True
        time.sleep(0.1)
    return False


def test_a_transaction_that_is_kept_open_is_ended_and_told(warehouse: Warehouse, connect: Connect) -> None:
    keeping, working, syncing = connect(), connect(), connect(Role.company_sync)
    for session in (keeping, syncing):
        session.execute("listen run_events")
        session.execute("begin; select")
    with warehouse.connect() as owner:
        assert end_overstaying_sessions(owner) == []
        (ended,) = end_overstaying_sessions(owner, longest=timedelta(0))
        assert (ended.login, ended.pid) == (keeping.info.user, keeping.info.backend_pid)
        told = owner.execute("select actor, after ->> 'login' from ops.audit_log where action = 'session.ended'")
        assert told.fetchall() == [("session_watch", keeping.info.user)]
    assert is_over(keeping)
    assert working.execute("select 1").fetchone() == (1,)
    assert syncing.execute("select 1").fetchone() == (1,)


def test_the_daemon_looks_every_minute_and_says_what_it_ended(
    warehouse: Warehouse, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = automation.end_overstaying_sessions
    assert (sensor.minimum_interval_seconds, sensor.default_status.name) == (60, "RUNNING")
    assert sensor in automation.SENSORS
    keeping = connect()
    keeping.execute("begin; select")
    monkeypatch.setenv("CHURN_DATABASE_URL", warehouse.url("postgresql"))
    monkeypatch.setattr(session_watch.end_overstaying_sessions, "__defaults__", (timedelta(0), 1))
    with dg.build_sensor_context(resources={"warehouse": WarehouseResource()}) as context:
        told = sensor(context)
    assert f"process {keeping.info.backend_pid} of {keeping.info.user}" in told.skip_message
    assert is_over(keeping)


def test_migrating_tells_of_a_limit_that_is_missing(
    warehouse: Warehouse,
    lone_acme: Company,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    postgres: TestServer,
) -> None:
    monkeypatch.setenv("CHURN_DATABASE_URL", warehouse.url("postgresql"))
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    monkeypatch.setattr("pipeline.features.dbt.prepare_manifest", lambda _: None)
    with warehouse.connect() as owner:
        database = owner.info.dbname
    with psycopg.connect(postgres.server.url(database=database, superuser=True)) as administrator:
        administrator.execute("grant execute on function pg_notify to public")
    migrated = CliRunner().invoke(cli.app, ["migrate"])
    assert "every login may call pg_notify" in migrated.output.replace("\n", " ")


def test_while_the_queue_fills_up_no_transaction_of_a_company_keeps_it_full(
    warehouse: Warehouse, connect: Connect
) -> None:
    keeping, filling = connect(), connect()
    keeping.execute("listen anything")
    keeping.execute("begin; select")
    for number in range(40):
        filling.execute("".join(f"notify anything, '{number} {line} {'x' * 7000}';" for line in range(100)))  # type: ignore[arg-type]
    with warehouse.connect() as owner:
        (usage,) = owner.execute("select pg_notification_queue_usage()").fetchone() or (0,)
        assert usage > 0
        (ended,) = end_overstaying_sessions(owner, full=usage / 2)
        assert ended.why == "the queue of notifications fills up"
    assert is_over(keeping)


def test_companies_together_leave_connections_to_the_owner(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "home").lease() as server, ExitStack() as sessions:
        owner = Warehouse(server.url())
        logins = []
        with owner.connect() as connection:
            connection.execute("create role churn_company; create role churn_company_sync")
            for company_id in range(1, 8):
                ensure_company_logins(connection, company_id)
                logins.append(set_company_password(connection, company_id, Role.company))
            connection.execute(f"grant connect on database churn to {', '.join(login for login, _ in logins)}")  # type: ignore[arg-type]
        with suppress(psycopg.OperationalError):
            for user, password in logins:
                address = make_conninfo(server.url(), user=user, password=password)
                for _ in range(CONNECTIONS[Role.company]):
                    sessions.enter_context(psycopg.connect(address))
            pytest.fail("companies took all that there are")
        for _ in range(20):
            assert sessions.enter_context(owner.connect()).execute("select 1").fetchone() == (1,)


OPENED = [
    ("alter role {login} reset temp_file_limit", "temp_file_limit"),
    ("alter role {login} set log_min_messages = 'debug5'", "log_min_messages"),
    ("grant execute on function pg_notify to public", "pg_notify"),
    *((f"revoke {group} from churn_owner", f"churn_owner is no member of {group}") for group in OWNER_GROUPS),
]


@pytest.mark.parametrize(("opening", "told"), OPENED)
def test_the_check_of_roles_names_a_limit_that_is_missing(
    warehouse: Warehouse, lone_acme: Company, postgres: TestServer, opening: str, told: str
) -> None:
    login = company_login(lone_acme.company_id, Role.company)
    with warehouse.connect() as owner:
        database = owner.info.dbname
        assert left_open_by_server(owner) == []
    with psycopg.connect(postgres.server.url(database=database, superuser=True)) as administrator:
        administrator.execute(opening.format(login=login))  # type: ignore[call-overload]
        (line,) = left_open_by_server(administrator)
        administrator.rollback()
    assert told in line


def test_an_owner_who_may_not_set_the_limits_is_told_how_and_keeps_what_an_administrator_set(
    warehouse: Warehouse, lone_acme: Company, postgres: TestServer
) -> None:
    login = company_login(lone_acme.company_id, Role.company)
    with warehouse.connect() as owner:
        database = owner.info.dbname
    with psycopg.connect(postgres.server.url(database=database, superuser=True)) as administrator:
        administrator.execute("revoke set on parameter temp_file_limit from churn_owner")
        administrator.execute(sql.SQL("alter role {} set temp_file_limit = '1MB'").format(sql.Identifier(login)))
        administrator.execute("set local role churn_owner")
        ensure_unliftable(administrator, login)
        (line,) = left_open_by_server(administrator)
        row = administrator.execute("select rolconfig from pg_roles where rolname = %s", [login]).fetchone()
        administrator.rollback()
    assert "as a superuser, grant set on parameter temp_file_limit" in line
    assert row is not None
    assert "temp_file_limit=1MB" in row[0]


def test_what_all_sessions_of_a_company_may_hold_is_what_the_docs_say(
    connect: Connect, postgres: TestServer, warehouse: Warehouse
) -> None:
    """Sessions times what one process may have: a greedy one more is refused, and each ends at its own limit."""
    sessions = sum(CONNECTIONS.values()) + login.CONNECTIONS
    gib = sessions * BACKEND_MEMORY // 2**30
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
    assert f"{sessions} sessions (20, 5 and {login.CONNECTIONS}) times what one process may have, {gib} GiB" in page
    for _ in range(CONNECTIONS[Role.company_sync]):
        connect(Role.company_sync)
    with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
        connect(Role.company_sync)
    with warehouse.connect() as owner:
        workers = owner.execute("select current_setting('max_parallel_workers')").fetchone()
    assert workers == ("8",)
    server = psutil.Process(postgres.server.status().pid)
    for process in [server, *server.children()]:
        try:
            limits = Path(f"/proc/{process.pid}/limits").read_text()
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        assert re.findall(r"Max data size +(\d+)", limits) == [str(BACKEND_MEMORY)]
