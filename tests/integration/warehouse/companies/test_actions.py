"""A company's actions in the registry: dated, audited, and the same again is no change."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.companies import parse_definition
from warehouse.companies import plan as company_plan
from warehouse.companies.actions import Action
from warehouse.companies.registry import add_company, change_company, get_company
from warehouse.connection import Warehouse
from warehouse.errors import CompanyDefinitionError

CALL: dict[str, Any] = {
    "name": "call",
    "label": "A call by customer success",
    "channel": "call",
    "cost_per_contact": 12,
    "budget": 1200,
    "saved_share": {"low": 0.05, "likely": 0.1, "high": 0.2},
}
OFFER = CALL | {"name": "offer", "label": "Two months cheaper", "gives_price_share": 0.2, "gives_months": 2}
ACME = {
    "slug": "acme",
    "name": "Acme",
    "connector": "habari_api",
    "currency": "EUR",
    "tasks": {"churn": {"kind": "cancellation"}},
}


def register(warehouse: Warehouse, *actions: dict[str, Any]) -> tuple[Action, ...]:
    with warehouse.connect() as connection:
        return add_company(connection, parse_definition({**ACME, "actions": list(actions)}), "tests").actions


def versions(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(
            "select action, settings ->> 'budget', valid_to is null from ops.company_actions order by 1, valid_from"
        ).fetchall()


def test_actions_are_read_back_by_name_in_whatever_order_they_were_said(warehouse: Warehouse) -> None:
    register(warehouse, OFFER, CALL)
    with warehouse.connect() as connection:
        actions = get_company(connection, "acme").actions
    assert [action.name for action in actions] == ["call", "offer"]
    assert register(warehouse, CALL, OFFER) == actions
    assert versions(warehouse) == [("call", "1200.0", True), ("offer", "1200.0", True)]


def test_a_change_ends_a_version_and_leaves_it_to_be_read(warehouse: Warehouse) -> None:
    register(warehouse, CALL, OFFER)
    register(warehouse, CALL | {"budget": 900}, OFFER)
    register(warehouse, OFFER)
    assert versions(warehouse) == [("call", "1200.0", False), ("call", "900.0", False), ("offer", "1200.0", True)]
    with warehouse.connect() as connection:
        trail = connection.execute(
            "select action, after #>> '{actions,call,budget}' from ops.audit_log"
            " where coalesce(before, after) #> '{actions,call}' is not null order by audit_id"
        ).fetchall()
    assert trail == [
        ("company.action_declared", "1200.0"),
        ("company.action_ended", None),
        ("company.action_declared", "900.0"),
        ("company.action_ended", None),
    ]


def test_a_plan_names_the_field_of_the_action_that_would_change(warehouse: Warehouse) -> None:
    register(warehouse, CALL)
    wanted = company_plan.parse_companies({**ACME, "actions": [CALL | {"budget": 900}]}, parse_definition)
    with warehouse.connect() as connection:
        (change,) = company_plan.plan(connection, wanted).changes
    assert [(field.field, field.before, field.after) for field in change.fields] == [("actions.call.budget", 1200, 900)]


def test_single_fields_change_by_command_only_as_a_whole_list(warehouse: Warehouse) -> None:
    register(warehouse, CALL)
    with warehouse.connect() as connection:
        changed = change_company(connection, "acme", {"actions": [OFFER]}, "tests", parse_definition)
    assert [action.name for action in changed.actions] == ["offer"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"budget": -1}, "actions.0.budget: Input should be greater than or equal to 0"),
        ({"budget": 1e13}, "actions.budget: must be at most 1,000,000,000,000"),
        ({"budget": float("inf")}, "actions.budget: must be at most"),
        ({"control_share": 0}, "actions.0.control_share"),
        ({"saved_share": {"low": 0.2, "likely": 0.1, "high": 0.3}}, "saved_share: low, likely and high must not fall"),
        ({"saved_share": {"low": 0.2, "likely": 0.3}}, "actions.0.saved_share.high: is missing"),
        ({"gives_months": 2}, "gives_price_share and gives_months belong together"),
        ({"eligible": {"segment": ["vip"]}}, "there is no such field; did you mean segments?"),
        ({"eligible": {"segments": ["gold"]}}, "vip, steady, at_risk, prospect, lost"),
        ({"name": "Call us"}, "actions.0.name"),
        ({"label": "x" * 201}, "actions.label: must be at most 200 characters long"),
        ({"label": "a\0b"}, "actions: holds a character that Postgres cannot store"),
    ],
)
def test_what_is_wrong_is_refused_by_its_place(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(CompanyDefinitionError, match="acme") as refused:
        parse_definition({**ACME, "actions": [CALL | wrong]})
    assert told in str(refused.value)


def test_one_name_twice_is_refused() -> None:
    with pytest.raises(CompanyDefinitionError, match="names call twice"):
        parse_definition({**ACME, "actions": [CALL, CALL]})
