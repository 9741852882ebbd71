"""How one page leads to the next: dlt's paginators by a company's settings, and one that seeks by the last record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests
from dlt.sources.helpers.rest_client.paginators import (
    BasePaginator,
    HeaderLinkPaginator,
    JSONLinkPaginator,
    JSONResponseCursorPaginator,
    OffsetPaginator,
    PageNumberPaginator,
    SinglePagePaginator,
)

from pipeline.connectors.rest_reading.expressions import getter, is_true
from pipeline.connectors.rest_reading.settings import Pages


@dataclass(frozen=True)
class Answer:
    """An answer that was parsed once, as much of a response as dlt's paginators look at."""

    body: Any
    response: requests.Response

    def json(self) -> Any:
        """See `requests.Response.json`."""
        return self.body

    @property
    def links(self) -> dict[str, Any]:
        """See `requests.Response.links`."""
        links: dict[str, Any] = self.response.links
        return links


class SeekPaginator(BasePaginator):  # type: ignore[misc]
    """Asks for what comes after the last record: nothing that is put in or taken out meanwhile shifts a page.

    fill: puts what was last into a request. Without `more` the first empty page is the end.
    """

    def __init__(self, settings: Pages, fill: Callable[[requests.Request, object], None]) -> None:
        super().__init__()
        self._last_of = getter(settings.last or "id")
        self._more = None if settings.more is None else getter(settings.more)
        self._fill = fill
        self._last: object = settings.first

    def init_request(self, request: requests.Request) -> None:
        """See `BasePaginator`."""
        self._fill(request, self._last)

    def update_state(self, response: Any, data: list[Any] | None = None) -> None:
        """See `BasePaginator`."""
        self._has_next_page = bool(data) if self._more is None else is_true(self._more(response.json()))
        self._last = self._last_of(data[-1]) if data else None

    def update_request(self, request: requests.Request) -> None:
        """See `BasePaginator`."""
        if self._has_next_page:
            self._fill(request, self._last)


def paginator_of(pages: Pages, fill: Callable[[requests.Request, object], None]) -> BasePaginator:
    """A paginator for one list."""
    if pages.kind == "seek":
        return SeekPaginator(pages, fill)
    if pages.kind == "cursor":
        return JSONResponseCursorPaginator(
            cursor_path=pages.path, cursor_param=pages.param, cursor_body_path=pages.body
        )
    if pages.kind == "next_link":
        return JSONLinkPaginator(next_url_path=pages.path)
    if pages.kind == "header_link":
        return HeaderLinkPaginator()
    if pages.kind == "offset":
        return OffsetPaginator(
            limit=pages.size,
            offset_param=pages.param,
            offset_body_path=pages.body,
            limit_param=pages.size_param or ("limit" if pages.param else None),
            limit_body_path=None if pages.param else "limit",
            total_path=None,
        )
    if pages.kind == "page":
        return PageNumberPaginator(
            base_page=1 if pages.first is None else int(pages.first),
            page_param=pages.param,
            page_body_path=pages.body,
            total_path=None,
        )
    return SinglePagePaginator()
