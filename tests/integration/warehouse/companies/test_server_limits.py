"""What the registry accepts, the server can work with."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import available_timezones

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.companies import parse_definition
from tests.unit.warehouse.companies.test_definition import GOOD
from warehouse.companies.definition import Company
from warehouse.companies.registry import add_company as register
from warehouse.companies.registry import (
    change_company,
    disable_company,
    get_company,
    list_companies,
    refuse_unreadable,
)
from warehouse.companies.server_limits import refuse_time_zone_unknown_to_server
from warehouse.connection import Warehouse
from warehouse.errors import CompanyDefinitionError

Add = Callable[..., Company]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(zone=st.sampled_from(sorted(available_timezones())))
def test_a_zone_is_refused_or_the_same_time_to_both(warehouse: Warehouse, zone: str) -> None:
    with warehouse.connect() as connection:
        try:
            refuse_time_zone_unknown_to_server(connection, "acme", zone)
        except CompanyDefinitionError as refused:
            said = str(refused)
        else:
            said = ""
            connection.execute("select now() at time zone %s", [zone])
    assert said == "" or said.startswith(f"Company acme: time_zone: {zone} is ")


@pytest.mark.parametrize("zone", ["localtime", "Mars/Olympus_Mons"])
def test_a_zone_that_only_python_may_know_is_refused_at_registration(warehouse: Warehouse, zone: str) -> None:
    """`localtime` is a file of the machine's, which Python lists among the zones."""
    definition = parse_definition(GOOD).model_copy(update={"time_zone": zone})
    with warehouse.connect() as connection:
        with pytest.raises(CompanyDefinitionError, match=f"Company acme: time_zone: {zone} is not known to the Postg"):
            register(connection, definition, "tests")
        assert list_companies(connection, active_only=False) == []


def test_a_change_of_zone_is_asked_of_the_server_too(warehouse: Warehouse, add_company: Add) -> None:
    add_company("acme")
    with warehouse.connect() as connection:
        changed = get_company(connection, "acme").model_copy(update={"time_zone": "localtime"})
        with pytest.raises(CompanyDefinitionError, match="not known to the Postgres server"):
            register(connection, changed, "tests")
        assert get_company(connection, "acme").time_zone == "Europe/Berlin"


def test_a_row_that_cannot_be_read_stops_nobody_and_can_be_mended_or_disabled(
    warehouse: Warehouse, add_company: Add
) -> None:
    add_company("good")
    add_company("by_hand")
    with warehouse.connect() as connection:
        connection.execute(
            'update ops.companies set business_hours = \'{"monday": ["9", "17:00"]}\' where slug = \'by_hand\''
        )
        assert [company.slug for company in list_companies(connection)] == ["good"]
        unreadable = get_company(connection, "by_hand")
        with pytest.raises(CompanyDefinitionError, match="by_hand: business_hours: monday must be two times of day"):
            refuse_unreadable(unreadable)
        disable_company(connection, "by_hand", "tests")
        assert not get_company(connection, "by_hand").is_active
        change_company(connection, "by_hand", {"business_hours": None}, "tests", parse_definition)
        mended = get_company(connection, "by_hand")
        assert (mended.unreadable, mended.business_hours) == ({}, None)
