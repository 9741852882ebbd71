"""Companies that are left out: who is, why, since when, and what lets them in again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from pipeline.companies import parse_definition
from warehouse.companies.definition import Company
from warehouse.companies.quarantine import (
    begin_quarantines,
    companies_at_work,
    end_outdated_quarantines,
    end_quarantine,
    open_quarantines,
)
from warehouse.companies.registry import change_company, disable_company, enable_company
from warehouse.connection import Warehouse
from warehouse.errors import CompanyNotFound

Add = Callable[..., Company]
SQL_OF_TODAY = "5c3c6f83a92f"


def leave_out(connection: psycopg.Connection[Any], company: Company, reason: str = "too long") -> None:
    begin_quarantines(
        connection, {company.company_id: ("building a mart", reason)}, made_by=SQL_OF_TODAY, dagster_run_id="run"
    )
    # What happens to it is later, by the clock of transactions.
    connection.commit()


def test_shared_steps_work_on_active_companies_in_no_quarantine(warehouse: Warehouse, add_company: Add) -> None:
    good, broken, asleep = add_company("good"), add_company("broken"), add_company("asleep")
    with warehouse.connect() as connection:
        disable_company(connection, "asleep", "tests")
        leave_out(connection, broken)
        assert companies_at_work(connection) == [good.company_id]
        (left_out,) = open_quarantines(connection)
        assert str(left_out) == "broken is left out: building a mart fails on it: too long"
        disable_company(connection, "broken", "tests")
        enable_company(connection, "asleep", "tests")
        assert companies_at_work(connection) == [good.company_id, asleep.company_id]
        assert open_quarantines(connection) == [], "a company that is disabled needs nobody's attention"


def test_one_that_is_left_out_already_is_left_out_once(warehouse: Warehouse, add_company: Add) -> None:
    broken = add_company("broken")
    with warehouse.connect() as connection:
        leave_out(connection, broken, "the first reason")
        leave_out(connection, broken, "another one")
        assert [each.reason for each in open_quarantines(connection)] == ["the first reason"]


def test_nothing_new_is_no_reason_to_try_again(warehouse: Warehouse, add_company: Add) -> None:
    broken = add_company("broken")
    with warehouse.connect() as connection:
        _load(connection, broken, records=5)
        leave_out(connection, broken)
        _load(connection, broken, records=0)
        assert end_outdated_quarantines(connection, made_by=SQL_OF_TODAY) == []
        assert companies_at_work(connection) == []


def _load(connection: psycopg.Connection[Any], company: Company, records: int) -> None:
    connection.execute(
        "insert into ops.load_log (company_id, entity, is_backfill, known_at, finished_at, status, received, loaded)"
        " values (%s, 'customers', false, now(), clock_timestamp(), 'succeeded', %s, %s)",
        [company.company_id, records, records],
    )
    connection.commit()


def _change_task(connection: psycopg.Connection[Any], _: Company) -> None:
    change_company(connection, "broken", {"tasks.churn.horizon_days": 31}, "tests", parse_definition)


def _change_field(connection: psycopg.Connection[Any], _: Company) -> None:
    change_company(connection, "broken", {"time_zone": "UTC"}, "tests", parse_definition)


def _load_records(connection: psycopg.Connection[Any], company: Company) -> None:
    _load(connection, company, records=1)


@pytest.mark.parametrize("change", [_change_task, _change_field, _load_records])
def test_new_records_or_another_definition_let_it_in_again(
    warehouse: Warehouse, add_company: Add, change: Callable[[psycopg.Connection[Any], Company], None]
) -> None:
    broken = add_company("broken")
    with warehouse.connect() as connection:
        leave_out(connection, broken)
        change(connection, broken)
        connection.commit()
        assert end_outdated_quarantines(connection, made_by=SQL_OF_TODAY) == ["broken"]
        assert companies_at_work(connection) == [broken.company_id]
        ended_by = connection.execute("select ended_by from ops.quarantines").fetchall()
    assert ended_by == [("a later run",)]


def test_other_sql_lets_everybody_in_again(warehouse: Warehouse, add_company: Add) -> None:
    broken = add_company("broken")
    with warehouse.connect() as connection:
        leave_out(connection, broken)
        assert end_outdated_quarantines(connection, made_by="another") == ["broken"]


def test_a_person_lets_it_in_and_the_trail_says_who(warehouse: Warehouse, add_company: Add) -> None:
    broken = add_company("broken")
    with warehouse.connect() as connection:
        leave_out(connection, broken)
        assert end_quarantine(connection, "broken", "dana")
        assert not end_quarantine(connection, "broken", "dana")
        with pytest.raises(CompanyNotFound):
            end_quarantine(connection, "nobody", "dana")
        trail = connection.execute(
            "select actor, before ->> 'reason' from ops.audit_log where action = 'company.quarantine_ended'"
        ).fetchall()
        ended_by = connection.execute("select ended_by from ops.quarantines").fetchall()
    assert (trail, ended_by) == ([("dana", "too long")], [("dana",)])
