"""The Habari CRM's HTTP interface. docs/habari-crm-api.md describes it for people, /docs for machines."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import swagger_ui_bundle
from fastapi import Depends, FastAPI, Query, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response
from fastapi.security import APIKeyHeader
from fastapi.staticfiles import StaticFiles
from pydantic import AwareDatetime
from starlette.exceptions import HTTPException

from demo.crm.cursors import BadCursor, Cursor, CursorMaker
from demo.crm.home import ClockOutOfRange, advance_clock, read_clock, read_key, set_clock
from demo.crm.limits import Failures, RateLimit
from demo.crm.models import (
    CampaignPage,
    Clock,
    ClockMove,
    CustomerPage,
    ErrorAnswer,
    EventPage,
    Health,
    PaymentPage,
    SendPage,
    TicketPage,
    Totals,
)
from demo.crm.rendering import render
from demo.crm.store import ENTITIES, RecordStore
from demo.world.companies import COMPANIES
from demo.world.moments import seconds

DESCRIPTION = """
Customers, tickets, payments, product events, campaigns and sends of the company whose API key is given.

Lists are ordered by `updated_at`, then `id`, and hold each record's latest version. To follow changes, ask
again with `updated_since` set to the newest `updated_at` seen: it is inclusive, since several records can
share a moment and not all of them need be visible at once.
"""
MAX_PAGE_SIZE = 1000

_PAGES: dict[str, type[CustomerPage | TicketPage | PaymentPage | EventPage | CampaignPage | SendPage]] = {
    "customers": CustomerPage,
    "tickets": TicketPage,
    "payments": PaymentPage,
    "events": EventPage,
    "campaigns": CampaignPage,
    "sends": SendPage,
}
_company_key = APIKeyHeader(name="X-API-Key", scheme_name="Company key", auto_error=False)
_admin_key = APIKeyHeader(name="X-Admin-Key", scheme_name="Admin key", auto_error=False)


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers


class Crm:
    """The companies' records, keys and limits behind the HTTP interface."""

    def __init__(self, home: Path, limit: RateLimit, failures: Failures) -> None:
        self.home = home
        self._limit, self._failures = limit, failures
        self._slug_by_key = {read_key(home, company.slug): company.slug for company in COMPANIES}
        self._admin = read_key(home, "admin")
        self._cursors = CursorMaker(read_key(home, "cursor"))
        self._stores = {
            (company.slug, entity): RecordStore(home / "records" / company.slug / f"{entity}.arrow")
            for company in COMPANIES
            for entity in ENTITIES
        }

    def admit(self, key: str | None) -> str:
        """The company of a key, if it may ask now. Raises Refusal."""
        slug = self._slug_by_key.get(key or "")
        if slug is None:
            raise Refusal(401, "unauthorized", "X-API-Key is missing or belongs to no company.")
        if not self._limit.allows(slug):
            raise Refusal(429, "too_many_requests", "Too many requests; try again in 1 second.", {"Retry-After": "1"})
        if self._failures.strike():
            raise Refusal(503, "unavailable", "The CRM cannot answer just now; try again.")
        return slug

    def check_admin(self, key: str | None) -> None:
        """Raises Refusal unless the key is the administrator's."""
        if key != self._admin:
            raise Refusal(401, "unauthorized", "X-Admin-Key is missing or wrong.")

    def page(self, slug: str, entity: str, since: datetime | None, cursor: str | None, size: int) -> dict[str, Any]:
        """One page of an entity as the API answers it. Raises Refusal for a bad cursor."""
        asked = None if since is None else math.ceil(since.timestamp())
        start = self._read_cursor(slug, entity, cursor, asked) if cursor is not None else None
        asked = start.since if start else asked
        page = self._stores[slug, entity].page(
            seconds(read_clock(self.home)), asked, start.after if start else None, size
        )
        following = page.following and self._cursors.write(slug, entity, Cursor(asked, page.following))
        return {"data": render(entity, page.rows), "next_cursor": following, "total": page.total}

    def totals(self, slug: str) -> dict[str, dict[str, int]]:
        """Live and deleted records by entity."""
        clock = seconds(read_clock(self.home))
        return {entity: self._stores[slug, entity].totals(clock) for entity in ENTITIES}

    def _read_cursor(self, slug: str, entity: str, text: str, since: int | None) -> Cursor:
        try:
            cursor = self._cursors.read(slug, entity, text)
        except BadCursor:
            raise Refusal(422, "invalid_cursor", "cursor is none that this list gave out.") from None
        if since is not None and since != cursor.since:
            raise Refusal(422, "invalid_cursor", "cursor belongs to another updated_since.")
        return cursor


@dataclass(frozen=True)
class _Query:
    """The parameters that every list takes."""

    updated_since: Annotated[
        AwareDatetime | None,
        Query(description="Only records with updated_at at or after this moment; ISO 8601 with an offset."),
    ] = None
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None
    page_size: Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)] = 500


def create_app(home: Path, *, limit: RateLimit, failures: Failures) -> FastAPI:
    """The CRM of a built world. Raises WorldMissing or FileNotFoundError where `home` holds none."""
    crm = Crm(home, limit, failures)
    app = FastAPI(
        title="Habari CRM",
        version="1.0",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    _handle_errors(app)
    _serve_docs(app)
    _serve_records(app, crm)
    _serve_clock(app, crm)
    return app


def _serve_records(app: FastAPI, crm: Crm) -> None:
    async def admitted(key: Annotated[str | None, Security(_company_key)]) -> str:
        return crm.admit(key)

    Slug = Annotated[str, Depends(admitted)]

    def lister(entity: str) -> Callable[..., Awaitable[Response]]:
        async def list_records(slug: Slug, query: Annotated[_Query, Depends()]) -> Response:
            return _json(crm.page(slug, entity, query.updated_since, query.cursor, query.page_size))

        return list_records

    for entity in ENTITIES:
        app.add_api_route(
            f"/api/v1/{entity}",
            lister(entity),
            methods=["GET"],
            tags=["records"],
            name=f"list_{entity}",
            operation_id=f"list_{entity}",
            summary=f"List {entity}",
            response_model=_PAGES[entity],
            responses=_errors(401, 422, 429, 503),
        )

    @app.get(
        "/api/v1/totals",
        tags=["records"],
        operation_id="count_records",
        summary="Count records",
        response_model=Totals,
        responses=_errors(401, 429, 503),
    )
    async def count_records(slug: Slug) -> Response:
        return _json(crm.totals(slug))


def _serve_clock(app: FastAPI, crm: Crm) -> None:
    @app.get("/health", tags=["service"], operation_id="check_health", summary="Is it up?", response_model=Health)
    async def check_health() -> Response:
        return _json({"status": "ok", "now": read_clock(crm.home).isoformat()})

    @app.get("/clock", tags=["service"], operation_id="read_clock", summary="Read the clock", response_model=Clock)
    async def show_clock() -> Response:
        return _json({"now": read_clock(crm.home).isoformat()})

    @app.post(
        "/clock",
        tags=["service"],
        operation_id="move_clock",
        summary="Move the clock",
        response_model=Clock,
        responses=_errors(401, 422),
    )
    async def move_clock(move: ClockMove, key: Annotated[str | None, Security(_admin_key)]) -> Response:
        crm.check_admin(key)
        if (move.advance_days is None) == (move.now is None):
            raise Refusal(422, "invalid_parameter", "Give either advance_days or now.")
        try:
            now = set_clock(crm.home, move.now) if move.now else advance_clock(crm.home, move.advance_days or 0)
        except ClockOutOfRange as error:
            raise Refusal(422, "invalid_parameter", f"{error}.") from None
        return _json({"now": now.isoformat()})


def _serve_docs(app: FastAPI) -> None:
    """Swagger's page from the package's own files: it works without the internet."""
    bundle = StaticFiles(directory=swagger_ui_bundle.swagger_ui_path)
    app.mount("/docs/files", bundle, name="docs_files")

    @app.get("/docs", include_in_schema=False)
    async def show_docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Habari CRM",
            swagger_js_url="/docs/files/swagger-ui-bundle.js",
            swagger_css_url="/docs/files/swagger-ui.css",
            swagger_favicon_url="/docs/files/favicon-32x32.png",
        )


def _handle_errors(app: FastAPI) -> None:
    """Every error has the same shape."""

    @app.exception_handler(Refusal)
    async def refuse(_request: Request, error: Refusal) -> Response:
        return _error(error.status, error.code, error.message, error.headers)

    @app.exception_handler(RequestValidationError)
    async def refuse_parameters(_request: Request, error: RequestValidationError) -> Response:
        problems = (f"{'.'.join(str(part) for part in each['loc'][1:])}: {each['msg']}" for each in error.errors())
        return _error(422, "invalid_parameter", "; ".join(problems))

    @app.exception_handler(HTTPException)
    async def refuse_route(request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_parameter")
        return _error(error.status_code, code, f"{request.method} {request.url.path}: {error.detail}")


_MEANINGS = {
    401: "The key is missing or wrong.",
    422: "A parameter or the cursor is wrong.",
    429: "Too many requests; wait as long as Retry-After says.",
    503: "A passing failure; try again.",
}


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of an operation, for its description."""
    described: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorAnswer, "description": _MEANINGS[status]} for status in statuses
    }
    if 429 in described:
        retry = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
        described[429]["headers"] = {"Retry-After": retry}
    return described


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return _json({"error": {"code": code, "message": message}}, status, headers)


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type="application/json")
