"""Whatever a person may say of a company is refused at once, or every step for all companies can read it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Any, get_args
from zoneinfo import available_timezones

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.companies import parse_definition
from tests.conftest import TestServer
from tests.integration.dbt_project.dbt_runs import PROJECT, DbtRuns, warehouse_for_a_module
from warehouse.companies.definition import Weekday
from warehouse.companies.registry import add_company, get_company
from warehouse.connection import Warehouse
from warehouse.errors import CompanyDefinitionError

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
        | st.fixed_dictionaries({"kind": st.just("inactivity"), "horizon_days": DAYS, "inactivity_days": DAYS})
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
