"""Somebody with the owner's password writes a row of the trail that tells of another time, or another login."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from tests.conftest import TestServer
from warehouse.connection import Warehouse

FORGED = (
    "insert into ops.audit_log (happened_at, actor, action, database_user) values ('2020-01-01', 'ann', 'x', 'ann')",
    "insert into ops.audit_log (audit_id, happened_at, actor, action, database_user)"
    " overriding system value values (-1, 'infinity', 'ann', 'x', 'postgres')",
    "copy ops.audit_log (happened_at, actor, action, database_user) from stdin",
)


@pytest.mark.parametrize("forged", FORGED)
def test_a_row_has_the_servers_time_and_the_login_that_wrote_it(warehouse: Warehouse, forged: str) -> None:
    before = datetime.now(UTC)
    with warehouse.connect() as owner:
        if forged.startswith("copy"):
            with owner.cursor().copy(forged) as copy:  # type: ignore[arg-type]
                copy.write("2020-01-01\tann\tx\tann\n")
        else:
            owner.execute(forged)  # type: ignore[call-overload]
        at, login = owner.execute("select happened_at, database_user from ops.audit_log").fetchone() or (None, None)
    assert login == "churn_owner"
    assert before <= at <= datetime.now(UTC)


@pytest.mark.parametrize(
    "way_round",
    [
        "set session_replication_role = replica",
        "set session authorization postgres",
        "update ops.audit_log set happened_at = '2020-01-01'",
        "delete from ops.audit_log",
        "truncate ops.audit_log",
        "merge into ops.audit_log as log using (values (1)) as one on true"
        " when matched then update set database_user = 'ann'",
        "insert into ops.audit_log (audit_id, actor, action) overriding system value"
        " select max(audit_id), 'ann', 'x' from ops.audit_log on conflict (audit_id) do update set actor = 'ann'",
        "with gone as (delete from ops.audit_log returning *) insert into ops.audit_log (actor, action)"
        " select 'ann', action from gone",
    ],
)
def test_there_is_no_way_round_it_but_the_one_that_is_documented(warehouse: Warehouse, way_round: str) -> None:
    with warehouse.connect() as owner:
        owner.execute("insert into ops.audit_log (actor, action) values ('ann', 'x')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            owner.execute(way_round)  # type: ignore[call-overload]


def test_who_takes_on_a_role_is_told_by_the_login_that_he_came_with(warehouse: Warehouse, postgres: TestServer) -> None:
    with warehouse.connect() as owner:
        database = owner.info.dbname
    with psycopg.connect(postgres.server.url(database=database, superuser=True)) as administrator:
        administrator.execute("set role churn_owner")
        row = administrator.execute(
            "insert into ops.audit_log (actor, action) values ('ann', 'x') returning database_user"
        ).fetchone()
        administrator.rollback()
    assert row == ("postgres",)
