"""Which companies a failed dbt model or data test fails on: it is tried with ever fewer of them, and rolled back.

What is done about these companies does not belong here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg
from psycopg import sql

from pipeline.features.catalogue import target_directory
from pipeline.features.dbt import run_dbt
from warehouse.connection import Warehouse
from warehouse.settings import Settings

Connection = psycopg.Connection[Any]

_FAULTS_OF_ROWS = ("21", "22", "23", "42", "54", "P0")
"""Classes of SQLSTATE that rows or settings bring about: a lost connection, a lock or a full disk is nobody's rows."""


@dataclass(frozen=True)
class FailedNode:
    """A model or data test that failed in a run of dbt, with dbt's words."""

    unique_id: str
    message: str

    @property
    def kind(self) -> str:
        """model, test, operation, ..."""
        return self.unique_id.split(".", 1)[0]

    @property
    def name(self) -> str:
        """Its name in the project."""
        return self.unique_id.split(".")[2]

    @property
    def step(self) -> str:
        """What a person is told that failed."""
        return f"building {self.name}" if self.kind == "model" else f"the data test {self.name}"

    @property
    def cause(self) -> str:
        """The line of the message that says why, without dbt's own around it."""
        lines = [line.strip() for line in self.message.splitlines() if line.strip()]
        causes = [line for line in lines if not line.startswith(("Database Error in", "compiled code at"))]
        return (causes or lines or ["no reason was given"])[0]

    @property
    def waited_for_a_lock(self) -> bool:
        """Whether the server ended it because somebody kept what it needed."""
        return "due to lock timeout" in self.message


def failed_node(event: Mapping[str, Any]) -> FailedNode | None:
    """What failed, by one of dbt's structured log events; None for any other event. What was skipped did not fail."""
    if event["info"]["name"] != "RunResultError":
        return None
    return FailedNode(event["data"]["node_info"]["unique_id"], event["data"]["msg"])


def find_culprits(
    settings: Settings,
    warehouse: Warehouse,
    failed: Sequence[FailedNode],
    companies: Sequence[int],
    variables: Mapping[str, object],
) -> dict[int, tuple[str, str]]:
    """The companies that failed nodes fail on: by id the step, and why.

    Each node is compiled for the whole history, so a company may be named for rows of another date than this run's.
    Empty where it would fail without any company, or with none of them alone. Raises DbtFailed where the nodes do not
    compile, and psycopg's error where the server fails and not the rows.
    """
    tried = [node for node in failed if node.kind in ("model", "test")]
    if not tried or not companies:
        return {}
    manifest = _compiled(settings, tried, variables)
    culprits: dict[int, tuple[str, str]] = {}
    for node in tried:
        others = [company_id for company_id in companies if company_id not in culprits]
        with warehouse.connect() as connection:
            trial = Trial(connection, manifest, node.unique_id)
            reasons = failing_companies(others, trial.reason_of_failure)
            connection.rollback()
        culprits |= {company_id: (node.step, reason) for company_id, reason in reasons.items()}
    return culprits


def failing_companies(
    companies: Sequence[int], reason_of_failure: Callable[[Sequence[int]], str | None]
) -> dict[int, str]:
    """The companies that something fails on, each with the reason, by halving those that it fails on together.

    ``reason_of_failure`` says why it fails on some companies, or None. Empty where it fails without any.
    """
    if reason_of_failure([]) is not None:
        return {}
    return _halved(companies, reason_of_failure)


def _halved(companies: Sequence[int], reason_of_failure: Callable[[Sequence[int]], str | None]) -> dict[int, str]:
    reason = reason_of_failure(companies) if companies else None
    if reason is None:
        return {}
    if len(companies) == 1:
        return {companies[0]: reason}
    half = len(companies) // 2
    return _halved(companies[:half], reason_of_failure) | _halved(companies[half:], reason_of_failure)


def _compiled(settings: Settings, nodes: Sequence[FailedNode], variables: Mapping[str, object]) -> Mapping[str, Any]:
    """dbt's manifest with these nodes, and the views that they read, compiled as they are built from scratch."""
    # A folder of its own, so that the next ordinary run finds its own parse.
    target = target_directory(settings).with_name("target_trial")
    with_views = sorted({f"+{node.name}" for node in nodes})
    run_dbt(settings, ["compile", "--full-refresh", "--select", *with_views], target_path=target, variables=variables)
    manifest: dict[str, Any] = orjson.loads((target / "manifest.json").read_bytes())
    return manifest


class Trial:
    """One node over some companies only, in the connection's transaction; whoever opened it rolls it back."""

    def __init__(self, connection: Connection, manifest: Mapping[str, Any], unique_id: str) -> None:
        self._connection = connection
        self._nodes = {**manifest["nodes"], **manifest["sources"]}
        self._node = self._nodes[unique_id]
        self._narrowed: dict[str, str] = {}
        connection.execute("create temporary table companies_on_trial (company_id int primary key)")
        self._query = self._narrow(self._node)

    def reason_of_failure(self, companies: Sequence[int]) -> str | None:
        """Why the node fails on these companies together; None where it does not."""
        try:
            with self._connection.transaction(force_rollback=True):
                with self._connection.cursor() as cursor:
                    cursor.executemany("insert into companies_on_trial values (%s)", [(each,) for each in companies])
                if self._node["resource_type"] == "test":
                    return self._test()
                self._build()
                return None
        except psycopg.Error as error:
            if not (error.sqlstate or "").startswith(_FAULTS_OF_ROWS):
                raise
            return error.diag.message_primary or str(error)

    def _narrow(self, node: Mapping[str, Any]) -> str:
        """The node's SQL, reading of each table the rows of companies on trial only, through however many views."""
        query = str(node["compiled_code"])
        for parent in (self._nodes[name] for name in node["depends_on"]["nodes"] if name in self._nodes):
            relation = parent.get("relation_name")
            if relation is None or relation not in query:
                continue
            if relation not in self._narrowed:
                self._narrowed[relation] = self._narrowed_view(parent)
            query = query.replace(relation, self._narrowed[relation])
        return query

    def _narrowed_view(self, node: Mapping[str, Any]) -> str:
        """What is read in place of a relation: its name as SQL."""
        relation = str(node["relation_name"])
        if node["config"].get("materialized") == "view":
            query = sql.SQL("create temporary view {} as {}")
            body: sql.Composable = _written_by_dbt(self._narrow(node))
        elif self._has_companies(relation):
            # A barrier: no condition of the query sees a row before its company is known to be on trial.
            query = sql.SQL("create temporary view {} with (security_barrier) as select * from {}")
            body = sql.SQL("{} where company_id in (select company_id from companies_on_trial)").format(
                _written_by_dbt(relation)
            )
        else:
            return relation
        # Of the same name, by which the query may qualify columns.
        name = self._free_name(node.get("identifier") or node.get("alias") or node["name"])
        self._connection.execute(query.format(sql.Identifier(name), body))
        return f'"pg_temp"."{name}"'

    def _free_name(self, name: str) -> str:
        row = self._connection.execute("select to_regclass(format('pg_temp.%%I', %s::text))", [name]).fetchone()
        return name if row == (None,) else f"{name}_{len(self._narrowed)}"

    def _has_companies(self, relation: str) -> bool:
        row = self._connection.execute(
            "select exists (select from pg_attribute where attrelid = to_regclass(%s) and attname = 'company_id')",
            [relation],
        ).fetchone()
        return bool(row and row[0])

    def _test(self) -> str | None:
        row = self._connection.execute(
            sql.SQL("select count(*) from (\n{}\n) as failures").format(_written_by_dbt(self._query))
        ).fetchone()
        failures = row[0] if row else 0
        return f"{failures:,} {'row breaks' if failures == 1 else 'rows break'} it" if failures else None

    def _build(self) -> None:
        """Make the model's table with its types and indexes, as dbt does, under another name."""
        settings = self._node["config"]
        for hook in settings.get("pre-hook", []):
            if hook["sql"].startswith("set local"):
                self._connection.execute(_written_by_dbt(hook["sql"]))
        if settings.get("contract", {}).get("enforced"):
            columns = self._node["columns"].values()
            types = [
                sql.SQL("{} {}").format(sql.Identifier(column["name"]), _written_by_dbt(column["data_type"]))
                for column in columns
            ]
            self._connection.execute(
                sql.SQL("create temporary table table_on_trial ({})").format(sql.SQL(", ").join(types))
            )
            names = sql.SQL(", ").join(sql.Identifier(column["name"]) for column in columns)
            self._connection.execute(
                sql.SQL("insert into table_on_trial ({}) select {} from (\n{}\n) as built").format(
                    names, names, _written_by_dbt(self._query)
                )
            )
        else:
            self._connection.execute(
                sql.SQL("create temporary table table_on_trial as {}").format(_written_by_dbt(self._query))
            )
        for index in settings.get("indexes") or []:
            self._connection.execute(
                sql.SQL("create {} index on table_on_trial ({})").format(
                    sql.SQL("unique" if index.get("unique") else ""),
                    sql.SQL(", ").join(map(sql.Identifier, index["columns"])),
                )
            )


def _written_by_dbt(text: str) -> sql.SQL:
    """SQL of the project, compiled by dbt: its author is who may write models, and no company."""
    return sql.SQL(text)
