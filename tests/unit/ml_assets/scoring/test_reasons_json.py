"""Reasons and families as JSON: they add up, are ordered and valid, and say the same as each reason alone."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ml_assets.scoring.reasons import Reason
from ml_assets.scoring.reasons_json import family_totals, write_families, write_reasons, write_unexplained
from ml_assets.task import Feature

NUMBERS = tuple(Feature(f"f{number}", f"Label {number}", "days", "family", "number") for number in range(8))
DAYS = Feature("days_since_last_payment", "Days since the last payment", "days", "payments", "number")
PLAN = Feature("plan", "Plan", "", "customer", "category")
LATE = Feature("is_late", "Pays late", "", "payments", "flag")


@settings(max_examples=100, deadline=None)
@given(arrays.arrays(float, (4, 8), elements=st.floats(-9, 9)))
def test_written_reasons_add_up_too_are_valid_json_and_are_sorted(parts: np.ndarray) -> None:
    frame = pd.DataFrame(np.arange(32.0).reshape(4, 8), columns=[feature.name for feature in NUMBERS])
    written = write_reasons(frame, NUMBERS, parts, noun="risk")
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


def test_a_reason_carries_its_parts_and_their_words() -> None:
    frame = pd.DataFrame({"days_since_last_payment": [74.0, np.nan], "plan": ["pro", None], "is_late": [True, False]})
    parts = np.array([[0.9, -0.3, 0.1], [0.2, 0.0, -0.5]])
    usual = {"days_since_last_payment": 19.0, "plan": "basic"}
    written = write_reasons(frame, (DAYS, PLAN, LATE), parts, usual, noun="risk")
    first, second = (json.loads(text) for text in written.json)
    assert first[0] == {
        "feature": "days_since_last_payment",
        "label": "Days since the last payment",
        "value": 74.0,
        "usual": 19.0,
        "unit": "days",
        "family": "payments",
        "text": "74 days since the last payment, usually 19 (raises the risk)",
        "direction": "raises",
        "contribution": 0.9,
    }
    assert [(reason["text"], reason["usual"], reason["direction"]) for reason in first[1:3]] == [
        ("Plan: pro, usually basic (lowers the risk)", "basic", "lowers"),
        ("Pays late: yes (raises the risk)", None, "raises"),
    ]
    assert [(reason["text"], reason["value"]) for reason in second[:2]] == [
        ("Pays late: no (lowers the risk)", False),
        ("Days since the last payment are not known (raises the risk)", None),
    ]
    assert written.top.tolist() == [
        ["days_since_last_payment", "plan", "is_late"],
        ["is_late", "days_since_last_payment", ""],
    ]


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.none() | st.integers(-9, 999) | st.floats(-1e6, 1e6, width=32), min_size=1, max_size=8),
    usual=st.none() | st.floats(-1e3, 1e3),
    unit=st.sampled_from(["days", "EUR", "share", "share per week", "customer's currency", ""]),
    parts=st.lists(st.sampled_from([-0.5, 0.5]), min_size=8, max_size=8),
)
def test_the_words_of_many_rows_are_those_of_each_reason_alone(
    values: list[float | None], usual: float | None, unit: str, parts: list[float]
) -> None:
    feature = Feature("x", "Days since the last payment", unit, "payments", "number")
    frame = pd.DataFrame({"x": np.array(values, dtype=np.float64)})
    known = {} if usual is None else {"x": usual}
    written = write_reasons(frame, (feature,), np.array(parts[: len(values)])[:, None], known, noun="churn")
    for text in written.json:
        for published in json.loads(text):
            reason = Reason.from_published(published)
            assert reason.published_text is None
            assert published["text"] == reason.sentence("churn")
            assert published["direction"] == reason.direction


def test_a_part_of_zero_is_no_reason_and_equal_sizes_are_ordered_by_name() -> None:
    frame = pd.DataFrame(np.zeros((1, 8)), columns=[feature.name for feature in NUMBERS])
    written = write_reasons(frame, NUMBERS[::-1], np.array([[0.0, 0.0, 0.4, 0.0, -0.4, 0.4, 0.0, 0.0]]), noun="risk")
    assert [reason["feature"] for reason in json.loads(written.json[0])] == ["f2", "f3", "f5", "other"]


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
    written = write_reasons(pd.DataFrame({"x": [value]}), (feature,), np.array([[0.5]]), noun="risk")
    (reason, _) = json.loads(written.json[0])
    assert reason["text"].startswith(said)
    assert reason["value"] == value


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
    written = write_unexplained(np.array([0.25, -1.5, 0.0]), noun="risk")
    reasons = [json.loads(text) for text in written.json]
    assert [[reason["feature"] for reason in row] for row in reasons] == [["other"]] * 3
    assert [row[0]["contribution"] for row in reasons] == [0.25, -1.5, 0.0]
    assert [row[0]["text"] for row in reasons] == [
        "All other features together raise the risk",
        "All other features together lower the risk",
        "All other features together change nothing",
    ]
    assert [row[0]["direction"] for row in reasons] == ["raises", "lowers", None]


def test_quotes_and_other_alphabets_in_values_stay_valid_json() -> None:
    frame = pd.DataFrame({"plan": ['say "hi"\n', "für Ωmega"]})
    written = write_reasons(frame, (PLAN,), np.array([[0.1], [0.2]]), noun="risk")
    assert [json.loads(text)[0]["value"] for text in written.json] == ['say "hi"\n', "für Ωmega"]
