"""Write keys: by them pages and apps may add events of one company and one source, and do nothing else.

A key stands in a page for everybody to read, so it is no secret: what limits it is the company, the origins, the
categories of consent and the number of events. Only its prefix and SHA-256 are kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import class_row

from foundation.keys import Key
from warehouse.companies.registry import get_company
from warehouse.errors import WarehouseError
from warehouse.logs.operations import record_audit
from warehouse.relations import compose

Connection = psycopg.Connection[Any]

KIND = "cwk"
"""What a write key's text begins with: Churn Warehouse, write key."""
ANY_ORIGIN = "*"
MOST_EVENT_BYTES = 32 * 1024
EVENTS_PER_SECOND = 1_000
_SOURCE = re.compile(r"[a-z][a-z0-9_]{0,39}")
_LONGEST_CATEGORY = 40


class WriteKeyError(WarehouseError):
    """A write key cannot be made as asked, or there is none of this name."""

    advice = "docs/events.md describes write keys; `churn write-key list` shows those there are."


@dataclass(frozen=True)
class WriteKey:
    """A key as `churn write-key list` shows it. ``consent_categories`` None: events are taken whatever they say."""

    prefix: str
    source: str
    origins: Sequence[str]
    consent_categories: Sequence[str] | None
    events_per_second: int
    event_bytes: int
    created_at: datetime
    revoked_at: datetime | None
    slug: str


@dataclass(frozen=True)
class KeyRights:
    """What a key that holds allows, and whose events it brings."""

    company_id: int
    slug: str
    digest: bytes
    source: str
    origins: Sequence[str]
    consent_categories: Sequence[str] | None
    events_per_second: int
    event_bytes: int

    def allows_origin(self, origin: str) -> bool:
        """Whether a page of this origin may use the key."""
        return ANY_ORIGIN in self.origins or origin in self.origins


def create_write_key(
    connection: Connection,
    slug: str,
    source: str,
    *,
    actor: str,
    origins: Sequence[str] = (),
    consent_categories: Sequence[str] | None = None,
    events_per_second: int = EVENTS_PER_SECOND,
    event_bytes: int = MOST_EVENT_BYTES,
) -> Key:
    """A new key of a company's source, whose text is nowhere to be read again.

    ``event_bytes`` is at most 32 KiB, of an event as JSON. Raises CompanyNotFound and WriteKeyError.
    """
    _refuse_wrong(source, origins, consent_categories, events_per_second, event_bytes)
    company = get_company(connection, slug)
    key = Key.draw(KIND)
    with connection.transaction():
        connection.execute(
            compose("""
            insert into {write_keys} (company_id, prefix, digest, source, origins, consent_categories,
                events_per_second, event_bytes)
            values (%s, %s, %s, %s, %s, %s, %s, %s)
            """),
            [
                company.company_id,
                key.prefix,
                key.digest,
                source,
                [*origins],
                None if consent_categories is None else [*consent_categories],
                events_per_second,
                event_bytes,
            ],
        )
        record_audit(
            connection,
            actor=actor,
            action="write_key.created",
            company_id=company.company_id,
            after={"prefix": key.prefix, "source": source, "origins": [*origins]},
        )
    return key


def list_write_keys(connection: Connection, slug: str | None = None) -> list[WriteKey]:
    """The keys of a company, or of all, the revoked among them, oldest first. Raises CompanyNotFound."""
    if slug is not None:
        get_company(connection, slug)
    with connection.cursor(row_factory=class_row(WriteKey)) as cursor:
        return cursor.execute(
            compose("""
            select prefix, source, origins, consent_categories, events_per_second, event_bytes, keys.created_at,
                revoked_at, slug
            from {write_keys} as keys inner join {companies} using (company_id)
            where slug = coalesce(%s, slug) order by slug, keys.created_at, prefix
            """),
            [slug],
        ).fetchall()


def revoke_write_key(connection: Connection, prefix: str, *, actor: str) -> WriteKey:
    """End a key, by the prefix that `list` shows; a collector stops taking it within seconds. Raises WriteKeyError."""
    with connection.transaction():
        row = connection.execute(
            compose(
                "update {write_keys} set revoked_at = now() where prefix = %s and revoked_at is null"
                " returning company_id"
            ),
            [prefix],
        ).fetchone()
        if row is None:
            raise WriteKeyError(f"No write key that holds has the prefix {prefix!r}.")
        record_audit(connection, actor=actor, action="write_key.revoked", company_id=row[0], before={"prefix": prefix})
    return next(key for key in list_write_keys(connection) if key.prefix == prefix)


def find_write_key(connection: Connection, prefix: str) -> KeyRights | None:
    """The rights of a key that holds, as the collector asks for them; None for any other, and of disabled companies."""
    with connection.cursor(row_factory=class_row(KeyRights)) as cursor:
        return cursor.execute("select * from ops.find_write_key(%s)", [prefix]).fetchone()


def read_origins(connection: Connection) -> frozenset[str]:
    """Every origin that some key allows, as the collector asks for them."""
    return frozenset(origin for (origin,) in connection.execute("select * from ops.write_key_origins()"))


def _refuse_wrong(
    source: str,
    origins: Sequence[str],
    consent_categories: Sequence[str] | None,
    events_per_second: int,
    event_bytes: int,
) -> None:
    if not _SOURCE.fullmatch(source):
        raise WriteKeyError(f"The source {source!r} must be small letters, digits and _, such as web_shop.")
    for origin in origins:
        if origin != ANY_ORIGIN and not _is_origin(origin):
            raise WriteKeyError(f"{origin!r} is no web origin: scheme and host alone, such as https://shop.example.")
    for category in consent_categories or ():
        if not category or len(category) > _LONGEST_CATEGORY or not category.isprintable():
            raise WriteKeyError(f"{category!r} is no category of consent: 1 to {_LONGEST_CATEGORY} letters.")
    if consent_categories is not None and not consent_categories:
        raise WriteKeyError("A key that takes no category would take nothing: name one, or leave the option out.")
    if not 1 <= events_per_second <= 1_000_000:
        raise WriteKeyError(f"{events_per_second} events a second: from 1 to 1,000,000.")
    if not 1 <= event_bytes <= MOST_EVENT_BYTES:
        raise WriteKeyError(f"An event of {event_bytes} bytes: from 1 to {MOST_EVENT_BYTES:,}.")


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        written = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and written == text
