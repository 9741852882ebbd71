"""Running the dbt project of this repository, or a changed copy of it, against a test's warehouse."""

from __future__ import annotations

import functools
import json
import pickle
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import yaml
from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest
from dbt_common.behavior_flags import BehaviorFlagRendered

from tests.conftest import TestServer
from warehouse.connection import Warehouse
from warehouse.dbt_targets import DBT_PROFILE, DBT_TARGET
from warehouse.roles import ensure_database_privileges

# Only a warning's text names it; dbt looks for it through the whole stack, eight times at every start.
BehaviorFlagRendered._default_source = staticmethod(lambda: __name__)

PROJECT = Path(__file__).parents[3] / "dbt_project"
VIEWS_STAND = ("--exclude", "path:models/staging")
"""For what is run again in one warehouse: staging is views on raw tables, and a second run makes them as they were."""
FEATURE_RELATIONS = (
    "customer_features",
    "ticket_features",
    "payment_features",
    "activity_features",
    "engagement_features",
    "customer_feature_matrix",
)
CHURN_RELATIONS = ("churn_population", "churn_feature_matrix")
"""What models of churn read: who is asked about, and the features of these."""
FEATURES_AND_TASKS = ("+features", "+tasks")
"""What dbt selects for both."""


@dataclass
class DbtRuns:
    """One dbt project with one warehouse. What dbt writes goes to a folder of the test's own."""

    project: Path
    folder: Path
    parsed: Manifest | None = None

    def parse(self) -> None:
        """Read the project's files; to be repeated when a test has changed one. Every run uses what was read."""
        database = yaml.safe_load((self.folder / "profiles.yml").read_text())[DBT_PROFILE]["outputs"][DBT_TARGET]
        name = database["dbname"].encode()
        if len(name) == len(ANY_DATABASE):
            is_ours = _files(self.project) == _files(PROJECT)
            read = _parsed_once() if is_ours else _parsed(self.project, _parsed_once())
            self.parsed = pickle.loads(read.manifest.replace(ANY_DATABASE, name))  # noqa: S301 - our own
            self.parsed.writable_manifest().write(str(self.folder / "target" / "manifest.json"))
        else:
            self.parsed = self._invoke(dbtRunner(), "parse")

    def run(self, *arguments: str, variables: dict[str, Any] | None = None) -> dict[str, int | None]:
        """Run dbt; returns the rows that each node wrote, hooks aside. Fails the test with dbt's output."""
        if self.parsed is None:
            self.parse()
        assert self.parsed is not None
        # A run leaves what it compiled in the manifest it was given.
        runner = dbtRunner(manifest=self.parsed.deepcopy())
        result = self._invoke(runner, *arguments, "--no-write-json", variables=variables)
        failed = [f"{node.node.name}: {node.message}" for node in result if node.status in BAD]
        assert not failed, "\n".join(failed)
        return {
            node.node.name: node.adapter_response.get("rows_affected")
            for node in result
            if node.node.resource_type != "operation"
        }

    def compile(self, *arguments: str, variables: dict[str, Any] | None = None) -> dict[str, str]:
        """The SQL of the nodes that the arguments select, by unique id."""
        if self.parsed is None:
            self.parse()
        assert self.parsed is not None
        result = self._invoke(dbtRunner(manifest=self.parsed.deepcopy()), "compile", *arguments, variables=variables)
        return {node.node.unique_id: node.node.compiled_code for node in result if node.node.compiled_code}

    def _invoke(self, runner: dbtRunner, *arguments: str, variables: dict[str, Any] | None = None) -> Any:
        command = [
            *arguments,
            *("--project-dir", str(self.project), "--profiles-dir", str(self.folder)),
            *("--target-path", str(self.folder / "target"), "--log-path", str(self.folder / "logs")),
            *("--threads", "2", "--log-level", "none", "--log-level-file", "none"),
            *("--vars", json.dumps(variables or {})),
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome = runner.invoke(command)
        if outcome.exception is not None:
            raise outcome.exception
        return outcome.result

    def manifest(self) -> dict[str, Any]:
        """The project as dbt read it."""
        return json.loads((self.folder / "target" / "manifest.json").read_text())


ANY_DATABASE = b"test_????????????"
"""As long as the names of the tests' databases, so that one can take its place in what dbt has read."""


@dataclass(frozen=True)
class Read:
    """A project as dbt has read it, for a database of any name, and dbt's own memory of its files."""

    manifest: bytes
    files: bytes


@functools.cache
def _parsed_once() -> Read:
    """This repository's project, which takes ten seconds and knows of no warehouse but its name."""
    return _parsed(PROJECT)


def _parsed(project: Path, before: Read | None = None) -> Read:
    """A project's files; dbt reads only those again that have changed since it read `before`."""
    with tempfile.TemporaryDirectory() as folder:
        runs = DbtRuns(project, Path(folder))
        Warehouse(f"postgresql://nobody@localhost/{quote(ANY_DATABASE)}").write_dbt_profile(runs.folder)
        files = runs.folder / "target" / "partial_parse.msgpack"
        if before:
            files.parent.mkdir()
            files.write_bytes(before.files)
        return Read(pickle.dumps(runs._invoke(dbtRunner(), "parse")), files.read_bytes())


def _files(project: Path) -> dict[Path, bytes]:
    """What dbt reads of a project."""
    paths = (path for suffix in ("sql", "yml", "csv") for path in project.rglob(f"*.{suffix}"))
    return {
        path.relative_to(project): path.read_bytes()
        for path in paths
        if path.name != "profiles.yml" and "target" not in path.relative_to(project).parts
    }


BAD = {"error", "fail", "runtime error", "skipped"}


def copy_project(destination: Path) -> Path:
    """A copy of the dbt project to change."""
    return Path(shutil.copytree(PROJECT, destination, ignore=shutil.ignore_patterns("target", "logs", "profiles.yml")))


@contextmanager
def warehouse_for_a_module(postgres: TestServer, template: str) -> Iterator[Warehouse]:
    """A migrated warehouse that lives as long as the tests of one module."""
    with postgres.database(template) as url:
        warehouse = Warehouse(url)
        with warehouse.connect() as connection:
            ensure_database_privileges(connection)
        yield warehouse


def snapshot(connection: psycopg.Connection[Any], name: str, relations: tuple[str, ...]) -> None:
    """Keep the feature relations as they stand, in a schema of that name."""
    connection.execute(f"drop schema if exists {name} cascade; create schema {name}")
    for relation in relations:
        connection.execute(f"create table {name}.{relation} as select * from features.{relation}")
    connection.commit()


def moved_columns(
    connection: psycopg.Connection[Any], name: str, relations: tuple[str, ...], up_to: str = "infinity"
) -> dict[str, set[str]]:
    """Columns of the feature relations that differ from the snapshot at dates up to `up_to`, inclusive.

    A row that came or went is reported as the column `a row`.
    """
    moved: dict[str, set[str]] = {}
    for relation in relations:
        columns = [
            column
            for (column,) in connection.execute(
                "select column_name from information_schema.columns where table_schema = %s and table_name = %s",
                [name, relation],
            )
        ]
        differs = ", ".join(
            f"count(*) filter (where before.{column} is distinct from after.{column})" for column in columns
        )
        counts = connection.execute(
            f"select count(*) filter (where before.company_id is null or after.company_id is null), {differs}"
            f" from (select * from {name}.{relation} where as_of_date <= '{up_to}') as before"
            f" full join (select * from features.{relation} where as_of_date <= '{up_to}') as after"
            " using (company_id, customer_id, as_of_date)"
        ).fetchone()
        assert counts is not None
        differing = {column for column, count in zip(["a row", *columns], counts, strict=True) if count}
        if differing:
            moved[relation] = differing
    return moved


def differing_rows(connection: psycopg.Connection[Any], name: str, relations: tuple[str, ...]) -> dict[str, int]:
    """Rows that only one of snapshot and relation has, by EXCEPT ALL both ways."""
    differing = {}
    for relation in relations:
        count = connection.execute(
            f"select count(*) from ((table {name}.{relation} except all table features.{relation})"
            f" union all (table features.{relation} except all table {name}.{relation})) as differing"
        ).fetchone()
        assert count is not None
        if count[0]:
            differing[relation] = count[0]
    return differing
