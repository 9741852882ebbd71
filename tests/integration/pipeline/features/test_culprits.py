"""A failed node tried with some companies' rows only, in a real Postgres and with all of it rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pipeline.features.culprits import Trial, failing_companies
from warehouse.connection import Warehouse

ROWS = """
create schema trial;
create table trial.settings (company_id int, zone text);
create table trial.payments (company_id int, payment_id text, amount numeric, segment text);
insert into trial.settings values (1, 'UTC'), (2, 'localtime'), (3, 'Europe/Berlin'), (4, 'UTC'), (5, 'UTC');
insert into trial.payments
select company_id, 'p' || company_id, case company_id when 4 then 1e16 else 10 end,
    case company_id when 5 then (select string_agg(md5(n::text), '') from generate_series(1, 400) as n) else 'DE' end
from generate_series(1, 5) as company_id;
create view trial.days as
select company_id, generate_series(now() at time zone zone, now() at time zone zone, interval '1 day') as day
from trial.settings where now() at time zone zone > '2000-01-01';
"""


@pytest.fixture
def connection(warehouse: Warehouse) -> Iterator[psycopg.Connection[Any]]:
    with warehouse.connect() as connection:
        connection.execute(ROWS.encode())
        connection.commit()
        yield connection


def node(name: str, query: str, *parents: str, resource_type: str = "model", **config: Any) -> dict[str, Any]:
    """A node as dbt's manifest has it."""
    return {
        "resource_type": resource_type,
        "name": name,
        "relation_name": f'"churn"."trial"."{name}"' if resource_type == "model" else None,
        "compiled_code": query,
        "depends_on": {"nodes": list(parents)},
        "config": {"materialized": "table", **config},
        "columns": {},
    }


def culprits_of(connection: psycopg.Connection[Any], tried: dict[str, Any]) -> dict[int, str]:
    (database,) = connection.execute("select current_database()").fetchone() or ("",)
    query = (
        "select company_id, generate_series(now() at time zone zone, now() at time zone zone, interval '1 day') as day"
    )
    query += ' from "churn"."trial"."settings" where now() at time zone zone > timestamp \'2000-01-01\''
    nodes = {
        "days": node("days", query, "settings", materialized="view"),
        "settings": node("settings", ""),
        "payments": node("payments", ""),
        "tried": tried,
    }
    for each in nodes.values():
        each["compiled_code"] = each["compiled_code"].replace('"churn".', f'"{database}".')
        each["relation_name"] = (each["relation_name"] or "").replace('"churn".', f'"{database}".') or None
    trial = Trial(connection, {"nodes": nodes, "sources": {}}, "tried")
    return failing_companies([1, 2, 3, 4, 5], trial.reason_of_failure)


def test_what_fails_below_a_view_is_the_fault_of_that_company_alone(connection: psycopg.Connection[Any]) -> None:
    """The view computes its rows before anybody can ask for some: it has to be narrowed where its tables are read."""
    tried = node("tried", 'select days.company_id, day from "churn"."trial"."days" as days where day > now()', "days")
    assert culprits_of(connection, tried) == {2: 'time zone "localtime" not recognized'}


def test_a_contracts_types_are_held_to(connection: psycopg.Connection[Any]) -> None:
    tried = node("tried", 'select company_id, amount from "churn"."trial"."payments"', "payments")
    tried["config"]["contract"] = {"enforced": True}
    tried["columns"] = {
        name: {"name": name, "data_type": kind} for name, kind in (("company_id", "int"), ("amount", "numeric(18, 2)"))
    }
    assert culprits_of(connection, tried) == {4: "numeric field overflow"}


def test_an_index_is_made(connection: psycopg.Connection[Any]) -> None:
    tried = node("tried", 'select company_id, segment from "churn"."trial"."payments"', "payments")
    tried["config"]["indexes"] = [{"columns": ["company_id", "segment"], "unique": True}]
    ((company_id, reason),) = culprits_of(connection, tried).items()
    assert company_id == 5
    assert reason.startswith("index row")


def test_a_data_test_fails_by_the_rows_that_it_returns(connection: psycopg.Connection[Any]) -> None:
    query = 'select payments.* from "churn"."trial"."payments" where payments.amount > 100'
    tried = node("tried", query, "payments", resource_type="test")
    assert culprits_of(connection, tried) == {4: "1 row breaks it"}


def test_sql_that_is_wrong_is_no_companys_fault(connection: psycopg.Connection[Any]) -> None:
    tried = node("tried", 'select no_such_column from "churn"."trial"."payments"', "payments")
    assert culprits_of(connection, tried) == {}


def test_a_server_that_fails_blames_nobody(connection: psycopg.Connection[Any]) -> None:
    tried = node("tried", 'select company_id, pg_sleep(5)::text as slept from "churn"."trial"."payments"', "payments")
    connection.execute("set statement_timeout = '200ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        culprits_of(connection, tried)


def test_nothing_of_a_trial_stays(connection: psycopg.Connection[Any]) -> None:
    culprits_of(connection, node("tried", 'select * from "churn"."trial"."payments"', "payments"))
    connection.rollback()
    left = connection.execute(
        "select relname from pg_class where relname in ('companies_on_trial', 'table_on_trial')"
    ).fetchall()
    assert left == []
