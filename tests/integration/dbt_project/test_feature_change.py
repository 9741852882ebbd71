"""A feature added, renamed and removed in a copy of the dbt project: what follows, with no Python edited."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.features.catalogue import read_features
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.scoring import Scorer
from pipeline.prediction.tasks import task_named
from pipeline.prediction.training import Trainer
from tests.conftest import TestServer
from tests.integration.crm_history import END, FIRST_LOAD, generate
from tests.integration.dbt_project.dbt_runs import FEATURES_AND_TASKS, DbtRuns, copy_project, warehouse_for_a_module
from tests.integration.dbt_project.dbt_world import register_companies
from warehouse.clock import Clock
from warehouse.companies.registry import get_company
from warehouse.connection import Warehouse

pytestmark = pytest.mark.xdist_group("mlflow")

CHURN = task_named("churn")
SELECTED = (
    *("run", "--select", "int_companies__clocks", "int_as_of_dates", "int_features__coverage", "features"),
    "tasks",
)
COLUMN = "        present_customers.days_since_created / 7 as {name},\n"
ABOVE = "        present_customers.days_since_created as tenure_days,\n"
COLUMN_YAML = """      - name: {name}
        description: Whole weeks since the customer signed up.
        data_type: integer
        config:
          meta:
            feature: {{label: {label}, unit: weeks, family: customer, kind: number, basis: event_times}}
"""


@pytest.fixture(scope="module")
def warehouse(postgres: TestServer, template_database: str) -> Iterator[Warehouse]:
    with warehouse_for_a_module(postgres, template_database) as warehouse:
        yield warehouse


@pytest.fixture(scope="module")
def dbt(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> DbtRuns:
    """Two companies with 25 customers each, all of their features built."""
    folder = tmp_path_factory.mktemp("dbt")
    warehouse.write_dbt_profile(folder)
    with warehouse.connect() as connection:
        company_ids = register_companies(connection, now=END, first_load=FIRST_LOAD)
        generate(company_ids, customers=25, seed=5).write(connection, known_before=END)
        connection.commit()
    runs = DbtRuns(copy_project(folder / "project"), folder)
    runs.run("build", "--select", *FEATURES_AND_TASKS, "--exclude-resource-type", "test", "unit_test")
    return runs


def _write(dbt: DbtRuns, sql: str, yaml: str, name: str, label: str) -> None:
    """One expression in the mart and its YAML, and nothing else."""
    mart = dbt.project / "models" / "features"
    assert ABOVE in sql
    (mart / "customer_features.sql").write_text(sql.replace(ABOVE, COLUMN.format(name=name) + ABOVE))
    (mart / "_customer_features.yml").write_text(yaml + COLUMN_YAML.format(name=name, label=label))
    dbt.parse()
    dbt.run(*SELECTED)


def _columns(warehouse: Warehouse) -> set[str]:
    with warehouse.connect() as connection:
        return {
            name
            for (name,) in connection.execute(
                "select column_name from information_schema.columns"
                " where table_schema = 'features' and table_name = 'churn_feature_matrix'"
            )
        }


def test_a_feature_reaches_model_reasons_and_catalogue_and_a_renamed_one_is_trained_again(
    warehouse: Warehouse, dbt: DbtRuns, tmp_path: Path
) -> None:
    registry = ModelRegistry(warehouse, tmp_path)
    binding = CHURN
    mart = dbt.project / "models" / "features"
    sql, yaml = (mart / "customer_features.sql").read_text(), (mart / "_customer_features.yml").read_text()
    with warehouse.connect() as connection:
        company = get_company(connection, "subscriptions")

    def trainer() -> Trainer:
        features = read_features(dbt.folder / "target" / "manifest.json", CHURN.relations.matrix)
        return Trainer(binding, warehouse, registry, features, Clock(None), 1)

    def scorer() -> Scorer:
        features = read_features(dbt.folder / "target" / "manifest.json", CHURN.relations.matrix)
        return Scorer(binding, warehouse, registry, features, Clock(None))

    def names_in_champion() -> set[str]:
        champion = registry.champion("churn-subscriptions")
        assert champion is not None
        return {feature.name for feature in champion[0].encoder.features}

    assert trainer().train(company, "when_due").status == "too_few_outcomes"
    assert trainer().train(company, "when_due").status == "not_due"
    assert scorer().stage(company).rows > 0

    # Added: the rule reads it, so that a reason is written with its label.
    _write(dbt, sql, yaml, "weeks_as_customer", "Weeks as a customer")
    binding = replace(CHURN, task=replace(CHURN.task, rule_feature="weeks_as_customer"))
    assert "weeks_as_customer" in _columns(warehouse)
    assert trainer().train(company, "when_due").status == "too_few_outcomes"
    assert "weeks_as_customer" in names_in_champion()
    assert scorer().stage(company).rows > 0
    with warehouse.connect() as connection:
        reasons = connection.execute(
            "select string_agg(reasons::text, '') from ml.staged_scores where company_id = %s", [company.company_id]
        ).fetchone()
        catalogue = connection.execute(
            "select label, unit, share_missing from features.feature_catalogue"
            " where company_id = %s and feature = 'weeks_as_customer'",
            [company.company_id],
        ).fetchone()
    assert reasons is not None
    assert " weeks as a customer" in reasons[0]
    assert catalogue == ("Weeks as a customer", "weeks", 0)
    described = dbt.manifest()["nodes"]["model.churn_warehouse.customer_features"]["columns"]["weeks_as_customer"]
    assert described["description"] == "Whole weeks since the customer signed up."

    # Renamed: every row is built again, the model is trained again, and the old name is gone.
    _write(dbt, sql, yaml, "weeks_with_us", "Weeks with us")
    binding = replace(CHURN, task=replace(CHURN.task, rule_feature="weeks_with_us"))
    assert "weeks_as_customer" not in _columns(warehouse)
    with warehouse.connect() as connection:
        assert connection.execute(
            "select count(distinct split_part(feature_version, '.', 1)), count(*) filter (where weeks_with_us is null)"
            " from features.churn_feature_matrix"
        ).fetchone() == (1, 0)
    assert trainer().train(company, "when_due").status == "too_few_outcomes"
    assert names_in_champion() >= {"weeks_with_us"}
    assert "weeks_as_customer" not in names_in_champion()
    assert scorer().stage(company).rows > 0

    # Removed: as it was before, and trained once more.
    (mart / "customer_features.sql").write_text(sql)
    (mart / "_customer_features.yml").write_text(yaml)
    dbt.parse()
    dbt.run(*SELECTED)
    binding = CHURN
    assert "weeks_with_us" not in _columns(warehouse)
    assert trainer().train(company, "when_due").status == "too_few_outcomes"
    assert trainer().train(company, "when_due").status == "not_due"
