"""A company asks for plans until the planner's estimates tell it what another company's rows hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from tests.conftest import TestServer
from tests.integration.conftest import TwoCompanies
from warehouse.publication.estimates import PLANNED_BY
from warehouse.roles import Role, company_login

pytestmark = pytest.mark.xdist_group("two_companies")

READABLE = """
    select oid::regclass::text from pg_class
    where relkind in ('r', 'p') and relnamespace::regnamespace::text in ('analytics', 'predictions')
        and (has_any_column_privilege('churn_company', oid, 'select')
            or has_any_column_privilege('churn_company_sync', oid, 'select'))
    order by 1
"""
# A value that no company has, and others that nobody has: on both sides of it, and of all that there is.
PLANTED = {
    "text": ("qqq-canary", ("", "qqq-canarx", "qqq-canarz", "~~~~")),
    "integer": (777_777_771, (-777_777_779, 777_777_770, 777_777_772)),
    "bigint": (777_777_771, (-777_777_779, 777_777_770, 777_777_772)),
    "double precision": (777_777_771.5, (-777_777_779, 777_777_770, 777_777_772)),
    "numeric": (777_777_771.5, (-777_777_779, 777_777_770, 777_777_772)),
    "boolean": (True, (False,)),
    "date": ("1999-12-31", ("1999-12-30", "2000-01-01", "2200-01-01")),
    "timestamp with time zone": ("1999-12-31", ("1999-12-30", "2000-01-01", "2200-01-01")),
    "jsonb": ('["qqq-canary"]', ('["qqq-canarx"]', "{}")),
    "text[]": ("{qqq-canary}", ("{qqq-canarx}", "{}")),
}
WITHOUT_ORDER = ("json",)


@pytest.fixture(scope="module")
def administrator(postgres: TestServer, two_companies: TwoCompanies) -> Iterator[psycopg.Connection[Any]]:
    """Plants what a company could have, and takes on a company's login; nothing is committed."""
    with two_companies.warehouse.connect() as owner:
        database = owner.info.dbname
    with psycopg.connect(postgres.server.url(database=database, superuser=True)) as connection:
        connection.execute("set session_replication_role = replica")
        yield connection
        connection.rollback()


def plant(connection: psycopg.Connection[Any], table: str, column: str, kind: str, company_id: int) -> None:
    """Into all rows of the company, or one where a key allows no more. What a made-up value breaks is dropped."""
    value = PLANTED[kind][0]
    first_row = f"and ctid = (select min(ctid) from {table} where company_id = {company_id})"
    restriction = ""
    while True:
        update = f"update {table} set {column} = %s::{kind} where company_id = {company_id} {restriction}"
        try:
            with connection.transaction():
                connection.execute(update, [value])  # type: ignore[call-overload]
            return
        except psycopg.errors.CheckViolation as error:
            connection.execute(f"alter table {table} drop constraint {error.diag.constraint_name}")  # type: ignore[call-overload]
        except psycopg.errors.UniqueViolation:
            restriction = first_row


def rows_expected(connection: psycopg.Connection[Any], table: str, condition: str) -> int:
    (plan,) = connection.execute(f"explain (format json) select from {table} where {condition}").fetchone() or ()  # type: ignore[call-overload]
    return int(plan[0]["Plan"]["Plan Rows"])


def told_apart(connection: psycopg.Connection[Any], table: str, column: str, kind: str) -> list[str]:
    """The comparisons by which estimates for the planted value differ from those for values that nobody has."""
    value, others = PLANTED[kind]
    told = []
    for operator in ("=", "<", ">", "<=", ">=", "<>"):
        estimates = {
            rows_expected(connection, table, f"{column} {operator} '{each}'::{kind}") for each in (value, *others)
        }
        if len(estimates) > 1:
            told.append(f"{table}.{column} {operator}: {sorted(estimates)}")
    return told


def test_no_value_of_another_company_is_told_apart_by_estimates(
    two_companies: TwoCompanies, administrator: psycopg.Connection[Any]
) -> None:
    company_id, other = two_companies.company_ids
    told, tried = [], 0
    for (table,) in administrator.execute(READABLE).fetchall():
        columns = administrator.execute(
            "select quote_ident(attname), format_type(atttypid, null) from pg_attribute where attrelid = %s::regclass"
            " and attnum > 0 and not attisdropped and attidentity = '' and attname <> all (%s)",
            [table, [*PLANNED_BY]],
        ).fetchall()
        for column, kind in columns:
            if kind in WITHOUT_ORDER:
                continue
            with administrator.transaction(force_rollback=True):
                plant(administrator, table, column, kind, other)
                administrator.execute(f"analyze {table}")  # type: ignore[call-overload]
                with suppress(psycopg.errors.InsufficientPrivilege), administrator.transaction():
                    administrator.execute(f"set local role {company_login(company_id, Role.company)}")  # type: ignore[call-overload]
                    told += told_apart(administrator, table, column, kind)
                    tried += 1
    assert tried > 250
    assert told == []


def test_nothing_is_kept_of_what_companies_read_but_which_companies_and_dates_there_are(
    two_companies: TwoCompanies, administrator: psycopg.Connection[Any]
) -> None:
    """Of indexes on expressions, partitions and pairs of columns neither."""
    with administrator.transaction(force_rollback=True):
        readable = [table for (table,) in administrator.execute(READABLE).fetchall()]
        administrator.execute(f"analyze {', '.join(readable)}")  # type: ignore[call-overload]
        kept = administrator.execute(
            "select distinct starelid::regclass::text, attname from pg_statistic"
            " join pg_attribute on attrelid = starelid and attnum = staattnum"
            " left join pg_index on indexrelid = starelid left join pg_inherits on inhrelid = starelid"
            " where coalesce(indrelid, inhparent, starelid)::regclass::text = any (%s) and attname <> all (%s)",
            [readable, [*PLANNED_BY]],
        ).fetchall()
        pairs = administrator.execute("select stxrelid::regclass::text from pg_statistic_ext").fetchall()
    assert kept == []
    assert [table for (table,) in pairs if table in readable] == []


def test_every_index_begins_with_the_company_so_that_no_plan_counts_rows_of_others(
    two_companies: TwoCompanies, administrator: psycopg.Connection[Any]
) -> None:
    """`explain analyze` says how many rows of an index a filter removed: those of other companies, where it could."""
    rows = administrator.execute(
        "select indexrelid::regclass::text from pg_index left join pg_attribute on attrelid = indrelid"
        " and attnum = indkey[0] where indrelid::regclass::text = any (%s) and attname is distinct from 'company_id'",
        [[table for (table,) in administrator.execute(READABLE).fetchall()]],
    ).fetchall()
    assert rows == []


def test_what_an_earlier_version_sampled_is_forgotten(two_companies: TwoCompanies) -> None:
    from pipeline.prediction.tasks import CONTRACTS
    from warehouse.publication.contract import ensure_contract

    query = "select count(*) from pg_stats where schemaname = 'predictions' and attname <> all (%s)"
    with two_companies.warehouse.connect() as owner:
        for contract in CONTRACTS:
            owner.execute(
                contract.compose(
                    "alter table {scores_v1} no force row level security, alter risk_level set statistics -1"
                )
            )
            owner.execute(contract.compose("analyze {scores_v1}"))
        assert owner.execute(query, [[*PLANNED_BY]]).fetchone() == (len(CONTRACTS),)
        for contract in CONTRACTS:
            ensure_contract(owner, contract)
            owner.execute(contract.compose("alter table {scores_v1} no force row level security"))
            owner.execute(contract.compose("analyze {scores_v1}"))
        assert owner.execute(query, [[*PLANNED_BY]]).fetchone() == (0,)
        owner.rollback()
