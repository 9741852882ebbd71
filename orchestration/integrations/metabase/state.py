"""What Metabase holds of ours, read in few requests: a dozen for all, and per company one for each dashboard and four
more. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from orchestration.integrations.metabase.client import MetabaseClient
from orchestration.integrations.metabase.desired import reference_of
from orchestration.integrations.metabase.errors import MetabaseError

READERS = 8
Item = Mapping[str, Any]
Fields = dict[tuple[str, str, str], int]
One = TypeVar("One")
Answer = TypeVar("Answer")


@dataclass
class ScopeState:
    """What there is of one reader's things.

    `dashboards` and `cards` are keyed by reference and entity id. `problem` is why its connection does not work.
    `by_hand` names what stands in its collections and is not ours.
    """

    collections: dict[str, Item] = field(default_factory=dict)
    database: Item | None = None
    problem: str | None = None
    metadata: Item = field(default_factory=dict)
    dashboards: dict[str, Item] = field(default_factory=dict)
    cards: dict[str, Item] = field(default_factory=dict)
    by_hand: list[str] = field(default_factory=list)


@dataclass
class MetabaseState:
    """What there is, before anything is done."""

    collections: dict[str, Item]
    names_in_root: set[str]
    databases: dict[str, Item]
    groups: dict[str, Item]
    everyone: str
    collection_graph: dict[str, Any]
    data_graph: dict[str, Any]
    scopes: dict[str, ScopeState] = field(default_factory=dict)


def as_list(answer: Any) -> list[dict[str, Any]]:
    """Metabase lists some things bare and others under `data`."""
    listed = answer.get("data", []) if isinstance(answer, dict) else answer
    return list(listed)


def in_parallel(work: Callable[[One], Answer], items: Iterable[One]) -> list[Answer]:
    """The answers in the order of the items, a few at a time."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(work, items))


def read_state(client: MetabaseClient) -> MetabaseState:
    """What concerns all readers."""
    collections = [item for item in as_list(client.get("/api/collection")) if not item.get("archived")]
    groups = as_list(client.get("/api/permissions/group"))
    return MetabaseState(
        collections={reference: item for item in collections if (reference := reference_of(item)) is not None},
        names_in_root={
            str(item.get("name")) for item in collections if item.get("location") == "/" and reference_of(item) is None
        },
        databases={str(item["name"]): item for item in as_list(client.get("/api/database"))},
        groups={str(group["name"]): group for group in groups},
        everyone=group_of_all_users(groups),
        collection_graph=client.get("/api/collection/graph"),
        data_graph=client.get("/api/permissions/graph"),
    )


def group_of_all_users(groups: Iterable[Item]) -> str:
    """Id of the group that everybody is in."""
    for group in groups:
        if group.get("magic_group_type") == "all-internal-users" or group.get("name") == "All Users":
            return str(group["id"])
    raise MetabaseError("Metabase shows no group 'All Users', which must not see every company's rows.")


def read_scope(
    client: MetabaseClient,
    state: MetabaseState,
    *,
    collection_references: Mapping[str, str],
    database_name: str,
    card_ids: Mapping[str, int],
) -> ScopeState:
    """What there is of one reader's things.

    `collection_references` by part (`dashboards`, `cards`, `own`); `card_ids` by entity id, of its cards that exist.
    """
    found = ScopeState(
        collections={
            part: state.collections[reference]
            for part, reference in collection_references.items()
            if reference in state.collections
        },
        database=state.databases.get(database_name),
    )
    if found.database is not None:
        found.problem = warehouse_problem(client, int(found.database["id"]))
        found.metadata = client.get(f"/api/database/{found.database['id']}/metadata", include_hidden="true")
    for part in ("dashboards", "cards"):
        if part in found.collections:
            _read_collection(client, int(found.collections[part]["id"]), found, set(card_ids.values()))
    # A dashboard comes with its cards; what stands on none is asked for by itself.
    for dashboard in found.dashboards.values():
        for dashcard in dashboard.get("dashcards") or []:
            card = dashcard.get("card") or {}
            if card.get("entity_id") in card_ids:
                found.cards[card["entity_id"]] = card
    for entity_id, card_id in card_ids.items():
        if entity_id not in found.cards:
            found.cards[entity_id] = client.get(f"/api/card/{card_id}")
    return found


def _read_collection(client: MetabaseClient, collection_id: int, found: ScopeState, ours: set[int]) -> None:
    for item in as_list(client.get(f"/api/collection/{collection_id}/items")):
        reference = reference_of(item)
        if item.get("model") == "dashboard" and reference is not None:
            found.dashboards[reference] = client.get(f"/api/dashboard/{item['id']}")
        elif item.get("model") in {"dashboard", "card", "dataset", "metric"} and int(item["id"]) not in ours:
            found.by_hand.append(f"{item['model']} {item['name']!r}")


def dashboards_in(client: MetabaseClient, collection_id: int, wanted: set[str]) -> dict[str, Item]:
    """The dashboards with these references in a collection, each with its cards."""
    items = as_list(client.get(f"/api/collection/{collection_id}/items")) if wanted else []
    return {
        reference: client.get(f"/api/dashboard/{item['id']}")
        for item in items
        if item.get("model") == "dashboard" and (reference := reference_of(item)) in wanted and reference is not None
    }


def warehouse_problem(client: MetabaseClient, database_id: int) -> str | None:
    """None when Metabase can connect with the details and password it has, else its error."""
    answer = client.get(f"/api/database/{database_id}/healthcheck")
    if answer.get("status") == "ok":
        return None
    return str(answer.get("message") or answer.get("errors") or "no reason given")


def field_ids(metadata: Item) -> Fields:
    """Ids of the columns that a connection sees, by (schema, table, column)."""
    return {
        (table["schema"], table["name"], column["name"]): int(column["id"])
        for table in metadata.get("tables") or []
        for column in table.get("fields") or []
    }


def ids_of_entities(client: MetabaseClient, entity_ids: list[str]) -> dict[str, int]:
    """Ids of the cards that exist, by entity id."""
    answer = client.post("/api/eid-translation/translate", {"entity_ids": {"card": entity_ids}})
    return {
        entity_id: int(found["id"]) for entity_id, found in answer["entity_ids"].items() if found.get("status") == "ok"
    }
