"""`churn serve collector` and `churn write-key`, as they are typed."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from foundation.keys import digest
from orchestration.cli.serve import COLLECTOR_PORT, METRICS_PORT
from serving.collector import __main__ as program
from tests.integration.conftest import Churn
from tests.integration.serving.collector.collector_process import free_port
from warehouse.companies.definition import Company
from warehouse.companies.write_keys import WriteKeyError, create_write_key
from warehouse.connection import Warehouse

CHURN = Path(sys.executable).with_name("churn")


def serve(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(CHURN), "serve", "collector", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_warehouse_that_is_away_is_one_message(tmp_path: Path) -> None:
    done = serve(CHURN_HOME=str(tmp_path), CHURN_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nowhere")
    assert done.returncode == 1
    assert "the warehouse at 127.0.0.1:1/nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_one_message(warehouse: Warehouse, tmp_path: Path) -> None:
    environment = {"CHURN_HOME": str(tmp_path), "CHURN_DATABASE_URL": warehouse.url("postgresql")}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for ports in (["--port", port, "--metrics-port", str(free_port())], ["--metrics-port", port]):
            done = serve(*ports, **environment)
            assert done.returncode == 1
            assert f"Cannot listen on 127.0.0.1:{port}" in done.stderr
            assert "Traceback" not in done.stderr


def test_both_floors_mean_the_same_ports() -> None:
    assert (COLLECTOR_PORT, METRICS_PORT) == (program.PORT, program.METRICS_PORT)


def test_a_key_is_made_listed_and_revoked(churn: Churn, warehouse: Warehouse, lone_acme: Company) -> None:
    made = churn("write-key", "create", "--company", "acme", "--source", "web", "--origin", "https://shop.example")
    key = made.stdout.splitlines()[0]
    assert re.fullmatch("cwk_[0-9a-f]{12}_[0-9a-f]{64}", key)
    prefix = key.rpartition("_")[0]
    listed = churn("write-key", "list").stdout
    assert prefix in listed
    assert "https://shop.example" in listed
    assert key not in listed
    with warehouse.connect() as conn:
        stored = conn.execute("select digest, write_keys::text from ops.write_keys").fetchone()
        trail = conn.execute("select string_agg(audit_log::text, ' ') from ops.audit_log").fetchone()
    assert stored is not None
    assert trail is not None
    assert bytes(stored[0]) == digest(key)
    assert key not in stored[1] + trail[0]
    assert "write_key.created" in trail[0]
    assert churn("write-key", "revoke", prefix).exit_code == 0
    with pytest.raises(WriteKeyError, match="No write key that holds"):
        churn("write-key", "revoke", prefix)


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "Web Shop"},
        {"source": ""},
        {"origins": ["shop.example"]},
        {"origins": ["https://shop.example/"]},
        {"origins": ["https://user@shop.example"]},
        {"origins": ["https://[::1"]},
        {"origins": ["null"]},
        {"consent_categories": []},
        {"consent_categories": ["a\n"]},
        {"events_per_second": 0},
        {"event_bytes": 32 * 1024 + 1},
    ],
)
def test_a_key_of_no_sense_is_refused(
    warehouse: Warehouse, add_company: Callable[..., Company], wrong: dict[str, object]
) -> None:
    add_company("acme")
    with warehouse.connect() as conn, pytest.raises(WriteKeyError):
        create_write_key(conn, "acme", **({"source": "web"} | wrong), actor="tests")  # type: ignore[arg-type]
