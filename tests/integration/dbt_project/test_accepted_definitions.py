"""Whatever a person may say of a company is refused at once, or every step for all companies can read it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args
from zoneinfo import available_timezones

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from pipeline.companies import parse_definition
from pipeline.prediction.scoring import Scorer
from pipeline.prediction.tasks import TaskBinding, task_named, tasks_of
from pipeline.prediction.training import Trainer
from pipeline.telling.report import report_html
from tests.conftest import TestServer
from tests.integration.crm_history import END, generate
from tests.integration.dbt_project.dbt_runs import PROJECT, DbtRuns, warehouse_for_a_module
from tests.integration.dbt_project.dbt_world import record_load
from warehouse.companies.definition import Company
from warehouse.companies.limits import LONGEST_TEXTS
from warehouse.companies.notifications import Weekday
from warehouse.companies.registry import add_company, get_company
from warehouse.connection import Warehouse
from warehouse.errors import CompanyDefinitionError
from warehouse.settings import Settings

OF_DEFINITIONS = (
    "staging.stg_ops__companies",
    "staging.stg_ops__registered_companies",
    "staging.stg_ops__company_entities",
    "staging.stg_ops__company_tasks",
    "intermediate.int_business_hours",
    "intermediate.int_business_weeks",
    "intermediate.int_churn__settings",
)
"""The views through which definitions reach all other models."""

# What every feature and label works out of a definition.
MOMENTS = """
select
    moment at time zone companies.time_zone,
    date_trunc('month', moment at time zone companies.time_zone) at time zone companies.time_zone,
    coalesce(companies.clock_at, moment) + make_interval(days => tasks.horizon_days),
    coalesce(companies.clock_at, moment)::date - tasks.horizon_days
from staging.stg_ops__companies as companies
inner join staging.stg_ops__company_tasks as tasks on companies.company_id = tasks.company_id
cross join (values (timestamptz '1900-01-01 00:00Z'), ('2199-12-31 23:59Z')) as moments (moment)
"""

PLANS = st.dictionaries(
    st.sampled_from(["basic", "pro", 'O\'Neil "%s" {{ x }}: €\\', " "]) | st.text(max_size=210),
    st.sampled_from(["1 month", "2 years", "25 months", "9999 years", 1, 730, 731]),
    min_size=1,
    max_size=3,
)
DAYS = st.integers(1, 800) | st.sampled_from([730, 731, 2**31 - 1, 2**31, 10**8])
TIME = st.builds("{:02}:{:02}".format, st.integers(0, 24), st.integers(0, 59))
NAME = st.text(st.characters(codec="utf-8"), min_size=1, max_size=210)


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    attributes = draw(
        st.lists(
            st.fixed_dictionaries(
                {"name": st.from_regex(r"[a-z][a-z0-9_]{0,70}", fullmatch=True), "label": NAME, "unit": NAME}
                | {"kind": st.sampled_from(["number", "category", "flag"]), "is_fixed": st.booleans()}
            ),
            max_size=4,
            unique_by=lambda attribute: attribute["name"],
        )
    )
    churn = draw(
        st.fixed_dictionaries({"kind": st.just("cancellation"), "horizon_days": DAYS})
        | st.fixed_dictionaries(
            {"kind": st.just("inactivity"), "horizon_days": DAYS, "inactivity_days": DAYS},
            optional={"expected_every": PLANS, "counts_pauses": st.booleans()},
        )
        | st.fixed_dictionaries({"kind": st.just("downgrade"), "downgrade_share": st.floats(0, 1)})
    )
    return {
        "slug": "acme",
        "connector": "files",
        "name": draw(NAME),
        "currency": draw(st.from_regex(r"[A-Z]{3}", fullmatch=True)),
        "time_zone": draw(st.sampled_from(sorted(available_timezones()))),
        "tasks": {"churn": churn, "support": draw(st.fixed_dictionaries({"horizon_days": DAYS}))},
        "custom_attributes": attributes,
        "segment_by": draw(st.sampled_from(["country", *(each["name"] for each in attributes if each["is_fixed"])])),
        "business_hours": draw(
            st.none() | st.dictionaries(st.sampled_from(get_args(Weekday)), st.tuples(TIME, TIME), min_size=1)
        ),
        "clock_at": draw(st.none() | st.datetimes(timezones=st.just(UTC))),
    }


@pytest.fixture(scope="module")
def warehouse(
    postgres: TestServer, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Warehouse]:
    folder = tmp_path_factory.mktemp("dbt")
    with warehouse_for_a_module(postgres, template_database) as warehouse:
        warehouse.write_dbt_profile(folder)
        DbtRuns(PROJECT, folder).run("run", "--select", *(view.split(".")[1] for view in OF_DEFINITIONS))
        yield warehouse


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], max_examples=40)
@given(data=definitions())
def test_an_accepted_definition_comes_back_and_can_be_read_by_every_step(
    warehouse: Warehouse, data: dict[str, Any]
) -> None:
    with warehouse.connect() as connection:
        try:
            definition = parse_definition(data)
            added = add_company(connection, definition, "tests")
        except CompanyDefinitionError as refused:
            connection.rollback()
            assume(str(refused) == "")
        assert get_company(connection, "acme") == added
        for view in OF_DEFINITIONS:
            connection.execute(f"select * from {view}").fetchall()  # type: ignore[call-overload]
        assert connection.execute(MOMENTS).fetchall() != []
        connection.rollback()


LONGEST_NAME = "n" * LONGEST_TEXTS["name"]
INACTIVITY = {"kind": "inactivity", "inactivity_days": 60, "horizon_days": 60}
CHURNS: tuple[dict[str, Any], ...] = (
    {"kind": "cancellation", "horizon_days": 1},
    {"kind": "cancellation", "horizon_days": 730},
    INACTIVITY | {"inactivity_days": 1, "horizon_days": 730},
    INACTIVITY | {"inactivity_days": 730, "horizon_days": 1, "expected_every": {"basic": "2 years", "pro": 730}},
    INACTIVITY | {"expected_every": {'O\'Neil "%s" {{ x }}: €\\': "1 week", "basic": 1}, "counts_pauses": True},
    {"kind": "downgrade", "downgrade_share": 1, "horizon_days": 730},
    {"kind": "downgrade", "downgrade_share": 1e-300, "horizon_days": 1},
)
OTHERWISE: tuple[dict[str, Any], ...] = (
    {},
    {"time_zone": "Pacific/Kiritimati", "clock_at": END, "entities": ["customers"]},
    {"time_zone": "Pacific/Pago_Pago", "clock_at": END.replace(hour=0), "entities": ["customers", "events"]},
    {"time_zone": "Australia/Lord_Howe", "clock_at": datetime(1970, 1, 1, tzinfo=UTC)},
    {"time_zone": "America/St_Johns", "clock_at": datetime(2199, 12, 31, 23, 59, tzinfo=UTC)},
    {
        "name": LONGEST_NAME,
        "currency": "XXX",
        "segment_by": "a" * LONGEST_TEXTS["custom_attributes.name"],
        "custom_attributes": [
            {
                "name": name.ljust(LONGEST_TEXTS["custom_attributes.name"], "a"),
                "kind": kind,
                "is_fixed": True,
                "label": "'\"{{ %s \\" * 20,
                "unit": "€" * LONGEST_TEXTS["custom_attributes.unit"],
            }
            for name, kind in (("a", "category"), ("b", "number"), ("c", "flag"))
        ],
    },
    {
        "time_zone": "Asia/Kathmandu",
        "entities": ["customers", "tickets"],
        "business_hours": {day: ["00:00", "00:01"] for day in get_args(Weekday)},
    },
    {"business_hours": {"sunday": ["23:59", "24:00"]}, "shares_training": True},
)


def told_by(tasks: dict[str, Any], otherwise: dict[str, Any]) -> dict[str, Any]:
    """Those tasks whose outcomes the company's records tell, or churn by cancellation, which customers do."""
    entities = otherwise.get("entities", ("customers", "tickets", "payments"))
    told = {
        name: settings
        for name, settings in tasks.items()
        if task_named(name).settings.model_validate(settings).needed_entity() in entities
    }
    return {"tasks": told or {"churn": CHURNS[0]}}


def test_companies_at_the_limits_are_built_and_scored_beside_each_other(
    postgres: TestServer, template_database: str, tmp_path: Path
) -> None:
    """Each way to mean churn in each surrounding, support alone, and companies of which nothing ever came.

    Attributes with names as long as was allowed were cut to another name by Postgres, and stopped every training.
    """
    common = {"connector": "files", "name": "Acme", "currency": "EUR"}
    churns = [{"churn": churn, "support": {"horizon_days": days}} for churn in CHURNS for days in (1, 730)]
    tasks = [*churns, {"support": {"horizon_days": 730}}]
    said = [
        common | told_by(tasks[(3 * number + shift) % len(tasks)], otherwise) | otherwise
        for shift in range(4)
        for number, otherwise in enumerate(OTHERWISE)
    ]
    with warehouse_for_a_module(postgres, template_database) as warehouse:
        warehouse.write_dbt_profile(tmp_path / "dbt")
        with warehouse.connect() as connection:
            companies = []
            for number, data in enumerate(said):
                definition = parse_definition({"slug": f"company_{number}", **data})
                companies.append(add_company(connection, definition, "tests"))
                company_id, now = companies[-1].company_id, definition.clock_at or END
                record_load(connection, company_id, now - timedelta(days=100), is_backfill=True)
                record_load(connection, company_id, now, is_backfill=False)
            history = generate([company.company_id for company in companies[4:]], customers=8, seed=1)
            # Everybody has left the fifth.
            for row in history.rows["customers"]:
                if row["company_id"] == companies[4].company_id and not row["is_deleted"]:
                    row["cancelled_at"] = row["created_at"] + timedelta(days=1)
            history.write(connection)
            scored_companies = [get_company(connection, company.slug) for company in companies[3:8]]
        built = DbtRuns(PROJECT, tmp_path / "dbt").run("build", "--exclude-resource-type", "unit_test")
        settings = Settings(database_url=SecretStr(warehouse.url("postgresql")), home=tmp_path)
        scored = {
            (company.company_id, binding.name): _trained_and_scored(warehouse, settings, company, binding)
            for company in scored_companies
            for binding in tasks_of(company)
        }
        for company in scored_companies:
            assert report_html(settings, warehouse, company.slug)
    assert len(companies) == 32
    assert len([rows for rows in scored.values() if rows]) > 4
    assert built["churn_labels"]
    assert built["support_labels"]


def _trained_and_scored(warehouse: Warehouse, settings: Settings, company: Company, binding: TaskBinding) -> int:
    Trainer.from_settings(binding, warehouse, settings).train(company, "always")
    return Scorer.from_settings(binding, warehouse, settings).stage(company).rows
