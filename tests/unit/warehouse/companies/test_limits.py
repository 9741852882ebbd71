"""What is too large for a definition is refused when it comes, with the field and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.companies import parse_definition
from tests.unit.warehouse.companies.test_definition import GOOD
from warehouse.companies.definition import Company
from warehouse.companies.limits import LONGEST_TEXTS, MOST_ENTRIES
from warehouse.errors import CompanyDefinitionError

LONG = "x" * 70_000
SHOP = {"kind": "inactivity", "inactivity_days": 60}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "x" * 201}, "name: must be at most 200 characters"),
        ({"connector_settings": {"base_url": LONG}}, "connector_settings: must be at most 65,536 characters"),
        ({"custom_attributes": [{"name": "a" * 64, "kind": "flag"}]}, "custom_attributes.name: must be at most 53"),
        ({"custom_attributes": [{"name": "a", "kind": "flag", "label": "x" * 201}]}, "custom_attributes.label"),
        ({"custom_attributes": [{"name": "a", "kind": "number", "unit": "x" * 51}]}, "custom_attributes.unit"),
        ({"custom_attributes": [{"name": f"a{n}", "kind": "flag"} for n in range(51)]}, "must be at most 50"),
        ({"notification_addresses": [f"a{n}@b.example" for n in range(51)]}, "notification_addresses: must be at most"),
        ({"notification_addresses": ["env:" + "A" * 2_000]}, "notification_addresses: must be at most 2,000"),
        ({"notifications": {"owner": "x" * 201}}, "notifications.owner"),
        ({"notifications": {"dashboard_link": "http://a/" + "x" * 2_000}}, "notifications.dashboard_link"),
        ({"notifications": {"smallest_value": float("inf")}}, "notifications.smallest_value: must be at most 1,000"),
        ({"notifications": {"cooldown_days": 10**7}}, "notifications.cooldown_days: must be at most 3,650"),
        ({"clock_at": "9999-12-31T00:00:00Z"}, "clock_at: must be between the years 1970 and 2200"),
        ({"clock_at": "0001-01-01T00:00:00Z"}, "clock_at: must be between"),
        ({"name": "nul\0"}, "name: holds a character that Postgres cannot store"),
        ({"connector_settings": {"key\0": 1}}, "connector_settings: holds a character"),
        ({"connector_settings": {"deep": [{"er": "\ud800"}]}}, "connector_settings: holds a character"),
        ({"tasks": {"churn": {"kind": "cancellation", "horizon_days": 100_000_000}}}, "churn.horizon_days: must be at"),
        ({"tasks": {"churn": SHOP | {"inactivity_days": 731}}}, "churn.inactivity_days: must be at most 730"),
        ({"tasks": {"support": {"horizon_days": 731}}}, "support.horizon_days: must be at most 730"),
    ],
)
def test_what_no_step_could_work_with_is_refused(changes: dict[str, Any], said: str) -> None:
    definition = {name: value for name, value in GOOD.items() if name != "churn_kind" or "tasks" not in changes}
    with pytest.raises(CompanyDefinitionError) as caught:
        parse_definition(definition | changes)
    assert str(caught.value).startswith("Company acme: ")
    assert said in str(caught.value)
    assert "xxx" not in str(caught.value)


def test_what_is_as_large_as_may_be_is_accepted() -> None:
    attributes = [
        {"name": f"a{number}".ljust(LONGEST_TEXTS["custom_attributes.name"], "a"), "kind": "flag", "label": "x" * 200}
        for number in range(MOST_ENTRIES["custom_attributes"])
    ]
    parse_definition(GOOD | {"name": "é" * 200, "custom_attributes": attributes, "horizon_days": 730})


def test_what_stands_in_the_registry_since_other_rules_is_read_all_the_same() -> None:
    row = parse_definition(GOOD).model_dump() | {"company_id": 1, "is_active": True, "name": LONG}
    company = Company.from_row(row)
    assert (company.name, company.unreadable) == (LONG, {})


def test_a_row_that_cannot_be_read_names_its_fields_and_keeps_nobody_from_the_others() -> None:
    row = parse_definition(GOOD).model_dump() | {"company_id": 1, "is_active": True}
    company = Company.from_row(row | {"business_hours": {"monday": ["9 o clock", "17:00"]}, "segment_by": "plan"})
    assert company.slug == "acme"
    assert company.unreadable.keys() == {"business_hours", "segment_by"}
    assert "monday must be two times of day" in company.unreadable["business_hours"]


def test_a_row_that_cannot_even_be_named_says_so() -> None:
    row = parse_definition(GOOD).model_dump() | {"company_id": 1, "is_active": True, "currency": "euro"}
    with pytest.raises(CompanyDefinitionError, match="Company acme: currency"):
        Company.from_row(row)
