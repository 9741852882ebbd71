"""Reasons add up to the published log-odds, are ordered, and read well."""

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ml_assets.model.calibrate import AffineCalibrator
from ml_assets.model.explain import (
    LARGEST_LOG_ODDS,
    family_totals,
    probabilities_of,
    publish_parts,
    sentence,
    words_of,
    write_families,
    write_reasons,
    write_unexplained,
)
from ml_assets.task import Feature

NUMBERS = tuple(Feature(f"f{number}", f"Label {number}", "days", "family", "number") for number in range(8))
DAYS = Feature("days_since_last_payment", "Days since the last payment", "days", "payments", "number")
PLAN = Feature("plan", "Plan", "", "customer", "category")
LATE = Feature("is_late", "Pays late", "", "payments", "flag")


def _logit(probability: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(probability) - np.log1p(-probability))


@settings(max_examples=300, deadline=None)
@given(
    parts=arrays.arrays(float, st.tuples(st.integers(1, 5), st.integers(1, 8)), elements=st.floats(-30, 30)),
    bias=st.floats(-20, 20),
    slope=st.floats(0.01, 10),
    intercept=st.floats(-10, 10),
)
def test_baseline_and_parts_add_up_to_the_published_log_odds_and_keep_their_signs(
    parts: np.ndarray, bias: float, slope: float, intercept: float
) -> None:
    published = publish_parts(parts, bias, AffineCalibrator(slope, intercept, ""))
    probability = probabilities_of(published.log_odds)
    total = published.baseline + published.contributions.sum(axis=1)
    assert np.abs(total - _logit(probability)).max() < 1e-6
    assert np.all((probability >= 0.9999e-4) & (probability <= 1 - 0.9999e-4))
    assert np.all(published.contributions * parts >= 0)


def test_parts_are_scaled_by_the_slope_where_no_bound_cuts() -> None:
    published = publish_parts(np.array([[0.5, -0.25]]), -3.0, AffineCalibrator(0.8, 0.1, ""))
    assert published.baseline == pytest.approx(0.8 * -3.0 + 0.1)
    assert published.contributions[0] == pytest.approx([0.4, -0.2])


def test_a_cut_row_shares_the_cut_over_its_parts() -> None:
    published = publish_parts(np.array([[30.0, 10.0]]), 0.0, AffineCalibrator(1.0, 0.0, ""))
    assert published.log_odds[0] == pytest.approx(LARGEST_LOG_ODDS)
    assert published.contributions[0] == pytest.approx([LARGEST_LOG_ODDS * 0.75, LARGEST_LOG_ODDS * 0.25])


@settings(max_examples=100, deadline=None)
@given(arrays.arrays(float, (4, 8), elements=st.floats(-9, 9)))
def test_written_reasons_add_up_too_are_valid_json_and_are_sorted(parts: np.ndarray) -> None:
    frame = pd.DataFrame(np.arange(32.0).reshape(4, 8), columns=[feature.name for feature in NUMBERS])
    written = write_reasons(frame, NUMBERS, parts)
    for text, row in zip(written.json, parts, strict=True):
        reasons = json.loads(text, parse_constant=pytest.fail)
        assert math.isclose(sum(reason["contribution"] for reason in reasons), row.sum(), abs_tol=1e-6)
        *named, other = reasons
        assert other["feature"] == "other"
        order = [(-abs(reason["contribution"]), reason["feature"]) for reason in named]
        assert order == sorted(order)
        assert len(named) <= 5
        smallest = min((abs(reason["contribution"]) for reason in named), default=0.0)
        left_out = {feature.name for feature in NUMBERS} - {reason["feature"] for reason in named}
        assert all(abs(row[int(name[1:])]) <= smallest + 1e-8 for name in left_out)


def test_a_reason_says_label_value_unit_and_direction() -> None:
    frame = pd.DataFrame({"days_since_last_payment": [74.0, np.nan], "plan": ["pro", None], "is_late": [True, False]})
    written = write_reasons(frame, (DAYS, PLAN, LATE), np.array([[0.9, -0.3, 0.1], [0.2, 0.0, -0.5]]))
    first, second = (json.loads(text) for text in written.json)
    assert first[0] == {
        "feature": "days_since_last_payment",
        "label": "Days since the last payment",
        "value": 74.0,
        "unit": "days",
        "family": "payments",
        "text": "74 days since the last payment (raises the risk)",
        "contribution": 0.9,
    }
    assert [reason["text"] for reason in first[1:3]] == [
        "Plan: pro (lowers the risk)",
        "Pays late: yes (raises the risk)",
    ]
    assert [reason["text"] for reason in second[:2]] == [
        "Pays late: no (lowers the risk)",
        "Days since the last payment are not known (raises the risk)",
    ]
    assert second[1]["value"] is None
    assert written.top.tolist() == [
        ["days_since_last_payment", "plan", "is_late"],
        ["is_late", "days_since_last_payment", ""],
    ]


def test_a_part_of_zero_is_no_reason_and_equal_sizes_are_ordered_by_name() -> None:
    frame = pd.DataFrame(np.zeros((1, 8)), columns=[feature.name for feature in NUMBERS])
    written = write_reasons(frame, NUMBERS[::-1], np.array([[0.0, 0.0, 0.4, 0.0, -0.4, 0.4, 0.0, 0.0]]))
    assert [reason["feature"] for reason in json.loads(written.json[0])] == ["f2", "f3", "f5", "other"]


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (74.0, "days", "74 days"),
        (1.0, "days", "1 day"),
        (1234567.0, "EUR", "1,234,567 EUR"),
        (1250.55, "EUR", "1,251 EUR"),
        (12.345, "days", "12.3 days"),
        (0.126, "", "0.13"),
        (0.00012, "", "0.00012"),
        (-3.0, "", "-3"),
        (0.0, "tickets", "0 tickets"),
    ],
)
def test_numbers_are_written_as_people_write_them(value: float, unit: str, words: str) -> None:
    assert words_of(value, Feature("x", "X", unit, "f", "number")) == words


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (74.004, "days", "74 days since"),
        (73.96, "days", "74 days since"),
        (12.345, "days", "12.3 days since"),
        (1250.55, "days", "1,251 days since"),
        (0.0012, "days", "0.0012 days since"),
        (0.254, "share", "Days since: 25%"),
        (-0.001, "share", "Days since: 0%"),
    ],
)
def test_reasons_say_a_number_no_finer_than_a_person_would(value: float, unit: str, said: str) -> None:
    feature = Feature("x", "Days since", unit, "f", "number")
    written = write_reasons(pd.DataFrame({"x": [value]}), (feature,), np.array([[0.5]]))
    (reason, _) = json.loads(written.json[0])
    assert reason["text"].startswith(said)
    assert reason["value"] == value


@pytest.mark.parametrize(
    ("label", "unit", "value", "usual", "said"),
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
def test_a_value_is_said_as_a_person_says_it_beside_the_usual_one(
    label: str, unit: str, value: Any, usual: Any, said: str
) -> None:
    assert sentence(Feature("x", label, unit, "f", "number"), value, usual) == said


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(float, (4, 8), elements=st.floats(-9, 9)))
def test_the_families_of_a_row_add_up_to_its_parts_too(parts: np.ndarray) -> None:
    features = [Feature(f"f{number}", "L", "", f"family_{number % 3}", "number") for number in range(8)]
    for text, row in zip(write_families(*family_totals(features, parts)), parts, strict=True):
        totals = json.loads(text)
        assert list(totals) == ["family_0", "family_1", "family_2"]
        assert math.isclose(sum(totals.values()), row.sum(), abs_tol=1e-6)
        assert math.isclose(totals["family_2"], row[2] + row[5], abs_tol=1e-7)


def test_scores_without_parts_still_add_up_by_one_reason_for_all() -> None:
    written = write_unexplained(np.array([0.25, -1.5, 0.0]))
    reasons = [json.loads(text) for text in written.json]
    assert [[reason["feature"] for reason in one] for one in reasons] == [["other"]] * 3
    assert [one[0]["contribution"] for one in reasons] == [0.25, -1.5, 0.0]
    assert reasons[1][0]["text"] == "All other features together lower the risk"


def test_quotes_and_other_alphabets_in_values_stay_valid_json() -> None:
    frame = pd.DataFrame({"plan": ['say "hi"\n', "für Ωmega"]})
    written = write_reasons(frame, (PLAN,), np.array([[0.1], [0.2]]))
    assert [json.loads(text)[0]["value"] for text in written.json] == ['say "hi"\n', "für Ωmega"]
