"""What the marts that dbt builds open, and to whom; what a company sees of them is in test_isolation."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest
from dbt_common.exceptions import DbtRuntimeError

from tests.integration.conftest import SCORED, TwoCompanies
from tests.integration.dbt_project.dbt_runs import DbtRuns, copy_project
from warehouse.roles import Role, relations_open_to_all_companies, take_on_company_login

pytestmark = pytest.mark.xdist_group("two_companies")

# Errors of the installation's own runs are nothing for a company.
FOR_OPERATORS = {"run_history"}


def test_every_mart_forces_row_level_security_with_policies_for_all_its_readers(two_companies: TwoCompanies) -> None:
    with two_companies.warehouse.connect() as connection:
        tables = connection.execute(
            "select relname, relrowsecurity and relforcerowsecurity,"
            " (select count(*) from pg_policy where polrelid = pg_class.oid),"
            " has_table_privilege('churn_company', oid, 'select'), has_table_privilege('churn_ml', oid, 'select')"
            " from pg_class where relnamespace = 'analytics'::regnamespace and relkind in ('r', 'v', 'm') order by 1"
        ).fetchall()
        assert len(tables) >= 10
        assert tables == [(mart, True, 3, mart not in FOR_OPERATORS, False) for mart, *_ in tables]
        assert relations_open_to_all_companies(connection) == []


def test_what_is_watched_is_shown_as_it_was_kept(two_companies: TwoCompanies) -> None:
    queries = {
        "select is_kept::text from analytics.score_grades_by_month where company_id = %s": "true",
        "select (bin, scores, kept_high)::text from analytics.score_calibration where company_id = %s": "(1,9,0.4)",
        "select (decile, outcomes, lift)::text from analytics.score_lift where company_id = %s": "(1,1.5,2)",
        "select hold_status || ', ' || reasons from analytics.publication_holds where company_id = %s": (
            "held, customers: 5 after 9"
        ),
        "select (held_level, is_held)::text from analytics.held_scores where company_id = %s": "(high,t)",
    }
    with two_companies.warehouse.connect(Role.operator) as connection:
        for query, expected in queries.items():
            assert connection.execute(query.encode(), [two_companies.company_ids[0]]).fetchall() == [(expected,)]


def test_the_history_of_models_has_a_row_per_training_and_per_change_of_the_champion(
    two_companies: TwoCompanies,
) -> None:
    with two_companies.login(two_companies.company_ids[0]) as connection:
        rows = connection.execute(
            "select event, model_version, previous_model_version, decision, auc, cause, status"
            " from analytics.model_history where starts_with(model_version, 'churn-x ')"
            " order by event = 'trained', happened_at, event_id"
        ).fetchall()
    replaced = "the champion cannot be read any more"
    assert rows == [
        ("first", "churn-x v1", None, "there was no champion", 0.71, "schedule", "promoted"),
        ("replaced", "churn-x v2", "churn-x v1", replaced, 0.72, "schedule", "promoted"),
        ("rolled_back", "churn-x v1", "churn-x v2", "rolled back from v2", 0.71, "schedule", "promoted"),
        ("trained", "churn-x v1", None, "there was no champion", 0.71, "schedule", "promoted"),
        ("trained", "churn-x v2", "churn-x v1", replaced, 0.72, "schedule", "promoted"),
        ("trained", "churn-x v3", "churn-x v2", "not met: no segment worse", 0.73, "schedule", "kept_champion"),
    ]


def test_the_overview_shows_the_reasons_that_raise_the_risk_and_what_is_at_stake(
    two_companies: TwoCompanies,
) -> None:
    with two_companies.warehouse.connect() as connection:
        rows = connection.execute(
            "select first_reason, second_reason, third_reason, churn_probability, value_at_stake,"
            " round(0.25 * greatest(revenue_90d, 0), 2) from analytics.customer_overview where risk_level is not null"
        ).fetchall()
        unscored = connection.execute(
            "select count(*) from analytics.customer_overview where risk_level is null and value_at_stake is null"
        ).fetchone()
    assert len(rows) >= 2 * SCORED - 1  # Another test forgets one.
    for first, second, third, probability, at_stake, expected in rows:
        assert (first, second, third) == ("2 tickets are open", "An invoice is overdue", None)
        assert probability == 0.25
        assert abs(at_stake - expected) <= 0.01
    assert unscored > (0,)


def test_the_machine_learning_role_reads_features_and_no_raw_record(
    two_companies: TwoCompanies,
) -> None:
    with two_companies.warehouse.connect(Role.ml) as connection:
        assert connection.execute("select count(*) from features.churn_feature_matrix").fetchone() > (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select name from raw.customers")
    with two_companies.warehouse.connect() as connection:
        names = connection.execute(
            "select attrelid::regclass::text, attname from pg_attribute join pg_class on pg_class.oid = attrelid"
            " where relkind in ('r', 'p', 'v', 'm') and attnum > 0 and not attisdropped"
            " and attname in ('name', 'customer_name', 'email', 'phone', 'attributes')"
            " and relnamespace <> all (array['pg_catalog', 'information_schema']::regnamespace[])"
            " and has_column_privilege('churn_ml', attrelid, attnum, 'select')"
        ).fetchall()
    # A company's own name is no person's.
    assert names == [("ops.companies", "name")]


def test_what_the_project_says_of_a_model_and_its_columns_stands_in_the_warehouse(two_companies: TwoCompanies) -> None:
    assert two_companies.dbt.parsed is not None
    said = {
        (model.schema, model.name, column.name if column else None): (column or model).description
        for model in two_companies.dbt.parsed.nodes.values()
        if model.resource_type == "model"
        for column in (None, *model.columns.values())
        if (column or model).description
    }
    with two_companies.warehouse.connect() as connection:
        comments = connection.execute(
            "select nspname, relname, attname, description from pg_description"
            " inner join pg_class on pg_class.oid = objoid inner join pg_namespace on pg_namespace.oid = relnamespace"
            " left join pg_attribute on attrelid = objoid and attnum = objsubid and attnum > 0"
            " where nspname in ('staging', 'intermediate', 'features', 'analytics')"
        ).fetchall()
    assert len(said) > 900
    assert {(schema, name, column): comment for schema, name, column, comment in comments} == said


POLICY_HOOKS = 4


@pytest.mark.parametrize("left_out", [None, *range(POLICY_HOOKS)])
def test_with_any_one_hook_left_out_a_mart_is_not_what_it_should_be(
    two_companies: TwoCompanies, left_out: int | None
) -> None:
    """The hooks of the folder, as dbt read them, on a table of the same kind."""
    first, second = two_companies.company_ids
    assert two_companies.dbt.parsed is not None
    model = two_companies.dbt.parsed.nodes["model.churn_warehouse.risk_by_month"]
    hooks = [hook.sql for hook in model.config.post_hook][:POLICY_HOOKS]
    with two_companies.warehouse.connect() as connection:
        connection.execute(
            "create table analytics.some_mart as select unnest(%s::int[]) as company_id", [[first, second]]
        )
        for number, hook in enumerate(hooks):
            if number != left_out:
                connection.execute(re.sub(r"\{\{ this[^}]*\}\}", "analytics.some_mart", hook))  # type: ignore[call-overload]
        connection.execute("grant select on analytics.some_mart to churn_company, churn_operator")
        is_open = "analytics.some_mart" in relations_open_to_all_companies(connection)
        seen = [connection.execute("select company_id from analytics.some_mart order by 1").fetchall()]
        connection.execute("set local role churn_operator")
        seen.append(connection.execute("select company_id from analytics.some_mart order by 1").fetchall())
        connection.execute("reset role")
        take_on_company_login(connection, first, Role.company)
        seen.append(connection.execute("select company_id from analytics.some_mart").fetchall())
        connection.rollback()
    everybody = [(company_id,) for company_id in sorted((first, second))]
    is_right = not is_open and seen == [everybody, everybody, [(first,)]]
    assert is_right == (left_out is None)


def test_a_model_that_is_open_to_all_companies_fails_the_run(two_companies: TwoCompanies, tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    model = "{{ config(materialized='table', grants={'select': ['churn_company']}) }}\nselect 1 as company_id\n"
    (project / "models" / "intermediate" / "int_leak.sql").write_text(model)
    two_companies.warehouse.write_dbt_profile(tmp_path)
    try:
        with pytest.raises((AssertionError, DbtRuntimeError), match=r"Every company can read all rows of .*int_leak"):
            DbtRuns(project, tmp_path).run("run", "--select", "int_leak")
    finally:
        with two_companies.warehouse.connect() as connection:
            connection.execute("drop table if exists intermediate.int_leak")
