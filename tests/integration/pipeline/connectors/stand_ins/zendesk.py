"""Zendesk's incremental exports as its documentation describes them: by cursor, of what is a minute old.

Its rate limit is real here, but counted in requests: after so many one is answered 429.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration.pipeline.connectors.stand_ins.server import Answer, Asked, Strict

TOKEN = "api-token-of-the-zendesk-stand-in"
USER = "agent@acme.example/token"
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
BASIC = "Basic " + base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()


def at(days_ago: float) -> str:
    """So many days before NOW, as Zendesk writes it."""
    return f"{NOW - timedelta(days=days_ago):%Y-%m-%dT%H:%M:%SZ}"


def seconds(moment: str) -> int:
    """A moment as epoch seconds."""
    return int(datetime.fromisoformat(moment).timestamp())


@dataclass
class Zendesk(Strict):
    """An account. now moves with the test; every `refused_each`th request is one too many for its minute."""

    users: dict[int, dict[str, Any]] = field(default_factory=dict)
    organizations: dict[int, dict[str, Any]] = field(default_factory=dict)
    tickets: dict[int, dict[str, Any]] = field(default_factory=dict)
    metric_sets: dict[int, dict[str, Any]] = field(default_factory=dict)
    now: datetime = NOW
    page_size: int = 1000
    refused_each: int = 0

    def respond(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != BASIC:
            return 401, {}, {"error": "Couldn't authenticate you"}
        if self.refused_each and len(self.asked) % self.refused_each == 0:
            return 429, {"Retry-After": "1"}, {"description": "Rate limit for incremental exports exceeded"}
        match asked.path:
            case "/api/v2/incremental/users/cursor.json":
                return self._export("users", "updated_at", asked)
            case "/api/v2/incremental/tickets/cursor.json":
                return self._export("tickets", "generated_timestamp", asked)
            case "/api/v2/incremental/organizations.json":
                return self._by_time(asked)
        return 404, {}, {"error": "InvalidEndpoint", "description": "Not found"}

    def _export(self, name: str, by: str, asked: Asked) -> Answer:
        if asked.params.keys() - {"start_time", "cursor", "per_page", "include"}:
            return 400, {}, {"error": {"title": "Invalid attribute", "message": "unknown parameter"}}
        if ("cursor" in asked.params) == ("start_time" in asked.params):
            return 400, {}, {"error": {"title": "Invalid attribute", "message": "give start_time or cursor"}}
        latest = int(self.now.timestamp()) - 60
        start = int(asked.params.get("start_time", 0))
        if start > latest:
            return 422, {}, {"error": "StartTimeTooRecent", "description": "Start time must be older than a minute"}
        self.page_begins()
        records = sorted(
            (_moment(record, by), number) for number, record in getattr(self, name).items() if _moment(record, by)
        )
        after = tuple(map(int, asked.params["cursor"].split("-"))) if "cursor" in asked.params else (start - 1, 1 << 62)
        following = [place for place in records if place > after and place[0] <= latest]
        page = following[: min(int(asked.params.get("per_page", 1000)), self.page_size)]
        last = page[-1] if page else after
        link = f"{self.url}{asked.path}?cursor={last[0]}-{last[1]}&per_page=1000"
        side = {}
        if asked.params.get("include") == "metric_sets":
            link += "&include=metric_sets"
            side = {"metric_sets": [self.metric_sets[number] for _, number in page if number in self.metric_sets]}
        records_given = [getattr(self, name)[number] for _, number in page]
        return 200, {}, {name: records_given, "after_url": link, "end_of_stream": len(page) == len(following), **side}

    def _by_time(self, asked: Asked) -> Answer:
        """Organizations have no cursors: a page begins with the second that the last one ended with."""
        if asked.params.keys() - {"start_time", "per_page"} or "start_time" not in asked.params:
            return 400, {}, {"error": {"title": "Invalid attribute", "message": "give start_time"}}
        self.page_begins()
        start = int(asked.params["start_time"])
        records = sorted(self.organizations.values(), key=lambda each: (seconds(each["updated_at"]), each["id"]))
        following = [each for each in records if seconds(each["updated_at"]) >= start]
        page = following[: min(int(asked.params.get("per_page", 1000)), self.page_size)]
        end = seconds(page[-1]["updated_at"]) if page else start
        link = f"{self.url}{asked.path}?per_page=1000&start_time={end}"
        is_all = len(page) == len(following)
        return 200, {}, {"organizations": page, "next_page": link, "end_time": end, "end_of_stream": is_all}

    def put_ticket(self, number: int, changed_days_ago: float, /, **content: Any) -> None:
        """Store a ticket, new or changed. Its generated_timestamp is when Zendesk last touched it."""
        known = self.tickets.get(number) or ticket(number)
        changed = {"updated_at": at(changed_days_ago), "generated_timestamp": seconds(at(changed_days_ago))}
        self.tickets[number] = known | changed | content


def _moment(record: dict[str, Any], by: str) -> int:
    value = record[by]
    return value if isinstance(value, int) else seconds(value)


def ticket(number: int) -> dict[str, Any]:
    """A ticket by mail."""
    return {
        "id": number, "created_at": at(100), "subject": f"Help {number}", "type": "question", "priority": "high",
        "status": "solved", "via": {"channel": "email"}, "requester_id": 1 + number % 30,
        "organization_id": 901 + number % 3, "tags": [], "satisfaction_rating": {"score": "good"},
    }  # fmt: skip


def account() -> Zendesk:
    """End users, an agent, organizations and tickets, in pages of 10."""
    zendesk = Zendesk(page_size=10)
    for number in range(1, 36):
        zendesk.users[number] = {
            "id": number, "name": f"User {number}", "email": f"u{number}@example.com", "phone": None,
            "role": "end-user", "active": True, "suspended": False, "iana_time_zone": "Europe/Berlin",
            "created_at": at(200), "updated_at": at(50 - number),
        }  # fmt: skip
    zendesk.users[99] = zendesk.users[1] | {"id": 99, "role": "agent"}
    for number in range(901, 926):
        zendesk.organizations[number] = {
            "id": number, "name": f"Org {number}", "created_at": at(300),
            "updated_at": at(200 - (number - 900) // 2), "deleted_at": None,
        }  # fmt: skip
    for number in range(1001, 1048):
        zendesk.put_ticket(number, 40 - number % 20)
        zendesk.metric_sets[number] = {
            "ticket_id": number, "solved_at": at(30), "reply_time_in_minutes": {"calendar": 90, "business": 45},
        }  # fmt: skip
    zendesk.put_ticket(1003, 9, status="deleted")
    zendesk.put_ticket(1004, 8, status="closed", tags=["vip", "closed_by_merge"])
    return zendesk
