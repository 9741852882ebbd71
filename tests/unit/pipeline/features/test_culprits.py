"""Which companies a step fails on, by trying it with ever fewer of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log2

from hypothesis import given
from hypothesis import strategies as st

from pipeline.features.culprits import FailedNode, failed_node, failing_companies

COMPANIES = st.lists(st.integers(1, 10**9), unique=True, max_size=60)


@given(companies=COMPANIES, choose=st.data())
def test_exactly_those_are_named_that_it_fails_on_with_their_reasons_and_in_few_tries(
    companies: list[int], choose: st.DataObject
) -> None:
    culprits = choose.draw(st.sets(st.sampled_from(companies), max_size=5)) if companies else set()
    tries: list[Sequence[int]] = []

    def reason_of_failure(tried: Sequence[int]) -> str | None:
        tries.append(tried)
        first = next((company_id for company_id in tried if company_id in culprits), None)
        return None if first is None else f"broken by {first}"

    assert failing_companies(companies, reason_of_failure) == {each: f"broken by {each}" for each in culprits}
    assert len(tries) <= 2 + 2 * len(culprits) * (1 + ceil(log2(len(companies) or 1)))


def test_what_fails_without_any_company_is_no_companys_fault() -> None:
    assert failing_companies([1, 2, 3], lambda _: "syntax error") == {}


def test_what_fails_only_for_several_together_is_no_ones_fault() -> None:
    assert failing_companies([1, 2, 3], lambda tried: "too much" if len(tried) == 3 else None) == {}


def test_what_dbt_says_is_told_cause_first() -> None:
    message = (
        "Database Error in model customer_features (models/features/customer_features.sql)\n"
        "  numeric field overflow\n"
        "  DETAIL:  A field with precision 18, scale 2 must round to an absolute value less than 10^16.\n"
        "  compiled code at target/run/customer_features.sql"
    )
    model, test, other = (
        failed_node({"info": {"name": name}, "data": {"node_info": {"unique_id": node}, "msg": said}})
        for name, node, said in (
            ("RunResultError", "model.churn_warehouse.customer_features", message),
            ("RunResultError", "test.churn_warehouse.unique_customers.1a2b", "Got 3 results"),
            ("LogModelResult", "model.churn_warehouse.int_as_of_dates", "INSERT 0 3"),
        )
    )
    assert model is not None
    assert test is not None
    assert other is None
    assert (model.step, model.cause) == ("building customer_features", "numeric field overflow")
    assert (test.step, test.cause) == ("the data test unique_customers", "Got 3 results")
    assert FailedNode("operation.churn_warehouse.on-run-end-0", "").cause == "no reason was given"
