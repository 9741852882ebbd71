"""A server over real HTTP on a port of its own, whose answers a vendor's stand-in decides."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

Answer = tuple[int, dict[str, str], Any]
"""Status, headers and what becomes JSON; bytes are sent as they are."""


@dataclass(frozen=True)
class Asked:
    """A request: params has each name's last value, body is parsed JSON or, of a form, its fields."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: Any


class Vendor(Protocol):
    """What answers."""

    url: str

    def answer(self, asked: Asked) -> Answer: ...


@dataclass
class Strict:
    """What stand-ins share: they log what was asked, and `misbehave(asked, number)` may answer instead of them.

    before_page is called before each list is answered, to change records while they are being paged through.
    """

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    misbehave: Callable[[Asked, int], Answer | None] = lambda *_: None
    before_page: Callable[[int], None] = lambda _: None
    pages_given: int = 0

    def answer(self, asked: Asked) -> Answer:
        """The vendor's answer."""
        self.asked.append(asked)
        return self.misbehave(asked, len(self.asked)) or self.respond(asked)

    def respond(self, asked: Asked) -> Answer:
        """What the vendor says when it behaves."""
        raise NotImplementedError

    def page_begins(self) -> None:
        """Call before a page of a list is made."""
        self.pages_given += 1
        self.before_page(self.pages_given)

    def asked_for(self, path: str) -> list[Asked]:
        """The requests of a path."""
        return [asked for asked in self.asked if asked.path == path]


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Who asked may have gone, as one does who refuses the answer."""


@contextmanager
def served(vendor: Vendor) -> Iterator[None]:
    """The vendor answers at its url for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # Else the body waits until the head is acknowledged.

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kind = self.headers.get("Content-Type", "")
            body = dict(parse_qsl(sent.decode())) if "form" in kind else json.loads(sent) if sent else None
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body)
            status, extra, content = vendor.answer(asked)
            payload = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **extra}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: object) -> None:
            """Silence."""

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    vendor.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
