"""A warehouse in a folder of a test's own, and the ``churn`` command on it."""

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from warehouse.connection import Warehouse
from warehouse.settings import Settings

ROOT = Path(__file__).parents[2]
CHURN = Path(sys.executable).with_name("churn")


@dataclass
class ChurnHome:
    """A CHURN_HOME. Every command is a process of its own, as a user's is."""

    home: Path

    def churn(self, *arguments: str, now: datetime | None = None) -> subprocess.CompletedProcess[str]:
        """``now`` fixes the clock of everything that the command does."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CHURN_")}
        if now is not None:
            environment["CHURN_NOW"] = now.isoformat()
        return subprocess.run(
            [str(CHURN), *arguments],
            cwd=ROOT,
            env={**environment, "CHURN_HOME": str(self.home), "COLUMNS": "160"},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def ask(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with Warehouse.open(Settings(home=self.home)) as warehouse, warehouse.connect() as conn:
            return conn.execute(query, parameters).fetchall()  # type: ignore[call-overload]

    def change(self, statements: str) -> None:
        with Warehouse.open(Settings(home=self.home)) as warehouse, warehouse.connect() as conn:
            conn.execute(statements.encode())

    def processes(self) -> list[str]:
        """Command lines of live processes that belong to this warehouse."""
        return [
            " ".join(process.info["cmdline"])
            for process in psutil.process_iter(["cmdline"])
            if process.info["cmdline"] and any(str(self.home) in word for word in process.info["cmdline"])
        ]
