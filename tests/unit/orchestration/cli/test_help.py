"""Help is there at once: it imports nothing but what reads a command line, and is written once."""

from __future__ import annotations

import json
import subprocess
import sys
from inspect import cleandoc
from typing import get_args

import pytest

from orchestration.cli.company import ReadOnlyRole
from orchestration.cli.main import COMMANDS
from orchestration.cli.publication import FormatName
from warehouse.publication.export import Format
from warehouse.roles import COMPANY_ROLES

HEAVY = {
    *("adbc_driver_postgresql", "alembic", "apprise", "cryptography", "dagster", "dbt", "dlt", "httpx", "lightgbm"),
    *("matplotlib", "mlflow", "numpy", "optuna", "pandas", "psycopg", "pyarrow", "pydantic_settings", "scipy"),
    *("sentry_sdk", "sklearn", "sqlalchemy", "sqlglot", "xgboost"),
}
WALK = """
import json, sys
from typer.core import TyperGroup
from typer.testing import CliRunner
from typer.main import get_command
from orchestration.cli.lazy import LazyCommand
from orchestration.cli.main import app

imported, failed = {}, []

def help_of(command, path):
    if CliRunner().invoke(app, [*path, "--help"]).exit_code:
        failed.append(path)
    imported[" ".join(path)] = sorted({name.partition(".")[0] for name in sys.modules})
    loaded = command.place.load(command.name) if isinstance(command, LazyCommand) else command
    if isinstance(loaded, TyperGroup):
        for name, each in loaded.commands.items():
            help_of(each, [*path, name])

help_of(get_command(app), [])
print(json.dumps([imported, failed]))
"""


def test_no_help_imports_what_only_work_needs() -> None:
    done = subprocess.run([sys.executable, "-c", WALK], capture_output=True, text=True, timeout=120, check=True)
    imported, failed = json.loads(done.stdout)
    assert failed == []
    assert len(imported) > 50
    heavy = {command: HEAVY & set(modules) for command, modules in imported.items()}
    assert {command: modules for command, modules in heavy.items() if modules} == {}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_the_command_itself_says_first(name: str) -> None:
    command = COMMANDS[name].load(name)
    assert COMMANDS[name].help == " ".join(cleandoc(command.help).split("\n\n")[0].split())


def test_choices_that_a_command_lists_are_those_that_there_are() -> None:
    assert get_args(ReadOnlyRole) == tuple(role.value for role in COMPANY_ROLES)
    assert get_args(FormatName) == tuple(Format)
