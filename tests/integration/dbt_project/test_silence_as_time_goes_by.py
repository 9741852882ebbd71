"""Labels of silence that are made load by load equal those that are made at once: what a load moves is made again."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.crm_history import END
from tests.integration.dbt_project.billing_world import generate, register
from tests.integration.dbt_project.dbt_runs import (
    FEATURES_AND_TASKS,
    PROJECT,
    VIEWS_STAND,
    DbtRuns,
    differing_rows,
    snapshot,
)
from tests.integration.dbt_project.dbt_world import record_load
from warehouse.connection import Warehouse

pytestmark = pytest.mark.xdist_group("dbt_silence")

BUILT = ("churn_population", "churn_labels")


def test_plans_pauses_and_bills_that_come_later_move_the_labels_that_rest_on_them(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    warehouse.write_dbt_profile(tmp_path)
    dbt = DbtRuns(PROJECT, tmp_path)
    first_run = END - timedelta(days=20)
    with warehouse.connect() as connection:
        companies = register(connection, now=first_run)
        history = generate(companies, customers=90, seed=2)
        # Half of the bills and versions come two months after they were made.
        for rows in history.rows.values():
            for row in rows:
                if not row["is_backfill"] and history.random.random() < 0.5:
                    row["known_at"] += timedelta(days=60)
        history.write(connection, known_before=first_run)
    dbt.run("build", "--select", *FEATURES_AND_TASKS, "--exclude-resource-type", "test", "unit_test")
    with warehouse.connect() as connection:
        for company in companies:
            record_load(connection, company.company_id, END, is_backfill=False)
        history.write(connection, known_before=END)

    written = dbt.run("run", "--select", *FEATURES_AND_TASKS, *VIEWS_STAND)

    with warehouse.connect() as connection:
        snapshot(connection, "step_by_step", BUILT)
        labels = connection.execute("select count(*) from features.churn_labels").fetchone()
        assert labels is not None
        assert 0 < (written["churn_labels"] or 0) < labels[0]
    dbt.run("run", "--select", "int_churn_labels__periods", *BUILT, "--full-refresh")
    with warehouse.connect() as connection:
        assert differing_rows(connection, "step_by_step", BUILT) == {}


def test_a_version_of_a_customer_moves_the_labels_though_nothing_was_paid(warehouse: Warehouse, tmp_path: Path) -> None:
    """One who had left is said to have paused: no bill is new, so that only the customer's version can tell."""
    warehouse.write_dbt_profile(tmp_path)
    dbt = DbtRuns(PROJECT, tmp_path)
    with warehouse.connect() as connection:
        companies = register(connection, now=END - timedelta(days=1))
        company_id = companies[1].company_id
        history = generate(companies, customers=20, seed=3)
        history.write(connection, known_before=END - timedelta(days=1))
    dbt.run("build", "--select", *FEATURES_AND_TASKS, "--exclude-resource-type", "test", "unit_test")
    with warehouse.connect() as connection:
        as_of_date, customer_id, churned_at = connection.execute(
            "select as_of_date, customer_id, churned_at from features.churn_labels where is_churned"
            " and company_id = %s and as_of_date < '2025-02-01' and customer_id not in (select"
            " customer_id from raw.customers where company_id = %s and (cancelled_at is not null or paused_at "
            "is not null or is_deleted))"
            " order by as_of_date desc, customer_id limit 1",
            [company_id, company_id],
        ).fetchone() or (None, "", END)
        versions = [row for row in history.rows["customers"] if row["company_id"] == company_id]
        newest = [row for row in versions if row["customer_id"] == customer_id][-1]
        now = {"updated_at": END - timedelta(hours=1), "known_at": END - timedelta(hours=1), "is_backfill": False}
        record_load(connection, company_id, END, is_backfill=False)
        history.rows = {"customers": [newest | now | {"paused_at": churned_at - timedelta(days=5)}]}
        history.add(connection)

    dbt.run("run", "--select", *FEATURES_AND_TASKS, *VIEWS_STAND)

    label = "select is_churned from features.churn_labels where (company_id, customer_id, as_of_date) = (%s, %s, %s)"
    with warehouse.connect() as connection:
        assert connection.execute(label, [company_id, customer_id, as_of_date]).fetchall() == [(False,)]
