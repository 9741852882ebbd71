"""Dagster's own home: where it keeps runs and events, and how a process reaches it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from foundation.private_files import private_file
from warehouse.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

CODE_LOCATION = "churn_warehouse"
"""What Dagster calls our definitions, in each of its windows; pyproject.toml says so to `dagster dev`."""

RUN_MONITORING = {
    "enabled": True,
    "poll_interval_seconds": 30,
    "start_timeout_seconds": 300,
    # For a process that is there and does not come to an end: with one run at a time all others wait for it.
    "max_runtime_seconds": 12 * 60 * 60,
    # A killed run leaves its places in CRMs' pools taken, which is never looked at unless this is set.
    "free_slots_after_run_end_seconds": 60,
}
"""How Dagster sees to runs that do not end by themselves; docker/dagster-helm-values.yaml says the same."""


def directory(settings: Settings) -> Path:
    """The folder that Dagster calls DAGSTER_HOME."""
    return settings.home / "dagster"


def write(settings: Settings) -> Path:
    """Write ``dagster.yaml``, readable by its owner only; it holds no password.

    Beside an embedded Postgres Dagster keeps its events in files of its own, which is several times quicker for the
    one machine there is; with CHURN_DATABASE_URL in that Postgres, where all its containers reach it.
    """
    home = directory(settings)
    home.mkdir(parents=True, exist_ok=True)
    with private_file(home / "dagster.yaml") as file:
        file.write(yaml.safe_dump(_configuration(settings), sort_keys=False).encode())
    return home


def write_workspace(settings: Settings) -> Path:
    """Write the workspace file by which Dagster's UI finds our definitions from whatever folder it is started in."""
    path = directory(settings) / "workspace.yaml"
    module = {"module_name": "orchestration.definitions", "location_name": CODE_LOCATION}
    with private_file(path) as file:
        file.write(yaml.safe_dump({"load_from": [{"python_module": module}]}).encode())
    return path


def instance(settings: Settings) -> dg.DagsterInstance:
    """The Dagster instance of this warehouse, the same one that the UI shows."""
    import dagster as dg

    return dg.DagsterInstance.from_config(str(write(settings)))


def _configuration(settings: Settings) -> dict[str, object]:
    postgres = {"custom": {"module": "orchestration.dagster_storage", "class": "WarehouseStorage", "config": {}}}
    folder = {"base_dir": str(directory(settings) / "storage")}
    files = {"custom": {"module": "orchestration.dagster_files", "class": "FileStorage", "config": folder}}
    return {
        "storage": postgres if settings.database_url else files,
        "compute_logs": {
            "module": "dagster._core.storage.local_compute_log_manager",
            "class": "LocalComputeLogManager",
            "config": {"base_dir": str(directory(settings) / "logs")},
        },
        "concurrency": {
            "runs": {"max_concurrent_runs": 1},
            "pools": {"default_limit": 1},
        },
        "run_launcher": {"module": "orchestration.run_launcher", "class": "WatchedRunLauncher", "config": {}},
        "run_monitoring": RUN_MONITORING,
        "run_retries": {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False},
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
    }
