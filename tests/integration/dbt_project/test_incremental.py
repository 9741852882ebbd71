"""Dates built one by one, out of order or twice give what one full build gives; nothing new costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tests.conftest import TestServer
from tests.integration.crm_history import END, FIRST_LOAD, History, generate
from tests.integration.dbt_project.dbt_runs import (
    CHURN_RELATIONS,
    FEATURE_RELATIONS,
    FEATURES_AND_TASKS,
    VIEWS_STAND,
    DbtRuns,
    copy_project,
    differing_rows,
    moved_columns,
    snapshot,
    warehouse_for_a_module,
)
from tests.integration.dbt_project.dbt_world import record_load, register_companies
from warehouse.connection import Warehouse

pytestmark = pytest.mark.xdist_group("dbt_incremental")

TABLES = (*FEATURE_RELATIONS, "churn_population", "churn_labels")
BUILT = (*FEATURE_RELATIONS, *CHURN_RELATIONS, "churn_labels")
SELECTED = ("run", "--select", *FEATURES_AND_TASKS, *VIEWS_STAND)
FIRST_RUN = FIRST_LOAD + timedelta(days=40)


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
def company_ids(warehouse: Warehouse) -> list[int]:
    with warehouse.connect() as connection:
        return register_companies(connection, now=FIRST_RUN, first_load=FIRST_LOAD, with_downgrades=True)


@pytest.fixture(scope="module")
def history(warehouse: Warehouse, dbt: DbtRuns, company_ids: list[int]) -> History:
    """Two runs as they would have happened: one in April, one in July that adds what came in between."""
    history = generate(company_ids, customers=60, seed=21)
    _load_until(warehouse, history, company_ids, FIRST_RUN)
    dbt.run("build", "--select", *FEATURES_AND_TASKS, "--exclude-resource-type", "test", "unit_test")
    _load_until(warehouse, history, company_ids, END)
    dbt.run(*SELECTED)
    return history


def _load_until(warehouse: Warehouse, history: History, company_ids: list[int], moment: datetime) -> None:
    with warehouse.connect() as connection:
        for company_id in company_ids:
            record_load(connection, company_id, moment, is_backfill=False)
        history.write(connection, known_before=moment)


def test_runs_as_time_went_by_equal_one_full_build(warehouse: Warehouse, dbt: DbtRuns, history: History) -> None:
    with warehouse.connect() as connection:
        snapshot(connection, "step_by_step", BUILT)

    dbt.run(*SELECTED, "--full-refresh")

    with warehouse.connect() as connection:
        assert differing_rows(connection, "step_by_step", BUILT) == {}
        mature = (
            "select count(distinct churn_kind), count(distinct label_status) from features.churn_labels"
            " where label_status <> 'churned' or churned_at > %s"
        )
        kinds_and_statuses = connection.execute(mature, [FIRST_RUN]).fetchone()
        assert kinds_and_statuses is not None
        assert kinds_and_statuses >= (3, 4)
        dates = "select count(distinct as_of_date) from features.customer_features where company_id = %s"
        # Monthly dates, and the scoring date of each of the two runs.
        assert connection.execute(dates, [1]).fetchone() == (17,)


def test_nothing_new_writes_nothing(dbt: DbtRuns, history: History) -> None:
    written = dbt.run(*SELECTED)

    kept = ("int_as_of_dates", *TABLES, "churn_label_versions")
    assert {name: written[name] for name in kept} == dict.fromkeys(kept, 0)


def test_dates_built_out_of_order_and_twice_equal_one_full_build(
    warehouse: Warehouse, dbt: DbtRuns, history: History
) -> None:
    with warehouse.connect() as connection:
        snapshot(connection, "in_full", BUILT)
        connection.execute(f"truncate {', '.join(f'features.{relation}' for relation in TABLES)}")
        connection.commit()

    dbt.run(*SELECTED, variables={"as_of_dates": ["2025-06-01", "2024-12-01"]})
    dbt.run(*SELECTED, variables={"as_of_dates": ["2024-12-01", "2025-02-01"], "company_ids": [2]})
    dbt.run(*SELECTED)

    with warehouse.connect() as connection:
        assert differing_rows(connection, "in_full", BUILT) == {}


def test_a_label_that_changes_is_kept_in_all_its_versions_and_moves_no_other_period(
    warehouse: Warehouse, dbt: DbtRuns, history: History
) -> None:
    """A cancellation that the CRM enters two months late; and before it a run that finds nothing changed."""
    now = END + timedelta(hours=2)
    decided = "select count(*) from features.churn_labels where label_status <> 'immature'"
    agreeing = """
        select count(*) from features.churn_labels as labels inner join (
            select distinct on (company_id, customer_id, as_of_date) *
            from features.churn_label_versions order by company_id, customer_id, as_of_date, label_version desc
        ) as versions using (company_id, customer_id, as_of_date, label_status)
        where (labels.is_churned, labels.churned_at) is not distinct from (versions.is_churned, versions.churned_at)
        """
    with warehouse.connect() as connection:
        assert connection.execute(decided).fetchone() == connection.execute(agreeing).fetchone()
        key = connection.execute(
            "select company_id, customer_id, as_of_date from features.churn_labels"
            " where as_of_date = '2025-05-01' and label_status = 'retained' and company_id = 1"
            " order by customer_id limit 1"
        ).fetchone()
        assert key is not None
        snapshot(connection, "before", BUILT)
        record_load(connection, 1, now, is_backfill=False)
        connection.execute(
            "insert into raw.customers (company_id, customer_id, updated_at, known_at, is_backfill, is_deleted,"
            " load_id, created_at, cancelled_at) select %s, %s, %s, %s, false, false, max(load_id), '2024-04-01',"
            " '2025-05-10' from ops.load_log",
            [*key[:2], now, now],
        )
        connection.commit()

    written = dbt.run(*SELECTED)

    with warehouse.connect() as connection:
        versions = connection.execute(
            "select label_version, label_status, is_churned, known_at from features.churn_label_versions"
            " where (company_id, customer_id, as_of_date) = (%s, %s, %s) order by label_version",
            key,
        ).fetchall()
        assert [version[:3] for version in versions] == [(1, "retained", False), (2, "churned", True)]
        assert versions[1][3] == now
        assert connection.execute(decided).fetchone() == connection.execute(agreeing).fetchone()
        changed = moved_columns(connection, "before", ("churn_labels",), up_to="2025-05-01")
        assert changed == {"churn_labels": {"label_status", "is_churned", "churned_at"}}
        all_rows = connection.execute("select count(*) from features.churn_labels").fetchone()
        assert all_rows is not None
        assert 0 < (written["churn_labels"] or 0) < all_rows[0] / 4
        snapshot(connection, "step_by_step", ("churn_labels",))

    dbt.run("run", "--select", "int_churn_labels__periods", "churn_labels", "--full-refresh")

    with warehouse.connect() as connection:
        assert differing_rows(connection, "step_by_step", ("churn_labels",)) == {}


def test_a_new_feature_is_one_column_and_its_yaml(warehouse: Warehouse, dbt: DbtRuns, history: History) -> None:
    """The next ordinary run fills it for every date, and it reaches the matrix."""
    features = dbt.project / "models" / "features"
    sql = (features / "customer_features.sql").read_text()
    last_column = "as is_billed_in_foreign_currency,\n"
    assert last_column in sql
    (features / "customer_features.sql").write_text(
        sql.replace(
            last_column,
            f"{last_column}        length(present_customers.customer_id) as id_length,\n",
        )
    )
    with (features / "_customer_features.yml").open("a") as yaml:
        yaml.write(
            """      - name: id_length
        description: Length of the customer's id.
        data_type: integer
        config: {meta: {feature: {label: Length, unit: kinds, family: customer, kind: number, basis: event_times}}}
"""
        )

    dbt.parse()
    dbt.run(*SELECTED)

    with warehouse.connect() as connection:
        for relation in ("customer_features", "customer_feature_matrix", "churn_feature_matrix"):
            counts = connection.execute(
                f"select count(*), count(*) filter (where id_length = length(customer_id)) from features.{relation}"
            ).fetchone()
            assert counts is not None
            assert counts[0] == counts[1] > 0


def test_the_matrix_has_every_declared_feature_and_no_other_column(
    warehouse: Warehouse, dbt: DbtRuns, history: History
) -> None:
    declared = {
        name
        for node in dbt.manifest()["nodes"].values()
        if node["resource_type"] == "model" and node["schema"] == "features"
        for name, column in node["columns"].items()
        if column["config"]["meta"].get("feature")
    }
    others = {"company_id", "customer_id", "as_of_date", "custom_attributes", "feature_version", "rates_version"}
    with warehouse.connect() as connection:
        for matrix, more in (("customer_feature_matrix", set()), ("churn_feature_matrix", {"matrix_version"})):
            columns = connection.execute(
                "select column_name from information_schema.columns"
                " where table_schema = 'features' and table_name = %s",
                [matrix],
            ).fetchall()
            assert {name for (name,) in columns} == declared | others | more
    assert {"days_since_last_payment", "revenue_90d", "tenure_days"} <= declared
