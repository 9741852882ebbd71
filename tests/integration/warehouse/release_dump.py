"""The plain dump of a warehouse of release 0.1.0 with three companies, as it was after 37 days of use."""

from __future__ import annotations

import lzma
import os
import subprocess
from pathlib import Path

from sqlalchemy.engine import make_url

from tests.conftest import TestServer
from warehouse.embedded.server import EmbeddedServer

RELEASE = Path(__file__).parents[2] / "fixtures" / "release_0_1_0.sql.xz"


def restore_release(postgres: TestServer, database: str) -> None:
    """Fill an empty database with the dump; the template's migration has made the roles that it gives rights to."""
    superuser = make_url(postgres.server.url(database=database, superuser=True))
    environment = {
        **os.environ,
        "PGHOST": str(superuser.host),
        "PGPORT": str(superuser.port),
        "PGUSER": str(superuser.username),
        "PGPASSWORD": str(superuser.password),
    }
    done = subprocess.run(
        [str(EmbeddedServer.program("psql")), "-qX", "-v", "ON_ERROR_STOP=1", "-d", database],
        input=lzma.decompress(RELEASE.read_bytes()),
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
