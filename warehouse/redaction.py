"""Keeping secrets out of what people read: references masked, resolved secrets struck out of any text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from warehouse.errors import SecretNotFound
from warehouse.secrets import resolve_secret
from warehouse.settings import ENCRYPTED, SECRET_REFERENCES, Settings

STRUCK_OUT = "***"
SHORTEST_PART = 6
"""Fewer characters of a secret's beginning are taken for chance."""

_AFTER_A_CUT = ".… '\")]}"


def references_in(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Every secret's reference in plain data (mappings, sequences, texts), as (dotted path, reference)."""
    if isinstance(value, str):
        if value.startswith(SECRET_REFERENCES):
            yield path, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from references_in(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, Sequence):
        for position, item in enumerate(value):
            yield from references_in(item, f"{path}.{position}" if path else str(position))


def masked(value: Any) -> Any:
    """The same plain data with encrypted secrets as fingerprints: they differ where the secrets do, and open nothing.

    What stands in a log or a terminal outlives the key that would have opened it.
    """
    if isinstance(value, str) and value.startswith(ENCRYPTED):
        return f"{ENCRYPTED}#{hashlib.sha256(value.encode()).hexdigest()[:8]}"
    if isinstance(value, Mapping):
        return {name: masked(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return value


def secrets_in(value: object, settings: Settings, company: str) -> list[str]:
    """The secrets that plain data of a company refers to, and the passwords in those that are addresses; longest first.

    A reference that leads nowhere stands for no secret.
    """
    secrets: set[str] = set()
    for _, reference in references_in(value):
        try:
            secret = resolve_secret(reference, settings, company)
        except SecretNotFound:
            continue
        secrets |= set(forms_of(secret))
    return sorted(secrets, key=len, reverse=True)


def forms_of(secret: str) -> list[str]:
    """How a secret, and the password in one that is an address, may stand in a message; longest first."""
    forms: set[str] = set()
    for text in (secret, _password_of(secret)):
        one_line = " ".join(text.split())
        forms |= {text, one_line, unquote(text), quote(text, safe=""), quote(text), quote_plus(text)}
        forms |= {text.encode("unicode_escape").decode(), json.dumps(text)[1:-1], repr(text)[1:-1]}
    return sorted(forms - {""}, key=len, reverse=True)


def without_secrets(text: str, secrets: Sequence[str], longest: int | None = None) -> str:
    """The text with every one of these secrets struck out, then cut to `longest` characters.

    In this order, for what is left of a secret that was cut is no longer recognised. One that the other side has cut
    is struck out where its beginning ends the text.
    """
    for secret in secrets:
        text = text.replace(secret, STRUCK_OUT)
    for secret in secrets:
        text = _without_beginning(text, secret)
    return text if longest is None or len(text) <= longest else text[: longest - 1] + "…"


def _without_beginning(text: str, secret: str) -> str:
    bare = text.rstrip(_AFTER_A_CUT)
    for length in range(min(len(secret) - 1, len(bare)), SHORTEST_PART - 1, -1):
        if bare.endswith(secret[:length]):
            return bare[:-length] + STRUCK_OUT + text[len(bare) :]
    return text


def _password_of(secret: str) -> str:
    if "://" not in secret:
        return ""
    try:
        return urlsplit(secret).password or ""
    except ValueError:
        return ""
