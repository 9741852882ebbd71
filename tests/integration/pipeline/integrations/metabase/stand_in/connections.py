"""Connections to a warehouse, pretended or real, and the tables that they see."""

from __future__ import annotations

import copy
from typing import Any

import psycopg

from tests.integration.pipeline.integrations.metabase.stand_in.answers import Json, Refusal, find, need, refuse_blank
from tests.integration.pipeline.integrations.metabase.stand_in.holdings import Holdings

REDACTED = "**MetabasePass**"


class Connections(Holdings):
    """Databases, their syncs, tables and columns."""

    def list_databases(self, _: Any) -> Json:
        data = [redacted(database) for database in self.databases.values()]
        return {"data": data, "total": len(data)}

    def get_database(self, database_id: int, _: Any) -> Json:
        return redacted(find(self.databases, database_id))

    def add_database(self, body: Json) -> Json:
        need(body, "name", "engine", "details")
        self._test_connection(body["details"])
        new = {"id": next(self.ids), "initial_sync_status": "incomplete"} | body
        self.databases[new["id"]] = new
        self.syncs_left[new["id"]] = self.polls_until_synced
        # Each group may with it what it may least with any other, and everything with the first.
        order = ["no", "query-builder", "query-builder-and-native"]
        for databases in self.data_graph.values():
            least = min((order.index(levels["create-queries"]) for levels in databases.values()), default=2)
            databases[str(new["id"])] = {"view-data": "unrestricted", "create-queries": order[least]}
        self.created_open.extend(
            group
            for group, databases in self.data_graph.items()
            if databases[str(new["id"])]["create-queries"] != "no" and can_read(new["details"], self.warehouse_password)
        )
        self.revisions["data"] += 1
        return redacted(new)

    def change_database(self, database_id: int, body: Json) -> Json:
        database = find(self.databases, database_id)
        if "details" in body:
            self._test_connection(body["details"])
        database.update(body)
        return redacted(database)

    def _test_connection(self, details: Json) -> None:
        need(details, "host", "port", "dbname", "user", "password")
        if details["schema-filters-type"] != "all":
            need(details, "schema-filters-patterns")
        problem = connection_problem(details, self.warehouse_password)
        if details["user"] in self.refused_users:
            problem = "password authentication failed"
        if problem is not None:
            raise Refusal(400, {"message": problem, "errors": {"password": "check your password"}})

    def check_database(self, database_id: int, _: Any) -> Json:
        try:
            self._test_connection(find(self.databases, database_id)["details"])
        except Refusal as refusal:
            return {"status": "error", "message": refusal.body["errors"]["password"]}
        return {"status": "ok"}

    def sync(self, database_id: int, _: Any) -> Json:
        find(self.databases, database_id)
        if self.syncs_swallowed:
            # One was running, and saw nothing: this one is dropped without a word.
            self.syncs_swallowed -= 1
            self.syncs_left[database_id] = 1_000_000
        else:
            self.syncs_left[database_id] = min(self.syncs_left[database_id], self.polls_until_synced)
        return {"status": "ok"}

    def metadata(self, database_id: int, _: Any) -> Json:
        database = find(self.databases, database_id)
        if self.syncs_left[database_id] > 0:
            self.syncs_left[database_id] -= 1
            return {**redacted(database), "tables": []}
        schemas = database["details"]["schema-filters-patterns"].split(",")
        for (schema, table), columns in self._visible_columns(database["details"]).items():
            if schema in schemas:
                self._sync_table(database_id, schema, table, columns)
        tables = [table for (number, _, _), table in self.tables.items() if number == database_id]
        return copy.deepcopy({**redacted(database), "initial_sync_status": "complete", "tables": tables})

    def _visible_columns(self, details: Json) -> dict[tuple[str, str], list[str]]:
        """What the connection's login sees; without a warehouse, what the test says."""
        if self.warehouse_password is not None:
            return self.warehouse_tables
        columns: dict[tuple[str, str], list[str]] = {}
        with connected(details) as connection:
            for schema, table, column in connection.execute(
                "select table_schema, table_name, column_name from information_schema.columns"
                " where table_schema not in ('pg_catalog', 'information_schema') order by 1, 2, ordinal_position"
            ):
                columns.setdefault((schema, table), []).append(column)
        return columns

    def _sync_table(self, database_id: int, schema: str, table: str, columns: list[str]) -> None:
        key = (database_id, schema, table)
        if key not in self.tables:
            self.tables[key] = {
                "id": next(self.ids),
                "schema": schema,
                "name": table,
                "display_name": table.replace("_", " ").title(),
                "description": None,
                "visibility_type": None,
                "fields": [],
            }
        known = {column["name"] for column in self.tables[key]["fields"]}
        new = [name for name in columns if name not in known]
        self.tables[key]["fields"].extend(
            {
                "id": next(self.ids),
                "name": name,
                "display_name": name.replace("_", " ").title(),
                "description": None,
                "semantic_type": None,
                "visibility_type": "normal",
                "fk_target_field_id": None,
                "has_field_values": None,
                "settings": None,
            }
            for name in new
        )
        self.field_owners.update({column["id"]: database_id for column in self.tables[key]["fields"]})

    def change_table(self, table_id: int, body: Json) -> Json:
        refuse_blank(body, "description", "display_name")
        by_id = {table["id"]: table for table in self.tables.values()}
        find(by_id, table_id).update(body)
        return by_id[table_id]

    def change_field(self, field_id: int, body: Json) -> Json:
        refuse_blank(body, "description", "display_name")
        by_id = {column["id"]: column for table in self.tables.values() for column in table["fields"]}
        column = find(by_id, field_id)
        target = body.get("fk_target_field_id")
        if target is not None and self.field_owners.get(target) != self.field_owners[field_id]:
            raise Refusal(400, {"errors": {"fk_target_field_id": "the target is in another database"}})
        column.update(body)
        return by_id[field_id]


def connected(details: Json) -> psycopg.Connection[Any]:
    """A connection to the warehouse with Metabase's login."""
    facts = {name: details[name] for name in ("host", "port", "dbname", "user", "password")}
    return psycopg.connect(**facts, connect_timeout=5)


def can_read(details: Json, password: str | None) -> bool:
    """Whether the login sees any table of the marts; without a warehouse nobody can tell."""
    if password is not None:
        return False
    with connected(details) as connection:
        row = connection.execute(
            "select count(*) from information_schema.columns where table_schema = 'analytics'"
        ).fetchone()
    return bool(row and row[0])


def connection_problem(details: Json, password: str | None) -> str | None:
    """Why the warehouse does not let Metabase in; None when it does."""
    if password is not None:
        is_right = details["password"] == password
        return None if is_right else f"password authentication failed, tried {details['password']}"
    try:
        connected(details).close()
    except psycopg.OperationalError as error:
        return str(error)
    return None


def redacted(database: Json) -> Json:
    """A database as Metabase shows it: without its password."""
    return {**database, "details": {**database["details"], "password": REDACTED}}
