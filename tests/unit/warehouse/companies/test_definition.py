"""A company's definition: what it must say, and what it must not hold."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.companies import parse_definition
from warehouse.errors import CompanyDefinitionError

GOOD: dict[str, Any] = {
    "slug": "acme",
    "name": "Acme",
    "connector": "habari_api",
    "connector_settings": {"base_url": "http://127.0.0.1:8000", "api_key": "env:CHURN_SOURCE_ACME__KEY"},
    "churn_kind": "cancellation",
    "currency": "EUR",
}


def test_a_definition_needs_little_and_fills_in_the_rest() -> None:
    definition = parse_definition(GOOD)
    assert definition.entities == ("customers", "tickets", "payments")
    assert definition.tasks == {"churn": {"kind": "cancellation", "horizon_days": 30}}
    assert definition.time_zone == "UTC"
    assert not definition.shares_training
    assert definition.clock_at is None
    assert definition.business_hours is None
    assert definition.segment_by == "country"
    assert definition.personal_data == "keep"


def test_an_attributes_label_and_unit_come_from_its_name_and_kind() -> None:
    attributes = [
        {"name": "team_size", "kind": "number", "unit": "people"},
        {"name": "industry", "kind": "category", "is_fixed": True, "label": "Line of business"},
        {"name": "is_reseller", "kind": "flag", "label": None},
    ]
    definition = parse_definition(GOOD | {"custom_attributes": attributes, "segment_by": "industry"})
    assert [(attribute.label, attribute.unit, attribute.is_fixed) for attribute in definition.custom_attributes] == [
        ("Team size", "people", False),
        ("Line of business", "name", True),
        ("Is reseller", "yes or no", False),
    ]


def test_an_address_is_an_email_or_a_reference() -> None:
    addresses = ["team@acme.example", "env:CHURN_SOURCE_ACME__WEBHOOK"]
    assert list(parse_definition(GOOD | {"notification_addresses": addresses}).notification_addresses) == addresses


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"slug": "Acme Ltd"}, "slug", "small letters"),
        ({"slug": "a"}, "slug", "2 to 41"),
        ({"slug": "a" * 42}, "slug", "2 to 41"),
        ({"name": "  "}, "name", "at least 1"),
        ({"entities": ["payments"]}, "entities", "must hold customers"),
        ({"entities": ["customers", "customers"]}, "entities", "twice"),
        ({"entities": ["customers", "orders"]}, "entities", "payments"),
        (
            {"entities": ["customers", "tickets"], "churn_kind": "inactivity", "inactivity_days": 90},
            "entities",
            "must hold payments, by which the outcome of tasks.churn is told",
        ),
        (
            {"entities": ["customers", "payments"], "tasks": {"support": {}}},
            "entities",
            "must hold tickets, by which the outcome of tasks.support is told",
        ),
        ({"churn_kind": "inactivity"}, "inactivity_days", "is needed"),
        ({"inactivity_days": 90}, "inactivity_days", "left out"),
        ({"churn_kind": "inactivity", "inactivity_days": 0}, "inactivity_days", "greater than 0"),
        ({"horizon_days": 0}, "horizon_days", "greater than 0"),
        ({"currency": "euro"}, "currency", "such as EUR"),
        ({"time_zone": "Mars/Olympus"}, "time_zone", "IANA"),
        ({"clock_at": "2026-01-01T00:00:00"}, "clock_at", "timezone"),
        ({"horison_days": 30}, "horison_days", "did you mean horizon_days?"),
        ({"churn_kind": "downgrade"}, "downgrade_share", "is needed"),
        ({"downgrade_share": 0.5}, "downgrade_share", "left out"),
        ({"churn_kind": "downgrade", "downgrade_share": 0}, "downgrade_share", "above 0 to 1"),
        ({"churn_kind": "downgrade", "downgrade_share": 1.1}, "downgrade_share", "above 0 to 1"),
        ({"business_hours": {}}, "business_hours", "names no day"),
        ({"business_hours": {"someday": ["09:00", "17:00"]}}, "business_hours.someday", "'monday'"),
        ({"business_hours": {"monday": ["9:00", "17:00"]}}, "business_hours", "HH:MM"),
        ({"business_hours": {"monday": ["17:00", "09:00"]}}, "business_hours", "open before it closes"),
        ({"business_hours": {"monday": ["09:00"]}}, "business_hours.monday.1", "is missing"),
        ({"business_hours": {"monday": ["09:00", 1020]}}, "business_hours.monday.1", '"17:00"'),
        ({"custom_attributes": [{"name": "Team Size", "kind": "number"}]}, "custom_attributes.0.name", "small letters"),
        ({"custom_attributes": [{"name": "team", "kind": "text"}]}, "custom_attributes.0.kind", "number, category"),
        ({"custom_attributes": [{"name": "team"}]}, "custom_attributes.0.kind", "is missing"),
        (
            {"custom_attributes": [{"name": "a", "kind": "flag", "fixed": True}]},
            "custom_attributes.0.fixed",
            "is_fixed",
        ),
        ({"custom_attributes": [{"name": "a", "kind": "flag"}] * 2}, "custom_attributes", "names a twice"),
        ({"segment_by": "plan"}, "segment_by", "country, signup_channel"),
        (
            {"segment_by": "tier", "custom_attributes": [{"name": "tier", "kind": "category"}]},
            "segment_by",
            "must be is_fixed",
        ),
        ({"personal_data": "encrypt"}, "personal_data", "keep, hash or drop"),
        ({"notification_addresses": ["https://hooks.example.com/T0/B1"]}, "notification_addresses", "number 1"),
        ({"notifications": {"tell": ["gossip"]}}, "notifications.tell.0", "high_risk"),
        ({"notifications": {"quiet": ["20:00", "07:00"]}}, "notifications.quiet", "quiet_hours"),
        ({"notifications": {"quiet_hours": ["8pm", "07:00"]}}, "notifications.quiet_hours", "HH:MM"),
        ({"notifications": {"quiet_hours": ["07:00", "07:00"]}}, "notifications.quiet_hours", "different"),
        ({"notifications": {"shrink_share": 0}}, "notifications.shrink_share", "above 0 to 1"),
        ({"notifications": {"weekly_report_on": "someday"}}, "notifications.weekly_report_on", "monday"),
        ({"notifications": {"customer_link": "https://crm.example/"}}, "notifications.customer_link", "{customer_id}"),
        ({"notifications": {"customer_link": "javascript:{customer_id}"}}, "notifications.customer_link", "http"),
        ({"notifications": {"dashboard_link": "https://a:b@crm.example/"}}, "notifications.dashboard_link", "password"),
    ],
)
def test_a_wrong_field_is_named_together_with_the_company(changes: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(CompanyDefinitionError) as caught:
        parse_definition(GOOD | changes)
    message = str(caught.value)
    assert message.startswith(f"Company {changes.get('slug', 'acme')}: ")
    assert field in message
    assert said in message


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": "hunter2"},
        {"login": {"password": "hunter2"}},
        {"sources": [{"access_token": "hunter2"}]},
        {"url": "postgresql://reader:hunter2@crm/db"},
    ],
)
def test_a_secret_in_clear_is_refused_and_not_repeated(settings: dict[str, Any]) -> None:
    with pytest.raises(CompanyDefinitionError, match="reference") as caught:
        parse_definition(GOOD | {"connector_settings": settings})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": "file:keys/acme"},
        {"password": "encrypted:gAAAA"},
        {"url": "env:CRM_URL"},
        {"base_url": "https://crm.example.com:8443/api"},
        {"tables": {"customers": {"key": "customer_no"}}},
    ],
)
def test_references_and_plain_settings_are_accepted(settings: dict[str, Any]) -> None:
    assert parse_definition(GOOD | {"connector_settings": settings}).connector_settings == settings
