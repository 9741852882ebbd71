"""Where churn is silence, labels, reports and the check of a company say of the same customers that they left."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pyarrow as pa
import pytest

from ml_assets.training.ladder import OutcomeCounts
from pipeline.connectors.contract import ENTITIES
from pipeline.loading.outcomes import churn_check, versions_of
from pipeline.loading.sample import EntitySample
from pipeline.loading.silence import FOREVER, bills_of, paying_spells
from pipeline.prediction.tasks import ChurnSettings, churn_settings_of
from tests.conftest import TestServer
from tests.integration.crm_history import END, History
from tests.integration.dbt_project.billing_world import COMPANIES, generate, register
from tests.integration.dbt_project.dbt_runs import FEATURES_AND_TASKS, PROJECT, DbtRuns, warehouse_for_a_module
from warehouse.companies.definition import Company
from warehouse.companies.registry import companies_with
from warehouse.connection import Warehouse

pytestmark = pytest.mark.xdist_group("dbt_silence")

SLUGS = [company["slug"] for company in COMPANIES]


@pytest.fixture(scope="module")
def warehouse(postgres: TestServer, template_database: str) -> Iterator[Warehouse]:
    with warehouse_for_a_module(postgres, template_database) as warehouse:
        yield warehouse


@pytest.fixture(scope="module")
def history(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> History:
    folder = tmp_path_factory.mktemp("dbt")
    warehouse.write_dbt_profile(folder)
    with warehouse.connect() as connection:
        history = generate(register(connection), customers=150, seed=11)
        history.write(connection)
    DbtRuns(PROJECT, folder).run(
        "build",
        "--select",
        *FEATURES_AND_TASKS,
        "+path:models/analytics",
        "--exclude-resource-type",
        "unit_test",
    )
    return history


def _company(warehouse: Warehouse, slug: str) -> Company:
    with warehouse.connect() as connection:
        return next(company for company in companies_with(connection, "churn") if company.slug == slug)


def _settings(company: Company) -> ChurnSettings:
    settings = churn_settings_of(company)
    assert settings is not None
    return settings


def _records(company: Company, history: History, entity: str) -> pa.Table:
    schema = ENTITIES[entity].schema
    rows = [row for row in history.rows[entity] if row["company_id"] == company.company_id]
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema)


@pytest.mark.parametrize("slug", SLUGS)
def test_the_check_finds_the_spells_of_the_warehouse_to_the_second(
    warehouse: Warehouse, history: History, slug: str
) -> None:
    company = _company(warehouse, slug)
    versions = versions_of(_records(company, history, "customers"))
    bills = bills_of(_records(company, history, "payments"))
    frame = paying_spells(_settings(company), bills, versions)
    with warehouse.connect() as connection:
        spells = connection.execute(
            "select customer_id, begins_at, case when ends_at < '2200-01-01' then ends_at end"
            " from intermediate.int_customers__paying_spells where company_id = %s",
            [company.company_id],
        ).fetchall()
    rows = frame.assign(ends_at=frame["ends_at"].where(frame["ends_at"] < FOREVER)).itertuples(index=False)
    checked = {(row[0], row[1].to_pydatetime(), None if row[2] is pd.NaT else row[2].to_pydatetime()) for row in rows}
    assert checked == set(spells)
    assert len(spells) > 100


@pytest.mark.parametrize("slug", SLUGS)
def test_each_label_is_the_end_of_the_spell_in_which_the_date_lies(
    warehouse: Warehouse, history: History, slug: str
) -> None:
    """And nobody who was there and has features is missing."""
    query = """
        with outcomes as (
            select features.customer_id, features.as_of_date,
                case when spells.ends_at < features.as_of_date::timestamp at time zone 'UTC'
                    + make_interval(hours => 24 * settings.horizon_days) then spells.ends_at end as churned_at
            from features.customer_feature_matrix as features
            inner join intermediate.int_churn__settings as settings using (company_id)
            inner join intermediate.int_companies__clocks as clocks using (company_id)
            inner join intermediate.int_customers__spells as spells
                on spells.company_id = features.company_id and spells.customer_id = features.customer_id
                and spells.begins_at < features.as_of_date::timestamp at time zone 'UTC'
                and coalesce(spells.ends_at >= features.as_of_date::timestamp at time zone 'UTC', true)
            where features.company_id = %(company_id)s
                and features.as_of_date + settings.horizon_days <= (clocks.observed_until at time zone 'UTC')::date
        ),
        labels as (
            select customer_id, as_of_date, churned_at from features.churn_labels
            where company_id = %(company_id)s and is_churned is not null
                and customer_id in (
                    select customer_id from staging.stg_crm__customers where company_id = %(company_id)s
                )
        )
        select
            (select count(*) from labels), (select count(churned_at) from labels),
            array(select outcomes from (table outcomes except table labels) as outcomes),
            array(select labels from (table labels except table outcomes) as labels)
        """
    company_id = _company(warehouse, slug).company_id
    with warehouse.connect() as connection:
        labels, churned, *differing = connection.execute(query, {"company_id": company_id}).fetchone() or ()
    assert differing == [[], []]
    assert labels > 1000
    assert churned > 10


@pytest.mark.parametrize("slug", SLUGS)
def test_the_check_counts_what_labels_and_reports_hold(warehouse: Warehouse, history: History, slug: str) -> None:
    company = _company(warehouse, slug)
    samples = {
        entity: EntitySample(_records(company, history, entity), received=1, is_complete=True)
        for entity in ("customers", "payments")
    }
    check = churn_check(_settings(company), samples, END, company.time_zone)
    assert check is not None
    with warehouse.connect() as connection:
        rows, entities, outcomes = connection.execute(
            "select count(*), count(distinct customer_id), count(distinct customer_id) filter (where is_churned)"
            " from features.churn_labels where company_id = %s and is_churned is not null"
            " and extract(day from as_of_date) = 1",
            [company.company_id],
        ).fetchone() or (0, 0, 0)
        months = connection.execute(
            "select to_char(month, 'YYYY-MM'), sum(customers_churned + customers_joined_and_churned)::int"
            " from analytics.churn_by_month where company_id = %s group by 1 having sum(customers_churned"
            " + customers_joined_and_churned) > 0 order by 1",
            [company.company_id],
        ).fetchall()
    assert check.outcomes == OutcomeCounts(rows, entities, outcomes, entities - outcomes)
    assert [month for month in check.by_month if month[0] < f"{END:%Y-%m}"] == months
    assert len(months) > 5


@pytest.mark.parametrize("slug", SLUGS)
def test_who_is_inactive_on_the_overview_has_no_spell_that_goes_on(
    warehouse: Warehouse, history: History, slug: str
) -> None:
    query = """
        select customer_id, customer_status, customer_id in (
            select customer_id from intermediate.int_customers__spells as spells
            where spells.company_id = overview.company_id and ends_at is null
        ) from analytics.customer_overview as overview where company_id = %s and customer_status <> 'cancelled'
        """
    with warehouse.connect() as connection:
        customers = connection.execute(query, [_company(warehouse, slug).company_id]).fetchall()
    assert {status for _, status, _ in customers} == {"active", "inactive"}
    assert all((status == "active") == is_there for _, status, is_there in customers)


def test_who_pays_by_the_year_and_goes_on_paying_has_not_left(warehouse: Warehouse, history: History) -> None:
    """Half of a company's customers did so, and were called churned until the year was over."""
    query = """
        select count(*), count(*) filter (where is_churned)
        from features.churn_labels as labels inner join intermediate.int_customers__paying_spells as spells
            using (company_id, customer_id)
        where company_id = %s and as_of_date >= '2024-01-01' and is_churned is not null and customer_id in (
            select customer_id from staging.stg_crm__customers
            where company_id = labels.company_id and plan_name = 'yearly' and cancelled_at is null
        ) and spells.begins_at < as_of_date and spells.ends_at > %s
        """
    with warehouse.connect() as connection:
        labels, churned = connection.execute(query, [_company(warehouse, "plans").company_id, END]).fetchone() or (0, 0)
    assert labels > 50
    assert churned == 0
