"""What the stand-in answers where it refuses, and the checks of a request's body that lead there."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, body: Any) -> None:
        self.status = status
        self.body = body
        super().__init__(f"{status} {body}")


class ConnectionDropped(Exception):
    """The request was carried out, and its answer is never sent."""


def need(body: Json, *keys: str) -> None:
    """Refuse a body that lacks a key."""
    missing = [key for key in keys if key not in body]
    if missing:
        raise Refusal(400, {"errors": dict.fromkeys(missing, "missing required key")})


def refuse_unknown(body: Json, allowed: set[str]) -> None:
    """Refuse a body with a key that the server does not know."""
    unknown = sorted(body.keys() - allowed)
    if unknown:
        raise Refusal(400, {"errors": dict.fromkeys(unknown, "disallowed key")})


def refuse_blank(body: Json, *keys: str) -> None:
    """Refuse empty text, which Metabase tells from null."""
    for key in keys:
        if body.get(key) == "":
            raise Refusal(400, {"errors": {key: "value must be a non-blank string"}})


def find(store: dict[int, Json], key: int) -> Json:
    """The entry, or 404."""
    if key not in store:
        raise Refusal(404, "Not found.")
    return store[key]
