"""A canary is seen in every table that there is, new ones too: nobody has to think of them."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.conftest import TestServer
from tests.integration.column_values import VALUES
from tests.integration.conftest import TwoCompanies
from warehouse.privacy.canaries import Canary, look_in_tables

pytestmark = pytest.mark.xdist_group("two_companies")

MARK = "canary-of-the-first-000017"
TEXTS = ("text", "character varying", "json", "jsonb", "text[]")
PLANTED = {"json": f"""'["{MARK}"]'""", "jsonb": f"""'["{MARK}"]'""", "text[]": f"'{{{MARK}}}'"}
# It holds the marks themselves.
THEIR_OWN = "ops.canaries"


def plant(connection: psycopg.Connection[Any], table: str, other: int) -> bool:
    """A row of the other company with the mark in a column of text; false where the table has none.

    What a made-up row breaks is taken from the table.
    """
    columns = connection.execute(
        "select quote_ident(attname), format_type(atttypid, null) from pg_attribute where attrelid = %s::regclass"
        " and attnum > 0 and not attisdropped and attidentity = '' and attgenerated = ''",
        [table],
    ).fetchall()
    marked = next((name for name, kind in columns if kind in TEXTS), None)
    if marked is None:
        return False
    row = {name: VALUES.get(kind, "'1'") for name, kind in columns}
    row |= {marked: PLANTED.get(dict(columns)[marked], f"'{MARK}'")} | (
        {"company_id": str(other)} if "company_id" in row else {}
    )
    insert = f"insert into {table} ({', '.join(row)}) values ({', '.join(row.values())})"
    while True:
        try:
            with connection.transaction():
                connection.execute(insert)  # type: ignore[call-overload]
            return True
        except psycopg.errors.UniqueViolation:  # What is there gets the mark.
            there = f"ctid = (select min(ctid) from {table} where company_id = {other})"
            insert = f"update {table} set {marked} = {row[marked]} where {there}"
        except psycopg.errors.CheckViolation as error:
            connection.execute(f"alter table {table} drop constraint {error.diag.constraint_name}")  # type: ignore[call-overload]


def test_a_mark_in_any_table_is_seen_there(postgres: TestServer, two_companies: TwoCompanies) -> None:
    company_id, other = two_companies.company_ids
    canary = Canary(company_id, "first", MARK, (MARK,))
    with two_companies.warehouse.connect() as owner:
        database = owner.info.dbname
    with psycopg.connect(postgres.server.url(database=database, superuser=True)) as connection:
        connection.execute("set session_replication_role = replica")
        assert look_in_tables(connection, [canary]) == []
        tables = connection.execute(
            "select oid::regclass::text, relnamespace::regnamespace::text || '.' || relname from pg_class"
            " where relkind in ('r', 'p') and not relispartition and relpersistence <> 't'"
            " and relnamespace::regnamespace::text !~ '^(pg_|information_schema)'"
        ).fetchall()
        planted = {name for table, name in tables if name != THEIR_OWN and plant(connection, table, other)}
        assert len(planted) > 70
        assert {sighting.place for sighting in look_in_tables(connection, [canary])} == planted
        connection.rollback()
