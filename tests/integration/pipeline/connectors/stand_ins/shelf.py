"""An API of nobody in particular, which pages in every way: /cursor, /next, /link, /offset, /page and /seek."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from tests.integration.pipeline.connectors.stand_ins.server import Answer, Asked, Strict

KEY = "key-that-must-stay-secret"
CLIENT_SECRET = "client-secret-of-the-shelf"
REFRESH_TOKEN = "refresh-token-of-the-shelf"
SIZE = 10


@dataclass
class Shelf(Strict):
    """Records of one list. expires_after: how many requests a fetched token is good for."""

    records: list[dict[str, Any]] = field(default_factory=list)
    details: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    expires_after: int = 1_000_000
    turns_refresh_tokens: bool = False
    tokens: int = 0
    left: int = 0

    def respond(self, asked: Asked) -> Answer:
        if asked.path == "/oauth/token":
            return self._token(asked)
        if not self._is_known(asked):
            return 401, {}, {"message": f"unknown key {asked.headers.get('authorization')}"}
        if asked.path.startswith("/details/"):
            return 200, {}, {"items": self.details.get(asked.path.rsplit("/", 1)[1], [])}
        if asked.path == "/one" or asked.path.startswith("/one/"):
            return 200, {}, next(each for each in self.records if each["id"] == asked.path.rsplit("/", 1)[1])
        if asked.path == "/batch":
            found = [{"whose": item["key"], "tags": f"tag of {item['key']}"} for item in asked.body["wanted"]]
            return 200, {}, {"found": found}
        self.page_begins()
        return self._list(asked)

    def _token(self, asked: Asked) -> Answer:
        grant = asked.body.get("grant_type")
        if asked.body.get("client_secret") != CLIENT_SECRET or (
            grant == "refresh_token" and asked.body.get("refresh_token") != REFRESH_TOKEN
        ):
            return 400, {}, {"message": f"bad client {asked.body}"}
        self.tokens += 1
        self.left = self.expires_after
        turned = {"refresh_token": f"another-{self.tokens}"} if self.turns_refresh_tokens else {}
        return 200, {}, {"access_token": f"fetched-{self.tokens}", "token_type": "Bearer", **turned}

    def _is_known(self, asked: Asked) -> bool:
        basic = "Basic " + base64.b64encode(f"reader:{KEY}".encode()).decode()
        given = asked.headers.get("authorization")
        if self.tokens and given == f"Bearer fetched-{self.tokens}" and self.left > 0:
            self.left -= 1
            return True
        return given in (f"Bearer {KEY}", basic) or asked.headers.get("x-shelf-key") == KEY

    def _list(self, asked: Asked) -> Answer:
        values = {**asked.params, **(asked.body or {})}
        since = str(values.get("since", ""))
        records = sorted(
            (record for record in self.records if str(record.get("changed", "")) >= since), key=lambda each: each["id"]
        )
        kind = asked.path.strip("/").split("/")[0]
        if kind == "seek":
            after = [record for record in records if record["id"] > str(values.get("after", ""))]
            return 200, {}, {"items": after[:SIZE], "has_more": len(after) > SIZE}
        start = (int(values.get("page", 1)) - 1) * SIZE if kind == "page" else int(values.get("at", 0))
        page, following = records[start : start + SIZE], start + SIZE
        has_next = following < len(records)
        if kind == "link":
            link = f'<{self.url}/link?at={following}&since={since}>; rel="next"'
            return 200, {"Link": link} if has_next else {}, page
        body: dict[str, Any] = {"items": page, "meta": {}}
        if has_next and kind == "cursor":
            body["meta"] = {"next": str(following)}
        if kind == "next":
            body["next"] = f"/next?at={following}&since={since}" if has_next else None
        return 200, {}, body


def record(number: int, changed: str, **changes: Any) -> dict[str, Any]:
    """A payment as the shelf keeps it, amounts in cents."""
    return {
        "id": f"p{number:04}",
        "owner": {"id": f"c{number % 7}"},
        "cents": number * 100 + 25,
        "money": "eur",
        "state": "ok",
        "booked": 1_735_689_600 + number,
        "changed": changed,
    } | changes
