"""Every error as a problem (RFC 9457): the same shape from whatever refuses a request."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from foundation.errors import ChurnError
from ml_assets.errors import ModelError
from pipeline.prediction.asking import ChangeRefused, NotScored
from pipeline.prediction.registry import RegistryError
from pipeline.prediction.scoring import NoModel
from pipeline.prediction.tasks import UnknownTask
from pipeline.telling.business_metrics import UnknownMetric
from serving.api.shapes import Problem
from warehouse.errors import WarehouseUnreachable
from warehouse.session_pool import SessionsTaken

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "2"

log = logging.getLogger(__name__)


class Refused(Exception):
    """A request that is answered with a problem."""

    def __init__(
        self, status: int, kind: str, title: str, detail: str = "", headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        """``kind`` names the problem for programs; ``more`` are members of its own."""
        super().__init__(title)
        self.status, self.kind, self.title, self.detail = status, kind, title, detail
        self.headers, self.more = headers or {}, more


def not_there(what: str) -> Refused:
    """The answer for whatever a company does not have, whether another company has it or nobody."""
    return Refused(404, "not-found", "Not found", f"There is no such {what}.")


def problem(
    status: int, kind: str, title: str, detail: str = "", headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """A problem as a response."""
    told = Problem(type=f"urn:churn:problem:{kind}", title=title, status=status, detail=detail or None, **more)
    return JSONResponse(told.model_dump(exclude_none=True), status, headers, MEDIA_TYPE)


def answer_problems(app: FastAPI) -> None:
    """Let the app answer every error of ours, of the framework and of the database as a problem."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _of_framework)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(psycopg.Error, _database)
    app.add_exception_handler(ChurnError, _ours)
    app.add_exception_handler(Exception, _unforeseen)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)  # noqa: S101 - what it is registered for
    return problem(error.status, error.kind, error.title, error.detail, error.headers, **error.more)


async def _of_framework(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    title = HTTPStatus(error.status_code).phrase
    kind = title.lower().replace(" ", "-")
    detail = "" if error.detail == title else str(error.detail)
    return problem(error.status_code, kind, title, detail, dict(error.headers or {}))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """What was sent is not repeated: it may be a key that stands in the wrong place."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
    errors = [{"where": ".".join(map(str, each["loc"])), "why": str(each["msg"])} for each in error.errors()]
    is_json = all(each["type"] != "json_invalid" for each in error.errors())
    if not is_json:
        return problem(400, "not-json", "The body is not JSON")
    return problem(422, "invalid", "The request is not valid", errors=errors)


async def _database(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, psycopg.errors.QueryCanceled):
        return _away("too-slow", "The answer took too long", "Ask for less: a smaller page, or a narrower filter.")
    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
        return _away("not-built", "Not there yet", "The next run of the warehouse builds it.")
    if isinstance(error, psycopg.DataError):
        return problem(422, "invalid", "The request is not valid", "A text holds what Postgres cannot store.")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        request.app.state.recovery.begin()
        return _away("unavailable", "The warehouse is not to be had at the moment")
    return await _unforeseen(request, error)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    """Messages of ours may name companies and places: only those for whoever asks are handed on."""
    if isinstance(error, WarehouseUnreachable):
        request.app.state.recovery.begin()
        return _away("unavailable", "The warehouse is not to be had at the moment")
    if isinstance(error, SessionsTaken):
        return _away("busy", "Too many requests of this key at once")
    if isinstance(error, ChangeRefused):
        errors = [{"where": f"body.attributes.{name}", "why": why} for name, why in error.refused.items()]
        return problem(422, "invalid", "The request is not valid", errors=errors)
    if isinstance(error, UnknownTask | NotScored | UnknownMetric):
        return await _refused(request, not_there("task, metric or customer"))
    if isinstance(error, NoModel):
        return problem(409, "no-model", "No model yet", "The company has no model of this task yet.")
    if isinstance(error, ModelError):
        log.warning("a customer could not be scored: %s", error)
        return problem(
            409, "features-moved", "Cannot be scored now", "The model was trained on other features than are built now."
        )
    if isinstance(error, RegistryError):
        log.error("the model registry: %s", error)
        return _away("no-registry", "The model could not be read")
    return await _unforeseen(request, error)


async def _unforeseen(_: Request, error: Exception) -> JSONResponse:
    log.error("a request failed", exc_info=error)
    return problem(500, "internal", "Something is wrong on our side", "The log tells of it, by the request id.")


def _away(kind: str, title: str, detail: str = "") -> JSONResponse:
    return problem(503, kind, title, detail, {"Retry-After": RETRY_AFTER})
