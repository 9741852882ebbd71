"""The records that a source lists, laid beside those that the warehouse holds: what came late, and what is gone.

By ids and not by counts: a record that was lost and one that was deleted cancel out in a count. When that is worth
doing does not belong here (pipeline/loading/comparison.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql

from foundation.counting import counted
from warehouse.frames import copy_arrow
from warehouse.landing.errors import VersionLogError
from warehouse.relations import ENTITY_RELATIONS, SYNC_CURSORS

LARGEST_VANISHED_SHARE = 0.2
FEWEST_VANISHED = 20
"""More than both at once is likelier a cut export than so many deletions, and so is a list without any record."""

_LISTED = "listed_records"
_WITHOUT_OWNER = ("customers", "campaigns")
"""Entities whose records name no customer of whom they are."""


class TooManyVanished(VersionLogError):
    """So much of what the warehouse holds is no longer listed that somebody has to say that this is right."""

    def __init__(self, entity: str, gone: int, live: int) -> None:
        """`gone` of `live` records of the entity are no longer listed."""
        super().__init__(
            f"{entity}: the source no longer lists {gone:,} of {counted(live, 'record')}."
            " That is likelier a part of an export than so many deletions: nothing was deleted."
        )
        self.advice = f"Mend the source, or say that they are gone: `churn company accept SLUG {entity} --deletions`."


@dataclass(frozen=True)
class Comparison:
    """When ids were last compared, and by how many records source and warehouse differed after that."""

    compared_at: datetime | None
    still_unaccounted: int | None


class Listing:
    """What a source lists of one company's entity, in a temporary table of the connection."""

    def __init__(self, connection: psycopg.Connection[Any], company_id: int, entity: str) -> None:
        self._connection = connection
        self._company_id = company_id
        self._entity = entity
        key = f"{entity.removesuffix('s')}_id"
        self._names = {
            "raw": ENTITY_RELATIONS[entity].identifier,
            "listed": sql.Identifier(_LISTED),
            "key": sql.Identifier(key),
            "owner": sql.Identifier("customer_id"),
            "cursors": SYNC_CURSORS.identifier,
        }
        connection.execute(sql.SQL("drop table if exists pg_temp.{}").format(self._names["listed"]))
        connection.execute(
            sql.SQL("create temporary table {} (record_id text not null, updated_at timestamptz)").format(
                self._names["listed"]
            )
        )

    def add(self, record_ids: pa.Array | pa.ChunkedArray, updated_at: pa.Array | pa.ChunkedArray | None = None) -> None:
        """Note records; ids that cannot be read are left out."""
        moments = pa.nulls(len(record_ids), pa.timestamp("us", "UTC")) if updated_at is None else updated_at
        rows = pa.table({"record_id": record_ids, "updated_at": moments})
        with self._connection.transaction(), self._connection.cursor() as database:
            copy_arrow(database, rows.filter(rows["record_id"].is_valid()), _LISTED)

    def count(self) -> int:
        """How many records are listed, each once."""
        return self._number("select count(distinct record_id) from {listed}", {})

    def known_values(self, columns: Sequence[str]) -> dict[str, int]:
        """In how many of the listed records that the warehouse has, and are not deleted, each column has a value."""
        if not columns:
            return {}
        counts = sql.SQL(", ").join(sql.SQL("count({})").format(sql.Identifier(name)) for name in columns)
        query = sql.SQL(
            "select {counts} from (select distinct on ({key}) * from {raw} where company_id = %s"
            " order by {key}, updated_at desc, revision desc) as newest"
            " where not is_deleted and exists (select from {listed} where record_id = newest.{key})"
        ).format(counts=counts, **self._names)
        row = self._connection.execute(query, (self._company_id,)).fetchone() or ()
        return dict(zip(columns, row, strict=True))

    def unknown_ids(self) -> list[str]:
        """Records of which a listed version is not known, in order."""
        query = sql.SQL(
            "select distinct record_id from {listed} as listed where listed.updated_at is not null and not exists"
            " (select from {raw} as known where known.company_id = %s and known.{key} = listed.record_id"
            " and known.updated_at = listed.updated_at) order by record_id"
        ).format(**self._names)
        return [record_id for (record_id,) in self._connection.execute(query, (self._company_id,))]

    def bury_vanished(self, *, load_id: int, known_at: datetime) -> int:
        """Give each live record that is not listed a tombstone, made at known_at; returns how many there were.

        Raises TooManyVanished where they are too many to be believed; then nothing is written.
        """
        vanished = (
            "from (select distinct on ({key}) * from {raw} where company_id = %(company_id)s"
            " order by {key}, updated_at desc, revision desc) as newest"
            " where not is_deleted and not exists (select from {listed} where record_id = newest.{key})"
        )
        values = {"company_id": self._company_id, "entity": self._entity, "load_id": load_id, "known_at": known_at}
        with self._connection.transaction():
            self._connection.execute(sql.SQL("analyze {listed}").format(**self._names))
            gone = self._number("select count(*) " + vanished, values)
            if not gone:
                return 0
            self._refuse_too_many(gone, values)
            owner = "" if self._entity in _WITHOUT_OWNER else ", {owner}"
            self._connection.execute(
                sql.SQL(
                    "insert into {raw} (company_id, {key}, updated_at, revision, made_at, known_at, is_backfill,"
                    " is_deleted, is_vanished, load_id"
                    + owner
                    + ") select company_id, {key}, updated_at, revision + 1,"
                    " greatest(%(known_at)s, coalesce(made_at, updated_at) + interval '1 microsecond'), %(known_at)s,"
                    " false, true, true, %(load_id)s" + owner + " " + vanished
                ).format(**self._names),
                values,
            )
            self._connection.execute(
                sql.SQL(
                    "update {cursors} set deletions_accepted_at = null"
                    " where company_id = %(company_id)s and entity = %(entity)s"
                ).format(**self._names),
                values,
            )
        return gone

    def _refuse_too_many(self, gone: int, values: dict[str, Any]) -> None:
        live = self._number(
            "select count(*) from (select distinct on ({key}) is_deleted from {raw} where company_id = %(company_id)s"
            " order by {key}, updated_at desc, revision desc) as newest where not is_deleted",
            values,
        )
        believable = gone <= max(LARGEST_VANISHED_SHARE * live, FEWEST_VANISHED) and self.count() > 0
        accepted = self._number(
            "select count(deletions_accepted_at) from {cursors}"
            " where company_id = %(company_id)s and entity = %(entity)s",
            values,
        )
        if not believable and not accepted:
            raise TooManyVanished(self._entity, gone, live)

    def _number(self, query: str, values: dict[str, Any]) -> int:
        statement = sql.SQL(query).format(**self._names)
        (number,) = self._connection.execute(statement, values).fetchone() or (0,)
        return int(number)


def read_comparison(connection: psycopg.Connection[Any], company_id: int, entity: str) -> Comparison:
    """When ids were last compared; never, where there was no load."""
    row = connection.execute(
        sql.SQL("select compared_at, still_unaccounted from {} where company_id = %s and entity = %s").format(
            SYNC_CURSORS.identifier
        ),
        (company_id, entity),
    ).fetchone()
    return Comparison(*row) if row else Comparison(None, None)


def note_comparison(
    connection: psycopg.Connection[Any], company_id: int, entity: str, *, compared_at: datetime, unaccounted: int | None
) -> None:
    """Keep when ids were compared, and by how many records both still differ."""
    connection.execute(
        sql.SQL(
            "insert into {} (company_id, entity, compared_at, still_unaccounted) values (%s, %s, %s, %s)"
            " on conflict (company_id, entity) do update"
            " set compared_at = excluded.compared_at, still_unaccounted = excluded.still_unaccounted"
        ).format(SYNC_CURSORS.identifier),
        (company_id, entity, compared_at, unaccounted),
    )
