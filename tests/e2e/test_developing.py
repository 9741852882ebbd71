"""docs/guide-analytics-engineer.md, as it is typed: in a checkout of the test's own, whose SQL it changes.

The tests of this module tell one story and run in order on one warehouse.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
import yaml
from psycopg import sql

from tests.e2e.churn_home import CHURN, ROOT
from warehouse.connection import Warehouse
from warehouse.settings import Settings

pytestmark = [pytest.mark.nightly, pytest.mark.xdist_group("developing")]

GUIDE = ROOT / "docs" / "guide-analytics-engineer.md"
WORKFLOW = ROOT / "docs" / "examples" / "pull_request.yml"
CARRIED = ("orchestration", "pipeline", "ml_assets", "warehouse", "foundation", "demo", "dbt_project", "dashboards")
MART = "dbt_project/models/features/payment_features.sql"
OTHER_MART = "dbt_project/models/features/ticket_features.sql"
WORDS = "dbt_project/models/features/_payment_features.yml"
BESIDE = "            {{ count_where(in_window('days_since_refund', 90)) }} as refunds_90d,\n"
FEATURE = """      - name: {name}
        description: Something new.
        data_type: integer
        config: {{meta: {{feature: {{label: New, unit: days, family: payments, kind: number, basis: event_times}}}}}}
      - name: feature_version
"""
USELESS = """            abs(hashtext(customers.customer_id || customers.as_of_date::text) % 1000)::integer as dice,
"""
LEAKING = """            (
                select min(leavings.cancelled_at::date - customers.as_of_date)
                from {{ ref('stg_crm__customers') }} as leavings
                where leavings.customer_id = customers.customer_id and leavings.company_id = customers.company_id
            )::integer as days_to_leaving,
"""


@dataclass
class Checkout:
    """A copy of the packages and the SQL, and ``churn`` run from it."""

    folder: Path

    def run(self, *command: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
        outside = {name: value for name, value in os.environ.items() if not name.startswith("CHURN_")}
        program = [sys.executable, str(CHURN)] if command[0] == "churn" else [str(CHURN.with_name(command[0]))]
        return subprocess.run(
            [*program, *command[1:]],
            cwd=self.folder / "dbt_project" if command[0] == "dbt" else self.folder,
            env={**outside, "PYTHONPATH": str(self.folder), "CHURN_HOME": str(self.home), "COLUMNS": "160"},
            input=typed,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def churn(self, *arguments: str, ends_with: int = 0) -> str:
        done = self.run("churn", *arguments)
        assert done.returncode == ends_with, done.stdout + done.stderr
        return done.stdout

    @property
    def home(self) -> Path:
        return self.folder / ".churn"

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    def add_feature(self, name: str, expression: str) -> None:
        self.edit(MART, BESIDE, BESIDE + expression)
        self.edit(WORDS, "      - name: feature_version\n", FEATURE.format(name=name))

    def take_back(self) -> None:
        for file in (MART, OTHER_MART, WORDS):
            shutil.copy(ROOT / file, self.folder / file)

    def production(self) -> list[tuple[Any, ...]]:
        """How many rows each table of production has, and what they are."""
        with Warehouse.open(Settings(home=self.home)) as warehouse, warehouse.connect() as connection:
            tables = connection.execute(
                "select schemaname, tablename from pg_tables"
                " where schemaname in ('features', 'analytics', 'ml', 'mlflow', 'predictions') order by 1, 2"
            ).fetchall()
            return [(*table, *_content(connection, table)) for table in tables]


def _content(connection: psycopg.Connection[Any], table: tuple[str, str]) -> tuple[Any, ...]:
    query = sql.SQL("select count(*), md5(string_agg(md5(t::text), '' order by md5(t::text))) from {} as t")
    return connection.execute(query.format(sql.Identifier(*table))).fetchone() or ()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    folder = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("target", "logs", "profiles.yml", "__pycache__")
    for name in CARRIED:
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("dbt_warehouse.py", ".sqlfluff"):
        shutil.copy(ROOT / name, folder)
    made = Checkout(folder)
    made.churn("demo", "run", "--customers", "700")
    made.churn("up")
    yield made
    made.run("churn", "down", "--force")


def commands_of_the_guide() -> list[list[str]]:
    """Each line of a code block that is typed, without its comment."""
    lines = [line.strip() for line in GUIDE.read_text().splitlines() if re.match(r" {4}(churn|dbt) ", line)]
    return [shlex.split(line, comments=True) for line in lines]


def test_every_command_of_the_guide_does_what_it_says(checkout: Checkout) -> None:
    before = checkout.production()
    checkout.add_feature("dice", USELESS)
    checkout.edit(
        "dbt_project/models/features/ticket_features.sql", "'days_since_opened', 7)", "'days_since_opened', 8)"
    )
    checkout.churn("dev", "start", "--name", "anna")
    typed = commands_of_the_guide()
    assert {tuple(command[:3]) for command in typed} >= {
        ("churn", "dev", name)
        for name in ("start", "build", "check", "diff", "revert", "list", "drop", "train", "report")
    }
    for command in typed:
        # The guide's own names are those of who reads it.
        done = checkout.run(*command, typed="y\n")
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    assert "dice" in (checkout.folder / "change.md").read_text()
    assert checkout.production() == before
    checkout.take_back()


def test_a_useless_and_a_leaking_feature_have_their_verdicts_by_name(checkout: Checkout) -> None:
    checkout.add_feature("dice", USELESS)
    checkout.churn("dev", "start", "--dates", "0")
    checkout.churn("dev", "build", "--name", _name())
    models = [each for each in orjson.loads(checkout.churn("dev", "train", "--json")) if "verdict" in each]
    assert models
    for model in models:
        assert (model["verdict"], model["added"]) == ("no_difference", ["dice"]), model["sentence"]

    checkout.add_feature("days_to_leaving", LEAKING)
    said = checkout.churn("dev", "check", ends_with=1)
    assert "days_to_leaving rests on stg_crm__customers" in said
    assert "dice rests" not in said
    checkout.take_back()


def test_the_workflow_of_a_pull_request_does_what_it_says(checkout: Checkout) -> None:
    (job,) = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    lines = [line.strip() for step in job["steps"] for line in step.get("run", "").splitlines()]
    typed = [shlex.split(line.removeprefix(".venv/bin/")) for line in lines if line.startswith(".venv/bin/churn dev")]
    assert len(typed) == 3
    checkout.add_feature("dice", USELESS)
    for command in typed:
        done = checkout.run(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    assert "dice" in (checkout.folder / "report.md").read_text()
    checkout.take_back()


def _name() -> str:
    from pipeline.development.places import usual_name

    return usual_name()
