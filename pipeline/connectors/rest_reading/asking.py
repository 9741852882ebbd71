"""Asks a REST API: one request at a time, at its own rate, to its own host, and page by page."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from dlt.sources.helpers.rest_client.paginators import BasePaginator

from pipeline.connectors.http_source import HttpSource
from pipeline.connectors.rest_reading.authentication import FetchedToken
from pipeline.connectors.rest_reading.expressions import getter, is_true
from pipeline.connectors.rest_reading.filling import asked_since, filled_body, filled_params
from pipeline.connectors.rest_reading.paging import Answer, paginator_of
from pipeline.connectors.rest_reading.settings import Rate, Request, RestSettings
from pipeline.connectors.time_limit import TimeLimit


class RestApi:
    """One company's REST API."""

    def __init__(
        self,
        settings: RestSettings,
        session: requests.Session,
        auth: requests.auth.AuthBase,
        http: HttpSource,
        limit: TimeLimit,
    ) -> None:
        self._settings = settings
        self._session = session
        self._auth = auth
        self._http = http
        self._pace = _Pace(settings.rate, limit)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def pages(
        self, request: Request, since: datetime | None, path: str | None = None
    ) -> Iterator[tuple[Any, list[Any]]]:
        """Each page of a list, as the answer's body and its records. path: in place of the request's own.

        Raises ConnectorError.
        """
        moment = asked_since(request.since, since)
        outgoing = self._outgoing(request.method, path or request.path)

        def fill(target: requests.Request, last: object) -> None:
            values = {"since": moment, "last": last}
            target.params = filled_params(request.params, values)
            target.json = None if request.body is None else filled_body(request.body, values)

        fill(outgoing, request.pages.first)
        paginator = paginator_of(request.pages, fill)
        paginator.init_request(outgoing)
        more = None if request.pages.more is None else getter(request.pages.more)
        asked: set[bytes] = set()
        while True:
            self._refuse_repeated(outgoing, asked)
            answer = self._answer(outgoing)
            address = f"{self._settings.base_url}{request.path}"
            records = self._records(address, request, answer.body)
            with self._http.translated(address):
                paginator.update_state(answer, records)
            says_more = None if more is None else is_true(more(answer.body))
            if says_more and not paginator.has_next_page:
                self._http.surprise(f"{address} says that there is more, and not where")
            has_next = paginator.has_next_page and says_more is not False
            if has_next:
                self._go_on(paginator, outgoing)
            yield answer.body, records
            if not has_next:
                return

    def _go_on(self, paginator: BasePaginator, outgoing: requests.Request) -> None:
        try:
            paginator.update_request(outgoing)
        except (AttributeError, TypeError, ValueError):
            self._http.surprise(
                f"a page of {self._settings.base_url} has no address at the place of its next one", hide_cause=True
            )

    def ask(self, method: str, path: str, params: dict[str, Any], body: Any) -> Any:
        """What the API answers to this. Raises ConnectorError."""
        outgoing = self._outgoing(method, path)
        outgoing.params, outgoing.json = params, body
        return self._answer(outgoing).body

    def _outgoing(self, method: str, path: str) -> requests.Request:
        return requests.Request(
            method, self._settings.base_url + path, headers=dict(self._settings.headers), auth=self._auth
        )

    def _answer(self, outgoing: requests.Request) -> Answer:
        self._refuse_other_host(str(outgoing.url))
        address = str(outgoing.url).partition("?")[0]
        with self._http.translated(address):
            response = self._send(outgoing)
            if response.status_code == HTTPStatus.UNAUTHORIZED and isinstance(self._auth, FetchedToken):
                self._auth.forget_token()
                response = self._send(outgoing)
            self._http.refuse_redirect(response)
            response.raise_for_status()
            try:
                return Answer(orjson.loads(response.content), response)
            except orjson.JSONDecodeError:
                self._http.surprise(f"{address} does not answer in JSON", hide_cause=True)

    def _send(self, outgoing: requests.Request) -> requests.Response:
        self._pace.wait()
        prepared = self._session.prepare_request(outgoing)
        environment = self._session.merge_environment_settings(str(prepared.url), {}, None, None, None)
        response: requests.Response = self._session.send(prepared, allow_redirects=False, **environment)
        self._pace.heed(response)
        return response

    def _records(self, address: str, request: Request, body: Any) -> list[Any]:
        records = body if request.records is None else getter(request.records)(body)
        if not isinstance(records, list):
            place = "is no list" if request.records is None else f"has no list at {request.records}"
            self._http.surprise(f"a page of {address} {place}")
        return records

    def _refuse_other_host(self, url: str) -> None:
        """A key goes to the host that it was given for, whatever a page says of where to go on."""
        if _host(url) != _host(self._settings.base_url):
            self._http.surprise(f"a page leads to {self._http.clean(url.partition('?')[0])}, which is another host")

    def _refuse_repeated(self, outgoing: requests.Request, asked: set[bytes]) -> None:
        """What leads back to a page of before would never end."""
        text = orjson.dumps([str(outgoing.url), outgoing.params, outgoing.json], default=str)
        fingerprint = hashlib.sha256(text).digest()
        if fingerprint in asked:
            self._http.surprise(f"the pages of {str(outgoing.url).partition('?')[0]} lead round in a circle")
        asked.add(fingerprint)


def _host(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "", None, None
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)


class _Pace:
    """Keeps to a rate: a least time between requests, and a pause where the source says that none are left."""

    def __init__(self, rate: Rate, limit: TimeLimit) -> None:
        self._rate = rate
        self._limit = limit
        self._next = 0.0

    def wait(self) -> None:
        pause = self._next - time.monotonic()
        if pause > 0:
            self._limit.sleep(pause)
        if self._rate.per_minute is not None:
            self._next = time.monotonic() + 60 / self._rate.per_minute

    def heed(self, response: requests.Response) -> None:
        remaining = _number(response.headers.get(self._rate.remaining or ""))
        if remaining is None or remaining >= 1:
            return
        reset = _number(response.headers.get(self._rate.reset or ""))
        self._next = max(self._next, time.monotonic() + (60 if reset is None else reset))


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:
        return None
