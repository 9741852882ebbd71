"""The trail: whoever changes a company by whatever means leaves a row, and no row is changed or taken away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from pipeline.integrations.metabase.login import WarehouseLogins
from pipeline.integrations.metabase.scopes import CompanyFacts, Scope
from tests.integration.company_ids import take_ids_of_no_other_test
from warehouse.companies.definition import Company
from warehouse.companies.registry import disable_company
from warehouse.connection import Warehouse
from warehouse.logs.operations import record_audit
from warehouse.prediction.model_log import Promotion, record_promotion
from warehouse.privacy.company_removal import remove_company
from warehouse.roles import Role
from warehouse.settings import Settings

Add = Callable[..., Company]


def trail(warehouse: Warehouse) -> list[dict[str, Any]]:
    with warehouse.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("select * from ops.audit_log order by audit_id").fetchall()


def test_a_change_by_plain_sql_is_on_record_with_the_login_that_made_it(warehouse: Warehouse, add_company: Add) -> None:
    add_company("acme", horizon_days=30)
    with warehouse.connect() as connection:
        connection.execute("update ops.companies set name = 'Acme Inc', currency = 'GBP'")
        connection.execute("""update ops.company_tasks set settings = settings || '{"horizon_days": 60}'""")
        connection.execute("delete from ops.company_tasks")
        connection.execute("delete from ops.companies")
    added, switched_on, changed, task_changed, switched_off, removed = trail(warehouse)
    before, after = ({"churn": {"kind": "cancellation", "horizon_days": days}} for days in (30, 60))
    assert (added["action"], added["actor"], added["database_user"]) == ("company.added", "tests", "churn_owner")
    assert (switched_on["action"], switched_on["actor"]) == ("company.task_switched_on", "tests")
    assert (switched_on["before"], switched_on["after"]) == (None, {"tasks": before})
    assert (changed["action"], changed["actor"]) == ("company.changed", "churn_owner")
    assert changed["before"] == {"currency": "EUR", "name": "Acme"}
    assert changed["after"] == {"currency": "GBP", "name": "Acme Inc"}
    assert (task_changed["action"], task_changed["actor"]) == ("company.task_changed", "churn_owner")
    assert (task_changed["before"], task_changed["after"]) == ({"tasks": before}, {"tasks": after})
    assert (switched_off["action"], switched_off["actor"]) == ("company.task_switched_off", "churn_owner")
    assert (switched_off["before"], switched_off["after"]) == ({"tasks": after}, None)
    assert {row["company_id"] for row in trail(warehouse)} == {added["company_id"]}
    assert (removed["action"], removed["before"]["slug"], removed["after"]) == ("company.removed", "acme", None)


def test_an_actor_said_in_one_transaction_is_not_believed_in_the_next(warehouse: Warehouse, add_company: Add) -> None:
    add_company("acme")
    with warehouse.connect() as connection:
        with connection.transaction():
            connection.execute("select set_config('churn.actor', 'ann', true)")
            connection.execute("update ops.companies set currency = 'USD'")
        with connection.transaction():
            connection.execute("update ops.companies set currency = 'GBP'")
    assert [row["actor"] for row in trail(warehouse)] == ["tests", "tests", "ann", "churn_owner"]


def test_what_changes_nothing_leaves_no_row(warehouse: Warehouse, add_company: Add) -> None:
    add_company("acme")
    with warehouse.connect() as connection:
        before = trail(warehouse)
        connection.execute("update ops.companies set updated_at = now(), name = name")
        connection.execute("update ops.company_tasks set updated_at = now(), settings = settings")
    assert trail(warehouse) == before


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


def test_whoever_lets_another_model_publish_is_on_record_and_a_kept_champion_is_not(
    warehouse: Warehouse, add_company: Add
) -> None:
    company = add_company("acme")
    first = Promotion(company.company_id, "churn", "first", "churn-acme", None, "1", "none before", {}, "training")
    decisions = [
        first,
        replace(first, event="kept", from_version="1", to_version="2", why="not better"),
        replace(first, event="replaced", from_version="1", to_version="3", why="cannot read pg://ann:planted@host/x"),
        replace(first, event="rolled_back", from_version="3", to_version="1", actor="ann"),
    ]
    with warehouse.connect(Role.ml) as connection:
        for decision in decisions:
            record_promotion(connection, decision)
    _, _, *rows = trail(warehouse)
    assert [(row["action"], row["actor"], row["database_user"]) for row in rows] == [
        ("model.first", "training", "churn_owner"),
        ("model.replaced", "training", "churn_owner"),
        ("model.rolled_back", "ann", "churn_owner"),
    ]
    assert [row["company_id"] for row in rows] == [company.company_id] * 3
    assert rows[1]["before"] == {"model": "churn-acme", "version": "1"}
    assert rows[1]["after"]["version"] == "3"
    assert rows[1]["after"]["why"] == "cannot read pg://ann:***@host/x"
    with warehouse.connect(Role.ml) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        record_audit(connection, actor="training", action="model.promoted")


def test_metabases_login_is_on_record_when_it_is_made_opened_closed_and_dropped(
    warehouse: Warehouse, add_company: Add, tmp_path: Path
) -> None:
    with warehouse.connect() as connection:
        take_ids_of_no_other_test(connection)
    company = add_company("acme")
    scope = Scope(CompanyFacts(company.company_id, "acme", "Acme", "EUR"))
    login = f"company_{company.company_id}_metabase"
    logins = WarehouseLogins(warehouse, Settings(home=tmp_path), "ann")
    for change in (logins.close, logins.open, logins.open, logins.close, logins.close, logins.open):
        change(scope)
    with warehouse.connect() as connection:
        disable_company(connection, "acme", "bob")
        remove_company(connection, "acme", "bob")
    rows = trail(warehouse)
    assert [(row["actor"], row["action"]) for row in rows[1:]] == [
        ("tests", "company.task_switched_on"),
        ("ann", "login.made"),
        ("ann", "login.opened"),
        ("ann", "login.closed"),
        ("ann", "login.opened"),
        ("bob", "company.disabled"),
        ("bob", "company.task_switched_off"),
        ("bob", "company.erased"),
        ("bob", "company.removed"),
    ]
    assert rows[3]["after"] == {"login": login, "group": "churn_company"}
    assert login in rows[-2]["before"]["logins"]
    assert {row["company_id"] for row in rows} == {company.company_id}


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
    assert [row["action"] for row in trail(warehouse)] == ["company.added", "company.task_switched_on", "tried"]
