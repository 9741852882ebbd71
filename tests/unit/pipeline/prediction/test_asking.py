"""What a feature may be set to, and what is said of anything else."""

from __future__ import annotations

import math

import pytest

from ml_assets.task import Feature
from pipeline.prediction.asking import Value, wrong_with

TICKETS = Feature("tickets_open", "Open tickets", "tickets", "tickets", "number")
SHARE = Feature("share_on_time", "Paid in time", "share", "payments", "number")
GRADE = Feature("satisfaction", "Satisfaction", "1 to 5", "tickets", "number")
MONEY = Feature("revenue_90d", "Revenue", "EUR", "payments", "number")
OWN = Feature("attribute_balance", "Balance", "points", "customer", "number")
LATE = Feature("days_late", "Delay", "days late", "payments", "number")
PLAN = Feature("plan", "Plan", "name", "customer", "category")
PAUSED = Feature("is_paused", "Paused", "yes or no", "customer", "flag")


@pytest.mark.parametrize(
    ("feature", "value"),
    [
        *((feature, None) for feature in (TICKETS, SHARE, PLAN, PAUSED)),
        *((TICKETS, value) for value in (0, 3, 2.5)),
        *((SHARE, value) for value in (0, 1, 0.5)),
        *((GRADE, value) for value in (1, 5)),
        *((feature, -3.5) for feature in (MONEY, OWN, LATE)),
        (PLAN, "Yearly"),
        (PAUSED, True),
    ],
)
def test_a_value_that_the_feature_can_have_is_taken(feature: Feature, value: Value) -> None:
    assert wrong_with(feature, value) is None


@pytest.mark.parametrize(
    ("feature", "value", "why"),
    [
        (TICKETS, -1, "must be at least 0"),
        (TICKETS, "3", "must be a number"),
        (TICKETS, True, "must be a number"),
        (TICKETS, math.nan, "must be a number below 1e+30"),
        (TICKETS, math.inf, "must be a number below 1e+30"),
        (TICKETS, 1e30, "must be a number below 1e+30"),
        (MONEY, -1e31, "must be a number below 1e+30"),
        (SHARE, 1.01, "must be 0 to 1"),
        (GRADE, 0.9, "must be 1 to 5"),
        (PLAN, 3, "must be a text of 1 to 200 characters"),
        (PLAN, "", "must be a text of 1 to 200 characters"),
        (PLAN, "x" * 201, "must be a text of 1 to 200 characters"),
        (PAUSED, 1, "must be true or false"),
        (PAUSED, "yes", "must be true or false"),
    ],
)
def test_any_other_value_is_refused_with_what_it_must_be(feature: Feature, value: Value, why: str) -> None:
    assert wrong_with(feature, value) == why
