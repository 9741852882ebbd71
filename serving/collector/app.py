"""The collector's web application: a request's events are read, committed and answered, each by its verdict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from foundation.keys import prefix_of
from pipeline.streaming.tracked_events import read_event
from serving.collector.figures import Figures
from serving.collector.keys import Keys, key_in_headers
from serving.collector.limits import ANSWER_SECONDS, BATCH_EVENTS
from serving.collector.reading import Bodies
from serving.collector.refusals import Refusal, behind
from serving.collector.writer import Writer
from warehouse.companies.write_keys import KeyRights
from warehouse.connection import Warehouse
from warehouse.landing.tracked import Arrival, Landed, Outcome
from warehouse.settings import Settings

VERDICTS = {
    Outcome.loaded: "ok",
    Outcome.duplicate: "duplicate",
    Outcome.rejected: "rejected",
    Outcome.dropped: "rejected",
}
RETRY = "retry"
_PREFLIGHT_SECONDS = 600
_BATCH_FIELDS = frozenset(("batch", "sentAt", "context", "writeKey", "integrations"))


class Collector:
    """What answers requests; `app` makes the web application of it."""

    def __init__(self, warehouse: Warehouse, settings: Settings, figures: Figures) -> None:
        self._warehouse = warehouse
        self._settings = settings
        self._figures = figures
        self._bodies = Bodies()
        self._keys = Keys(warehouse)
        self._writer: Writer | None = None

    @asynccontextmanager
    async def running(self, _: Starlette) -> AsyncIterator[None]:
        """The writer runs meanwhile; at the end what was taken is committed."""
        self._writer = writer = Writer(self._warehouse, self._settings, self._figures)
        self._figures.watch(lambda: writer.waiting_events, lambda: writer.is_ready)
        writer.start()
        try:
            yield
        finally:
            await asyncio.to_thread(writer.close)
            self._keys.close()

    async def batch(self, request: Request) -> Response:
        """Several events."""
        return await self._answered(request, _events_of_batch, self._answer_batch)

    def single(self, kind: str) -> Callable[[Request], Awaitable[Response]]:
        """What answers a request with one event of this kind."""

        def events(body: Any) -> list[Any]:
            if not isinstance(body, dict):
                raise Refusal(400, "The body is no JSON object.")
            if body.get("type", kind) != kind:
                raise Refusal(400, f"What is sent here is of the type {kind}.")
            return [body | {"type": kind}]

        async def answer(request: Request) -> Response:
            return await self._answered(request, events, self._answer_single)

        return answer

    async def preflight(self, request: Request) -> Response:
        """Whether a browser may send what it is about to send."""
        origin = request.headers.get("origin", "")
        try:
            is_allowed = await self._keys.allows_preflight(origin)
        except Refusal as refusal:
            return _refused(refusal, ())
        if not is_allowed:
            return _refused(Refusal(403, "No write key may be used from pages of this origin."), ())
        return Response(
            status_code=204,
            headers={
                **_cors(origin),
                "Access-Control-Allow-Methods": "POST",
                "Access-Control-Allow-Headers": "authorization, content-type, content-encoding",
                "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
            },
        )

    async def live(self, _: Request) -> Response:
        """The process answers."""
        return _json({"status": "live"})

    async def ready(self, _: Request) -> Response:
        """The warehouse takes events."""
        is_ready = self._writer is not None and self._writer.is_ready
        return _json({"status": "ready" if is_ready else "waiting for the warehouse"}, 200 if is_ready else 503)

    async def _answered(
        self,
        request: Request,
        events_of: Callable[[Any], list[Any]],
        answer: Callable[[Sequence[Any], Sequence[Landed]], Response],
    ) -> Response:
        begun = time.monotonic()
        origin = request.headers.get("origin")
        events: list[Any] = []
        allowed_origin = None
        with self._bodies.reading() as body:
            try:
                key = key_in_headers(request.headers)
                rights = await self._keys.rights(key, origin) if key else None
                said = await body.read(request)
                if rights is None:
                    key = _key_in_body(said)
                    rights = await self._keys.rights(key, origin)
                allowed_origin = origin
                events = events_of(said)
                self._keys.keep_pace(prefix_of(key or ""), rights, len(events))
                response = answer(events, await self._land(rights, events, body.held))
            except ClientDisconnect:
                response = Response(status_code=400)
            except Refusal as refusal:
                response = _refused(refusal, events)
        if allowed_origin is not None:
            response.headers.update(_cors(allowed_origin))
        self._figures.answers.labels(str(response.status_code)).inc()
        self._figures.answer_seconds.observe(time.monotonic() - begun)
        return response

    async def _land(self, rights: KeyRights, events: Sequence[Any], size: int) -> list[Landed]:
        received_at = datetime.now(UTC)
        arrivals = [
            Arrival(
                rights.company_id,
                rights.source,
                read_event(
                    event,
                    received_at,
                    consent_categories=rights.consent_categories,
                    event_bytes=rights.event_bytes,
                ),
            )
            for event in events
        ]
        if not arrivals:
            return []
        assert self._writer is not None  # noqa: S101 - it runs as long as requests are answered
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                landed = await self._writer.submit(arrivals, size)
        except TimeoutError:
            raise behind() from None
        for outcome in Outcome:
            count = sum(each.outcome is outcome for each in landed)
            if count:
                self._figures.events.labels(rights.slug, outcome).inc(count)
        return landed

    def _answer_batch(self, events: Sequence[Any], landed: Sequence[Landed]) -> Response:
        verdicts = [_verdict(event, each) for event, each in zip(events, landed, strict=True)]
        is_any_kept = not landed or any(map(_is_kept, landed))
        return _json({"events": verdicts}, 200 if is_any_kept else 422)

    def _answer_single(self, events: Sequence[Any], landed: Sequence[Landed]) -> Response:
        return _json(_verdict(events[0], landed[0]), 200 if _is_kept(landed[0]) else 422)


def app(collector: Collector) -> Starlette:
    """The web application."""
    routes = [Route("/health/live", collector.live), Route("/health/ready", collector.ready)]
    ways = {"/v1/batch": collector.batch} | {
        f"/v1/{kind}": collector.single(kind) for kind in ("track", "identify", "alias")
    }
    for path, answer in ways.items():
        routes += [
            Route(path, answer, methods=["POST"]),
            Route(path, collector.preflight, methods=["OPTIONS"], name=f"preflight of {path}"),
        ]
    return Starlette(routes=routes, lifespan=collector.running)


def _events_of_batch(body: Any) -> list[Any]:
    if not isinstance(body, dict) or not isinstance(body.get("batch"), list):
        raise Refusal(400, "The body is no JSON object with a list `batch`.")
    unknown = body.keys() - _BATCH_FIELDS
    if unknown:
        raise Refusal(400, f"There is no field {min(unknown)[:40]!a} beside batch, context and sentAt.")
    events = body["batch"]
    if len(events) > BATCH_EVENTS:
        raise Refusal(413, f"A batch has at most {BATCH_EVENTS} events.")
    return [_with_common(event, body) for event in events]


def _with_common(event: Any, body: Mapping[str, Any]) -> Any:
    """The event with what the batch says of all; its own sentAt and what its own context says stand."""
    if not isinstance(event, dict):
        return event
    if "sentAt" in body and "sentAt" not in event:
        event = event | {"sentAt": body["sentAt"]}
    common = body.get("context")
    if common is None:
        return event
    own = event.get("context", {})
    if not isinstance(common, dict) or not isinstance(own, dict):
        return event | {"context": own if isinstance(common, dict) else common}
    return event | {"context": common | own}


def _key_in_body(body: Any) -> str | None:
    key = body.get("writeKey") if isinstance(body, dict) else None
    return key if isinstance(key, str) else None


def _is_kept(landed: Landed) -> bool:
    return landed.outcome in (Outcome.loaded, Outcome.duplicate)


def _verdict(event: Any, landed: Landed) -> dict[str, Any]:
    reason = {} if landed.reason is None else {"reason": landed.reason}
    return {"messageId": _message_id(event), "verdict": VERDICTS[landed.outcome]} | reason


def _message_id(event: Any) -> str | None:
    value = event.get("messageId") if isinstance(event, dict) else None
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _refused(refusal: Refusal, events: Sequence[Any]) -> Response:
    """The refusal; of events that may come again, each with that verdict."""
    content: dict[str, Any] = {"error": refusal.error}
    if refusal.retry_after is not None:
        content["events"] = [{"messageId": _message_id(event), "verdict": RETRY} for event in events]
    response = _json(content, refusal.status)
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    if refusal.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _cors(origin: str) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "Retry-After",
        "Vary": "Origin",
    }


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
