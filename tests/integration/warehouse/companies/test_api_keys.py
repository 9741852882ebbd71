"""Keys of the HTTP API as the warehouse keeps them: logins that come and go with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from foundation.keys import Key
from tests.integration.conftest import Churn
from warehouse.companies.api_keys import Access, KeyNotFound, access_by, create_key, list_keys, revoke_key, spend
from warehouse.companies.definition import Company
from warehouse.companies.registry import disable_company
from warehouse.connection import Warehouse
from warehouse.privacy.company_removal import remove_company
from warehouse.role_check import roles_out_of_order
from warehouse.roles import Role, company_key_login, company_logins


def make(connection: psycopg.Connection[Any], per_minute: int = 600) -> Key:
    return create_key(
        connection,
        "acme",
        scopes=("read",),
        expires_at=datetime.now(UTC) + timedelta(days=1),
        requests_per_minute=per_minute,
        note="tests",
        actor="tests",
    )


def access(warehouse: Warehouse, key: Key) -> Access:
    with warehouse.connect(Role.api, autocommit=True) as desk:
        known = access_by(desk, key.text)
    assert known is not None
    return known


def test_a_key_logs_in_until_it_is_revoked_and_the_roles_stay_in_order(
    warehouse: Warehouse, lone_acme: Company
) -> None:
    with warehouse.connect() as connection:
        key = make(connection)
    login = access(warehouse, key)
    assert key.text not in repr(login)
    assert login.password not in repr(login)
    address = make_conninfo(warehouse.url("postgresql"), user=login.login, password=login.password)
    with psycopg.connect(address) as mine:
        assert mine.execute("select session_user").fetchone() == (login.login,)
    with warehouse.connect() as connection:
        assert roles_out_of_order(connection) == []
        connection.execute(f"grant churn_operator to {login.login}")  # type: ignore[call-overload]
        assert any(login.login in line for line in roles_out_of_order(connection))
        connection.execute(f"revoke churn_operator from {login.login}")  # type: ignore[call-overload]
        revoked = revoke_key(connection, key.prefix, "tests")
        assert revoked.revoked_at is not None
        assert login.login not in company_logins(connection, lone_acme.company_id)
        with pytest.raises(KeyNotFound):
            revoke_key(connection, key.prefix, "tests")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(address)
    with warehouse.connect() as connection:
        actions = connection.execute(
            "select action from ops.audit_log where company_id = %s and action like 'key.%%' order by audit_id",
            [lone_acme.company_id],
        ).fetchall()
    assert actions == [("key.created",), ("key.revoked",)]


def test_a_company_that_is_removed_takes_its_keys_along(warehouse: Warehouse, lone_acme: Company) -> None:
    with warehouse.connect() as connection:
        key = make(connection)
    with warehouse.connect(Role.api, autocommit=True) as desk:
        spend(desk, access(warehouse, key))
    with warehouse.connect(autocommit=True) as connection:
        disable_company(connection, "acme", "tests")
        erased = remove_company(connection, "acme", "tests")
        assert (erased["ops.api_keys"], erased["ops.api_use"]) == (1, 1)
        login = company_key_login(lone_acme.company_id, key.prefix)
        assert connection.execute("select from pg_roles where rolname = %s", [login]).fetchone() is None


def test_an_allowance_is_spent_and_comes_back(warehouse: Warehouse, lone_acme: Company) -> None:
    with warehouse.connect() as connection:
        key = make(connection, per_minute=3)
    mine = access(warehouse, key)
    with warehouse.connect(Role.api, autocommit=True) as desk:
        spent = [spend(desk, mine) for _ in range(4)]
    assert [each.retry_after == 0 for each in spent] == [True, True, True, False]
    assert [each.remaining for each in spent] == [2, 1, 0, 0]
    assert 19 < spent[3].retry_after <= 20
    with warehouse.connect() as connection:
        connection.execute("update ops.api_use set spent_until = spent_until - interval '21 seconds'")
    with warehouse.connect(Role.api, autocommit=True) as desk:
        assert spend(desk, mine).retry_after == 0
        assert spend(desk, mine).retry_after > 0


def test_the_commands_make_show_and_end_a_key(warehouse: Warehouse, lone_acme: Company, churn: Churn) -> None:
    made = churn("key", "create", "--company", "acme", "--note", "the CRM", "--scope", "read", "--scope", "score")
    (text,) = made.stdout.splitlines()
    assert text.startswith("churn_")
    with warehouse.connect() as connection:
        (kept,) = list_keys(connection, "acme")
    assert (kept.scopes, kept.note, kept.used_at) == (["read", "score"], "the CRM", None)
    listed = churn("key", "list").output
    assert kept.key_prefix in listed
    assert "never" in listed
    assert text not in listed
    assert churn("key", "create", "--company", "acme", "--scope", "write").exit_code == 1
    ended = churn("key", "revoke", text)
    assert f"{kept.key_prefix} of acme is revoked" in ended.output
    assert text not in ended.output
    assert "revoked" in churn("key", "list", "--company", "acme").output
