"""Fills {since}, {last}, {id} and {ids} into what a company's settings say of a request."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from pipeline.connectors.rest_reading.settings import Since

_SECOND = timedelta(seconds=1)
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def asked_since(since: Since | None, moment: datetime | None) -> object:
    """The moment as the source is asked for it, rounded down; None where all is to come and nothing stands for that."""
    if since is None:
        return None
    asked = since.first if moment is None else _written(since, moment)
    return str(asked) if since.quoted and asked is not None else asked


def _written(since: Since, moment: datetime) -> object:
    moment = moment.astimezone(UTC) - timedelta(hours=since.window_hours)
    if since.format == "epoch_seconds":
        return (moment - _EPOCH) // _SECOND
    if since.format == "epoch_milliseconds":
        return (moment - _EPOCH) // _MILLISECOND
    if since.format == "date":
        return f"{moment:%Y-%m-%d}"
    text = moment.isoformat(timespec="seconds")
    return text if since.format == "iso" else text.removesuffix("+00:00") + "Z"


def filled_params(params: Mapping[str, Any], values: Mapping[str, object]) -> dict[str, Any]:
    """The parameters with values in place of {names}; one whose value is None is left out."""
    filled: dict[str, Any] = {}
    for name, given in params.items():
        names = [key for key in values if isinstance(given, str) and f"{{{key}}}" in given]
        if any(values[key] is None for key in names):
            continue
        text = given
        for key in names:
            value = values[key]
            joined = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            text = text.replace(f"{{{key}}}", joined)
        filled[name] = str(text).lower() if isinstance(text, bool) else text
    return filled


def filled_body(body: Any, values: Mapping[str, object]) -> Any:
    """The body with values in place of {names}; a text that is nothing but one becomes the value itself."""
    if isinstance(body, Mapping):
        return {name: filled_body(part, values) for name, part in body.items()}
    if isinstance(body, list):
        return [filled_body(part, values) for part in body]
    if not isinstance(body, str):
        return body
    for key, value in values.items():
        if body == f"{{{key}}}":
            return copy.deepcopy(value)
        body = body.replace(f"{{{key}}}", str(value)) if f"{{{key}}}" in body else body
    return body


def filled_path(path: str, record_id: object) -> str:
    """The path with a record's id, which leads nowhere else whatever it holds."""
    return path.replace("{id}", quote(str(record_id), safe=""))
