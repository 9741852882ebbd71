"""Opaque page cursors: signed, and good only for the company, the entity and the query they were given for."""

import base64
import binascii
import hmac
from dataclasses import dataclass

from demo.crm.store import Position

SIGNATURE_BYTES = 12


class BadCursor(ValueError):
    """The cursor was not made by this CRM for this query."""


@dataclass(frozen=True)
class Cursor:
    """Where a page starts, and the query's `updated_since` (None: everything)."""

    since: int | None
    after: Position


class CursorMaker:
    """Writes and reads the cursors of one CRM."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def write(self, company: str, entity: str, cursor: Cursor) -> str:
        """The cursor as text for a URL."""
        since = "" if cursor.since is None else cursor.since
        content = f"{since}:{cursor.after.updated_at}:{cursor.after.key}".encode()
        return base64.urlsafe_b64encode(self._sign(company, entity, content) + content).decode().rstrip("=")

    def read(self, company: str, entity: str, text: str) -> Cursor:
        """The cursor behind a text. Raises BadCursor for anything this CRM did not write for this query."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadCursor(str(error)) from error
        signature, content = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(company, entity, content)):
            raise BadCursor("the signature does not fit")
        since, updated_at, key = content.decode().split(":")
        return Cursor(int(since) if since else None, Position(int(updated_at), int(key)))

    def _sign(self, company: str, entity: str, content: bytes) -> bytes:
        message = b"\0".join([company.encode(), entity.encode(), content])
        return hmac.digest(self._secret, message, "sha256")[:SIGNATURE_BYTES]
