"""Connections to the warehouse, one per reader: made, locked, and seen to show what the dashboards need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from pydantic import SecretStr

from pipeline.integrations.metabase import permissions, state
from pipeline.integrations.metabase.changes import NOT_THERE_YET, Change, Work
from pipeline.integrations.metabase.desired import FieldIds, WarehouseConnection, database_body, database_drift
from pipeline.integrations.metabase.errors import MetabaseNotOurs, WarehouseNotSeen
from pipeline.integrations.metabase.grants import Grants
from pipeline.integrations.metabase.scopes import Scope

SYNC_WAIT_SECONDS = 180.0
SYNC_POLL_SECONDS = 1.0
POLLS_UNTIL_ASKED_AGAIN = 30


class Logins(Protocol):
    """How Metabase reaches the warehouse for each reader. A closed login exists and may read nothing."""

    def connection(self, scope: Scope) -> WarehouseConnection:
        """Where the warehouse is and with which login; makes nothing."""

    def is_open(self, scope: Scope) -> bool:
        """Whether the login has its rights."""

    def close(self, scope: Scope) -> SecretStr:
        """Make the login, or take its rights away; returns its password."""

    def open(self, scope: Scope) -> SecretStr:
        """Make the login with its rights; returns its password."""


class Connections:
    """Finds or makes them. A new one's login may read nothing until the connection is locked."""

    def __init__(self, work: Work, grants: Grants, logins: Logins, sleep: Callable[[float], None]) -> None:
        self._work = work
        self._grants = grants
        self._logins = logins
        self._sleep = sleep

    def databases(self, groups: Mapping[str, int]) -> dict[str, int]:
        """Ids of the connections by the key of their scope; a company whose connection failed is left out."""
        changes, definitions = self._work.changes, self._work.definitions
        ids: dict[str, int] = {}
        levels: permissions.Levels = {}
        names: dict[str, str] = {}
        for scope in self._work.scopes:
            with changes.isolate_failure(scope):
                ids[scope.key] = self._database(scope)
                names[str(ids[scope.key])] = scope.database_name(definitions)
                permissions.merge(levels, self._levels(scope, ids[scope.key], groups))
        self._grants.on_databases(levels, names)
        for scope in self._work.scopes:
            if not changes.is_plan and scope.key in ids and not self._logins.is_open(scope):
                self._work.client.hide(self._logins.open(scope))
        return ids

    def field_ids(self, scope: Scope, database_id: int, wanted: set[tuple[str, str, str]]) -> FieldIds:
        """Ids of the columns that filters are bound to, by (schema, table, column).

        Metabase is asked to look again when it lacks one. Raises WarehouseNotSeen when it still does after
        SYNC_WAIT_SECONDS.
        """
        known = self._work.state.scopes[scope.key]
        ids = state.field_ids(known.metadata)
        if self._work.changes.is_plan:
            return dict.fromkeys(wanted, NOT_THERE_YET) | ids
        waited, polls = 0.0, 0
        while not wanted <= ids.keys():
            if waited >= SYNC_WAIT_SECONDS:
                raise WarehouseNotSeen(missing_columns(wanted - ids.keys(), waited))
            # Asked while it looks already, Metabase says yes and does nothing; and it may have begun before the login
            # had its rights.
            if polls % POLLS_UNTIL_ASKED_AGAIN == 0:
                self._work.client.post(f"/api/database/{database_id}/sync_schema")
            self._sleep(SYNC_POLL_SECONDS)
            waited, polls = waited + SYNC_POLL_SECONDS, polls + 1
            known.metadata = self._work.client.get(f"/api/database/{database_id}/metadata", include_hidden="true")
            ids = state.field_ids(known.metadata)
        return ids

    def _levels(self, scope: Scope, database_id: int, groups: Mapping[str, int]) -> permissions.Levels:
        """Who may ask what of a connection: managers by clicking, those who look after all companies in SQL, too."""
        present = self._work.state
        roles = scope.groups(self._work.definitions)
        allowed = {groups[roles["manager"]]: "query-builder"} if "manager" in roles else {}
        allowed |= dict.fromkeys(self._work.administrators(groups), "query-builder-and-native")
        closed_to = () if self._logins.is_open(scope) else present.groups.values()
        return permissions.database(database_id, present.everyone, closed_to, set(groups.values()), allowed)

    def _database(self, scope: Scope) -> int:
        """The id of one connection, made where it is missing, changed where it differs or does not work.

        Raises MetabaseNotOurs for another kind of database of its name, WarehouseNotSeen where Metabase does not reach
        the warehouse.
        """
        name, schemas = scope.database_name(self._work.definitions), scope.schemas(self._work.definitions)
        connection = self._logins.connection(scope)
        known = self._work.state.scopes[scope.key]
        if known.database is None:
            body = database_body(name, schemas, connection, self._password(scope, is_new=True))
            change = Change("created", "database", name)
            answer = self._work.changes.send("POST", "/api/database", body, change=change, scope=scope)
            return int(answer.get("id", NOT_THERE_YET))
        database_id = int(known.database["id"])
        if known.database.get("engine") != "postgres":
            raise MetabaseNotOurs(
                f"Metabase has a database {name!r} that is no Postgres. Rename it there, or change "
                "database.name in dashboards/warehouse.yaml."
            )
        drift = database_drift(known.database, schemas, connection)
        if not drift and known.problem is None:
            return database_id
        body = database_body(name, schemas, connection, self._password(scope, is_new=False))
        change = Change("updated", "database", name, tuple(drift or ["password"]))
        self._work.changes.send("PUT", f"/api/database/{database_id}", body, change=change, scope=scope)
        problem = None if self._work.changes.is_plan else state.warehouse_problem(self._work.client, database_id)
        if problem is not None:
            raise WarehouseNotSeen(
                f"Metabase cannot reach the warehouse at {connection.host}:{connection.port} as "
                f"{connection.user}: {problem}. The host must be reachable from where Metabase runs."
            )
        return database_id

    def _password(self, scope: Scope, *, is_new: bool) -> SecretStr:
        """The login's password; the login of a new connection is closed, and opened once that is locked."""
        if self._work.changes.is_plan:
            return SecretStr("")
        is_open = not is_new and self._logins.is_open(scope)
        password = self._logins.open(scope) if is_open else self._logins.close(scope)
        self._work.client.hide(password)
        return password


def missing_columns(missing: set[tuple[str, str, str]], waited: float) -> str:
    """What to tell when Metabase does not see what the filters need; `waited` in seconds."""
    names = ", ".join(sorted(".".join(column) for column in missing))
    return (
        f"After {waited:.0f} seconds Metabase still does not see {names}. Are the analytics marts built "
        "(churn run), and may Metabase's login read them?"
    )
