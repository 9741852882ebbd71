"""What holds for every request: an id, a line in the log, a bound on what is sent and how slowly, and ETags."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.problems import problem

LARGEST_BODY = 64 * 1024
BODY_SECONDS = 10.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

log = logging.getLogger("serving.api.requests")


class RequestLog:
    """Gives each request an id, the caller's own where it is sound, and writes one line about it: never a header,
    a query or a path with its ids, but the route's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        began, status = time.perf_counter(), 500

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["API-Version"] = "1"
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "private, no-cache")
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        finally:
            route, key = scope.get("route"), scope["state"].get("key_prefix", "-")
            path = getattr(route, "path", "(no route)")
            milliseconds = (time.perf_counter() - began) * 1000
            log.info("%s %s %s %.1f ms key=%s request=%s", scope["method"], path, status, milliseconds, key, request_id)


class BoundedBody:
    """Refuses a body above LARGEST_BODY with 413, and one that takes longer than BODY_SECONDS with 408."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared) > LARGEST_BODY:
            await _too_large()(scope, receive, send)
            return
        try:
            body = await asyncio.wait_for(_whole(receive), BODY_SECONDS)
        except TimeoutError:
            await problem(408, "too-slow", "The body did not come in time", headers={"Connection": "close"})(
                scope, receive, send
            )
            return
        if body is None:
            return
        if len(body) > LARGEST_BODY:
            await _too_large()(scope, receive, send)
            return
        is_told = False

        async def told() -> Message:
            nonlocal is_told
            if is_told:
                return await receive()
            is_told = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, told, send)


async def _whole(receive: Receive) -> bytes | None:
    """The body, or as much as shows that it is too large; None where the client went away."""
    body = bytearray()
    while len(body) <= LARGEST_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(body)


def _too_large() -> ASGIApp:
    detail = f"At most {LARGEST_BODY // 1024} KiB."
    return problem(413, "too-large", "The body is too large", detail, {"Connection": "close"})


class ETags:
    """A weak ETag of what is answered to a GET, and 304 where the client holds it already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        held = Headers(scope=scope).get("if-none-match", "")
        start: Message | None = None

        async def tagged(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_whole(message):
                start = message
                return
            if start is None or message["type"] != "http.response.body":
                await send(message)
                return
            tag = f'W/"{hashlib.sha256(message.get("body", b"")).hexdigest()[:32]}"'
            headers = MutableHeaders(scope=start)
            headers["ETag"] = tag
            if tag in [each.strip() for each in held.split(",")] or held.strip() == "*":
                del headers["Content-Length"], headers["Content-Type"]
                start, message = {**start, "status": 304}, {"type": "http.response.body", "body": b""}
            await send(start)
            start = None
            await send(message)

        await self._app(scope, receive, tagged)


def _is_whole(message: Message) -> bool:
    """Whether a good answer comes in one piece: a stream has no length."""
    return message["status"] == 200 and "content-length" in Headers(raw=message["headers"])
