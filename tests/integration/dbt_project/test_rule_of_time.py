"""The rule of time, proved on generated histories: what becomes known later moves no earlier feature."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import pytest

from tests.conftest import TestServer
from tests.integration.crm_changes import change_attributes_of_the_first_load, change_what_was_known_from
from tests.integration.crm_history import (
    END,
    FIRST_LOAD,
    History,
    generate,
)
from tests.integration.dbt_project.dbt_runs import (
    CHURN_RELATIONS,
    FEATURE_RELATIONS,
    FEATURES_AND_TASKS,
    VIEWS_STAND,
    DbtRuns,
    copy_project,
    moved_columns,
    snapshot,
    warehouse_for_a_module,
)
from tests.integration.dbt_project.dbt_world import register_companies
from warehouse.connection import Warehouse

pytestmark = pytest.mark.xdist_group("dbt_rule_of_time")

LEAK = "leaking_features"
BUILT = (*FEATURE_RELATIONS, *CHURN_RELATIONS)
PROVED = (*BUILT, LEAK)


@pytest.fixture(scope="module")
def warehouse(postgres: TestServer, template_database: str) -> Iterator[Warehouse]:
    with warehouse_for_a_module(postgres, template_database) as warehouse:
        yield warehouse


@pytest.fixture(scope="module")
def dbt(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> DbtRuns:
    """The project with one model more, which peeks in the three ways that people do."""
    folder = tmp_path_factory.mktemp("dbt")
    warehouse.write_dbt_profile(folder)
    project = copy_project(folder / "project")
    _plant_leak(project)
    return DbtRuns(project, folder)


@pytest.fixture(scope="module")
def history(warehouse: Warehouse, dbt: DbtRuns) -> History:
    """Two companies of which the features have been built."""
    with warehouse.connect() as connection:
        company_ids = register_companies(connection, now=END, first_load=FIRST_LOAD)
        history = generate(company_ids, customers=120, seed=20)
        history.write(connection)
        connection.commit()
    dbt.run("build", "--select", *FEATURES_AND_TASKS, "--exclude-resource-type", "test", "unit_test")
    return history


def _plant_leak(project: Path) -> None:
    sql = """
        select
            customers.company_id,
            customers.customer_id,
            customers.as_of_date,
            customers.tenure_days,
            min(current_customers.plan_name) as plan_of_today,
            count(distinct tickets.ticket_id)
                filter (where tickets.opened_date < customers.as_of_date)::integer as tickets_whenever_known,
            count(distinct tickets.ticket_id) filter (
                where tickets.resolved_date is not null
                and tickets.known_from < customers.as_of_date
                and tickets.known_to >= customers.as_of_date
            )::integer as tickets_ever_resolved
        from {{ ref('customer_features') }} as customers
        left join {{ ref('stg_crm__customers') }} as current_customers using (company_id, customer_id)
        left join {{ ref('int_tickets__intervals') }} as tickets using (company_id, customer_id)
        group by customers.company_id, customers.customer_id, customers.as_of_date, customers.tenure_days
        """
    (project / "models" / "features" / f"{LEAK}.sql").write_text(
        "{{ config(materialized='table', contract={'enforced': false}) }}\n"
        "-- depends_on: {{ ref('int_companies__clocks') }}\n" + dedent(sql)
    )


@pytest.mark.parametrize(
    ("moment", "leaks"),
    [
        pytest.param(
            datetime(2025, 6, 1, tzinfo=UTC),
            {"tickets_whenever_known", "plan_of_today"},
            id="while records come as they happen",
        ),
        pytest.param(
            datetime(2024, 12, 1, tzinfo=UTC),
            {"tickets_whenever_known", "tickets_ever_resolved", "plan_of_today"},
            id="before the first load",
        ),
    ],
)
def test_what_becomes_known_later_moves_no_feature_and_a_planted_leak_is_caught(
    warehouse: Warehouse, dbt: DbtRuns, history: History, moment: datetime, leaks: set[str]
) -> None:
    with warehouse.connect() as connection:
        snapshot(connection, "before", PROVED)
        change_what_was_known_from(history, moment)
        history.write(connection)

    dbt.run("run", "--select", *FEATURES_AND_TASKS, "--full-refresh", *VIEWS_STAND)

    with warehouse.connect() as connection:
        moved = moved_columns(connection, "before", PROVED, up_to=moment.date().isoformat())
        moved_later = moved_columns(connection, "before", BUILT)
    assert moved.pop(LEAK) == leaks
    assert moved == {}
    # A world in which nothing moved would prove nothing.
    assert {
        "tickets_open",
        "revenue_90d",
        "plan_name",
        "response_rate_365d",
        "is_unsubscribed",
        "a row",
    } <= set().union(*moved_later.values())


def test_up_to_the_first_load_the_matrix_does_not_depend_on_any_mutable_attribute(
    warehouse: Warehouse, dbt: DbtRuns, history: History
) -> None:
    """Which attributes a first load knows of tells who was never edited again, which predicts survival."""
    with warehouse.connect() as connection:
        snapshot(connection, "before", BUILT)
        change_attributes_of_the_first_load(history)
        history.write(connection)

    dbt.run("run", "--select", *FEATURES_AND_TASKS, "--full-refresh", *VIEWS_STAND, LEAK)

    with warehouse.connect() as connection:
        marts = moved_columns(connection, "before", BUILT, up_to=FIRST_LOAD.date().isoformat())
    assert not {"customer_feature_matrix", *CHURN_RELATIONS} & {*marts}
    assert marts["customer_features"] >= {"plan_name", "seats"}
    assert set(marts) == {*FEATURE_RELATIONS[:-1]}


def test_every_feature_has_values_in_the_generated_world(warehouse: Warehouse, dbt: DbtRuns, history: History) -> None:
    """A column that is always null or always the same could leak without the proof seeing it."""
    with warehouse.connect() as connection:
        for relation in FEATURE_RELATIONS[:-1]:
            node = dbt.manifest()["nodes"][f"model.churn_warehouse.{relation}"]
            features = [name for name, column in node["columns"].items() if "feature" in column["config"]["meta"]]
            counts = connection.execute(
                f"select {', '.join(f'count(distinct {name})' for name in features)} from features.{relation}"
            ).fetchone()
            assert counts is not None
            dull = [name for name, count in zip(features, counts, strict=True) if count < 2]
            assert dull == []
