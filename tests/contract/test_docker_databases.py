"""The script that the Postgres container runs on an empty volume, run on a real Postgres."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from warehouse.connection import Warehouse
from warehouse.embedded.server import EmbeddedServer
from warehouse.login_limits import GRANT, OWNER_GROUPS, SHARED_MEANS, left_open_by_server
from warehouse.migrate import migrate

SCRIPT = Path(__file__).resolve().parents[2] / "docker" / "create-databases.sh"
OWNER_PASSWORD = "owner-secret-1"
METABASE_PASSWORD = "metabase-secret-2"


def test_the_script_makes_both_databases_and_the_owner_can_migrate(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "home").lease() as server:
        superuser = make_url(server.url(database="postgres", superuser=True))
        with psycopg.connect(superuser.render_as_string(hide_password=False), autocommit=True) as connection:
            connection.execute("drop database churn")
            connection.execute("drop owned by churn_owner")
            connection.execute("drop role churn_owner")
            connection.execute("grant connect on database postgres, template1 to public")
        psql = EmbeddedServer.program("psql").parent
        environment = {
            "PATH": f"{psql}:{os.environ['PATH']}",
            "PGHOST": str(superuser.host),
            "PGPORT": str(superuser.port),
            "PGPASSWORD": str(superuser.password),
            "POSTGRES_USER": str(superuser.username),
            "CHURN_OWNER_PASSWORD": OWNER_PASSWORD,
            "METABASE_DB_PASSWORD": METABASE_PASSWORD,
        }

        done = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stderr
        address = f"{superuser.host}:{superuser.port}"
        warehouse = Warehouse(f"postgresql://churn_owner:{OWNER_PASSWORD}@{address}/churn")
        warehouse.check_server()
        assert migrate(warehouse)
        with warehouse.connect() as connection:
            assert left_open_by_server(connection) == []
        metabase = f"postgresql://metabase:{METABASE_PASSWORD}@{address}"
        with psycopg.connect(f"{metabase}/metabase") as connection:
            connection.execute("create table core_user (id int)")
        for database in ("churn", "postgres", "template1"):
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(f"{metabase}/{database}")
        again = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, check=False)
        assert again.returncode != 0


def test_the_script_takes_the_same_means_from_public_as_the_embedded_server() -> None:
    assert f"proname ~ '{SHARED_MEANS}'" in SCRIPT.read_text()
    assert f"grant {', '.join(OWNER_GROUPS)} to churn_owner;" in SCRIPT.read_text()
    assert f"{GRANT} churn_owner;" in SCRIPT.read_text()
