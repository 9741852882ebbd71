"""The HTTP API as an application: its routes, and what they stand on for as long as it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.middleware.gzip import GZipMiddleware

from pipeline.prediction.asking import ScoresNow
from serving.api import asked, changes, figures, scores
from serving.api.access import KeyDesk, Recovery
from serving.api.middleware import BoundedBody, ETags, RequestLog
from serving.api.problems import MEDIA_TYPE, answer_problems
from serving.api.shapes import Health, Problem
from warehouse.connection import Warehouse
from warehouse.session_pool import CompanyReader
from warehouse.settings import Settings

VERSION = "1.0"

_DESCRIPTION = (
    "Scores, changes and figures of your company, as the predictions contract has them: docs/api.md of Churn Warehouse."
)
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": words, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for status, words in (
        (400, "The request cannot be read"),
        (401, "No valid key"),
        (403, "The key lacks a scope"),
        (404, "Nothing of that name in your company"),
        (405, "No such method here"),
        (408, "The body did not come in time"),
        (409, "There is no model that could answer"),
        (410, "The cursor's set or changes are gone"),
        (413, "The body is too large"),
        (422, "The request is not valid"),
        (429, "Too many requests"),
        (503, "The warehouse is away or busy"),
    )
}


def make_app(warehouse: Warehouse, settings: Settings) -> FastAPI:
    """The application on a warehouse that is there and migrated."""

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        yield
        app.state.reader.close()
        app.state.scores_now.close()
        app.state.desk.close()

    app = FastAPI(
        title="Churn Warehouse",
        version=VERSION,
        description=_DESCRIPTION,
        lifespan=running,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        separate_input_output_schemas=False,
    )
    app.state.desk, app.state.reader = KeyDesk(warehouse), CompanyReader(warehouse)
    app.state.scores_now, app.state.recovery = ScoresNow(warehouse, settings), Recovery(warehouse)
    app.state.streams = {}
    answer_problems(app)
    for part in (scores, changes, asked, figures):
        app.include_router(part.router, responses=_PROBLEMS)
    app.include_router(health)
    # The last one that is added comes first.
    app.add_middleware(ETags)
    app.add_middleware(GZipMiddleware, minimum_size=1_000)
    app.add_middleware(BoundedBody)
    app.add_middleware(RequestLog)
    _describe_problems(app)
    return app


health = APIRouter(tags=["health"], prefix="/health")


@health.get("/live")
async def is_alive() -> Health:
    """The process answers."""
    return Health(status="ok")


@health.get("/ready", responses={503: _PROBLEMS[503]})
def is_ready(request: Request) -> Health:
    """The warehouse answers, too."""
    request.app.state.desk.knock()
    return Health(status="ok")


def _describe_problems(app: FastAPI) -> None:
    """The schema of problems, and problems where the framework would describe its own errors."""
    description = app.openapi()
    schemas = description["components"]["schemas"]
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
