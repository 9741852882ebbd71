"""What Metabase holds of ours, read in few requests: a dozen for all, and per company four, and one more for each
dashboard that was edited since it was read last. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pipeline.integrations.metabase.client import MetabaseClient
from pipeline.integrations.metabase.desired import reference_of, reference_of_card
from pipeline.integrations.metabase.errors import MetabaseError
from pipeline.integrations.metabase.memory import Memory

READERS = 8
CARDS = frozenset({"card", "dataset", "metric"})
"""What Metabase calls a card in a list: a question, a model, a metric."""
Item = Mapping[str, Any]
Fields = dict[tuple[str, str, str], int]
Question = TypeVar("Question")
Answer = TypeVar("Answer")


@dataclass
class ScopeState:
    """What there is of one reader's things.

    `dashboards` are keyed by reference, `cards` by entity id. `problem` is why its connection does not work.
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


def in_parallel(work: Callable[[Question], Answer], items: Iterable[Question]) -> list[Answer]:
    """The answers in the order of the items, a few at a time."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(work, items))


def read_state(client: MetabaseClient) -> MetabaseState:
    """What concerns all readers."""
    collections = [item for item in as_list(client.get("/api/collection")) if not item.get("archived")]
    groups = as_list(client.get("/api/permissions/group"))
    return MetabaseState(
        collections=by_reference(collections),
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
    memory: Memory,
    *,
    collection_references: Mapping[str, str],
    dashboard_references: Collection[str],
    database_name: str,
    entity_ids: Collection[str],
) -> ScopeState:
    """What there is of one reader's things.

    `collection_references` by part (`dashboards`, `cards`, `own`); `entity_ids` of its cards, in the files.
    """
    scope_state = ScopeState(
        collections={
            part: state.collections[reference]
            for part, reference in collection_references.items()
            if reference in state.collections
        },
        database=state.databases.get(database_name),
    )
    if scope_state.database is not None:
        scope_state.problem = warehouse_problem(client, int(scope_state.database["id"]))
        scope_state.metadata = client.get(f"/api/database/{scope_state.database['id']}/metadata", include_hidden="true")
    listed = [
        item
        for part in ("dashboards", "cards")
        if part in scope_state.collections
        for item in items_of(client, int(scope_state.collections[part]["id"]))
    ]
    cards = cards_by_entity_id(listed, entity_ids)
    known = dashboards_by_reference(listed)
    dashboards = {reference: known[reference] for reference in dashboard_references if reference in known}
    by_number = {int(item["id"]): item for item in cards.values()}
    for reference, item in dashboards.items():
        scope_state.dashboards[reference] = read_dashboard(client, memory, item, by_number)
    for entity_id, item in cards.items():
        # A dashboard comes with its cards; what stands on none is asked for by itself.
        card = memory.recall(item)
        if card is None:
            card = client.get(f"/api/card/{item['id']}")
            memory.keep(item, card)
        scope_state.cards[entity_id] = card
    ours = [*cards.values(), *dashboards.values()]
    scope_state.by_hand.extend(f"{item['model']} {item['name']!r}" for item in listed if item not in ours)
    return scope_state


def read_dashboard(client: MetabaseClient, memory: Memory, item: Item, cards: Mapping[int, Item]) -> Item:
    """The dashboard of a list's entry; read where it or a card of it (`cards`: listed, by id) was edited since."""
    known = memory.recall(item)
    if known is not None:
        placed_cards = [cards.get(dashcard["card_id"]) for dashcard in known["dashcards"]]
        if all(card is None or memory.recall(card) is not None for card in placed_cards):
            return known
    dashboard: Item = client.get(f"/api/dashboard/{item['id']}")
    memory.keep(item, dashboard)
    for dashcard in dashboard.get("dashcards") or []:
        card = cards.get(dashcard.get("card_id"))
        if card is not None:
            memory.keep(card, dashcard["card"])
    return dashboard


def by_reference(items: Iterable[Item]) -> dict[str, Item]:
    """Ours by reference. Of several with one reference the oldest is ours: the others were copied from it."""
    oldest: dict[str, Item] = {}
    for item in sorted(items, key=lambda item: str(item["id"]).zfill(20)):
        reference = reference_of(item)
        if reference is not None:
            oldest.setdefault(reference, item)
    return oldest


def items_of(client: MetabaseClient, collection_id: int) -> list[dict[str, Any]]:
    """The dashboards and cards in a collection."""
    items = as_list(client.get(f"/api/collection/{collection_id}/items"))
    return [item for item in items if item.get("model") in CARDS | {"dashboard"}]


def dashboards_by_reference(items: Iterable[Item]) -> dict[str, Item]:
    """Our dashboards among a collection's items."""
    return by_reference(item for item in items if item["model"] == "dashboard")


def cards_by_entity_id(items: Iterable[Item], entity_ids: Collection[str]) -> dict[str, Item]:
    """Which of the files' cards are among a collection's items."""
    known = by_reference(item for item in items if item["model"] in CARDS)
    references = {entity_id: reference_of_card(entity_id) for entity_id in entity_ids}
    return {entity_id: known[reference] for entity_id, reference in references.items() if reference in known}


def dashboards_in(client: MetabaseClient, items: Iterable[Item], wanted: Collection[str]) -> dict[str, Item]:
    """The dashboards with these references among a collection's items, each with its cards."""
    return {
        reference: client.get(f"/api/dashboard/{item['id']}")
        for reference, item in dashboards_by_reference(items).items()
        if reference in wanted
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
