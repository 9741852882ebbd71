"""A reason in words: the fact, its effect, and the sentence of both."""

import subprocess
import sys
from typing import Any

import pytest

from ml_assets.scoring.reasons import Reason

ASK = "import ml_assets.scoring.reasons, sys; print(*sys.modules)"


def reason(label: str, unit: str, value: Any, usual: Any = None, contribution: float = 0.5) -> Reason:
    return Reason("x", label, value, usual, unit, "family", contribution)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (74.0, "days", "74 days"),
        (1.0, "days", "1 day"),
        (1234567.0, "EUR", "1,234,567 EUR"),
        (1250.55, "EUR", "1,251 EUR"),
        (12.345, "days", "12.3 days"),
        (12.35, "days", "12.4 days"),
        (99.96, "EUR", "100 EUR"),
        (9.996, "EUR", "10 EUR"),
        (2.5, "times", "2.50 times"),
        (0.126, "", "0.13"),
        (0.00012, "", "0.00012"),
        (0.0000123, "", "1.2e-05"),
        (-3.0, "", "-3"),
        (0.0, "tickets", "0 tickets"),
        (-0.0, "tickets", "0 tickets"),
        (-0.001, "share", "0%"),
        (0.254, "share", "25%"),
        (12.5, "share", "1250%"),
        (-0.25, "share per week", "-25% per week"),
        (1250, "EUR", "1,250 EUR"),
        (10.0, "customer's currency", "10 in the customer's currency"),
        (1e22, "EUR", "10,000,000,000,000,000,000,000 EUR"),
        (True, "yes or no", "yes"),
        (False, "yes or no", "no"),
        ("pro", "name", "pro"),
    ],
)
def test_a_value_is_written_as_people_write_it(value: Any, unit: str, text: str) -> None:
    assert reason("X", unit, value).fact == f"X: {text}"


@pytest.mark.parametrize(
    ("label", "unit", "value", "usual", "fact"),
    [
        ("Tickets open for more than 7 days", "tickets", 3.0, 0.0, "3 tickets open for more than 7 days, usually 0"),
        ("Tickets open for more than 7 days", "tickets", 1.0, 1.0, "1 ticket open for more than 7 days, as usual"),
        (
            "Failed payments in the last 90 days",
            "payments",
            1.0,
            0.0,
            "1 failed payment in the last 90 days, usually 0",
        ),
        ("Days as a customer", "days", 400.0, 1250.0, "400 days as a customer, usually 1,250"),
        ("Revenue in the last 90 days", "EUR", 10.0, 25.5, "Revenue in the last 90 days: 10 EUR, usually 25.5 EUR"),
        ("Monthly price", "customer's currency", 10.0, None, "Monthly price: 10 in the customer's currency"),
        ("Relative change", "share per week", -0.25, 0.01, "Relative change: -25% per week, usually 1% per week"),
        ("Average payment", "EUR", 118.2, 118.4, "Average payment: 118 EUR, as usual"),
        ("Plan", "name", "pro", "basic", "Plan: pro, usually basic"),
        ("Pays late", "yes or no", True, False, "Pays late: yes, usually no"),
        ("Revenue in the last 90 days", "EUR", None, 25.5, "Revenue in the last 90 days is not known"),
        (
            "Failed payments in the last 90 days",
            "payments",
            None,
            0.0,
            "Failed payments in the last 90 days are not known",
        ),
        ("NPS answers in the last year", "answers", 2.0, None, "2 NPS answers in the last year"),
        ("Status", "name", None, None, "Status is not known"),
    ],
)
def test_a_fact_is_the_value_beside_the_usual_one(label: str, unit: str, value: Any, usual: Any, fact: str) -> None:
    assert reason(label, unit, value, usual).fact == fact


@pytest.mark.parametrize(
    ("contribution", "direction", "effect", "together"),
    [
        (0.5, "raises", "raises the churn", "raise the churn"),
        (-0.5, "lowers", "lowers the churn", "lower the churn"),
        (0.0, None, "changes nothing", "change nothing"),
    ],
)
def test_the_effect_is_the_sign_of_the_part_in_the_words_of_the_task(
    contribution: float, direction: str | None, effect: str, together: str
) -> None:
    named = reason("Plan", "", "pro", contribution=contribution)
    assert named.direction == direction
    assert named.effect("churn") == effect
    assert named.sentence("churn") == f"Plan: pro ({effect})"
    others = Reason("other", "All other features together", None, None, "", "other", contribution)
    assert others.fact == "All other features together"
    assert others.sentence("churn") == f"All other features together {together}"


PUBLISHED = {
    "feature": "tickets_open",
    "label": "Tickets open now",
    "value": 3,
    "unit": "tickets",
    "family": "tickets",
    "contribution": -0.25,
    "text": "3 tickets open now, usually 1 (lowers the risk)",
}


def test_a_published_reason_is_told_from_its_parts() -> None:
    read = Reason.from_published({**PUBLISHED, "usual": 1, "direction": "lowers"})
    assert read.fact == "3 tickets open now, usually 1"
    assert read.sentence("risk") == PUBLISHED["text"]


def test_a_reason_that_was_published_without_what_is_usual_is_told_in_the_words_it_came_with() -> None:
    read = Reason.from_published(PUBLISHED)
    assert read.fact == read.sentence("risk") == PUBLISHED["text"]
    assert read.direction == "lowers"
    assert read.effect("risk") == "lowers the risk"


def test_whoever_reads_reasons_loads_no_frames_and_no_models() -> None:
    loaded = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "pandas", "pyarrow", "sklearn"} & {*loaded}
