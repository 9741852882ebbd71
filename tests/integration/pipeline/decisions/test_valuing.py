"""Customers valued in a built warehouse: the same again on one day, moves once, and one company's alone."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.decisions.valuing import Valued, value_company
from tests.integration.conftest import TwoCompanies
from warehouse.companies.registry import list_companies

pytestmark = pytest.mark.xdist_group("two_companies")

TABLES = ("customer_values", "value_thresholds", "segment_moves")


def value(two_companies: TwoCompanies, company_id: int) -> Valued:
    """Value one of the companies as a run does."""
    with two_companies.warehouse.connect() as connection:
        (company,) = (each for each in list_companies(connection) if each.company_id == company_id)
    return value_company(two_companies.warehouse, company)


def rows(two_companies: TwoCompanies, table: str) -> list[tuple[Any, ...]]:
    """All rows of a table of values."""
    with two_companies.warehouse.connect() as connection:
        return connection.execute(f"select * from ml.{table} order by 1, 2, 3").fetchall()


def test_valued_again_on_the_same_day_everything_is_as_it_was(two_companies: TwoCompanies) -> None:
    before = {table: rows(two_companies, table) for table in TABLES}
    assert before["customer_values"]
    assert before["segment_moves"]
    for company_id in two_companies.company_ids:
        value(two_companies, company_id)
    assert {table: rows(two_companies, table) for table in TABLES} == before


def test_each_customer_who_is_not_a_test_account_is_valued(two_companies: TwoCompanies) -> None:
    with two_companies.warehouse.connect() as connection:
        differing = connection.execute(
            "(select company_id, customer_id from ml.customer_values except all"
            " select company_id, customer_id from analytics.customer_overview) union all"
            " (select company_id, customer_id from analytics.customer_overview except all"
            " select company_id, customer_id from ml.customer_values)"
        ).fetchall()
    assert differing == []


def test_who_has_a_contract_is_valued_by_it_and_who_buys_by_purchases(two_companies: TwoCompanies) -> None:
    with two_companies.warehouse.connect() as connection:
        methods = connection.execute(
            "select slug, method, bool_and(probability_alive is null) from ml.customer_values"
            " inner join ops.companies using (company_id) where method is not null group by 1, 2 order by 1"
        ).fetchall()
    assert [method for method in methods if method[0] == "subscriptions"] == [("subscriptions", "contract", True)]
    assert {method for _, method, _ in methods} <= {"contract", "purchases"}


def test_a_move_is_kept_once_with_its_cause(two_companies: TwoCompanies) -> None:
    with two_companies.warehouse.connect() as connection:
        moves = connection.execute(
            "select moves.company_id, count(*), min(cause), bool_and(moves.value_segment = known.value_segment)"
            " from ml.segment_moves as moves inner join ml.customer_values as known using (company_id, customer_id)"
            " where moves.moved_on = known.valued_on and previous_segment = 'prospect' group by 1"
        ).fetchall()
    assert sorted(company_id for company_id, *_ in moves) == sorted(two_companies.company_ids)
    assert {tuple(rest) for _, *rest in moves} == {(1, "first_purchase", True)}


def test_what_each_customer_brought_is_what_was_paid(two_companies: TwoCompanies) -> None:
    with two_companies.warehouse.connect() as connection:
        unequal = connection.execute(
            """
            select company_id, customer_id, revenue_so_far from analytics.customer_value where revenue_so_far <> 0
            except
            select payments.company_id, payments.customer_id, sum(payments.revenue)::numeric(38, 2)
            from intermediate.int_payments__current as payments
            inner join intermediate.int_companies__clocks as clocks using (company_id)
            inner join analytics.customer_overview using (company_id, customer_id)
            where payments.voided_at is null and payments.paid_at <= clocks.now_at group by 1, 2
            """
        ).fetchall()
        (brought,) = connection.execute("select sum(revenue_so_far) from analytics.customer_value").fetchone() or (0,)
    assert unequal == []
    assert brought > 0
