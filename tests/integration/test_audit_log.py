"""The trail: whoever changes a company by whatever means leaves a row, and no row is changed or taken away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from warehouse.companies import Company
from warehouse.connection import Warehouse
from warehouse.operations_log import record_audit

Add = Callable[..., Company]


def trail(warehouse: Warehouse) -> list[dict[str, Any]]:
    with warehouse.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("select * from ops.audit_log order by audit_id").fetchall()


def test_a_change_by_plain_sql_is_on_record_with_the_login_that_made_it(warehouse: Warehouse, add_company: Add) -> None:
    add_company("acme", horizon_days=30)
    with warehouse.connect() as connection:
        connection.execute("update ops.companies set horizon_days = 60, name = 'Acme Inc'")
        connection.execute("delete from ops.companies")
    added, changed, removed = trail(warehouse)
    assert (added["action"], added["actor"], added["database_user"]) == ("company.added", "tests", "churn_owner")
    assert (changed["action"], changed["actor"]) == ("company.changed", "churn_owner")
    assert changed["before"] == {"horizon_days": 30, "name": "Acme"}
    assert changed["after"] == {"horizon_days": 60, "name": "Acme Inc"}
    assert (removed["action"], removed["before"]["slug"], removed["after"]) == ("company.removed", "acme", None)


def test_an_actor_said_in_one_transaction_is_not_believed_in_the_next(warehouse: Warehouse, add_company: Add) -> None:
    add_company("acme")
    with warehouse.connect() as connection:
        with connection.transaction():
            connection.execute("select set_config('churn.actor', 'ann', true)")
            connection.execute("update ops.companies set horizon_days = 31")
        with connection.transaction():
            connection.execute("update ops.companies set horizon_days = 32")
    assert [row["actor"] for row in trail(warehouse)] == ["tests", "ann", "churn_owner"]


def test_what_changes_nothing_leaves_no_row(warehouse: Warehouse, add_company: Add) -> None:
    add_company("acme")
    with warehouse.connect() as connection:
        connection.execute("update ops.companies set updated_at = now(), name = name")
    assert len(trail(warehouse)) == 1


def test_no_secret_reaches_the_trail_even_where_sql_wrote_it_in_clear(warehouse: Warehouse, add_company: Add) -> None:
    add_company("acme")
    with warehouse.connect() as connection:
        connection.execute(
            """update ops.companies set connector_settings = '{
                "api_key": "planted-1", "base_url": "https://ann:planted-2@crm.example", "token": 4711,
                "customers": [{"password": "planted-3"}], "other_key": "encrypted:planted-4", "key": "env:ACME"
            }', notification_addresses = '{ann@acme.example,https://hooks.example/planted-5}'"""
        )
    told = str(trail(warehouse))
    assert "planted" not in told
    assert "4711" not in told
    assert "env:ACME" in told
    assert "ann@acme.example" in told


@pytest.mark.parametrize(
    "statement",
    [
        "update ops.audit_log set actor = 'somebody else'",
        "delete from ops.audit_log",
        "truncate ops.audit_log",
        "truncate ops.companies cascade",
    ],
)
def test_the_owner_himself_cannot_change_the_trail(warehouse: Warehouse, add_company: Add, statement: str) -> None:
    add_company("acme")
    with warehouse.connect() as connection:
        record_audit(connection, actor="tests", action="tried")
        connection.commit()
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            connection.execute(statement)  # type: ignore[call-overload]
        connection.rollback()
    assert [row["action"] for row in trail(warehouse)] == ["company.added", "tried"]
