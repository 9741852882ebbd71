"""The API as a process of its own, and keys to ask it by."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from psycopg import sql

from warehouse.companies.api_keys import Scope, create_key
from warehouse.connection import Warehouse
from warehouse.roles import company_key_login, drop_owned

ROOT = Path(__file__).parents[3]


@dataclass
class Served:
    """A running API, on a warehouse of the test's."""

    warehouse: Warehouse
    address: str
    process: subprocess.Popen[bytes]
    log: Path
    made: list[tuple[int, str]] = field(default_factory=list)

    def key(self, slug: str, *scopes: Scope, per_minute: int = 1_000_000, days: float = 1) -> str:
        """A new key of a company, for everything if no scope is named."""
        with self.warehouse.connect() as connection:
            key = create_key(
                connection,
                slug,
                scopes=scopes or ("read", "score"),
                expires_at=datetime.now(UTC) + timedelta(days=days),
                requests_per_minute=per_minute,
                note="tests",
                actor="tests",
            )
            row = connection.execute("select company_id from ops.companies where slug = %s", [slug]).fetchone()
        assert row is not None
        self.made.append((row[0], key.prefix))
        return key.text

    def client(self, key: str | None = None, **more: Any) -> httpx.Client:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.address, headers=headers, timeout=30, trust_env=False, **more)

    def forget_keys(self) -> None:
        """Leave the warehouse as it was found."""
        with self.warehouse.connect() as connection:
            for company_id, prefix in self.made:
                login = company_key_login(company_id, prefix)
                connection.execute("delete from ops.api_keys where key_prefix = %s", [prefix])
                if connection.execute("select from pg_roles where rolname = %s", [login]).fetchone():
                    drop_owned(connection, login)
                    connection.execute(sql.SQL("drop role {}").format(sql.Identifier(login)))
        self.made.clear()


@contextmanager
def serving(
    warehouse: Warehouse | None, home: Path, **settings: str
) -> Iterator[tuple[str, subprocess.Popen[bytes], Path]]:
    """`python -m serving.api` on the warehouse, or on the home's own embedded one; yields address, process and log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = home / "api.log"
    environment = {**os.environ, "CHURN_HOME": str(home), **settings}
    if warehouse is not None:
        environment["CHURN_DATABASE_URL"] = warehouse.url("postgresql")
    command = [sys.executable, "-m", "serving.api", "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(address, process, log)
        yield address, process, log
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        finally:
            process.kill()


def wait_until_ready(address: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{address}/health/ready", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"not ready: {log.read_text()}")
