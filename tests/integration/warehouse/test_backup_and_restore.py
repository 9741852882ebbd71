"""The backup of docs/deployment.md, restored: rows, rights and row-level security are those of before."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.engine import make_url

from tests.conftest import TestServer
from warehouse.companies.definition import Company
from warehouse.companies.registry import get_company
from warehouse.connection import Warehouse
from warehouse.embedded.server import EmbeddedServer
from warehouse.migrate import current_revision, migrate, newest_revision
from warehouse.roles import relations_open_to_all_companies


def test_a_dump_restored_into_an_empty_database_is_the_warehouse_of_before(
    postgres: TestServer, warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path
) -> None:
    company = add_company("acme", connector_settings={"api_key": "env:ACME_KEY"})
    dump = tmp_path / "churn.dump"
    superuser = make_url(postgres.server.url(database="postgres", superuser=True))
    environment = {
        **os.environ,
        "PGHOST": str(superuser.host),
        "PGPORT": str(superuser.port),
        "PGUSER": str(superuser.username),
        "PGPASSWORD": str(superuser.password),
    }
    programs = EmbeddedServer.program("psql").parent
    with postgres.database("template1") as url:
        name = make_url(url).database
        before = make_url(warehouse.url()).database
        for command in (
            [programs / "pg_dump", "-Fc", "-f", dump, before],
            [programs / "pg_restore", "--no-owner", "--role", "churn_owner", "-d", name, dump],
        ):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        restored = Warehouse(url)
        assert current_revision(restored) == newest_revision()
        migrate(restored)
        with restored.connect() as conn:
            assert get_company(conn, "acme") == company
            assert relations_open_to_all_companies(conn) == []
            policies = "select count(*) from pg_policies where schemaname = 'predictions'"
            with warehouse.connect() as original:
                assert conn.execute(policies).fetchone() == original.execute(policies).fetchone()
