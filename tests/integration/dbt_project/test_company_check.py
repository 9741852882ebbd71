"""`churn company check` counts in pandas what the warehouse counts in SQL: the two are held equal here.

The world is free of what a check cannot know. Where churn is a cancellation or a silence, the CRM hands out the newest
version of each record, and the first load brings just that, today. A lower price can be seen only by a warehouse that
was there before it: there the CRM hands out all versions, and each was loaded the moment it was made. All prices have a
currency: a check does not know the company's, which stands in for one that is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
import yaml
from rich.console import Console

from foundation.model_version import ModelVersion
from ml_assets.task import Feature
from ml_assets.training.grounds import announced
from ml_assets.training.ladder import OutcomeCounts, decide_rung
from orchestration.cli.company_report import print_check
from orchestration.cli.summary import print_summary
from pipeline.connectors.contract import ENTITIES
from pipeline.loading.check import CompanyCheck
from pipeline.loading.outcomes import HISTORY_MONTHS, ChurnCheck, churn_check
from pipeline.loading.sample import EntitySample
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.scoring import Scorer
from pipeline.prediction.tasks import churn_settings_of, task_named
from pipeline.prediction.training import Trainer
from tests.conftest import TestServer
from tests.integration.crm_history import BEGIN, END, KEYS, History, Row, generate
from tests.integration.dbt_project.dbt_runs import (
    FEATURES_AND_TASKS,
    PROJECT,
    DbtRuns,
    warehouse_for_a_module,
)
from tests.integration.dbt_project.dbt_world import register_companies
from warehouse.clock import Clock
from warehouse.companies.definition import CompanyDefinition
from warehouse.companies.registry import companies_with
from warehouse.connection import Warehouse

pytestmark = pytest.mark.xdist_group("dbt_company_check")

KINDS = ("subscriptions", "shop", "plans")
FEATURES = [
    Feature("days_since_last_payment", "Days since the last payment", "days", "payments", "number"),
    Feature("revenue_90d", "Revenue in the last 90 days", "company's currency", "payments", "number"),
]


@pytest.fixture(scope="module")
def warehouse(postgres: TestServer, template_database: str) -> Iterator[Warehouse]:
    with warehouse_for_a_module(postgres, template_database) as warehouse:
        yield warehouse


@pytest.fixture(scope="module")
def history(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> History:
    """One company per kind of churn, of which the labels have been built."""
    folder = tmp_path_factory.mktemp("dbt")
    warehouse.write_dbt_profile(folder)
    with warehouse.connect() as connection:
        subscriptions, shop, plans = register_companies(connection, now=END, first_load=BEGIN, with_downgrades=True)
        history = generate([subscriptions, shop, plans], customers=200, seed=5)
        for entity, rows in history.rows.items():
            today = {"known_at": END, "is_backfill": True}
            history.rows[entity] = [
                *(row | today for row in _newest(entity, rows, {subscriptions, shop})),
                *(row | {"known_at": row["updated_at"]} for row in rows if row["company_id"] == plans),
            ]
        history.write(connection)
    DbtRuns(PROJECT, folder).run(
        "build",
        "--select",
        *FEATURES_AND_TASKS,
        "+int_customers__spells",
        "--exclude-resource-type",
        "test",
        "unit_test",
    )
    return history


def _newest(entity: str, rows: list[Row], company_ids: set[int]) -> list[Row]:
    wanted = [row for row in rows if row["company_id"] in company_ids]
    in_order = sorted(wanted, key=lambda row: row["updated_at"])
    return list({(row["company_id"], row[KEYS[entity]]): row for row in in_order}.values())


def _check(connection: psycopg.Connection[Any], history: History, slug: str) -> tuple[int, ChurnCheck]:
    company = next(company for company in companies_with(connection, "churn") if company.slug == slug)
    samples = {}
    for entity in ("customers", "payments"):
        schema = ENTITIES[entity].schema
        rows = [
            {name: row.get(name) for name in schema.names}
            for row in history.rows[entity]
            if row["company_id"] == company.company_id
        ]
        samples[entity] = EntitySample(pa.Table.from_pylist(rows, schema), received=len(rows), is_complete=True)
    settings = churn_settings_of(company)
    assert settings is not None
    check = churn_check(settings, samples, END)
    assert check is not None
    return company.company_id, check


@pytest.mark.parametrize("slug", KINDS)
def test_the_check_counts_the_outcomes_that_the_labels_hold(warehouse: Warehouse, history: History, slug: str) -> None:
    with warehouse.connect() as connection:
        company_id, check = _check(connection, history, slug)
        counts = connection.execute(
            "select count(*), count(distinct customer_id), count(distinct customer_id) filter (where is_churned)"
            " from features.churn_labels where company_id = %s and is_mature and is_churned is not null"
            " and extract(day from as_of_date) = 1",
            [company_id],
        ).fetchone()
    assert counts is not None
    rows, entities, outcomes = counts
    assert check.outcomes == OutcomeCounts(rows, entities, outcomes, entities - outcomes)
    # A world in which nobody leaves, or everybody, would prove nothing.
    assert min(check.outcomes.outcomes, check.outcomes.survivors) > 10


@pytest.mark.parametrize("slug", KINDS)
def test_outcomes_come_within_the_horizon_exactly_where_labels_say_so(
    warehouse: Warehouse, history: History, slug: str
) -> None:
    """Curves are learned from times, models from labels: one definition of churn stands behind both."""
    query = """
        select count(*), count(*) filter (where labels.is_churned),
            count(*) filter (
                where times.company_id is null or times.observed_days < labels.horizon_days
                or coalesce(times.outcome_days < labels.horizon_days, false) is distinct from labels.is_churned
            )
        from features.churn_labels as labels
        inner join ops.companies as companies using (company_id)
        left join features.churn_times as times using (company_id, customer_id, as_of_date)
        where companies.slug = %s and labels.is_mature and labels.is_churned is not null
            and extract(day from labels.as_of_date) = 1
    """
    with warehouse.connect() as connection:
        rows, churned, differing = connection.execute(query, [slug]).fetchone() or (0, 0, 0)
        later = connection.execute(
            "select count(*) from features.churn_times inner join features.churn_labels"
            " using (company_id, customer_id, as_of_date) inner join ops.companies using (company_id)"
            " where slug = %s and outcome_days >= horizon_days",
            [slug],
        ).fetchone()
        odd = connection.execute(
            "select count(*) filter (where outcome_days < 0 or outcome_days >= observed_days),"
            " count(*) - count(distinct (company_id, customer_id, as_of_date)) from features.churn_times"
        ).fetchone()
    assert (rows > 100, churned > 10, differing) == (True, True, 0)
    # dbt does not test the view, for that would work it out at each build.
    assert odd == (0, 0)
    assert later is not None
    assert later[0] > 10


@pytest.mark.parametrize("slug", KINDS)
def test_five_places_say_in_one_sentence_what_scores_rest_on(
    warehouse: Warehouse, history: History, tmp_path: Path, slug: str
) -> None:
    binding, registry = task_named("churn"), ModelRegistry(warehouse, tmp_path)
    with warehouse.connect() as connection:
        company = next(company for company in companies_with(connection, "churn") if company.slug == slug)
        _, check = _check(connection, history, slug)
    decision = decide_rung(check.outcomes, None, binding.task)
    before = announced(decision, check.split, binding.task)
    trained = Trainer(binding, warehouse, registry, FEATURES, Clock(END), 1).train(company, "always")
    card = registry.card(ModelVersion.parse(trained.model))
    Scorer(binding, warehouse, registry, FEATURES, Clock(END)).stage(company)
    console = Console(record=True, width=1_000)
    with warehouse.connect() as connection:
        print_summary(connection, console, "none")
        evidence = connection.execute(
            "select distinct evidence ->> 'grounds' from ml.staged_scores where company_id = %s", [company.company_id]
        ).fetchall()
        curves = connection.execute(
            "select probability, horizon_curve -> 'within' from ml.staged_scores where company_id = %s",
            [company.company_id],
        ).fetchall()
    for probability, within in curves:
        risks = [within[day] for day in sorted(within, key=int)]
        assert risks == sorted(risks)
        assert within[str(binding.horizon_days(company))] == probability
    definition = CompanyDefinition.model_validate(company.model_dump(include=set(CompanyDefinition.model_fields)))
    print_check(CompanyCheck(definition, (), check, decision, before, (), ()), console)
    assert f"Its scores would rest on: {before.text}" in console.export_text(clear=False)
    assert before.counts in trained.reason
    assert trained.reason == before.text or (trained.rung, before.step) == ("rule", "own_model")
    assert unescape(card).count(trained.reason) >= 1
    assert evidence == [(trained.reason,)]
    assert f"{slug}: {trained.reason}" in console.export_text()


@pytest.mark.parametrize("slug", ["subscriptions", "shop"])
def test_the_check_has_the_months_in_which_spells_end(warehouse: Warehouse, history: History, slug: str) -> None:
    """A lower price ends no spell, so that the months of downgrades are not among them."""
    with warehouse.connect() as connection:
        company_id, check = _check(connection, history, slug)
        months = connection.execute(
            "select to_char(ends_at at time zone 'UTC', 'YYYY-MM'), count(*)"
            " from intermediate.int_customers__spells where company_id = %s and ends_at is not null"
            " group by 1 order by 1",
            [company_id],
        ).fetchall()
    assert check.by_month == tuple(months)
    assert len(months) > 5


def test_the_months_of_downgrades_hold_every_churn_of_the_labels(warehouse: Warehouse, history: History) -> None:
    """No more than that: the months have single drops only, and those too that no date of the grid sees."""
    with warehouse.connect() as connection:
        company_id, check = _check(connection, history, "plans")
        months = connection.execute(
            "select distinct to_char(churned_at at time zone 'UTC', 'YYYY-MM') from features.churn_labels"
            " where company_id = %s and churned_at is not null",
            [company_id],
        ).fetchall()
    assert {month for (month,) in months} <= dict(check.by_month).keys()


def test_the_check_looks_as_far_back_as_the_grid() -> None:
    project = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())
    assert project["vars"]["history_months"] == HISTORY_MONTHS
