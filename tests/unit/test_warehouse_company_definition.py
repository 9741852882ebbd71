"""A company's definition: what it must say, and what it must not hold."""

from __future__ import annotations

from typing import Any

import pytest

from warehouse.companies import parse_definition
from warehouse.errors import CompanyDefinitionError

GOOD: dict[str, Any] = {
    "slug": "acme",
    "name": "Acme",
    "connector": "habari_api",
    "connector_settings": {"base_url": "http://127.0.0.1:8000", "api_key": "env:ACME_KEY"},
    "churn_kind": "cancellation",
    "currency": "EUR",
}


def test_a_definition_needs_little_and_fills_in_the_rest() -> None:
    definition = parse_definition(GOOD)
    assert definition.entities == ("customers", "tickets", "payments")
    assert definition.horizon_days == 30
    assert definition.time_zone == "UTC"
    assert not definition.shares_training
    assert definition.clock_at is None


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"slug": "Acme Ltd"}, "slug", "pattern"),
        ({"slug": "a"}, "slug", "pattern"),
        ({"slug": "a" * 42}, "slug", "pattern"),
        ({"name": "  "}, "name", "at least 1"),
        ({"connector": "excel"}, "connector", "habari_api"),
        ({"entities": ["payments"]}, "entities", "must hold customers"),
        ({"entities": ["customers", "customers"]}, "entities", "twice"),
        ({"entities": ["customers", "orders"]}, "entities", "payments"),
        ({"churn_kind": "inactivity"}, "inactivity_days", "is needed"),
        ({"inactivity_days": 90}, "inactivity_days", "left out"),
        ({"churn_kind": "inactivity", "inactivity_days": 0}, "inactivity_days", "greater than 0"),
        ({"horizon_days": 0}, "horizon_days", "greater than 0"),
        ({"currency": "euro"}, "currency", "pattern"),
        ({"time_zone": "Mars/Olympus"}, "time_zone", "IANA"),
        ({"clock_at": "2026-01-01T00:00:00"}, "clock_at", "timezone"),
        ({"horison_days": 30}, "horison_days", "not permitted"),
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
