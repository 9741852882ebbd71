"""The script that gives a secret of the stack a new value, with a real Postgres behind `docker compose exec`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

from tests.contract.test_docker_stack import ROOT
from warehouse.embedded.server import EmbeddedServer

MOUNTS = """\
unless-stopped dagster-code {folder}/secrets/churn_owner_password
unless-stopped dagster-code {folder}/secrets/churn_secret_key
unless-stopped dagster-code {folder}/secrets/churn_mail_url
unless-stopped metrics {folder}/secrets/churn_owner_password
unless-stopped metabase {folder}/secrets/metabase_smtp_password
unless-stopped demo-crm {folder}/volumes/not/secrets/churn_owner_password_of_another
unless-stopped postgres {folder}/secrets/churn_owner_password
no migrate {folder}/secrets/churn_owner_password
"""
DOCKER = """\
#!/bin/sh
# Runs psql where a container would, answers which container holds which file, and notes what else it is asked for.
case "$1 $2" in
"compose exec") shift 4; exec "$@" ;;
"compose ps") echo first second ;;
"inspect --format") cat "$NOTES/mounts" ;;
"compose run")
    for key in churn_secret_key churn_secret_key_previous; do cat "secrets/$key"; echo; done > "$NOTES/keys"
    [ ! -e "$NOTES/breaks" ] ;;
*) echo "$*" >> "$NOTES/asked" ;;
esac
"""


class Stack:
    """A checkout with secrets, and what its `docker` was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "notes"
        self.environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "NOTES": str(self.notes)}
        for name in ("docker", "bin", "notes"):
            (folder / name).mkdir()
        for script in ("make-secrets.sh", "rotate-secret.sh"):
            shutil.copy(ROOT / "docker" / script, folder / "docker" / script)
        docker = folder / "bin" / "docker"
        docker.write_text(DOCKER)
        docker.chmod(0o755)
        (self.notes / "mounts").write_text(MOUNTS.format(folder=folder))
        subprocess.run([folder / "docker" / "make-secrets.sh"], check=True, capture_output=True)

    def secret(self, name: str) -> str:
        return (self.folder / "secrets" / name).read_text().strip()

    def write(self, name: str, value: str) -> None:
        (self.folder / "secrets" / name).write_text(value)

    def rotate(self, name: str, value: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.folder / "docker" / "rotate-secret.sh", name],
            env=self.environment,
            input=value,
            capture_output=True,
            text=True,
            check=False,
        )

    def keys(self) -> list[str]:
        """The key and the one before it, as the command that encrypts again sees them."""
        return (self.notes / "keys").read_text().split()

    def started_again(self) -> list[set[str]]:
        asked = self.notes / "asked"
        lines = asked.read_text().splitlines() if asked.exists() else []
        return [{word for word in line.split()[2:] if not word.startswith("--")} for line in lines]


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(tmp_path)


@pytest.fixture
def postgres(stack: Stack, tmp_path: Path) -> Iterator[URL]:
    """The superuser's address of a server of the stack's own, which its `docker compose exec postgres psql` reaches."""
    with EmbeddedServer(tmp_path / "home").lease() as server:
        superuser = make_url(server.url(database="postgres", superuser=True))
        stack.environment |= {
            "PATH": f"{stack.environment['PATH']}:{EmbeddedServer.program('psql').parent}",
            "PGHOST": str(superuser.host),
            "PGPORT": str(superuser.port),
            "PGPASSWORD": str(superuser.password),
        }
        yield superuser


def test_a_password_that_is_rotated_twice_opens_and_those_before_it_do_not(stack: Stack, postgres: URL) -> None:
    passwords = []
    for _ in range(2):
        done = stack.rotate("churn_owner_password")
        assert done.returncode == 0, done.stderr
        passwords.append(stack.secret("churn_owner_password"))
        assert passwords[-1] not in done.stdout + done.stderr

    first, second = (
        postgres.set(username="churn_owner", password=password, database="churn").render_as_string(hide_password=False)
        for password in passwords
    )
    psycopg.connect(second).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(first)
    assert stack.started_again() == [{"dagster-code", "metrics"}] * 2, "all that run on and hold the file"


def test_a_given_value_is_taken_and_an_empty_one_is_refused(stack: Stack) -> None:
    assert stack.rotate("churn_mail_url", "mailto://mail:25\n").returncode == 0
    refused = stack.rotate("churn_mail_url", "\n")

    assert refused.returncode == 1
    assert "nothing is changed" in refused.stderr
    assert stack.secret("churn_mail_url") == "mailto://mail:25"
    assert stack.started_again() == [{"dagster-code"}]


def test_a_key_that_could_not_be_put_to_use_is_the_key_of_the_next_try(stack: Stack) -> None:
    before = stack.secret("churn_secret_key")
    (stack.notes / "breaks").touch()
    assert stack.rotate("churn_secret_key").returncode != 0
    made, opens_the_old = stack.keys()
    assert made != before == opens_the_old

    (stack.notes / "breaks").unlink()
    assert stack.rotate("churn_secret_key").returncode == 0
    assert stack.keys() == [made, before]
    assert not (stack.folder / "secrets" / "churn_secret_key_previous").exists()
    assert stack.rotate("churn_secret_key").returncode == 0
    assert stack.keys()[1] == made != stack.secret("churn_secret_key")


@pytest.mark.parametrize("left", ["the old key", ""])
def test_a_rotation_that_ended_before_the_new_key_was_written_makes_one(stack: Stack, left: str) -> None:
    """It took the old key for the new one, and said that the secret was new."""
    before = stack.secret("churn_secret_key")
    stack.write("churn_secret_key_previous", before)
    stack.write("churn_secret_key", before if left else "")

    assert stack.rotate("churn_secret_key").returncode == 0
    new, old = stack.keys()
    assert old == before != new


@pytest.mark.parametrize("name", ["metabase_encryption_key", "of_no_stack"])
def test_what_it_cannot_turn_is_refused(stack: Stack, name: str) -> None:
    stack.write(name, "as before")
    done = stack.rotate(name)
    assert done.returncode == 1
    assert done.stderr
    assert stack.secret(name) == "as before"
