"""Who sees what in the marts that dbt builds: policies come back with every build, a company sees its own rows."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest

from tests.conftest import TestServer
from tests.integration.crm_history import END, FIRST_LOAD, generate
from tests.integration.dbt_runs import DbtRuns, copy_project, warehouse_for_a_module
from tests.integration.dbt_world import register_companies
from warehouse.connection import Warehouse
from warehouse.roles import Role, company_login, relations_open_to_all_companies

pytestmark = pytest.mark.xdist_group("dbt_access")

MARTS = (
    "churn_by_month",
    "churned_customers",
    "cohort_retention",
    "customer_overview",
    "customer_reasons",
    "data_rules",
    "revenue_retention_by_quarter",
    "revenue_statistics_by_month",
    "risk_by_month",
    "ticket_statistics_by_month",
)


@pytest.fixture(scope="module")
def warehouse(postgres: TestServer, template_database: str) -> Iterator[Warehouse]:
    with warehouse_for_a_module(postgres, template_database) as warehouse:
        yield warehouse


@pytest.fixture(scope="module")
def dbt(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> DbtRuns:
    folder = tmp_path_factory.mktemp("dbt")
    warehouse.write_dbt_profile(folder)
    return DbtRuns(copy_project(folder / "project"), folder)


@pytest.fixture(scope="module")
def company_ids(warehouse: Warehouse, dbt: DbtRuns) -> list[int]:
    """Two companies, built with all tests; a score has been published for the first customer of each."""
    dbt.run("build")
    with warehouse.connect() as connection:
        company_ids = register_companies(connection, now=END, first_load=FIRST_LOAD)
        generate(company_ids, customers=40, seed=22).write(connection)
        for company_id in company_ids:
            _publish_a_score(connection, company_id)
        connection.commit()
    dbt.run("build", "--exclude-resource-type", "unit_test")
    return company_ids


def _publish_a_score(connection: psycopg.Connection, company_id: int) -> None:
    reasons = [
        _reason("tenure_days", "Customer for 12 days", -0.2),
        _reason("tickets_open", "2 tickets are open", 0.9),
        _reason("payments_overdue", "An invoice is overdue", 0.4),
        _reason("other", "Everything else", 0.5),
    ]
    query = (
        "insert into predictions.churn_scores select %s, customer_id, %s, 0.25, 'high', 99, -1.5, %s, 'v1', 'rule',"
        " 'hash', %s from staging.stg_crm__customers where company_id = %s and not is_test and cancelled_at is null"
        " order by customer_id limit 1"
    )
    connection.execute(query, [company_id, END.date(), json.dumps(reasons), END, company_id])
    connection.execute(
        "insert into predictions.churn_publications values (%s, %s, 'v1', 'rule', 1, %s)", [company_id, END.date(), END]
    )


def _reason(feature: str, text: str, contribution: float) -> dict[str, object]:
    return {
        "feature": feature,
        "label": feature,
        "value": 2,
        "unit": "days",
        "family": "tickets",
        "contribution": contribution,
        "text": text,
    }


@pytest.mark.parametrize("arguments", [(), ("--full-refresh",)], ids=["after a build", "after a full refresh"])
def test_every_mart_forces_row_level_security_with_policies_for_all_its_readers(
    warehouse: Warehouse, dbt: DbtRuns, company_ids: list[int], arguments: tuple[str, ...]
) -> None:
    if arguments:
        dbt.run("run", "--select", "analytics", *arguments)
    with warehouse.connect() as connection:
        tables = connection.execute(
            "select relname, relrowsecurity and relforcerowsecurity,"
            " (select count(*) from pg_policy where polrelid = pg_class.oid),"
            " has_table_privilege('churn_company', oid, 'select'), has_table_privilege('churn_ml', oid, 'select')"
            " from pg_class where relnamespace = 'analytics'::regnamespace and relkind in ('r', 'v', 'm') order by 1"
        ).fetchall()
        assert tables == [(mart, True, 3, True, False) for mart in MARTS]
        assert relations_open_to_all_companies(connection) == []


def test_a_company_sees_its_own_rows_only_and_the_operator_all(
    postgres: TestServer, warehouse: Warehouse, company_ids: list[int]
) -> None:
    for mart in MARTS:
        with warehouse.connect(Role.operator) as connection:
            rows = dict(
                connection.execute(f"select company_id, count(*) from analytics.{mart} group by company_id").fetchall()
            )
        assert set(rows) == set(company_ids), mart
        for company_id in company_ids:
            assert _visible_to(postgres, warehouse, company_id, mart) == [(company_id, rows[company_id])]


def _visible_to(postgres: TestServer, warehouse: Warehouse, company_id: int, mart: str) -> list[tuple[int, int]]:
    with warehouse.connect() as owner:
        (database,) = owner.execute("select current_database()").fetchone() or ("",)
    url = postgres.server.url(database=database, superuser=True)
    with psycopg.connect(url) as connection:
        connection.execute(f"set role {company_login(company_id, Role.company)}")
        return connection.execute(f"select company_id, count(*) from analytics.{mart} group by company_id").fetchall()


def test_the_overview_shows_the_reasons_that_raise_the_risk_and_what_is_at_stake(
    warehouse: Warehouse, company_ids: list[int]
) -> None:
    with warehouse.connect() as connection:
        rows = connection.execute(
            "select first_reason, second_reason, third_reason, churn_probability, value_at_stake,"
            " round(0.25 * greatest(revenue_90d, 0), 2) from analytics.customer_overview where risk_level is not null"
        ).fetchall()
        unscored = connection.execute(
            "select count(*) from analytics.customer_overview where risk_level is null and value_at_stake is null"
        ).fetchone()
    assert len(rows) == 2
    for first, second, third, probability, at_stake, expected in rows:
        assert (first, second, third) == ("2 tickets are open", "An invoice is overdue", None)
        assert probability == 0.25
        assert abs(at_stake - expected) <= 0.01
    assert unscored > (0,)


def test_the_machine_learning_role_reads_features_and_no_raw_record(
    warehouse: Warehouse, company_ids: list[int]
) -> None:
    with warehouse.connect(Role.ml) as connection:
        assert connection.execute("select count(*) from features.churn_feature_matrix").fetchone() > (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select count(*) from raw.customers")
