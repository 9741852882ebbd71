"""`churn status` says how things stand, also where there is nothing yet or nothing runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestration.cli.main import app
from tests.integration.conftest import Churn
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.developers import drop_place, make_place

HEAVY = {"alembic", "dagster", "dbt", "mlflow", "numpy", "pandas", "pyarrow", "sklearn", "xgboost"}


def test_a_warehouse_that_does_not_run_is_no_error_and_the_command_that_starts_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_HOME", str(tmp_path / "home"))
    status = CliRunner().invoke(app, ["status"])
    assert status.exit_code == 0
    assert "not created" in status.output
    assert "`churn up` starts it" in status.output
    assert not (tmp_path / "home").exists()


def test_a_warehouse_that_was_never_prepared_is_told_as_such(
    empty_database: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    monkeypatch.setenv("CHURN_DATABASE_URL", empty_database.url("postgresql"))
    status = CliRunner().invoke(app, ["status"])
    assert status.exit_code == 0, status.output
    assert "`churn migrate` prepares it" in status.output


def test_each_company_is_listed(churn: Churn, add_company: Callable[..., Company]) -> None:
    add_company("acme")
    assert "acme" in churn("status").output


def test_a_place_that_nobody_uses_is_told_of_with_the_command_that_drops_it(warehouse: Warehouse, churn: Churn) -> None:
    with warehouse.connect() as connection:
        for name in ("statusold", "statusnew"):
            make_place(connection, name, None, None)
        connection.execute("update ops.developers set used_at = now() - interval '31 days' where name = 'statusold'")
    try:
        said = " ".join(churn("status").output.split())
    finally:
        with warehouse.connect() as connection:
            for name in ("statusold", "statusnew"):
                drop_place(connection, name)
    assert "The place statusold was not used since" in said
    assert "`churn dev drop statusold`" in said
    assert "statusnew" not in said


def test_it_reads_the_warehouse_without_what_only_work_needs(warehouse: Warehouse, tmp_path: Path) -> None:
    code = (
        "import json, sys; from typer.testing import CliRunner; from orchestration.cli.main import app;"
        "done = CliRunner().invoke(app, ['status']);"
        "print(json.dumps([done.exit_code, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    ours = {"CHURN_HOME": str(tmp_path), "CHURN_DATABASE_URL": warehouse.url("postgresql")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **ours}, capture_output=True, text=True, timeout=60, check=True
    )
    code_of_exit, imported = json.loads(done.stdout)
    assert code_of_exit == 0
    assert HEAVY & set(imported) == set()
