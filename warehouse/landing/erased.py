"""Customers who were forgotten, as the warehouse knows them: by keyed hashes. Landing keeps their records out.

The key stands in the database and is never rotated: with another one nobody forgotten would be known again. Who may
read it could tell whether a guessed id was forgotten, so only the owner and the loader may.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import psycopg
import pyarrow as pa

from warehouse import relations

if TYPE_CHECKING:
    from warehouse.landing.records import RejectedRecord


@dataclass(frozen=True)
class Hashes:
    """Keyed hashes of one company's customers and records; the same id gives another one in another company."""

    key: bytes
    company_id: int

    def customer(self, customer_id: str) -> bytes:
        """HMAC-SHA256 of a customer's id."""
        return self._of("customer", customer_id)

    def record(self, entity: str, record_id: str) -> bytes:
        """HMAC-SHA256 of a record's id in its entity."""
        return self._of(f"record of {entity}", record_id)

    def _of(self, kind: str, text: str) -> bytes:
        return hmac.digest(self.key, f"{self.company_id} {kind} {text}".encode(), "sha256")


@dataclass(frozen=True)
class Erased:
    """The forgotten customers of a company, and their records that came again, ready to be asked."""

    hashes: Hashes
    customers: frozenset[bytes]
    records: frozenset[bytes]

    def is_erased(self, customer_id: str) -> bool:
        """Whether this customer was forgotten."""
        return self.hashes.customer(customer_id) in self.customers

    def split(self, entity: str, accepted: pa.Table) -> tuple[pa.Table, list[bytes]]:
        """What may land of a chunk, and the hashes of the records that may not."""
        if not self.customers or not accepted.num_rows or "customer_id" not in accepted.column_names:
            return accepted, []
        ids = accepted[f"{entity.removesuffix('s')}_id"].to_pylist()
        hashes = [self.hashes.record(entity, record_id) for record_id in ids]
        erased = [
            # A deletion may name its record alone.
            record in self.records if customer is None else self.is_erased(customer)
            for customer, record in zip(accepted["customer_id"].to_pylist(), hashes, strict=True)
        ]
        kept = accepted.filter(pa.array([not is_erased for is_erased in erased], pa.bool_()))
        return kept, [record for record, is_erased in zip(hashes, erased, strict=True) if is_erased]

    def split_rejected(
        self, entity: str, records: Sequence[RejectedRecord]
    ) -> tuple[list[RejectedRecord], list[bytes]]:
        """The rejected records that name nobody who was forgotten, and the hashes of the others."""
        if not self.customers:
            return list(records), []
        named = [self._names_erased(entity, record.record_id, record.payload) for record in records]
        kept = [record for record, is_named in zip(records, named, strict=True) if not is_named]
        withheld = [
            self.hashes.record(entity, record.record_id)
            for record, is_named in zip(records, named, strict=True)
            if is_named and record.record_id is not None
        ]
        return kept, withheld

    def _names_erased(self, entity: str, record_id: str | None, payload: str) -> bool:
        if record_id is not None and self.hashes.record(entity, record_id) in self.records:
            return True
        return any(self.is_erased(text) for text in names_in(entity, record_id, payload))


def names_in(entity: str, record_id: str | None, payload: str) -> Iterator[str]:
    """What in a rejected record may be a customer's id: every text of it, and numbers under a name that says so."""
    if entity == "customers" and record_id is not None:
        yield record_id
    try:
        content = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return
    yield from _texts(content, "", entity)


def _texts(value: Any, name: str, entity: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, str(key), entity)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, name, entity)
    elif isinstance(value, str):
        yield value
    elif (
        isinstance(value, int)
        and not isinstance(value, bool)
        and ("customer" in name.lower() or (entity == "customers" and name.lower() == "id"))
    ):
        yield str(value)


def read_hashes(conn: psycopg.Connection[Any], company_id: int) -> Hashes:
    """The company's hashes, with the warehouse's key."""
    row = conn.execute(relations.compose("select key from {erasure_key}")).fetchone()
    assert row is not None  # noqa: S101 - the migration wrote it
    return Hashes(bytes(row[0]), company_id)


def read_erased(conn: psycopg.Connection[Any], company_id: int) -> Erased:
    """Who was forgotten in a company."""
    customers = conn.execute(
        relations.compose("select distinct customer_hash from {erasures} where company_id = %s"), [company_id]
    ).fetchall()
    records: list[tuple[Any, ...]] = []
    if customers:
        records = conn.execute(
            relations.compose("select record_hash from {withheld_records} where company_id = %s"), [company_id]
        ).fetchall()
    return Erased(read_hashes(conn, company_id), _bytes(customers), _bytes(records))


def withhold(conn: psycopg.Connection[Any], company_id: int, entity: str, hashes: Sequence[bytes]) -> None:
    """Note records that a source gives and we do not keep, so that its count and ours can be compared."""
    conn.execute(
        relations.compose(
            "insert into {withheld_records} (company_id, entity, record_hash)"
            " select %s, %s, hash from unnest(%s::bytea[]) as new (hash) on conflict do nothing"
        ),
        [company_id, entity, list(hashes)],
    )


def _bytes(rows: Iterable[tuple[Any, ...]]) -> frozenset[bytes]:
    return frozenset(bytes(value) for (value,) in rows)
