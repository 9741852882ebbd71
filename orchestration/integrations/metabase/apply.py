"""Make Metabase hold what the files under `dashboards/` say, and nothing more than that.

Every step finds before it creates, by a mark that the very request which creates also leaves (a name and our
note, an entity id), so an apply that was killed anywhere is finished by the next one. What lacks the mark is
never written to. What the bodies look like belongs in `desired.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from orchestration.integrations.metabase.client import (
    NEWEST_TRIED_VERSION,
    MetabaseAccess,
    MetabaseClient,
    major_version,
)
from orchestration.integrations.metabase.definitions import (
    DASHBOARDS_DIRECTORY,
    CardDefinition,
    DashboardDefinition,
    Definitions,
    load_definitions,
)
from orchestration.integrations.metabase.desired import (
    FieldIds,
    WarehouseConnection,
    card_body,
    card_drift,
    collection_body,
    dashboard_body,
    dashboard_drift,
    database_body,
    database_drift,
    is_ours,
    shell_body,
)
from orchestration.integrations.metabase.errors import (
    MetabaseError,
    MetabaseNotOurs,
    MetabaseRefused,
    WarehouseNotSeen,
)
from warehouse.settings import Settings

Action = Literal["created", "updated", "locked"]
Kind = Literal["collection", "database", "card", "dashboard"]
SYNC_WAIT_SECONDS = 180.0
SYNC_POLL_SECONDS = 1.0
STALE_GRAPH_ATTEMPTS = 3


@dataclass(frozen=True)
class Change:
    """One thing made or changed in Metabase; `parts` says what about it, when it was there before."""

    action: Action
    kind: Kind
    name: str
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        detail = f" ({', '.join(self.parts)})" if self.parts else ""
        return f"{self.action} {self.kind} {self.name!r}{detail}"


@dataclass
class ApplyResult:
    """What an apply did.

    `skipped` says why nothing was done, and is None otherwise. `dashboard_urls` is keyed by dashboard name.
    `failed_cards` maps a card's name to the error that Metabase gave when the card was run at the end.
    """

    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: str | None = None
    metabase_version: str | None = None
    cards: int = 0
    dashboard_urls: dict[str, str] = field(default_factory=dict)
    failed_cards: dict[str, str] = field(default_factory=dict)


class CardsFailed(MetabaseError):
    """Everything was applied, but some cards do not run. `result` is the ApplyResult."""

    def __init__(self, result: ApplyResult) -> None:
        self.result = result
        failures = "; ".join(f"{name!r}: {error}" for name, error in result.failed_cards.items())
        super().__init__(
            f"The dashboards were applied, but {len(result.failed_cards)} of {result.cards} cards fail in "
            f"Metabase: {failures}. Are the analytics marts built (churn run)?"
        )


def apply_dashboards(
    settings: Settings,
    connection: WarehouseConnection | Callable[[], WarehouseConnection],
    *,
    directory: Path = DASHBOARDS_DIRECTORY,
    run_cards: bool = True,
    sleep: Callable[[float], None] = time.sleep,
) -> ApplyResult:
    """Apply the dashboards to the Metabase of the settings; a second apply changes nothing.

    `connection` says how Metabase reaches the warehouse; a function is called only when there is a Metabase,
    so that a login need not be made for nothing. With `run_cards` every card is run at the end.
    Without CHURN_METABASE_URL the result says so in `skipped` and nothing else happens.

    Raises DefinitionError before any request when a file is wrong, CardsFailed when cards do not run, and
    other MetabaseError children for what Metabase refuses.
    """
    definitions = load_definitions(directory)
    if settings.metabase_url is None:
        return ApplyResult(skipped="CHURN_METABASE_URL is not set: no Metabase to apply the dashboards to")
    access = MetabaseAccess(
        settings.metabase_url,
        settings.metabase_api_key,
        settings.metabase_username,
        settings.metabase_password,
    )
    reached = connection if isinstance(connection, WarehouseConnection) else connection()
    with MetabaseClient(access, sleep=sleep) as client:
        client.hide(reached.password)
        result = Applier(client, definitions, reached, sleep).run(access.url, run_cards=run_cards)
    if result.failed_cards:
        raise CardsFailed(result)
    return result


class Applier:
    """One apply: the order of its steps."""

    def __init__(
        self,
        client: MetabaseClient,
        definitions: Definitions,
        connection: WarehouseConnection,
        sleep: Callable[[float], None],
    ) -> None:
        self._client = client
        self._definitions = definitions
        self._connection = connection
        self._sleep = sleep
        self._result = ApplyResult(cards=len(definitions.cards()))

    def run(self, url: str, *, run_cards: bool) -> ApplyResult:
        """All steps. All Users are locked out before there is anything to see."""
        self._sign_in()
        collection_id = self._collection()
        everyone = self._group_of_all_users()
        self._lock_collection(everyone, collection_id)
        database_id = self._database()
        self._lock_database(everyone, database_id)
        fields = self._fields(database_id)
        card_ids = self._cards(database_id, collection_id, fields)
        dashboard_ids = self._dashboards(collection_id, card_ids)
        for dashboard in self._definitions.dashboards:
            self._result.dashboard_urls[dashboard.name] = f"{url.rstrip('/')}/dashboard/{dashboard_ids[dashboard.key]}"
        if run_cards:
            self._run_cards(card_ids)
        return self._result

    def _record(self, action: Action, kind: Kind, name: str, *parts: str) -> None:
        self._result.changes.append(Change(action, kind, name, parts))

    def _sign_in(self) -> None:
        tag = self._client.sign_in(site_name=self._definitions.warehouse.site_name)
        self._result.metabase_version = tag
        version = major_version(tag)
        if version is None or version > NEWEST_TRIED_VERSION:
            self._result.notes.append(
                f"Metabase {tag} is newer than 0.{NEWEST_TRIED_VERSION}, the newest that we know."
            )

    def _collection(self) -> int:
        wanted = collection_body(self._definitions)
        name = wanted["name"]
        there = [item for item in as_list(self._client.get("/api/collection")) if item.get("name") == name]
        roots = [item for item in there if item.get("location") == "/" and not item.get("archived")]
        ours = [item for item in roots if is_ours(item)]
        if roots and not ours:
            raise MetabaseNotOurs(
                f"Metabase has a collection {name!r} that was not made from these files (its description "
                "lacks our note). Rename it there, or change collection.name in dashboards/warehouse.yaml."
            )
        if not ours:
            created = self._client.post("/api/collection", wanted)
            self._record("created", "collection", name)
            return int(created["id"])
        collection_id = int(ours[0]["id"])
        if ours[0].get("description") != wanted["description"]:
            self._client.put(f"/api/collection/{collection_id}", {"description": wanted["description"]})
            self._record("updated", "collection", name, "description")
        return collection_id

    def _group_of_all_users(self) -> str:
        groups = as_list(self._client.get("/api/permissions/group"))
        found = [
            group
            for group in groups
            if group.get("magic_group_type") == "all-internal-users" or group.get("name") == "All Users"
        ]
        if not found:
            raise MetabaseError("Metabase shows no group 'All Users', which must not see every company's rows.")
        return str(found[0]["id"])

    def _lock_collection(self, group: str, collection_id: int) -> None:
        key = str(collection_id)

        def partial(graph: Mapping[str, Any]) -> dict[str, Any] | None:
            allowed = (graph["groups"].get(group) or {}).get(key, "none")
            return None if allowed == "none" else {group: {key: "none"}}

        if self._change_graph("/api/collection/graph", partial):
            self._record("locked", "collection", self._definitions.warehouse.collection.name, "All Users: none")

    def _lock_database(self, group: str, database_id: int) -> None:
        key = str(database_id)

        def partial(graph: Mapping[str, Any]) -> dict[str, Any] | None:
            allowed = ((graph["groups"].get(group) or {}).get(key) or {}).get("create-queries", "no")
            if allowed == "no":
                return None
            return {group: {key: {"view-data": "unrestricted", "create-queries": "no"}}}

        if self._change_graph("/api/permissions/graph", partial):
            self._record("locked", "database", self._definitions.warehouse.database.name, "All Users: no queries")

    def _change_graph(self, path: str, partial: Callable[[Mapping[str, Any]], dict[str, Any] | None]) -> bool:
        """Read, change and write a permission graph; read again when somebody else was quicker (409)."""
        for attempt in range(1, STALE_GRAPH_ATTEMPTS + 1):
            graph = self._client.get(path)
            groups = partial(graph)
            if groups is None:
                return False
            try:
                self._client.put(path, {"revision": graph.get("revision"), "groups": groups})
            except MetabaseRefused as refusal:
                if refusal.status != 409 or attempt == STALE_GRAPH_ATTEMPTS:
                    raise
                continue
            return True
        raise AssertionError("the last attempt returns or raises")

    def _database(self) -> int:
        wanted = database_body(self._definitions, self._connection)
        name = wanted["name"]
        there = [item for item in as_list(self._client.get("/api/database")) if item.get("name") == name]
        if not there:
            created = self._client.post("/api/database", wanted)
            self._record("created", "database", name)
            return int(created["id"])
        database_id = int(there[0]["id"])
        self._mend_database(database_id, wanted)
        return database_id

    def _mend_database(self, database_id: int, wanted: Mapping[str, Any]) -> None:
        existing = self._client.get(f"/api/database/{database_id}")
        name = wanted["name"]
        if existing.get("engine") != wanted["engine"]:
            raise MetabaseNotOurs(
                f"Metabase has a database {name!r} that is no Postgres. Rename it there, or change "
                "database.name in dashboards/warehouse.yaml."
            )
        drift = database_drift(existing, self._definitions, self._connection)
        if not drift and self._warehouse_answers(database_id) is None:
            return
        self._client.put(f"/api/database/{database_id}", wanted)
        self._record("updated", "database", name, *(drift or ["password"]))
        problem = self._warehouse_answers(database_id)
        if problem is not None:
            raise WarehouseNotSeen(
                f"Metabase cannot reach the warehouse at {self._connection.host}:{self._connection.port} as "
                f"{self._connection.user}: {problem}. The host must be reachable from where Metabase runs."
            )

    def _warehouse_answers(self, database_id: int) -> str | None:
        """None when Metabase can connect with the details and password it has, else its error."""
        answer = self._client.get(f"/api/database/{database_id}/healthcheck")
        if answer.get("status") == "ok":
            return None
        return str(answer.get("message") or answer.get("errors") or "no reason given")

    def _fields(self, database_id: int) -> FieldIds:
        """Ids of the columns that filters are bound to; Metabase is asked to look again when it lacks one."""
        wanted = self._definitions.columns_filtered()
        known = self._known_fields(database_id)
        if wanted <= known.keys():
            return known
        self._client.post(f"/api/database/{database_id}/sync_schema")
        waited = 0.0
        while not wanted <= known.keys():
            if waited >= SYNC_WAIT_SECONDS:
                raise WarehouseNotSeen(missing_columns(wanted - known.keys(), waited))
            self._sleep(SYNC_POLL_SECONDS)
            waited += SYNC_POLL_SECONDS
            known = self._known_fields(database_id)
        return known

    def _known_fields(self, database_id: int) -> dict[tuple[str, str, str], int]:
        metadata = self._client.get(f"/api/database/{database_id}/metadata")
        return {
            (table["schema"], table["name"], column["name"]): int(column["id"])
            for table in metadata.get("tables") or []
            for column in table.get("fields") or []
        }

    def _cards(self, database_id: int, collection_id: int, fields: FieldIds) -> dict[str, int]:
        """Create or mend every card; returns their ids by entity id."""
        known = self._ids_of_entities([card.entity_id for card in self._definitions.cards()])
        return {
            card.entity_id: self._card(
                card, card_body(card, database_id, collection_id, fields), known.get(card.entity_id)
            )
            for card in self._definitions.cards()
        }

    def _card(self, card: CardDefinition, wanted: Mapping[str, Any], card_id: int | None) -> int:
        if card_id is None:
            created = self._client.post("/api/card", wanted)
            self._record("created", "card", card.name)
            return int(created["id"])
        drift = card_drift(self._client.get(f"/api/card/{card_id}"), dict(wanted))
        if drift:
            body = {key: value for key, value in wanted.items() if key != "entity_id"}
            self._client.put(f"/api/card/{card_id}", body | {"archived": False})
            self._record("updated", "card", card.name, *drift)
        return card_id

    def _ids_of_entities(self, entity_ids: list[str]) -> dict[str, int]:
        answer = self._client.post("/api/eid-translation/translate", {"entity_ids": {"card": entity_ids}})
        return {
            entity_id: int(found["id"])
            for entity_id, found in answer["entity_ids"].items()
            if found.get("status") == "ok"
        }

    def _dashboards(self, collection_id: int, card_ids: Mapping[str, int]) -> dict[str, int]:
        """First an empty dashboard for each, so that clicks can lead to any; then their contents."""
        there = self._dashboards_of_collection(collection_id)
        dashboard_ids = {
            dashboard.key: self._shell(dashboard, there, collection_id) for dashboard in self._definitions.dashboards
        }
        new = {change.name for change in self._result.changes if change.kind == "dashboard"}
        for dashboard in self._definitions.dashboards:
            self._fill(dashboard, dashboard_ids, card_ids, is_new=dashboard.name in new)
        return dashboard_ids

    def _dashboards_of_collection(self, collection_id: int) -> dict[str, int]:
        items = as_list(self._client.get(f"/api/collection/{collection_id}/items", models="dashboard"))
        return {item["name"]: int(item["id"]) for item in items if item.get("model") == "dashboard"}

    def _shell(self, dashboard: DashboardDefinition, there: Mapping[str, int], collection_id: int) -> int:
        if dashboard.name in there:
            return there[dashboard.name]
        created = self._client.post("/api/dashboard", shell_body(dashboard, collection_id))
        self._record("created", "dashboard", dashboard.name)
        return int(created["id"])

    def _fill(
        self,
        dashboard: DashboardDefinition,
        dashboard_ids: Mapping[str, int],
        card_ids: Mapping[str, int],
        *,
        is_new: bool,
    ) -> None:
        path = f"/api/dashboard/{dashboard_ids[dashboard.key]}"
        existing = self._client.get(path)
        wanted = dashboard_body(dashboard, existing=existing, card_ids=card_ids, dashboard_ids=dashboard_ids)
        drift = dashboard_drift(existing, wanted)
        if not drift:
            return
        self._client.put(path, wanted)
        if not is_new:
            self._record("updated", "dashboard", dashboard.name, *drift)

    def _run_cards(self, card_ids: Mapping[str, int]) -> None:
        for card in self._definitions.cards():
            error = self._client.run_card(card_ids[card.entity_id])
            if error is not None:
                self._result.failed_cards[card.name] = error


def as_list(answer: Any) -> list[dict[str, Any]]:
    """Metabase lists some things bare and others under `data`."""
    listed = answer.get("data", []) if isinstance(answer, dict) else answer
    return list(listed)


def missing_columns(missing: set[tuple[str, str, str]], waited: float) -> str:
    """What to tell when Metabase does not see what the filters need."""
    names = ", ".join(sorted(".".join(column) for column in missing))
    return (
        f"After {waited:.0f} seconds Metabase still does not see {names}. Are the analytics marts built "
        "(churn run), and may Metabase's login read them?"
    )
