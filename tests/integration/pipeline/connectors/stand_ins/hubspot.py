"""HubSpot's CRM as its documentation of 2026-03 describes it: search with its caps, archived lists, associations.

What is not described is refused with 400.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration.pipeline.connectors.stand_ins.server import Answer, Asked, Strict

KEY = "pat-eu1-of-the-stand-in"
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
VERSION = "2026-03"
MOST_RESULTS = 10_000
CHANGED = {"contacts": "lastmodifieddate"}


def at(days_ago: float) -> str:
    """So many days before NOW, as HubSpot writes it."""
    return f"{NOW - timedelta(days=days_ago):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


@dataclass
class HubSpot(Strict):
    """An account. objects: by type and id. associations: by (from type, to type), ids of ids, the primary first.

    most_results: how many results a search pages through at most.
    """

    objects: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    associations: dict[tuple[str, str], dict[str, list[str]]] = field(default_factory=dict)
    most_results: int = MOST_RESULTS
    page_size: int = 200

    def put(self, kind: str, number: int, changed_days_ago: float, /, **properties: Any) -> None:
        """Store an object, new or changed."""
        of_kind = self.objects.setdefault(kind, {})
        known = of_kind.get(str(number), {"id": str(number), "createdAt": at(200), "archived": False, "properties": {}})
        of_kind[str(number)] = known | {
            "properties": {**known["properties"], "hs_object_id": str(number), **properties},
            "updatedAt": at(changed_days_ago),
        }

    def archive(self, kind: str, number: int, days_ago: float) -> None:
        """Delete an object, as people do: it can still be restored."""
        self.objects[kind][str(number)] |= {"archived": True, "archivedAt": at(days_ago)}

    def link(self, kind: str, number: int, to: str, *others: int) -> None:
        """Associate an object with others, the first of which is the primary one."""
        self.associations.setdefault((kind, to), {})[str(number)] = [str(other) for other in others]

    def respond(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != f"Bearer {KEY}":
            return refusal(401, f"Authentication credentials not found: {asked.headers.get('authorization')}")
        match asked.path.strip("/").split("/"):
            case ["crm", "objects", version, kind, "search"] if version == VERSION and asked.method == "POST":
                return self._search(kind, asked.body)
            case ["crm", "objects", version, kind] if version == VERSION and asked.method == "GET":
                return self._list(kind, asked)
            case ["crm", "associations", version, kind, to, "batch", "read"] if version == VERSION:
                return self._associated(kind, to, asked.body)
        return refusal(404, f"no {asked.path}")

    def _search(self, kind: str, body: dict[str, Any]) -> Answer:
        if body.keys() - {"filterGroups", "sorts", "properties", "limit", "after"} or not 1 <= body["limit"] <= 200:
            return refusal(400, "Invalid input JSON")
        (group,) = body["filterGroups"]
        ((sort),) = body["sorts"]
        if sort != {"propertyName": "hs_object_id", "direction": "ASCENDING"}:
            return refusal(400, "this stand-in sorts by id")
        self.page_begins()
        found = [each for each in self.objects.get(kind, {}).values() if not each["archived"]]
        for condition in group["filters"]:
            if condition["operator"] not in {"GTE", "GT"} or not isinstance(condition["value"], str):
                return refusal(400, f"bad filter {condition}")
            if condition["propertyName"] not in {"hs_object_id", CHANGED.get(kind, "hs_lastmodifieddate")}:
                return refusal(400, f"{kind} have no property {condition['propertyName']}")
            found = [each for each in found if _passes(each, condition)]
        found.sort(key=lambda each: int(each["id"]))
        start = int(body.get("after", 0))
        if start + body["limit"] > self.most_results:
            return refusal(400, "The paging offset is beyond 10000 results")
        size = min(body["limit"], self.page_size)
        results = [self._shown(each, body["properties"]) for each in found[start : start + size]]
        more = start + size < len(found)
        paging = {"paging": {"next": {"after": str(start + size)}}} if more else {}
        return 200, {}, {"total": len(found), "results": results, **paging}

    def _list(self, kind: str, asked: Asked) -> Answer:
        if asked.params.keys() - {"archived", "limit", "after"} or int(asked.params["limit"]) > 100:
            return refusal(400, "bad parameter")
        self.page_begins()
        wanted = asked.params.get("archived") == "true"
        found = [each for each in self.objects.get(kind, {}).values() if each["archived"] is wanted]
        start = int(asked.params.get("after", 0))
        size = min(int(asked.params["limit"]), self.page_size)
        more = start + size < len(found)
        paging = {"paging": {"next": {"after": str(start + size), "link": "?"}}} if more else {}
        return 200, {}, {"results": found[start : start + size], **paging}

    def _associated(self, kind: str, to: str, body: dict[str, Any]) -> Answer:
        if not 1 <= len(body["inputs"]) <= 1000 or any(entry.keys() != {"id"} for entry in body["inputs"]):
            return refusal(400, "between 1 and 1000 ids")
        linked = self.associations.get((kind, to), {})
        results, errors = [], []
        for entry in body["inputs"]:
            others = linked.get(entry["id"])
            if not others:
                errors.append({"category": "OBJECT_NOT_FOUND", "message": f"No {to} is associated with {entry['id']}."})
                continue
            primary, *rest = others
            given = [{"toObjectId": int(other), "associationTypes": [{"label": None}]} for other in rest]
            given.append({"toObjectId": int(primary), "associationTypes": [{"label": None}, {"label": "Primary"}]})
            results.append({"from": {"id": entry["id"]}, "to": given})
        return 207 if errors else 200, {}, {"status": "COMPLETE", "results": results, "errors": errors}

    def _shown(self, content: dict[str, Any], properties: list[str]) -> dict[str, Any]:
        always = {"hs_object_id", "createdate"}
        kept = {name: value for name, value in content["properties"].items() if name in always | set(properties)}
        return content | {"properties": dict.fromkeys(properties) | kept}


def _passes(content: dict[str, Any], condition: dict[str, Any]) -> bool:
    if condition["propertyName"] == "hs_object_id":
        return int(content["id"]) > int(condition["value"])
    changed = datetime.fromisoformat(content["updatedAt"]).timestamp() * 1000
    return changed >= int(condition["value"])


def refusal(status: int, message: str) -> Answer:
    """An error as HubSpot words it."""
    return status, {}, {"status": "error", "message": message, "category": "VALIDATION_ERROR"}


def account() -> HubSpot:
    """Companies, contacts, tickets and deals, in pages of 10 and searches of at most 20 results."""
    hubspot = HubSpot(page_size=10, most_results=200)
    for number in range(1, 36):
        hubspot.put(
            "companies", number, 100 - number, name=f"Company {number}", country="DE", lifecyclestage="customer"
        )
        hubspot.put(
            "contacts", 500 + number, 50, firstname="Ann", lastname=f"Lee {number}", email=f"a{number}@example.com"
        )
    for number in range(1001, 1046):
        hubspot.put("tickets", number, 60, subject=f"Help {number}", hs_pipeline_stage="1", source_type="EMAIL")
        hubspot.link("tickets", number, "companies", number % 30 + 1, 31)
        hubspot.link("tickets", number, "contacts", 501 + number % 30)
    hubspot.put("tickets", 1046, 60, subject="of nobody")
    for number in range(2001, 2016):
        hubspot.put(
            "deals", number, 40, amount="1200.50", deal_currency_code="EUR", closedate=at(40), hs_is_closed_won="true"
        )
        hubspot.link("deals", number, "companies", number % 30 + 1)
        hubspot.link("deals", number, "contacts", 501 + number % 30)
    hubspot.put("deals", 2016, 40, amount="99", closedate=at(40), hs_is_closed_won="false")
    hubspot.link("deals", 2016, "companies", 1)
    hubspot.archive("companies", 35, 10)
    return hubspot
