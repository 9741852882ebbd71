"""What a load expects of its source after earlier ones, and what somebody said need no longer be expected.

Columns that loads have filled are expected to be there; many deletions at once are not expected.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from warehouse.relations import SYNC_CURSORS


@dataclass(frozen=True)
class ExpectedColumns:
    """filled: what loads have filled, by the contract's names. accepted: columns of the source that may be missing."""

    filled: frozenset[str]
    accepted: frozenset[str]


def read_expected(connection: psycopg.Connection[Any], company_id: int, entity: str) -> ExpectedColumns:
    """Nothing is expected before the first load."""
    row = connection.execute(
        sql.SQL("select filled_columns, accepted_columns from {} where company_id = %s and entity = %s").format(
            SYNC_CURSORS.identifier
        ),
        (company_id, entity),
    ).fetchone()
    filled, accepted = row or ((), ())
    return ExpectedColumns(frozenset(filled), frozenset(accepted))


def expect(connection: psycopg.Connection[Any], company_id: int, entity: str, columns: Collection[str]) -> None:
    """Expect these columns from now on, besides those of before."""
    _add(connection, company_id, entity, "filled_columns", columns)


def accept_missing(connection: psycopg.Connection[Any], company_id: int, entity: str, columns: Collection[str]) -> None:
    """Let these columns, as the source calls them, be missing."""
    _add(connection, company_id, entity, "accepted_columns", columns)


def accept_deletions(connection: psycopg.Connection[Any], company_id: int, entity: str) -> None:
    """Let the next load that misses many records take them for deleted; the one after it asks again."""
    connection.execute(
        sql.SQL(
            "insert into {} (company_id, entity, deletions_accepted_at) values (%s, %s, now())"
            " on conflict (company_id, entity) do update set deletions_accepted_at = excluded.deletions_accepted_at"
        ).format(SYNC_CURSORS.identifier),
        (company_id, entity),
    )


def _add(
    connection: psycopg.Connection[Any], company_id: int, entity: str, column: str, names: Collection[str]
) -> None:
    connection.execute(
        sql.SQL(
            "insert into {cursors} as known (company_id, entity, {column}) values (%s, %s, %s)"
            " on conflict (company_id, entity) do update set {column} = array("
            "select distinct unnest(known.{column} || excluded.{column}) order by 1)"
        ).format(cursors=SYNC_CURSORS.identifier, column=sql.Identifier(column)),
        (company_id, entity, sorted(names)),
    )
