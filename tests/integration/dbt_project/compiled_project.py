"""The dbt project's SQL, compiled once and then run by hand: a whole build in one transaction that is rolled back.

A build by dbt takes seconds; this takes hundredths of one, so that thousands of histories can be tried. It makes
what `dbt build --full-refresh` makes, without indexes, contracts and hooks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tests.integration.dbt_project.dbt_runs import FEATURES_AND_TASKS, DbtRuns

KEY = ("company_id", "customer_id", "as_of_date")
BY_RECORD, BY_PERIOD = "delete_record_insert", "delete_period_insert"
# They keep account of what was built, and are no features.
NOT_BY_PERIOD = {"int_churn_labels__periods", "int_support_labels__periods", "int_features__coverage"}
NO_DATE = "1999-01-01"
PERIODS = re.compile(rf"\(company_id, as_of_date\) in \((?:\(\d+, date '{NO_DATE}'\)(?:, )?)+\)")
ASKED = "(company_id, as_of_date) in (select asked.company_id, asked.as_of_date from periods_asked as asked)"
Rows = dict[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Table:
    """A model that is kept as a table, and the query that fills it."""

    unique_id: str
    schema: str
    name: str
    query: bytes
    strategy: str | None = None

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
        self._models = _models_in_order(dbt, dbt.compile("--select", *FEATURES_AND_TASKS, "--full-refresh"))
        self._connection = connection
        self._tables = [
            Table(node["unique_id"], node["schema"], node["name"], _insert(node), _strategy(node))
            for node in self._models
            if node["config"]["materialized"] != "view"
        ]
        for node in self._models:
            kind = "view" if node["config"]["materialized"] == "view" else "table"
            ending = "" if kind == "view" else "\nwith no data"
            name = f'"{node["schema"]}"."{node["name"]}"'
            connection.execute(f"create {kind} {name} as\n{node['compiled_code']}{ending}".encode())
        # A few rows at a time: sorting out parallel plans and compiling costs more than running.
        self._kept_up = self._compiled_for_what_is_missing(dbt)
        connection.execute("set jit = off; set max_parallel_workers_per_gather = 0; set enable_nestloop = on")
        connection.commit()

    def columns(self) -> dict[str, list[str]]:
        """The columns to prove, by relation: every model's declared features, and all that a matrix holds."""
        columns = {}
        for node in self._models:
            features = [name for name, column in node["columns"].items() if column["config"]["meta"].get("feature")]
            if node["config"]["meta"].get("features_from"):
                relation = sql.Identifier(node["schema"], node["name"])
                features = [name for name in self._columns_of(relation) if name not in KEY]
            if features:
                columns[node["name"]] = features
        return columns

    @contextmanager
    def built(self, *relations: str) -> Iterator[dict[str, Rows]]:
        """Fill the tables that these rest on, or all where none are named, and yield their rows; then take it back."""
        with self._connection.transaction(force_rollback=True):
            for table in self._needed(relations) if relations else self._tables:
                table.fill(self._connection)
            yield {relation: self.rows(relation) for relation in relations}

    def _needed(self, relations: Iterable[str]) -> list[Table]:
        """The tables of the features schema that are called so, and those above them."""
        needed = {
            node["unique_id"] for node in self._models if node["schema"] == "features" and node["name"] in relations
        }
        for node in reversed(self._models):
            if node["unique_id"] in needed:
                needed.update(node["depends_on"]["nodes"])
        return [table for table in self._tables if table.unique_id in needed]

    def fill(self, *names: str) -> None:
        """Fill these tables again, in the order in which a run builds them, or all where none are named."""
        for table in self._tables:
            if not names or table.name in names:
                self._connection.execute(sql.SQL("delete from {}").format(table.identifier))
                table.fill(self._connection)

    def clear(self) -> None:
        """Empty what is built by company and date."""
        for table in self._kept_up[BY_PERIOD]:
            self._connection.execute(sql.SQL("delete from {}").format(table.identifier))

    def take_in(self, known_from: datetime) -> None:
        """Keep the tables of intervals up, as a run does for the records of which a version is known since then."""
        for table in self._kept_up[BY_RECORD]:
            entity = table.name.removeprefix("int_").removesuffix("__intervals")
            record_id = f"{entity.removesuffix('s')}_id"
            self._connection.execute("drop table if exists touched_records")
            self._connection.execute(
                f"create temporary table touched_records as select distinct company_id, {record_id}"
                f" from raw.{entity} where known_at >= %s",
                [known_from],
            )
            self._connection.execute(
                sql.SQL(f"delete from {{}} where (company_id, {record_id}) in (select * from touched_records)").format(
                    table.identifier
                )
            )
            self._connection.execute(table.query)

    def build(self, periods: Iterable[tuple[int, date]]) -> None:
        """Build the marts, the matrix and the labels for these companies and dates, in place of what they hold."""
        with self._connection.cursor() as cursor:
            cursor.execute("create temporary table if not exists periods_asked (company_id int, as_of_date date)")
            cursor.execute("delete from periods_asked")
            cursor.executemany("insert into periods_asked values (%s, %s)", list(periods))
        for table in self._kept_up[BY_PERIOD]:
            self._connection.execute(
                sql.SQL("delete from {} where {}").format(table.identifier, sql.SQL(ASKED)), prepare=True
            )
            table.fill(self._connection)

    def differing_rows(self, snapshot: Mapping[str, str]) -> dict[str, int]:
        """Rows that only one of a table and its copy has, by EXCEPT ALL both ways.

        What made a row is left out: a compiled query says nothing of that.
        """
        differing = {}
        for name, copy in snapshot.items():
            (table,) = (table for table in self._tables if table.name == name)
            names = [
                sql.Identifier(column)
                for column in self._columns_of(table.identifier)
                if not column.endswith("_version")
            ]
            query = sql.SQL(
                "select count(*) from ((select {0} from {1} except all select {0} from {2})"
                " union all (select {0} from {2} except all select {0} from {1})) as differing"
            ).format(sql.SQL(", ").join(names), table.identifier, sql.Identifier(copy))
            row = self._connection.execute(query).fetchone()
            if row is None or row[0]:
                differing[name] = row
        return differing

    def snapshot(self, name: str = "copy") -> dict[str, str]:
        """Copies of all marts and intervals as they stand, by table; gone with the transaction."""
        copies = {}
        for table in (*self._kept_up[BY_RECORD], *self._kept_up[BY_PERIOD]):
            copies[table.name] = f"{name}_{table.name}"
            self._connection.execute(
                sql.SQL("create temporary table {} on commit drop as table {}").format(
                    sql.Identifier(copies[table.name]), table.identifier
                )
            )
        return copies

    def _compiled_for_what_is_missing(self, dbt: DbtRuns) -> dict[str, list[Table]]:
        """The queries of a run that finds the tables there, by strategy; the periods are those in `periods_asked`."""
        clocks, grid = "intermediate.int_companies__clocks", "intermediate.int_as_of_dates"
        next(table for table in self._tables if table.name == "int_companies__clocks").fill(self._connection)
        self._connection.execute(f"insert into {grid} select company_id, %s, %s from {clocks}", [NO_DATE, NO_DATE])
        self._connection.commit()
        code = dbt.compile("--select", *FEATURES_AND_TASKS, variables={"as_of_dates": [NO_DATE]})
        self._connection.execute(f"truncate {clocks}, {grid}")
        self._connection.commit()
        kept_up: dict[str, list[Table]] = {BY_RECORD: [], BY_PERIOD: []}
        for table in self._tables:
            if table.strategy in kept_up and table.name not in NOT_BY_PERIOD:
                query = PERIODS.sub(ASKED, code[table.unique_id])
                assert (ASKED if table.strategy == BY_PERIOD else "touched_records") in query, table.name
                insert = _insert({"schema": table.schema, "name": table.name, "compiled_code": query})
                kept_up[table.strategy].append(replace(table, query=insert))
        return kept_up

    def rows(self, relation: str) -> Rows:
        """A relation of the features schema as it stands, by company, customer and date."""
        with self._connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(sql.SQL("table {}").format(sql.Identifier("features", relation)))
            return {tuple(row[name] for name in KEY): row for row in cursor}

    def _columns_of(self, relation: sql.Identifier) -> list[str]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql.SQL("select * from {} limit 0").format(relation))
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


def _strategy(node: dict[str, Any]) -> str | None:
    """How a model that a run only adds to is kept up; none for one that is made again."""
    config = node["config"]
    return config["incremental_strategy"] if config["materialized"] == "incremental" else None
