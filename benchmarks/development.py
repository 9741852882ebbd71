"""A developer's place: from an edit to rows, beside the same build without a place.

    python -m benchmarks.development [--customers 2000] [--dates 24]

An embedded Postgres of its own and a copy of the real dbt project, run as a process. One feature of a mart is edited;
the mart is built in a place that shows the newest three dates, then with the matrix and all that hangs on it for all
dates, then in production by a bare `dbt build` of that model. "dbt's start" is a run in which no model is selected.
Promised: rows of the edited mart within 10 seconds beyond dbt's start, mart and matrix within 30. Seconds are of this
machine as busy as it was.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.feature_marts.raw_history import Size, generate
from benchmarks.features import DBT, PROJECT, run_dbt
from pipeline.prediction.tasks import CONTRACTS
from warehouse.connection import Warehouse
from warehouse.dbt_targets import DBT_TARGET, DEVELOPMENT_TARGET
from warehouse.developers import make_place
from warehouse.migrate import migrate
from warehouse.settings import Settings

PLACE = "bench"
NEWEST_DATES = 3
MART = "ticket_features"
OLD, NEW = "'days_since_opened', 7)", "'days_since_opened', 8)"
LONGEST_EDIT = 10.0
LONGEST_MATRIX = 30.0
NO_TESTS = ("--exclude-resource-types", "test", "unit_test")


def _place_of(warehouse: Warehouse, folder: Path, newest_dates: int | None) -> None:
    with warehouse.connect() as connection:
        password = make_place(connection, PLACE, None, newest_dates)
    warehouse.write_dbt_profile(folder, developers={f"dev_{PLACE}": password}, default=DEVELOPMENT_TARGET)


def _edited_copy(folder: Path) -> Path:
    ignored = shutil.ignore_patterns("target", "logs", "profiles.yml")
    project = Path(shutil.copytree(PROJECT, folder / "project", ignore=ignored))
    mart = project / "models" / "features" / f"{MART}.sql"
    mart.write_text(mart.read_text().replace(OLD, NEW))
    return project


def measure(size: Size) -> dict[str, float]:
    """Seconds of each step, by its name."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with Warehouse.open(Settings(home=folder / "home")) as warehouse:
            migrate(warehouse, CONTRACTS)
            warehouse.write_dbt_profile(folder)
            generate(warehouse, size)
            run_dbt(folder, "build", *NO_TESTS, history_months=size.dates)
            (folder / "state").mkdir()
            shutil.copy(folder / "target" / "manifest.json", folder / "state")
            project = _edited_copy(folder)

            def dbt(target: str, *selection: str) -> float:
                return _seconds_of_dbt(folder, project, target, selection, size)

            _place_of(warehouse, folder, NEWEST_DATES)
            seconds = {"dbt's start, in a place": dbt(DEVELOPMENT_TARGET, "no_such_model")}
            seconds["the edited mart, in a place"] = dbt(DEVELOPMENT_TARGET, MART)
            _place_of(warehouse, folder, None)
            seconds["mart and matrix of all dates, in a place"] = dbt(
                DEVELOPMENT_TARGET, "state:modified+,+churn_feature_matrix"
            )
            seconds["dbt's start, in production"] = dbt(DBT_TARGET, "no_such_model")
            seconds["the edited mart, by a bare dbt build in production"] = dbt(DBT_TARGET, MART)
            return seconds


def _seconds_of_dbt(folder: Path, project: Path, target: str, selection: Sequence[str], size: Size) -> float:
    command: list[str | Path] = [
        *(DBT, "build", "--target", target, "--select", *selection, *NO_TESTS),
        *("--project-dir", project, "--profiles-dir", folder, "--target-path", folder / f"target_{target}"),
        *("--log-path", folder / "logs", "--vars", f"{{history_months: {size.dates}}}"),
        *(("--defer", "--state", folder / "state") if target == DEVELOPMENT_TARGET else ()),
    ]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        done.check_returncode()
    return time.perf_counter() - started


def main() -> None:
    """Print the seconds; exits 1 where a step takes longer than is promised."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--customers", type=int, default=2_000)
    parser.add_argument("--dates", type=int, default=24)
    given = parser.parse_args()
    seconds = measure(Size(given.customers, given.dates))
    for step, took in seconds.items():
        print(f"{step:54} {took:7.1f} s")
    start = seconds["dbt's start, in a place"]
    missed = [
        step
        for step, longest in (
            ("the edited mart, in a place", start + LONGEST_EDIT),
            ("mart and matrix of all dates, in a place", LONGEST_MATRIX),
        )
        if seconds[step] > longest
    ]
    if missed:
        raise SystemExit(f"longer than promised: {', '.join(missed)}")


if __name__ == "__main__":
    main()
