"""What Metabase should hold, as request bodies, and whether it does already. Pure: no requests here.

A comparison looks only at what we set: Metabase adds keys of its own (ids, `lib/uuid`, time stamps), and
hands queries back in an older or newer format than they were sent in.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from pipeline.integrations.metabase.definitions import (
    CardDefinition,
    ClickBehavior,
    CollectionDefinition,
    DashboardDefinition,
    DashcardDefinition,
    TemplateTag,
)

OWNERSHIP_NOTE = "Made from files by Churn Warehouse: changes made here by hand are undone."
REFERENCE = re.compile(re.escape(OWNERSHIP_NOTE) + r" Reference: ([\w/-]+)\.")
TAG_IDS = uuid.UUID("6f6f3f0e-2f43-5a53-9f0c-6b1f2a1d7c11")
Body = dict[str, Any]
FieldIds = Mapping[tuple[str, str, str], int]


@dataclass(frozen=True)
class WarehouseConnection:
    """How Metabase reaches the warehouse: the host as *it* sees it, and a login of its own."""

    host: str
    port: int
    dbname: str
    user: str
    ssl: bool = False


def described(text: str, reference: str) -> str:
    """A description that says whose the thing is, and by which word we know it again."""
    return f"{text}\n\n{OWNERSHIP_NOTE} Reference: {reference}."


def reference_of(existing: Mapping[str, Any]) -> str | None:
    """The word by which we know a collection, dashboard or card of ours; None where it is not ours."""
    reference = REFERENCE.search(existing.get("description") or "")
    return None if reference is None else reference[1]


def collection_body(collection: CollectionDefinition, reference: str, parent_id: int | None) -> Body:
    """Body of POST and PUT /api/collection."""
    return {
        "name": collection.name,
        "description": described(collection.description, reference),
        "parent_id": parent_id,
    }


def parent_of(existing: Mapping[str, Any]) -> int | None:
    """The collection that a collection stands in; None at the top. Its location is like /7/12/."""
    above = str(existing["location"]).strip("/")
    return int(above.split("/")[-1]) if above else None


def database_body(name: str, schemas: Sequence[str], connection: WarehouseConnection, password: SecretStr) -> Body:
    """Body of POST and PUT /api/database."""
    return {
        "name": name,
        "engine": "postgres",
        "details": database_details(schemas, connection) | {"password": password.get_secret_value()},
        "is_full_sync": True,
        "is_on_demand": False,
    }


def database_details(schemas: Sequence[str], connection: WarehouseConnection) -> Body:
    """The details that Metabase hands back, so without the password."""
    return {
        "host": connection.host,
        "port": connection.port,
        "dbname": connection.dbname,
        "user": connection.user,
        "ssl": connection.ssl,
        "schema-filters-type": "inclusion",
        "schema-filters-patterns": ",".join(schemas),
    }


def database_drift(existing: Mapping[str, Any], schemas: Sequence[str], connection: WarehouseConnection) -> list[str]:
    """Names of the details that differ. The password cannot be compared: Metabase never shows it."""
    details = existing.get("details") or {}
    return sorted(key for key, value in database_details(schemas, connection).items() if details.get(key) != value)


def reference_of_card(entity_id: str) -> str:
    """The word by which we know a card again: Metabase takes an entity id, and gives the card another."""
    return f"churn/cards/{entity_id}"


def card_body(card: CardDefinition, database_id: int, collection_id: int, fields: FieldIds) -> Body:
    """Body of POST and PUT /api/card."""
    return {
        "name": card.name,
        "description": described(card.description, reference_of_card(card.entity_id)),
        "type": "question",
        "display": card.display,
        "collection_id": collection_id,
        "visualization_settings": card.visualization_settings,
        "dataset_query": dataset_query(card, database_id, fields),
    }


def dataset_query(card: CardDefinition, database_id: int, fields: FieldIds) -> Body:
    """The card's SQL in Metabase's current query format (MBQL 5)."""
    stage: Body = {"lib/type": "mbql.stage/native", "native": card.sql}
    if card.template_tags:
        stage["template-tags"] = {
            name: template_tag(card, name, tag, fields[tag.dimension]) for name, tag in card.template_tags.items()
        }
    return {"lib/type": "mbql/query", "database": database_id, "stages": [stage]}


def template_tag(card: CardDefinition, name: str, tag: TemplateTag, field_id: int) -> Body:
    """One field filter; its id is derived, so that a second apply writes the same."""
    return {
        "id": str(uuid.uuid5(TAG_IDS, f"{card.entity_id}/{name}")),
        "name": name,
        "display-name": tag.display_name,
        "type": tag.type,
        "dimension": ["field", {}, field_id],
        "widget-type": tag.widget_type,
    }


def card_drift(existing: Mapping[str, Any], wanted: Body) -> list[str]:
    """Names of the parts of a card that differ from `wanted`."""
    plain = ("name", "description", "type", "display", "collection_id")
    drift = [key for key in plain if existing.get(key) != wanted[key]]
    if canonical(existing.get("visualization_settings")) != canonical(wanted["visualization_settings"]):
        drift.append("visualization_settings")
    if query_essence(existing.get("dataset_query") or {}) != query_essence(wanted["dataset_query"]):
        drift.append("query")
    return drift


def query_essence(query: Mapping[str, Any]) -> Body:
    """Database, SQL and filters of a native query, in either of Metabase's formats."""
    stages = query.get("stages")
    if stages:
        native, tags = stages[0].get("native"), stages[0].get("template-tags")
    else:
        legacy = query.get("native") or {}
        native, tags = legacy.get("query"), legacy.get("template-tags")
    return {
        "database": query.get("database"),
        "native": native,
        "tags": {name: tag_essence(tag) for name, tag in (tags or {}).items()},
    }


def tag_essence(tag: Mapping[str, Any]) -> Body:
    """What we set of a template tag; the field's id stands second in the old format and third in the new."""
    numbers = [part for part in tag.get("dimension") or [] if isinstance(part, int)]
    essence: Body = {key: tag.get(key) for key in ("type", "widget-type", "display-name")}
    return essence | {"field": numbers[0] if numbers else None}


def canonical(value: Any) -> Any:
    """Settings without nulls and with the JSON-text keys of `column_settings` written one way.

    The null of `view_as` stays: it is a choice.
    """
    if isinstance(value, Mapping):
        return {
            canonical_key(key): canonical(inner)
            for key, inner in value.items()
            if inner is not None or key == "view_as"
        }
    if isinstance(value, list):
        return [canonical(inner) for inner in value]
    return {} if value is None else value


def canonical_key(key: str) -> str:
    """`["name", "x"]` and `["name","x"]` are one key."""
    if not key.startswith("["):
        return key
    try:
        return json.dumps(json.loads(key))
    except ValueError:
        return key


def shell_body(dashboard: DashboardDefinition, collection_id: int, reference: str) -> Body:
    """Body of POST /api/dashboard, which takes neither cards nor tabs."""
    return {
        "name": dashboard.name,
        "description": described(dashboard.description, reference),
        "collection_id": collection_id,
    }


def dashboard_body(
    dashboard: DashboardDefinition,
    *,
    reference: str,
    existing: Mapping[str, Any],
    card_ids: Mapping[str, int],
    dashboard_ids: Mapping[str, int],
) -> Body:
    """Body of PUT /api/dashboard/:id: the whole content, for whatever is left out is deleted.

    `card_ids` by entity_id, `dashboard_ids` by folder. Known tabs and cards keep their ids, so that links
    and subscriptions to them live on; new ones get negative ids.
    """
    tab_ids = ids_of_tabs(dashboard, existing)
    places = known_places(existing)
    dashcards = []
    for number, dashcard in enumerate(dashboard.dashcards, start=1):
        body = dashcard_body(dashboard, dashcard, card_ids, dashboard_ids)
        waiting = places.get(place_key(body), [])
        body["id"] = waiting.pop(0) if waiting else -number
        if dashboard.tabs:
            body["dashboard_tab_id"] = tab_ids[dashcard.tab or ""]
        dashcards.append(body)
    return {
        "name": dashboard.name,
        "description": described(dashboard.description, reference),
        "width": dashboard.width,
        "auto_apply_filters": dashboard.auto_apply_filters,
        "parameters": [parameter.model_dump(by_alias=True, exclude_none=True) for parameter in dashboard.parameters],
        "tabs": [{"id": tab_ids[name], "name": name} for name in dashboard.tabs],
        "dashcards": dashcards,
    }


def ids_of_tabs(dashboard: DashboardDefinition, existing: Mapping[str, Any]) -> dict[str, int]:
    """The id that each tab has, or a negative one for a new tab."""
    known = {tab["name"]: int(tab["id"]) for tab in existing.get("tabs") or []}
    return {name: known.get(name, -number) for number, name in enumerate(dashboard.tabs, start=1)}


def known_places(existing: Mapping[str, Any]) -> dict[str, list[int]]:
    """Ids of the dashcards that stand there, by what they show."""
    places: dict[str, list[int]] = {}
    for dashcard in existing.get("dashcards") or []:
        places.setdefault(place_key(dashcard), []).append(int(dashcard["id"]))
    return places


def place_key(dashcard: Mapping[str, Any]) -> str:
    """What makes two dashcards the same one: the card, or the kind of text."""
    if dashcard.get("card_id") is not None:
        return f"card {dashcard['card_id']}"
    virtual = (dashcard.get("visualization_settings") or {}).get("virtual_card") or {}
    return f"virtual {virtual.get('display')}"


def dashcard_body(
    dashboard: DashboardDefinition,
    dashcard: DashcardDefinition,
    card_ids: Mapping[str, int],
    dashboard_ids: Mapping[str, int],
) -> Body:
    """One dashcard without its id and tab."""
    card = dashboard.cards[dashcard.card] if dashcard.card else None
    card_id = card_ids[card.entity_id] if card else None
    return {
        "card_id": card_id,
        "row": dashcard.row,
        "col": dashcard.col,
        "size_x": dashcard.size_x,
        "size_y": dashcard.size_y,
        # A mapping without card_id is silently ignored by Metabase.
        "parameter_mappings": [
            {
                "parameter_id": name,
                "card_id": card_id,
                "target": ["dimension", ["template-tag", name]],
            }
            for name in (card.template_tags if card else ())
        ],
        "visualization_settings": dashcard_settings(dashcard, card, dashboard_ids),
    }


def dashcard_settings(
    dashcard: DashcardDefinition, card: CardDefinition | None, dashboard_ids: Mapping[str, int]
) -> Body:
    """Settings of a dashcard: the description shown on hover, clicks, or the text itself."""
    settings: Body = dict(dashcard.visualization_settings)
    if card is None:
        display, text = ("text", dashcard.text) if dashcard.text else ("heading", dashcard.heading)
        return settings | {"virtual_card": {"display": display}, "text": text}
    settings.setdefault("card.description", card.description)
    if dashcard.click_behavior:
        settings["click_behavior"] = click_body(dashcard.click_behavior, dashboard_ids)
    if dashcard.column_click_behavior:
        columns = dict(settings.get("column_settings", {}))
        for column, behavior in dashcard.column_click_behavior.items():
            key = json.dumps(["name", column], separators=(",", ":"))
            columns[key] = columns.get(key, {}) | {"click_behavior": click_body(behavior, dashboard_ids)}
        settings["column_settings"] = columns
    return settings


def click_body(behavior: ClickBehavior, dashboard_ids: Mapping[str, int]) -> Body:
    """A click behaviour with numbers in place of names."""
    if behavior.link_type == "url":
        return {"type": "link", "linkType": "url", "linkTemplate": behavior.link_template}
    mapping = {
        parameter: {
            "id": parameter,
            "source": {"type": "column", "id": column, "name": column},
            "target": {"type": "parameter", "id": parameter},
        }
        for parameter, column in behavior.parameter_mapping.items()
    }
    if behavior.type == "crossfilter":
        return {"type": "crossfilter", "parameterMapping": mapping}
    return {
        "type": "link",
        "linkType": "dashboard",
        "targetId": dashboard_ids[behavior.target or ""],
        "parameterMapping": mapping,
    }


def dashboard_drift(existing: Mapping[str, Any], wanted: Body) -> list[str]:
    """Names of the parts of a dashboard that differ from `wanted`."""
    plain = ("name", "description", "width", "auto_apply_filters")
    drift = [key for key in plain if existing.get(key) != wanted[key]]
    if [tab["name"] for tab in existing.get("tabs") or []] != [tab["name"] for tab in wanted["tabs"]]:
        drift.append("tabs")
    if not same_parameters(existing.get("parameters") or [], wanted["parameters"]):
        drift.append("parameters")
    there = sorted((dashcard_essence(dashcard) for dashcard in existing.get("dashcards") or []), key=repr)
    if there != sorted((dashcard_essence(dashcard) for dashcard in wanted["dashcards"]), key=repr):
        drift.append("dashcards")
    return drift


def same_parameters(existing: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> bool:
    """Same filters in the same order, as far as we set them."""
    if len(existing) != len(wanted):
        return False
    return all({key: there.get(key) for key in ours} == ours for there, ours in zip(existing, wanted, strict=True))


def dashcard_essence(dashcard: Mapping[str, Any]) -> Body:
    """What we set of a dashcard, in a form that can be compared."""
    plain = ("id", "card_id", "row", "col", "size_x", "size_y", "dashboard_tab_id")
    mappings = [
        [mapping.get("parameter_id"), mapping.get("card_id"), list(mapping.get("target") or [])[:2]]
        for mapping in dashcard.get("parameter_mappings") or []
    ]
    essence: Body = {key: dashcard.get(key) for key in plain}
    return essence | {
        "parameter_mappings": sorted(mappings, key=repr),
        "visualization_settings": canonical(dashcard.get("visualization_settings")),
    }
