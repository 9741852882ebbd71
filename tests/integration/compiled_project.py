"""The dbt project's SQL, compiled once and then run by hand: a whole build in one transaction that is rolled back.

A build by dbt takes seconds; this takes hundredths of one, so that thousands of histories can be tried. It makes
what `dbt build --full-refresh` makes, without indexes, contracts and hooks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tests.integration.dbt_runs import DbtRuns

KEY = ("company_id", "customer_id", "as_of_date")
Rows = dict[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Table:
    """A model that is kept as a table, and the query that fills it."""

    schema: str
    name: str
    query: bytes

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    def fill(self, connection: psycopg.Connection[Any]) -> None:
        """Run the query; prepared, since it is the same one each time."""
        connection.execute(self.query, prepare=True)


class CompiledProject:
    """Every model that the features and labels need, as views and empty tables of an otherwise empty warehouse."""

    def __init__(self, dbt: DbtRuns, connection: psycopg.Connection[Any]) -> None:
        dbt.run("seed")
        self._models = _models_in_order(dbt, dbt.compile("--select", "+features", "--full-refresh"))
        self._connection = connection
        self._tables = [
            Table(node["schema"], node["name"], _insert(node))
            for node in self._models
            if node["config"]["materialized"] != "view"
        ]
        for node in self._models:
            kind = "view" if node["config"]["materialized"] == "view" else "table"
            ending = "" if kind == "view" else "\nwith no data"
            name = f'"{node["schema"]}"."{node["name"]}"'
            connection.execute(f"create {kind} {name} as\n{node['compiled_code']}{ending}".encode())
        # A few rows at a time: sorting out parallel plans and compiling costs more than running.
        connection.execute("set jit = off; set max_parallel_workers_per_gather = 0; set enable_nestloop = on")
        connection.commit()

    def columns(self) -> dict[str, list[str]]:
        """The columns to prove, by relation: every model's declared features, and all that the matrix holds."""
        columns = {}
        for node in self._models:
            features = [name for name, column in node["columns"].items() if column["config"]["meta"].get("feature")]
            if node["config"]["meta"].get("features_from"):
                features = [name for name in self._columns_of(node["name"]) if name not in KEY]
            if features:
                columns[node["name"]] = features
        return columns

    @contextmanager
    def built(self, *relations: str) -> Iterator[dict[str, Rows]]:
        """Fill all tables from what the raw tables hold, and yield the rows of some; then take it back."""
        with self._connection.transaction(force_rollback=True):
            for table in self._tables:
                table.fill(self._connection)
            yield {relation: self.rows(relation) for relation in relations}

    def rows(self, relation: str) -> Rows:
        """A relation of the features schema as it stands, by company, customer and date."""
        with self._connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(sql.SQL("table {}").format(sql.Identifier("features", relation)))
            return {tuple(row[name] for name in KEY): row for row in cursor}

    def _columns_of(self, relation: str) -> list[str]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql.SQL("select * from {} limit 0").format(sql.Identifier("features", relation)))
            return [column.name for column in cursor.description or ()]


def moved_columns(before: Rows, after: Rows) -> set[str]:
    """Columns in which the rows differ; `a row` where one came or went. Of an object in JSON, the names in it."""
    moved = {"a row"} if before.keys() ^ after.keys() else set()
    for key in before.keys() & after.keys():
        for column, value in before[key].items():
            if value != after[key][column]:
                moved |= _names(column, value, after[key][column])
    return moved


def _names(column: str, before: Any, after: Any) -> set[str]:
    if not isinstance(before, dict) or not isinstance(after, dict):
        return {column}
    return {f"{column}.{name}" for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def _models_in_order(dbt: DbtRuns, compiled: dict[str, str]) -> list[dict[str, Any]]:
    """The models that were compiled, each after those that it reads."""
    nodes = dbt.manifest()["nodes"]
    ordered: dict[str, dict[str, Any]] = {}

    def put(name: str) -> None:
        if name in compiled and name not in ordered:
            for parent in nodes[name]["depends_on"]["nodes"]:
                put(parent)
            ordered[name] = nodes[name] | {"compiled_code": compiled[name]}

    for name in compiled:
        put(name)
    return [node for node in ordered.values() if node["resource_type"] == "model"]


def _insert(node: dict[str, Any]) -> bytes:
    return f'insert into "{node["schema"]}"."{node["name"]}"\n{node["compiled_code"]}'.encode()
