"""The embedded server's life: started, shared, killed, taken up again, and stopped."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.integration.warehouse.embedded.processes import (
    AS_ROOT,
    answer,
    finished,
    first_line,
    is_gone,
    kill,
    start_script,
)
from warehouse.embedded import caretaker
from warehouse.embedded.home import HomeFolder
from warehouse.embedded.server import EmbeddedServer
from warehouse.errors import ServerError, ServerInUse


def test_a_lease_starts_the_server_and_its_end_stops_it(server: EmbeddedServer) -> None:
    with server.lease():
        status = server.status()
        wait_for_caretaker(server)
        assert status.state == "running"
        assert answer(server, "select current_user || '@' || current_database()") == "churn_owner@churn"
    assert server.status().state == "stopped"
    assert status.pid is not None
    assert is_gone(status.pid)
    assert caretakers(server) == []


def wait_for_caretaker(server: EmbeddedServer) -> None:
    for _ in range(100):
        if HomeFolder(server.home).has_caretaker():
            return
        time.sleep(0.05)
    raise AssertionError("nobody would stop the server of a killed user")


def caretakers(server: EmbeddedServer) -> list[int]:
    """Processes that wait for the server to be nobody's."""
    processes = psutil.process_iter(["cmdline"])
    return [
        each.pid for each in processes if (each.info["cmdline"] or [])[-2:] == [caretaker.__name__, str(server.home)]
    ]


def test_the_port_is_kept_from_start_to_start(server: EmbeddedServer) -> None:
    with server.lease():
        first = server.status().port
    with server.lease():
        assert server.status().port == first


def test_only_tcp_on_the_own_machine_is_served_and_only_with_the_password(server: EmbeddedServer) -> None:
    with server.lease():
        assert answer(server, "show listen_addresses") == "127.0.0.1"
        assert answer(server, "show unix_socket_directories", superuser=True) == ""
        assert answer(server, "show synchronous_commit") == "on"
        wrong = server.url().replace("churn_owner:", "churn_owner:x")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)


def test_the_owner_may_create_roles_and_is_no_superuser(server: EmbeddedServer) -> None:
    with server.lease():
        rights = "select array[rolsuper, rolcreaterole, rolcreatedb, rolbypassrls] from pg_roles where rolname ="
        assert answer(server, f"{rights} current_user") == [False, True, False, False]


def test_the_server_outlives_a_keyboard_interrupt(server: EmbeddedServer) -> None:
    with server.lease():
        pid = server.status().pid
        assert pid is not None
        assert os.getsid(pid) != os.getsid(0)


def test_committed_rows_are_there_after_a_kill_though_a_query_runs_on_for_a_while(
    server: EmbeddedServer,
) -> None:
    # A busy backend does not notice its server's death, and keeps the shared memory.
    busy = "do $$ declare i int := 0; begin while clock_timestamp() < now() + interval '3 s' loop i := i + 1; "
    busy += "end loop; end $$"
    with ThreadPoolExecutor(1) as pool:
        with server.lease():
            pid = server.status().pid
            assert pid is not None
            with psycopg.connect(server.url()) as connection:
                connection.execute("create table survivors as select generate_series(1, 1000) as id")
                connection.commit()
                connection.execute("insert into survivors values (0)")
                running = pool.submit(answer, server, busy)
                time.sleep(0.5)
                kill(pid)
                connection.close()
        with server.lease():
            assert answer(server, "select count(*) from survivors") == 1000
        assert running.exception() is not None


def test_a_pid_file_that_names_another_program_is_seen_through(server: EmbeddedServer) -> None:
    with server.lease():
        pid = server.status().pid
        assert pid is not None
        pid_file = server.data / "postmaster.pid"
        left_behind = pid_file.read_text()
        kill(pid)
        assert is_gone(pid)
    with start_sleeper(server) as sleeper:
        pid_file.write_text(left_behind.replace(str(pid), str(sleeper.pid), 1))
        assert server.status().state == "stopped"
        with server.lease():
            assert answer(server, "select 1") == 1
            assert server.status().pid != sleeper.pid
        assert sleeper.poll() is None
        sleeper.kill()


def start_sleeper(server: EmbeddedServer) -> subprocess.Popen[bytes]:
    """A live process of the very user that Postgres runs as: Postgres alone takes it for a server."""
    account = server.data.stat()
    switch = {"user": account.st_uid, "group": account.st_gid, "extra_groups": []} if AS_ROOT else {}
    return subprocess.Popen(["sleep", "60"], cwd="/", **switch)  # type: ignore[call-overload,no-any-return]


def test_two_first_starts_at_once_make_one_server(tmp_path: Path) -> None:
    body = """
        with server.lease():
            print(server.status().pid, flush=True)
            time.sleep(1.5)
    """
    starts = [start_script(tmp_path / "home", body) for _ in range(2)]
    pids = [finished(start) for start in starts]
    assert pids[0] == pids[1]
    assert EmbeddedServer(tmp_path / "home").status().state == "stopped"


def test_the_last_of_two_users_stops_the_server(server: EmbeddedServer) -> None:
    other = EmbeddedServer(server.home)
    with server.lease():
        with other.lease():
            pass
        assert answer(server, "select 1") == 1
    assert server.status().state == "stopped"


LEASE = """
with server.lease():
    print(server.status().pid, flush=True)
    time.sleep(60)
"""


def test_a_killed_users_server_ends_without_another_command(server: EmbeddedServer) -> None:
    user = start_script(server.home, LEASE)
    postmaster = int(first_line(user))
    kill(user.pid)
    user.communicate()
    assert is_gone(postmaster)
    assert server.status().state == "stopped"


def test_a_killed_user_leaves_the_server_to_another_and_to_churn_up(server: EmbeddedServer) -> None:
    first, second = start_script(server.home, LEASE), start_script(server.home, LEASE)
    postmaster = int(first_line(first))
    assert int(first_line(second)) == postmaster
    kill(first.pid)
    first.communicate()
    time.sleep(3)
    assert answer(server, "select 1") == 1
    server.start(pin=True)
    kill(second.pid)
    second.communicate()
    time.sleep(3)
    assert answer(server, "select 1") == 1
    server.stop()
    assert is_gone(postmaster)


def test_a_server_that_was_started_again_is_ended_too(server: EmbeddedServer) -> None:
    """Its caretaker ended with the one that died, or has not looked yet."""
    user = start_script(
        server.home,
        """
        with server.lease():
            died = server.status().pid
            import os
            os.kill(died, 9)
            while server.status().pid == died:
                time.sleep(0.1)
            time.sleep(float(sys.stdin.readline()))
            server.start()
            print(server.status().pid, flush=True)
            time.sleep(60)
        """,
        stdin=subprocess.PIPE,
    )
    assert user.stdin is not None
    user.stdin.write("2\n")
    user.stdin.flush()
    postmaster = int(first_line(user))
    kill(user.pid)
    user.communicate()
    assert is_gone(postmaster)


def test_a_killed_users_hold_is_gone_though_his_children_live_on(server: EmbeddedServer) -> None:
    user = start_script(
        server.home,
        """
        with server.lease():
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            child = subprocess.Popen(["sleep", "60"], close_fds=False, **quiet)
            print(child.pid, flush=True)
            time.sleep(60)
        """,
    )
    child = int(first_line(user))
    try:
        with server.lease():
            pass
        assert server.status().state == "running"
        kill(user.pid)
        user.communicate()
        with server.lease():
            pass
        assert server.status().state == "stopped"
    finally:
        kill(child)


def test_a_pinned_server_runs_on_until_it_is_stopped(server: EmbeddedServer) -> None:
    server.start(pin=True)
    with server.lease():
        pass
    assert server.status().state == "running"
    assert server.status().is_pinned
    server.stop()
    assert server.status().state == "stopped"
    assert not server.status().is_pinned


def test_a_server_in_use_is_stopped_by_force_only(server: EmbeddedServer) -> None:
    with server.lease():
        with pytest.raises(ServerInUse, match="in use by another command"):
            server.stop()
        assert answer(server, "select 1") == 1
        server.stop(force=True)
        assert server.status().state == "stopped"


def test_a_taken_port_is_exchanged_for_another_which_is_then_kept(server: EmbeddedServer) -> None:
    with server.lease():
        taken = server.status().port
    assert taken is not None
    with socket.socket() as somebody:
        somebody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        somebody.bind(("127.0.0.1", taken))
        somebody.listen()
        with server.lease():
            chosen = server.status().port
            assert chosen != taken
            assert answer(server, "select 1") == 1
    with server.lease():
        assert server.status().port == chosen


def test_a_server_that_cannot_start_says_why_at_once(server: EmbeddedServer) -> None:
    with server.lease():
        pass
    configuration = server.data / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text(good + "\nno_such_setting = 1\n")
    started_at = time.monotonic()
    try:
        with pytest.raises(ServerError, match="no_such_setting"), server.lease():
            pass
    finally:
        configuration.write_text(good)
    assert time.monotonic() - started_at < 15
    with server.lease():
        assert answer(server, "select 1") == 1
