"""The registry of companies, the audit log and the run log."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from pipeline.companies import parse_definition
from pipeline.prediction.tasks import churn_settings_of
from warehouse.companies.definition import Company
from warehouse.companies.registry import add_company as register
from warehouse.companies.registry import (
    companies_with,
    disable_company,
    get_company,
    issue_company_password,
    list_companies,
    set_company_clock,
)
from warehouse.connection import Warehouse
from warehouse.errors import CompanyNotFound
from warehouse.logs.operations import record_run
from warehouse.roles import Role

# A login's password is the server's, and the server is shared: one after the other.
pytestmark = pytest.mark.xdist_group("company_passwords")

Add = Callable[..., Company]
ADDED = ["company.added", "company.task_switched_on"]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def audit(warehouse: Warehouse) -> list[dict[str, Any]]:
    with warehouse.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("select * from ops.audit_log order by audit_id").fetchall()


def test_a_company_comes_back_as_it_was_defined(warehouse: Warehouse, add_company: Add) -> None:
    added = add_company(
        "shop",
        churn_kind="inactivity",
        inactivity_days=90,
        entities=["customers", "payments"],
        connector="files",
        connector_settings={"payments": {"path": "sales.csv", "columns": {"amount": "Total"}}},
        shares_training=True,
        clock_at=NOON,
    )
    with warehouse.connect() as connection:
        assert get_company(connection, "shop") == added
    assert added.company_id == 1
    assert added.is_active
    assert added.clock_at == NOON
    assert added.connector_settings["payments"]["columns"] == {"amount": "Total"}


def test_what_a_company_says_of_itself_comes_back(warehouse: Warehouse, add_company: Add) -> None:
    added = add_company(
        "acme",
        churn_kind="downgrade",
        downgrade_share=0.5,
        business_hours={"tuesday": ["09:00", "24:00"], "monday": ["08:30", "17:00"]},
        custom_attributes=[{"name": "industry", "kind": "category", "is_fixed": True}],
        segment_by="industry",
        personal_data="hash",
        notification_addresses=["team@acme.example", "env:CHURN_SOURCE_ACME__WEBHOOK"],
        notifications={"owner": "Dana", "quiet_hours": ["20:00", "07:00"], "tell": ["model", "high_risk"]},
        entities=["customers", "events"],
    )
    with warehouse.connect() as connection:
        assert get_company(connection, "acme") == added
        stored = connection.execute("select business_hours, custom_attributes from ops.companies").fetchone()
    assert stored == (
        {"monday": ["08:30", "17:00"], "tuesday": ["09:00", "24:00"]},
        [{"name": "industry", "kind": "category", "is_fixed": True, "label": "Industry", "unit": "name"}],
    )
    add_company("acme")
    with warehouse.connect() as connection:
        again = get_company(connection, "acme")
    churn = churn_settings_of(again)
    assert churn is not None
    assert (again.business_hours, again.custom_attributes, churn.downgrade_share) == (None, (), None)


def test_adding_is_audited_with_actor_and_definition(warehouse: Warehouse, add_company: Add) -> None:
    add_company("acme", connector_settings={"api_key": "env:CHURN_SOURCE_ACME__KEY"})
    row, task = audit(warehouse)
    assert (row["actor"], row["action"], row["company_id"]) == ("tests", "company.added", 1)
    assert row["before"] is None
    assert (task["actor"], task["action"], task["company_id"]) == ("tests", "company.task_switched_on", 1)
    assert (task["before"], task["after"]) == (None, {"tasks": {"churn": {"kind": "cancellation", "horizon_days": 30}}})
    assert row["after"]["connector_settings"] == {"api_key": "env:CHURN_SOURCE_ACME__KEY"}


def test_the_same_definition_again_changes_nothing(warehouse: Warehouse, add_company: Add) -> None:
    first = add_company("acme", clock_at=NOON)
    with warehouse.connect() as connection:
        touched = connection.execute("select updated_at from ops.companies").fetchone()
    assert add_company("acme", clock_at=NOON) == first
    with warehouse.connect() as connection:
        assert connection.execute("select updated_at from ops.companies").fetchone() == touched
    assert [row["action"] for row in audit(warehouse)] == ADDED


def test_a_changed_definition_is_audited_by_the_fields_that_changed(warehouse: Warehouse, add_company: Add) -> None:
    add_company("acme")
    changed = add_company("acme", horizon_days=60)
    assert changed.tasks["churn"]["horizon_days"] == 60
    row = audit(warehouse)[-1]
    assert row["action"] == "company.task_changed"
    before, after = ({"churn": {"kind": "cancellation", "horizon_days": days}} for days in (30, 60))
    assert (row["before"], row["after"]) == ({"tasks": before}, {"tasks": after})
    add_company("acme", horizon_days=60, currency="GBP")
    row = audit(warehouse)[-1]
    assert row["action"] == "company.changed"
    assert (row["before"], row["after"]) == ({"currency": "EUR"}, {"currency": "GBP"})


def test_a_task_that_a_company_no_longer_names_is_off_and_keeps_its_settings(
    warehouse: Warehouse, add_company: Add
) -> None:
    both = {"churn": {"kind": "cancellation", "horizon_days": 30}, "support": {"horizon_days": 7}}
    definition = {"slug": "acme", "name": "Acme", "connector": "files", "currency": "EUR"}
    with warehouse.connect() as connection:
        assert register(connection, parse_definition(definition | {"tasks": both}), "ann").tasks == both
        only_support = parse_definition(definition | {"tasks": {"support": {"horizon_days": 7}}})
        register(connection, only_support, "ann")
        assert get_company(connection, "acme").tasks == {"support": {"horizon_days": 7}}
        assert companies_with(connection, "churn") == []
        assert [company.slug for company in companies_with(connection, "support")] == ["acme"]
        kept = connection.execute("select task, settings, is_active from ops.company_tasks order by task").fetchall()
    assert kept == [("churn", both["churn"], False), ("support", both["support"], True)]
    row = audit(warehouse)[-1]
    assert (row["actor"], row["action"]) == ("ann", "company.task_switched_off")
    assert (row["before"], row["after"]) == ({"tasks": {"churn": both["churn"]}}, None)


def test_a_disabled_company_is_listed_only_when_asked_for_and_added_again_is_active(
    warehouse: Warehouse, add_company: Add
) -> None:
    add_company("acme")
    add_company("other")
    with warehouse.connect() as connection:
        assert not disable_company(connection, "acme", "operator").is_active
        disable_company(connection, "acme", "operator")
        assert [company.slug for company in list_companies(connection)] == ["other"]
        assert [company.slug for company in list_companies(connection, active_only=False)] == ["acme", "other"]
    assert [row["action"] for row in audit(warehouse)] == [*ADDED, *ADDED, "company.disabled"]
    assert add_company("acme").is_active


def test_a_definition_that_does_not_speak_of_the_clock_leaves_it(warehouse: Warehouse, add_company: Add) -> None:
    add_company("acme", clock_at=NOON)
    with warehouse.connect() as connection:
        set_company_clock(connection, "acme", NOON + timedelta(days=1))
    assert add_company("acme").clock_at == NOON + timedelta(days=1)
    assert add_company("acme", clock_at=None).clock_at is None


def test_a_clock_without_an_offset_is_refused(warehouse: Warehouse, add_company: Add) -> None:
    add_company("acme")
    with warehouse.connect() as connection, pytest.raises(ValueError, match="has none"):
        set_company_clock(connection, "acme", datetime(2026, 3, 1))  # noqa: DTZ001


def test_an_unknown_slug_is_answered_with_those_there_are(warehouse: Warehouse, add_company: Add) -> None:
    with warehouse.connect() as connection, pytest.raises(CompanyNotFound, match="Registered: none"):
        get_company(connection, "acme")
    add_company("acme")
    with warehouse.connect() as connection, pytest.raises(CompanyNotFound, match=r"'amce'.*Registered: acme"):
        disable_company(connection, "amce", "operator")


def test_two_people_adding_one_company_at_once_add_it_once(warehouse: Warehouse, add_company: Add) -> None:
    definition = parse_definition(
        {
            "slug": "acme",
            "name": "Acme",
            "connector": "files",
            "churn_kind": "cancellation",
            "currency": "EUR",
        },
    )

    def add(actor: str) -> Company:
        with warehouse.connect() as connection:
            return register(connection, definition, actor)

    with ThreadPoolExecutor(1) as pool:
        with warehouse.connect() as slow, slow.transaction():
            first = register(slow, definition, "one")
            second = pool.submit(add, "two")
            with pytest.raises(TimeoutError):
                second.result(timeout=0.3)
        assert second.result(timeout=10) == first
    assert [row["action"] for row in audit(warehouse)] == ADDED


def test_a_company_has_its_two_roles_which_cannot_log_in_yet(warehouse: Warehouse, add_company: Add) -> None:
    company = add_company("acme")
    with warehouse.connect() as connection:
        members = connection.execute(
            "select member.rolname, role.rolname from pg_auth_members"
            " inner join pg_roles as member on member.oid = pg_auth_members.member"
            " inner join pg_roles as role on role.oid = pg_auth_members.roleid"
            " where member.rolname like %s order by 1",
            (f"company\\_{company.company_id}%",),
        ).fetchall()
    assert ("company_1", "churn_company") in members
    assert ("company_1_sync", "churn_company_sync") in members


def test_an_issued_password_opens_the_companys_door_and_is_audited_without_it(
    warehouse: Warehouse, add_company: Add
) -> None:
    add_company("acme")
    with warehouse.connect() as connection:
        login, old = issue_company_password(connection, "acme", Role.company, "operator")
        login, password = issue_company_password(connection, "acme", Role.company, "operator")
    address = make_conninfo(warehouse.url("postgresql"), user=login, password=password)
    with psycopg.connect(address) as connection:
        assert connection.execute("select current_user").fetchone() == ("company_1",)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(make_conninfo(address, password=old))
    row = audit(warehouse)[-1]
    assert (row["action"], row["after"]) == ("company.password_issued", {"login": "company_1"})


def test_a_run_is_logged_with_its_counts(warehouse: Warehouse, add_company: Add) -> None:
    company = add_company("acme")
    with warehouse.connect() as connection:
        run_log_id = record_run(
            connection,
            stage="score",
            status="succeeded",
            started_at=NOON,
            finished_at=NOON + timedelta(minutes=1),
            company_id=company.company_id,
            counts={"scores": 90},
        )
        record_run(connection, stage="transform", status="failed", started_at=NOON, error="dbt: 1 test failed")
        rows = connection.execute(
            "select run_log_id, stage, status, company_id, counts, error from ops.run_log order by 1"
        ).fetchall()
    assert rows == [
        (run_log_id, "score", "succeeded", 1, {"scores": 90}, None),
        (run_log_id + 1, "transform", "failed", None, {}, "dbt: 1 test failed"),
    ]
