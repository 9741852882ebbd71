"""Which rung a company stands on, and that nobody's data is pooled against their will."""

import pandas as pd
import pytest

from ml_assets.errors import PoolError
from ml_assets.training.ladder import OutcomeCounts, assert_pool_allowed, count_outcomes, decide_rung
from tests.unit.ml_assets.ml_world import CHURN, simulate

MANY = OutcomeCounts(rows=9000, entities=800, outcomes=60, survivors=740)
FEW = OutcomeCounts(rows=900, entities=90, outcomes=5, survivors=85)


def test_enough_outcomes_of_its_own_carry_an_own_model_even_beside_a_pool() -> None:
    assert decide_rung(MANY, MANY, CHURN).rung == "own_model"


def test_too_few_of_its_own_take_the_pool_and_say_both_counts() -> None:
    decision = decide_rung(FEW, MANY, CHURN)
    assert decision.rung == "pooled_model"
    assert "5 customers" in decision.reason
    assert "60 customers" in decision.reason
    assert decision.describe()["own"]["outcomes"] == 5


@pytest.mark.parametrize(("pool", "reason"), [(None, "there is no pool"), (FEW, "the pool has only about 10")])
def test_without_a_pool_that_carries_it_the_rule_remains(pool: OutcomeCounts | None, reason: str) -> None:
    decision = decide_rung(FEW, pool, CHURN)
    assert decision.rung == "rule"
    assert reason in decision.reason


def test_outcomes_without_survivors_carry_nothing() -> None:
    assert decide_rung(OutcomeCounts(500, 70, 65, 5), None, CHURN).rung == "rule"


def test_a_customer_who_leaves_counts_once_however_many_dates_saw_it() -> None:
    frame = pd.DataFrame(
        {
            "company_id": [1, 1, 1, 2, 1],
            "entity_id": ["a", "a", "b", "a", "c"],
            "outcome": pd.array([True, True, False, False, None], dtype="boolean"),
        }
    )
    assert count_outcomes(frame, CHURN) == OutcomeCounts(rows=4, entities=3, outcomes=1, survivors=2)


def test_immature_labels_do_not_count_and_no_rows_count_nothing() -> None:
    frame = simulate(20, 2).assign(is_mature=False)
    assert count_outcomes(frame, CHURN) == OutcomeCounts(0, 0, 0, 0)


def test_a_row_of_a_company_that_does_not_share_stops_the_pool() -> None:
    frame = pd.concat([simulate(5, 2, company=company) for company in (1, 2, 3)])
    assert_pool_allowed(frame, [1, 2, 3])
    with pytest.raises(PoolError, match="of company 2, 3 stand in the pooled"):
        assert_pool_allowed(frame, [1])
