"""A small CRM over real HTTP, whose records and misbehaviour a test decides."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

API_KEY = "key-that-must-stay-secret"

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class StandIn:
    """What the CRM holds. `misbehave(path, parameters, number)` may answer instead of it."""

    records: dict[str, list[dict[str, Any]]]
    url: str = ""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    misbehave: Callable[[str, dict[str, str], int], Answer | None] = lambda *_: None

    def asked(self, entity: str) -> list[dict[str, str]]:
        return [parameters for path, parameters in self.requests if path.endswith(f"/{entity}")]

    def answer(self, path: str, parameters: dict[str, str], key: str | None) -> Answer:
        self.requests.append((path, parameters))
        odd = self.misbehave(path, parameters, len(self.requests))
        if odd is not None:
            return odd
        if key != API_KEY:
            return refusal(401, f"unknown API key {key}")
        name = path.removeprefix("/api/v1/")
        if name == "totals":
            return answer(200, {entity: self._totals(entity) for entity in self.records})
        return answer(200, self._page(name, parameters))

    def _totals(self, entity: str) -> dict[str, int]:
        newest = {str(record["id"]): bool(record.get("deleted")) for record in self._sorted(entity)}
        return {"live": len(newest) - sum(newest.values()), "deleted": sum(newest.values())}

    def _sorted(self, entity: str) -> list[dict[str, Any]]:
        return sorted(self.records[entity], key=lambda record: (record["updated_at"], str(record["id"])))

    def _page(self, entity: str, parameters: dict[str, str]) -> dict[str, Any]:
        since = parameters.get("updated_since", "").replace("+00:00", "Z")
        records = [record for record in self._sorted(entity) if record["updated_at"] >= since]
        start, size = int(parameters.get("cursor", 0)), int(parameters.get("page_size", 500))
        end = start + size
        following = str(end) if end < len(records) else None
        return {"data": records[start:end], "next_cursor": following, "total": len(records)}


def answer(status: int, body: object, **headers: str) -> Answer:
    return status, headers, json.dumps(body).encode()


def refusal(status: int, message: str, **headers: str) -> Answer:
    return answer(status, {"error": {"code": "no", "message": message}}, **headers)


@contextmanager
def crm(records: dict[str, list[dict[str, Any]]]) -> Iterator[StandIn]:
    """A CRM that serves these records on a port of its own for as long as the block lasts."""
    stand_in = StandIn({entity: [] for entity in ("customers", "tickets", "payments", "events")} | records)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # Else the body waits until the head is acknowledged.

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            parameters = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, headers, body = stand_in.answer(parts.path, parameters, self.headers.get("X-API-Key"))
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()


def payment(number: int, updated_at: str, **changes: Any) -> dict[str, Any]:
    """A payment as the Habari CRM API gives it."""
    return {
        "id": f"p{number}",
        "customer_id": f"c{number % 7}",
        "type": "charge",
        "status": "succeeded",
        "amount": f"{number}.25",
        "currency": "EUR",
        "created_at": "2025-01-01T09:00:00+01:00",
        "updated_at": updated_at,
        "deleted": False,
    } | changes
