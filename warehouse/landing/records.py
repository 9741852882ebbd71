"""What a load handles besides Arrow tables of records: rejected records, its cursor, and counts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class RejectedRecord:
    """A record that broke the contract: its id where it has one, why, and itself as JSON text."""

    record_id: str | None
    reason: str
    payload: str

    @property
    def payload_hash(self) -> str:
        """SHA-256 of the payload, in hexadecimal."""
        return hashlib.sha256(self.payload.encode()).hexdigest()


@dataclass(frozen=True)
class Cursor:
    """How far a company's entity has been read, and whether its first load is complete."""

    updated_at: datetime | None
    backfill_completed: bool


@dataclass(frozen=True)
class RecordCounts:
    """Records by their newest version, rejected records that no later load has mended, and those of the forgotten.

    deleted: those that the source says are, not those that it no longer lists.
    """

    live: int
    deleted: int
    rejected: int
    withheld: int = 0
