"""A definition that a person wrote names a connector that exists."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.companies import OFFER, parse_definition
from pipeline.connectors.registry import CONNECTORS
from warehouse.companies import definition
from warehouse.errors import CompanyDefinitionError

ACME: dict[str, Any] = {
    "slug": "acme",
    "name": "Acme",
    "connector": "files",
    "churn_kind": "cancellation",
    "currency": "EUR",
}


@pytest.mark.parametrize("connector", CONNECTORS)
def test_every_connector_of_the_registry_is_taken(connector: str) -> None:
    assert parse_definition(ACME | {"connector": connector}).connector == connector


def test_an_unknown_connector_is_refused_with_those_there_are_and_the_one_that_was_meant() -> None:
    with pytest.raises(CompanyDefinitionError) as refused:
        parse_definition(ACME | {"connector": "sql_databse", "horizon_days": 0})
    message = str(refused.value)
    assert message.startswith("Company acme: ")
    assert f"connector: must be one of {', '.join(CONNECTORS)}; did you mean sql_database?" in message
    assert "horizon_days" in message, "every field that is wrong is named at once"
    assert "databse" not in message, "no value is shown"


def test_what_resembles_no_connector_is_refused_without_a_guess() -> None:
    with pytest.raises(CompanyDefinitionError, match=r"connector: must be one of (?!.*did you mean)"):
        parse_definition(ACME | {"connector": "xxxxxxx"})


def test_the_warehouse_by_itself_knows_no_connector_by_name() -> None:
    offer = replace(OFFER, connectors=("of_next_year",))
    assert definition.parse_definition(ACME | {"connector": "of_next_year"}, offer).connector == "of_next_year"
