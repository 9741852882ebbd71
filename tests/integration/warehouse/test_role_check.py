"""Roles changed by hand: Postgres fires no trigger for them, so that a check has to see what they became."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from orchestration.cli import main as cli
from orchestration.cli import terminal
from pipeline.integrations.metabase.login import WarehouseLogins, login_of
from pipeline.integrations.metabase.scopes import CompanyFacts, Scope
from tests.conftest import TestServer
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.role_check import roles_out_of_order
from warehouse.settings import Settings


@pytest.fixture
def administrator(warehouse: Warehouse, postgres: TestServer) -> Iterator[psycopg.Connection[Any]]:
    """Whoever changes roles by hand. Nothing is committed: no other test sees what they do."""
    with warehouse.connect() as owner:
        (database,) = owner.execute("select current_database()").fetchone() or ("",)
    with psycopg.connect(postgres.server.url(database=database, superuser=True)) as connection:
        yield connection
        connection.rollback()


BY_HAND = [
    ("alter role {login} superuser", "{login} has the attribute superuser: alter role {login} nosuperuser"),
    ("alter role {login}_sync bypassrls", "{login}_sync has the attribute bypassrls"),
    ("alter role {login} createrole", "{login} has the attribute createrole"),
    ("alter role churn_company replication", "churn_company has the attribute replication"),
    ("alter role churn_ml login", "churn_ml has the attribute login: alter role churn_ml nologin"),
    ("grant churn_operator to {login}", "{login} is a member of churn_operator: revoke churn_operator from {login}"),
    ("grant pg_read_all_data to churn_company_sync", "churn_company_sync is a member of pg_read_all_data"),
    ("grant churn_company to {login} with set true", "{login} may take on or hand on churn_company"),
    ("create role {login}_friend; grant {login} to {login}_friend", "{login}_friend is a member of {login}"),
    ("create role {login}_friend in role churn_company", "{login}_friend is a member of churn_company"),
    ("create role {login}_metabase in role churn_operator", "{login}_metabase is a member of churn_operator"),
    ("grant select on ops.companies to {login}", "{login} has rights of its own on table ops.companies"),
    (
        "do $$ begin execute format('grant create on database %I to {login}', current_database()); end $$",
        "{login} has rights of its own on database",
    ),
    ("create schema theirs authorization {login}", "{login} owns schema theirs"),
    (
        "create policy mine on predictions.churn_scores_v1 for select using (company_id > 0)",
        "policy mine shows companies more than their own rows: drop policy mine on predictions.churn_scores_v1",
    ),
    (
        "create policy mine on predictions.churn_scores_v1 to {login} using (true)",
        "policy mine shows companies more than their own rows",
    ),
    (
        "alter table predictions.churn_scores_v1 no force row level security",
        "predictions.churn_scores_v1 is open to all companies",
    ),
]


def test_what_somebody_made_of_a_role_is_told_with_what_mends_it(
    lone_acme: Company, administrator: psycopg.Connection[Any]
) -> None:
    login = f"company_{lone_acme.company_id}"
    assert roles_out_of_order(administrator) == []
    missed = []
    for by_hand, told in BY_HAND:
        with administrator.transaction(force_rollback=True):
            administrator.execute(by_hand.format(login=login))  # type: ignore[call-overload]
            lines = roles_out_of_order(administrator)
        if not any(line.startswith(told.format(login=login)) for line in lines):
            missed.append((by_hand, lines))
    assert missed == []


def test_metabases_login_may_connect_by_itself_and_that_is_no_finding(
    lone_acme: Company, warehouse: Warehouse, administrator: psycopg.Connection[Any], tmp_path: Path
) -> None:
    logins = WarehouseLogins(warehouse, Settings(home=tmp_path), "tests")
    scope = Scope(CompanyFacts(lone_acme.company_id, lone_acme.slug, lone_acme.name, lone_acme.currency))
    logins.close(scope)
    with warehouse.connect() as connection:
        query = "select has_database_privilege(%s, current_database(), 'connect')"
        assert connection.execute(query, [login_of(scope)]).fetchone() == (True,)
    assert roles_out_of_order(administrator) == []


def test_migrating_and_the_daily_check_tell_of_such_a_role(
    lone_acme: Company, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_DATABASE_URL", warehouse.url("postgresql"))
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    monkeypatch.setattr("pipeline.features.dbt.prepare_manifest", lambda _: None)
    login = f"company_{lone_acme.company_id}"
    with warehouse.connect() as connection:
        connection.execute(f"grant select on ops.companies to {login}")  # type: ignore[call-overload]
    migrated = CliRunner().invoke(cli.app, ["migrate"])
    assert f"To look at: {login} has rights of its own on table ops.companies" in migrated.output
    checked = CliRunner().invoke(cli.app, ["canaries", "check"])
    assert isinstance(checked.exception, terminal.CommandFailed)
    assert f"{login} has rights of its own" in str(checked.exception)
