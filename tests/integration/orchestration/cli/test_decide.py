"""`churn decide` as it is typed: what it says where nothing is declared, scored, published or known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.integration.conftest import ACTIONS, Churn
from warehouse.companies.action_versions import write_actions
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse


def test_a_company_without_actions_is_told_in_one_line_how_to_declare_one(
    churn: Churn, add_company: Callable[..., Company]
) -> None:
    add_company("acme")
    for command in ("plan", "publish"):
        result = churn("decide", command, "--company", "acme")
        assert result.exit_code == 0
        assert result.output.startswith("acme: no actions are declared, so nothing is decided. `actions:`")


def test_before_the_first_run_nothing_is_decided(
    churn: Churn, warehouse: Warehouse, add_company: Callable[..., Any]
) -> None:
    company = add_company("acme")
    with warehouse.connect() as connection:
        write_actions(connection, company.company_id, ACTIONS)
    for command in ("plan", "publish"):
        result = churn("decide", command, "--company", "acme")
        assert (result.exit_code, "nobody has a published score" in result.output) == (0, True)
    assert "nothing is decided yet" in churn("decide", "show", "--company", "acme").output
    assert "nothing is published of c1" in churn("decide", "show", "--company", "acme", "--customer", "c1").output
