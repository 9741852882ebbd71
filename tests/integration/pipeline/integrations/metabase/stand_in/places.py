"""Collections, and who may see them and ask which connection."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from tests.integration.pipeline.integrations.metabase.stand_in.answers import Json, Refusal, find, need, refuse_blank
from tests.integration.pipeline.integrations.metabase.stand_in.holdings import ADMIN_ACCOUNT, Holdings


class Places(Holdings):
    """Collections and the two permission graphs."""

    def list_collections(self, _: Any) -> list[Json]:
        root = {"id": "root", "name": "Our analytics", "is_personal": False}
        return [root, *(item for item in self.collections.values() if not item["archived"])]

    def add_collection(self, body: Json) -> Json:
        need(body, "name")
        refuse_blank(body, "name", "description")
        parent = body.get("parent_id")
        location = self._location_in(parent)
        new = {"id": next(self.ids), "location": location, "archived": False, "description": None} | body
        del new["parent_id"]
        self.collections[new["id"]] = new
        # It has the rights of the collection that it is made in.
        for levels in self.collection_graph.values():
            levels[str(new["id"])] = levels.get("root" if parent is None else str(parent), "none")
        self.revisions["collection"] += 1
        return new

    def change_collection(self, collection_id: int, body: Json) -> Json:
        refuse_blank(body, "name", "description")
        collection = find(self.collections, collection_id)
        if "parent_id" in body:
            body = dict(body)
            old, new = collection["location"], self._location_in(body.pop("parent_id"))
            for inner in self.collections.values():
                if inner["location"].startswith(f"{old}{collection_id}/"):
                    inner["location"] = new + inner["location"].removeprefix(old)
            collection["location"] = new
        collection.update(body)
        return collection

    def _location_in(self, parent: int | None) -> str:
        if parent is not None and parent not in self.collections:
            raise Refusal(400, {"specific-errors": {"parent_id": ["no such collection"]}})
        return "/" if parent is None else f"{self.collections[parent]['location']}{parent}/"

    def collection_items(self, collection_id: int, query: dict[str, list[str]]) -> Json:
        find(self.collections, collection_id)
        stores = {"card": self.cards, "dashboard": self.dashboards}
        data = [
            {
                "id": item["id"],
                "name": item["name"],
                "model": model,
                "entity_id": item.get("entity_id"),
                "description": item.get("description"),
                "last-edit-info": {"id": ADMIN_ACCOUNT, "timestamp": self._edited_at(item)},
            }
            for model in query.get("models", list(stores))
            for item in stores[model].values()
            if item["collection_id"] == collection_id and not item["archived"]
        ]
        return {"data": data, "total": len(data)}

    def _edited_at(self, item: Json) -> str:
        """When it was edited last: each edit, by hand too, makes a revision."""
        content = json.dumps(item, sort_keys=True)
        if self.revised.get(item["id"], ("", ""))[0] != content:
            moment = datetime.fromtimestamp(1_790_000_000 + next(self.ids), UTC)
            self.revised[item["id"]] = (content, moment.isoformat())
        return self.revised[item["id"]][1]

    def read_collection_graph(self, _: Any) -> Json:
        groups = {
            group: {key: level for key, level in levels.items() if level != "none"}
            for group, levels in self.collection_graph.items()
        }
        return {"revision": self.revisions["collection"], "groups": groups}

    def write_collection_graph(self, body: Json) -> Json:
        self._check_revision("collection", body)
        for group, levels in body["groups"].items():
            self.collection_graph.setdefault(group, {}).update(levels)
        return self.read_collection_graph(None)

    def read_data_graph(self, _: Any) -> Json:
        # The lowest level is left out of the answer.
        groups = {
            group: {
                key: {name: value for name, value in levels.items() if value != "no"}
                for key, levels in databases.items()
            }
            for group, databases in self.data_graph.items()
        }
        return {"revision": self.revisions["data"], "groups": groups}

    def write_data_graph(self, body: Json) -> Json:
        self._check_revision("data", body)
        for group, databases in body["groups"].items():
            for key, levels in databases.items():
                if levels.get("view-data", "unrestricted") != "unrestricted":
                    raise Refusal(402, "blocked is a paid feature")
                self.data_graph.setdefault(group, {}).setdefault(key, {}).update(levels)
        return self.read_data_graph(None)

    def _check_revision(self, graph: str, body: Json) -> None:
        need(body, "groups", "revision")
        if self.graph_writers_ahead:
            self.graph_writers_ahead -= 1
            self.revisions[graph] += 1
        if body["revision"] != self.revisions[graph]:
            raise Refusal(409, "Looks like someone else edited the permissions and your data is out of date.")
        self.revisions[graph] += 1
