"""A company whose payments stand on the shelf, in whichever way a test describes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.connectors.contract import PAYMENTS, Chunk
from pipeline.connectors.errors import ConnectorError
from pipeline.connectors.http_source import Patience
from pipeline.connectors.rest import RestSettings, RestSource
from pipeline.connectors.validation import Reading
from pipeline.reach import Reach
from tests.integration.pipeline.connectors.stand_ins.server import served
from tests.integration.pipeline.connectors.stand_ins.shelf import CLIENT_SECRET, KEY, REFRESH_TOKEN, Shelf, record
from warehouse.settings import Settings

NOW = datetime(2025, 6, 1, tzinfo=UTC)
READING = Reading(ZoneInfo("Europe/Berlin"), NOW)
QUICK = Patience(attempts=3, backoff_seconds=0.01, longest_pause_seconds=2, connect_seconds=1, read_seconds=1)
SECRETS = {"env:KEY": KEY, "env:CLIENT": CLIENT_SECRET, "env:REFRESH": REFRESH_TOKEN}
PAGES: dict[str, dict[str, Any]] = {
    "cursor": {"kind": "cursor", "path": "meta.next", "param": "at"},
    "next": {"kind": "next_link", "path": "next"},
    "link": {"kind": "header_link"},
    "offset": {"kind": "offset", "size": 10, "param": "at"},
    "page": {"kind": "page", "param": "page"},
    "seek": {"kind": "seek", "last": "id", "more": "has_more"},
}
FIELDS: dict[str, Any] = {
    "payment_id": "id",
    "customer_id": "owner.id",
    "updated_at": "changed",
    "kind": {"constant": "charge"},
    "status": {"path": "state", "values": {"ok": "succeeded", "lost": "failed"}},
    "amount": {"path": "cents", "unit": "minor"},
    "currency": {"path": "money", "case": "upper"},
    "issued_at": {"path": "booked", "format": "epoch_seconds"},
    "is_deleted": "state == 'gone'",
}


ALL = [f"p{number:04}" for number in range(25)]


@contextmanager
def filled_shelf() -> Iterator[Shelf]:
    """A shelf with 25 payments, changed a minute apart."""
    standing = Shelf(records=[record(number, f"2025-02-01T00:{number:02}:00Z") for number in range(25)])
    with served(standing):
        yield standing


def endpoint(kind: str = "cursor", **changes: Any) -> dict[str, Any]:
    params = {"since": "{since}"} | ({"after": "{last}"} if kind == "seek" else {})
    return {
        "path": f"/{kind}",
        "params": params,
        "records": None if kind == "link" else "items",
        "pages": PAGES[kind],
        "since": {},
        "fields": FIELDS,
    } | changes


def source(
    shelf: Shelf, *endpoints: dict[str, Any], patience: Patience = QUICK, complete: bool = True, **changes: Any
) -> RestSource:
    settings = {
        "base_url": shelf.url,
        "auth": {"kind": "bearer", "token": "env:KEY"},
        "entities": {"payments": {"complete": complete, "endpoints": list(endpoints or [endpoint()])}},
    } | changes
    return RestSource(
        "acme", RestSettings.model_validate(settings), SECRETS.__getitem__, READING, Reach(Settings()), patience
    )


def read(from_source: RestSource, since: datetime | None = None, chunk_rows: int = 1000) -> list[Chunk]:
    return list(from_source.read(PAYMENTS, since, chunk_rows))


def ids(chunks: list[Chunk]) -> list[str]:
    return [identifier for chunk in chunks for identifier in chunk.accepted["payment_id"].to_pylist()]


def reasons(chunks: list[Chunk]) -> list[str]:
    return [rejected.reason for chunk in chunks for rejected in chunk.rejected]


def failure(from_source: RestSource) -> ConnectorError:
    with pytest.raises(ConnectorError) as caught:
        read(from_source)
    return caught.value
