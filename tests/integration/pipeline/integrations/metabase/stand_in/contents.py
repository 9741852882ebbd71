"""Cards and dashboards, stored and refused as Metabase does."""

from __future__ import annotations

import copy
import re
import secrets
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg

from tests.integration.pipeline.integrations.metabase.stand_in.answers import (
    Json,
    Refusal,
    find,
    need,
    refuse_blank,
    refuse_unknown,
)
from tests.integration.pipeline.integrations.metabase.stand_in.connections import connected
from tests.integration.pipeline.integrations.metabase.stand_in.deliveries import Deliveries
from tests.integration.pipeline.integrations.metabase.stand_in.holdings import Holdings

# What newer versions take, which refuse any other key.
CARD_KEYS = {
    "name",
    "type",
    "dataset_query",
    "parameters",
    "parameter_mappings",
    "description",
    "display",
    "visualization_settings",
    "collection_id",
    "collection_position",
    "result_metadata",
    "cache_ttl",
    "dashboard_id",
    "dashboard_tab_id",
}
DASHBOARD_KEYS = {"name", "description", "parameters", "cache_ttl", "collection_id", "collection_position"}
DASHBOARD_CONTENTS = {"width", "auto_apply_filters", "archived", "tabs", "dashcards", "enable_embedding"}
DASHCARD_KEYS = {
    "id",
    "size_x",
    "size_y",
    "row",
    "col",
    "card_id",
    "action_id",
    "dashboard_tab_id",
    "parameter_mappings",
    "visualization_settings",
    "inline_parameters",
    "series",
}


class Cards(Holdings):
    """Questions, in the format of today or of before, and their results."""

    def add_card(self, body: Json) -> Json:
        need(body, "name", "dataset_query", "display", "visualization_settings")
        refuse_unknown(body, CARD_KEYS | {"entity_id"})
        self._check_card(body)
        new = {"id": next(self.ids), "archived": False, "type": "question", "collection_id": None} | body
        # It takes an entity id, and gives the card another.
        self.cards[new["id"]] = new | {"entity_id": secrets.token_urlsafe(16)[:21]}
        return self.get_card(new["id"], None)

    def change_card(self, card_id: int, body: Json) -> Json:
        refuse_unknown(body, CARD_KEYS | {"archived"})
        self._check_card(body)
        find(self.cards, card_id).update(body)
        return self.get_card(card_id, None)

    def _check_card(self, body: Json) -> None:
        refuse_blank(body, "name", "description", "display")
        query = body.get("dataset_query")
        if query is not None:
            if not query:
                raise Refusal(500, 'null value in column "database_id" violates not-null constraint')
            if query["database"] not in self.databases:
                raise Refusal(400, "no such database")
            for tag in query["stages"][0].get("template-tags", {}).values():
                kind, options, number = tag["dimension"]
                if (kind, options) != ("field", {}) or self.field_owners.get(number) != query["database"]:
                    raise Refusal(400, "template-tags: no such field of this database")
        if body.get("collection_id") is not None:
            find(self.collections, body["collection_id"])

    def get_card(self, card_id: int, _: Any) -> Json:
        card = copy.deepcopy(find(self.cards, card_id))
        card["dataset_query"] = self._stored_query(card["dataset_query"])
        return card | {"creator_id": 1, "parameters": [], "result_metadata": None, "updated_at": "2026-01-01"}

    def _stored_query(self, query: Json) -> Json:
        stage = query["stages"][0]
        tags = stage.get("template-tags", {})
        for tag in tags.values():
            tag["dimension"][1]["lib/uuid"] = secrets.token_hex(16)
            if self.legacy_queries:
                tag["dimension"] = ["field", tag["dimension"][2], None]
        if not self.legacy_queries:
            return query | {"lib/metadata": None}
        native = {"query": stage["native"], "template-tags": tags}
        return {"type": "native", "database": query["database"], "native": native}

    def run_card(self, card_id: int, _: Any) -> Json:
        card = find(self.cards, card_id)
        if card["name"] in self.broken_sql:
            return {"status": "failed", "error": self.broken_sql[card["name"]], "data": {"rows": []}}
        if self.warehouse_password is not None:
            return {"status": "completed", "data": {"rows": [], "cols": []}}
        query = card["dataset_query"]
        details = find(self.databases, query["database"])["details"]
        text = re.sub(r"\[\[.*?\]\]", "", query["stages"][0]["native"], flags=re.DOTALL)
        try:
            with connected(details) as connection:
                cursor = connection.execute(text)
                rows = [[as_json(value) for value in row] for row in cursor.fetchmany(2000)]
        except psycopg.Error as error:
            return {"status": "failed", "error": str(error), "data": {"rows": []}}
        return {"status": "completed", "data": {"rows": rows, "cols": []}}


class Dashboards(Cards, Deliveries):
    """Dashboards, which take their subscriptions along."""

    def add_dashboard(self, body: Json) -> Json:
        need(body, "name")
        refuse_blank(body, "name")
        refuse_unknown(body, DASHBOARD_KEYS)
        new = {
            "id": next(self.ids),
            "archived": False,
            "description": None,
            "width": "fixed",
            "auto_apply_filters": True,
            "parameters": [],
            "tabs": [],
            "dashcards": [],
        } | body
        self.dashboards[new["id"]] = new
        return new

    def get_dashboard(self, dashboard_id: int, _: Any) -> Json:
        dashboard = copy.deepcopy(find(self.dashboards, dashboard_id))
        # A card in the trash is on no dashboard.
        dashboard["dashcards"] = [
            dashcard
            for dashcard in dashboard["dashcards"]
            if dashcard["card_id"] is None or not self.cards[dashcard["card_id"]]["archived"]
        ]
        for dashcard in dashboard["dashcards"]:
            if dashcard["card_id"] is not None:
                dashcard["card"] = self.get_card(dashcard["card_id"], None)
        return dashboard

    def change_dashboard(self, dashboard_id: int, body: Json) -> Json:
        dashboard = find(self.dashboards, dashboard_id)
        body = copy.deepcopy(body)
        refuse_unknown(body, DASHBOARD_KEYS | DASHBOARD_CONTENTS)
        if "dashcards" in body:
            tabs = self._replace_tabs(dashboard, body.get("tabs") or [])
            body["dashcards"] = self._replace_dashcards(dashboard, body["dashcards"], tabs)
        body.pop("tabs", None)
        dashboard.update(body)
        self._follow_dashboard(dashboard)
        return self.get_dashboard(dashboard_id, None)

    def _follow_dashboard(self, dashboard: Json) -> None:
        """Its subscriptions get its name, and lose and gain cards with it."""
        places = {card["id"]: card["card_id"] for card in dashboard["dashcards"] if card["card_id"] is not None}
        for pulse in self.pulses.values():
            if pulse["dashboard_id"] != dashboard["id"]:
                continue
            pulse["name"] = dashboard["name"]
            kept = [card for card in pulse["cards"] if card["id"] in places.values()]
            new = [place for place, card in places.items() if card not in {pulse_card["id"] for pulse_card in kept}]
            pulse["cards"] = kept + [self._pulse_card(places[place], place) for place in new]

    def _replace_tabs(self, dashboard: Json, tabs: list[Json]) -> dict[int, int]:
        known = {tab["id"] for tab in dashboard["tabs"]}
        ids: dict[int, int] = {}
        for tab in tabs:
            need(tab, "id", "name")
            refuse_unknown(tab, {"id", "name", "position"})
            if tab["id"] >= 0 and tab["id"] not in known:
                raise Refusal(400, f"no tab {tab['id']}")
            ids[tab["id"]] = tab["id"] if tab["id"] >= 0 else next(self.ids)
        dashboard["tabs"] = [{**tab, "id": ids[tab["id"]], "position": n} for n, tab in enumerate(tabs)]
        return ids

    def _replace_dashcards(self, dashboard: Json, dashcards: list[Json], tabs: dict[int, int]) -> list[Json]:
        known = {dashcard["id"] for dashcard in dashboard["dashcards"]}
        ids = [dashcard.get("id") for dashcard in dashcards]
        if len(set(ids)) < len(ids):
            raise Refusal(400, "ids of dashcards must be unique")
        return [self._dashcard(dashcard, known, tabs) for dashcard in dashcards]

    def _dashcard(self, dashcard: Json, known: set[int], tabs: dict[int, int]) -> Json:
        need(dashcard, "id", "card_id", "row", "col", "size_x", "size_y")
        refuse_unknown(dashcard, DASHCARD_KEYS)
        if dashcard["id"] >= 0 and dashcard["id"] not in known:
            raise Refusal(400, f"no dashcard {dashcard['id']} on this dashboard")
        if dashcard["col"] + dashcard["size_x"] > 24:
            raise Refusal(400, "off the grid")
        if dashcard["card_id"] is not None:
            find(self.cards, dashcard["card_id"])
        elif "virtual_card" not in dashcard["visualization_settings"]:
            raise Refusal(400, "a dashcard without card_id must be a virtual card")
        if tabs and dashcard.get("dashboard_tab_id") not in tabs:
            raise Refusal(400, "This dashboard has tab, makes sure every card has a tab")
        for mapping in dashcard.get("parameter_mappings", []):
            need(mapping, "parameter_id", "card_id", "target")
            refuse_unknown(mapping, {"parameter_id", "card_id", "target"})
        stored = {"parameter_mappings": [], "series": [], "visualization_settings": {}} | dashcard
        stored["dashboard_tab_id"] = tabs.get(dashcard.get("dashboard_tab_id") or 0)
        stored["id"] = dashcard["id"] if dashcard["id"] >= 0 else next(self.ids)
        return stored


def as_json(value: Any) -> Any:
    """A value as Metabase's JSON has it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00Z"
    return float(value) if isinstance(value, Decimal) else value
