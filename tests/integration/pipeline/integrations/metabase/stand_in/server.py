"""A stand-in for Metabase over real HTTP: it keeps state, and refuses what the real one refuses.

Where the real one ignores a mistake in silence (a mapping without card_id, a card off the grid), this one
refuses it, so that a test sees it.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from tests.integration.pipeline.integrations.metabase.stand_in.accounts import Accounts
from tests.integration.pipeline.integrations.metabase.stand_in.answers import ConnectionDropped, Json, Refusal, find
from tests.integration.pipeline.integrations.metabase.stand_in.connections import Connections
from tests.integration.pipeline.integrations.metabase.stand_in.contents import Dashboards
from tests.integration.pipeline.integrations.metabase.stand_in.holdings import (
    ADMIN_ACCOUNT,
    ADMINISTRATORS,
    ALL_USERS,
    changes_content,
)
from tests.integration.pipeline.integrations.metabase.stand_in.places import Places

PUBLIC = {"/api/health", "/api/session/properties", "/api/setup", "/api/session"}


class StandIn(Accounts, Places, Connections, Dashboards):
    """One Metabase: who asks, and which of its answers is asked for."""

    def answer(self, method: str, target: str, headers: Any, body: Json) -> tuple[int, Any, dict[str, str]]:
        """Carry one request out."""
        with self.lock:
            return self._answer(method, urlsplit(target), headers, body)

    def _answer(self, method: str, parts: SplitResult, headers: Any, body: Json) -> tuple[int, Any, dict[str, str]]:
        self.requests.append((method, parts.path))
        if self.answers_ahead:
            return self.answers_ahead.pop(0)
        try:
            groups = self._authenticate(parts.path, headers)
            if groups is not None:
                self._refuse_outsider(method, parts.path, groups)
            status, answer = self._route(method, parts.path, parse_qs(parts.query), body)
        except Refusal as refusal:
            return refusal.status, refusal.body, {}
        if changes_content(method, parts.path):
            self.writes += 1
            if self.writes == self.drop_after_write:
                raise ConnectionDropped
        return status, answer, {}

    def _authenticate(self, path: str, headers: Any) -> set[int] | None:
        """The groups of who asks; None for an administrator, and where nobody needs to be known."""
        self.asking = ADMIN_ACCOUNT
        if path in PUBLIC or headers.get("X-Metabase-Session") in self.sessions:
            return None
        key = self.api_keys.get(headers.get("x-api-key"))
        if key is None:
            raise Refusal(401, "Unauthenticated")
        # A key is an account of its own.
        self.asking = key["id"]
        return None if key["group_id"] == ADMINISTRATORS else {ALL_USERS, key["group_id"]}

    def _refuse_outsider(self, method: str, path: str, groups: set[int]) -> None:
        """Who is no administrator may run the cards of collections that a group of theirs may read."""
        match = re.fullmatch(r"/api/card/(\d+)(/query)?", path)
        if match is None:
            raise Refusal(403, "You don't have permissions to do that.")
        collection = str(find(self.cards, int(match[1]))["collection_id"])
        levels = {self.collection_graph.get(str(group), {}).get(collection, "none") for group in groups}
        if levels == {"none"}:
            raise Refusal(403, "You don't have permissions to do that.")

    def _route(self, method: str, path: str, query: dict[str, list[str]], body: Json) -> tuple[int, Any]:
        for verb, pattern, handler in ROUTES:
            match = re.fullmatch(pattern, path)
            if verb == method and match:
                arguments = [int(group) for group in match.groups()]
                answer = handler(self, *arguments, query if method == "GET" else body)
                is_query = path.endswith("/query")
                return (202 if is_query else 200), answer
        raise Refusal(404, "API endpoint does not exist.")


Handler = Callable[..., Any]
ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/api/health", StandIn.health),
    ("GET", "/api/session/properties", StandIn.properties),
    ("POST", "/api/setup", StandIn.set_up),
    ("POST", "/api/session", StandIn.log_in),
    ("GET", "/api/collection", StandIn.list_collections),
    ("POST", "/api/collection", StandIn.add_collection),
    ("GET", "/api/collection/graph", StandIn.read_collection_graph),
    ("PUT", "/api/collection/graph", StandIn.write_collection_graph),
    ("PUT", r"/api/collection/(\d+)", StandIn.change_collection),
    ("GET", r"/api/collection/(\d+)/items", StandIn.collection_items),
    ("GET", "/api/permissions/group", StandIn.groups),
    ("POST", "/api/permissions/group", StandIn.add_group),
    ("GET", "/api/permissions/membership", StandIn.list_memberships),
    ("POST", "/api/permissions/membership", StandIn.add_membership),
    ("GET", "/api/user", StandIn.list_users),
    ("POST", "/api/user", StandIn.add_account),
    ("GET", "/api/api-key", StandIn.list_api_keys),
    ("POST", "/api/api-key", StandIn.make_api_key),
    ("PUT", r"/api/api-key/(\d+)/regenerate", StandIn.renew_api_key),
    ("PUT", r"/api/api-key/(\d+)", StandIn.move_api_key),
    ("DELETE", r"/api/api-key/(\d+)", StandIn.delete_api_key),
    ("PUT", r"/api/table/(\d+)", StandIn.change_table),
    ("PUT", r"/api/field/(\d+)", StandIn.change_field),
    ("GET", "/api/permissions/graph", StandIn.read_data_graph),
    ("PUT", "/api/permissions/graph", StandIn.write_data_graph),
    ("GET", "/api/database", StandIn.list_databases),
    ("POST", "/api/database", StandIn.add_database),
    ("GET", r"/api/database/(\d+)", StandIn.get_database),
    ("PUT", r"/api/database/(\d+)", StandIn.change_database),
    ("GET", r"/api/database/(\d+)/healthcheck", StandIn.check_database),
    ("GET", r"/api/database/(\d+)/metadata", StandIn.metadata),
    ("POST", r"/api/database/(\d+)/sync_schema", StandIn.sync),
    ("POST", "/api/card", StandIn.add_card),
    ("GET", r"/api/card/(\d+)", StandIn.get_card),
    ("PUT", r"/api/card/(\d+)", StandIn.change_card),
    ("POST", r"/api/card/(\d+)/query", StandIn.run_card),
    ("POST", "/api/dashboard", StandIn.add_dashboard),
    ("GET", r"/api/dashboard/(\d+)", StandIn.get_dashboard),
    ("PUT", r"/api/dashboard/(\d+)", StandIn.change_dashboard),
    ("GET", "/api/user/current", StandIn.current_user),
    ("GET", "/api/pulse", StandIn.list_pulses),
    ("POST", "/api/pulse", StandIn.add_pulse),
    ("PUT", r"/api/pulse/(\d+)", StandIn.change_pulse),
    ("GET", "/api/notification", StandIn.list_alerts),
    ("POST", "/api/notification", StandIn.add_alert),
    ("PUT", r"/api/notification/(\d+)", StandIn.change_alert),
]


@dataclass
class Address:
    """Where a stand-in is served, and which."""

    url: str
    metabase: StandIn


@contextmanager
def served(metabase: StandIn) -> Iterator[Address]:
    """Serve a stand-in on a free port of this machine; another one may take its place."""

    class RequestHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # Else a long answer waits until its beginning is acknowledged.

        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            try:
                status, answer, headers = address.metabase.answer(self.command, self.path, self.headers, body)
            except ConnectionDropped:
                self.close_connection = True
                return
            content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _handle

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), RequestHandler)
    server.daemon_threads = True
    address = Address(f"http://127.0.0.1:{server.server_port}", metabase)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
