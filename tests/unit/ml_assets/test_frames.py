"""What a frame may hold, and the clear error for what it may not."""

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml_assets.errors import (
    DuplicateRowError,
    FeatureMissingError,
    FeatureTypeError,
    FeatureVersionError,
    FrameError,
    InfiniteValueError,
    LabelError,
)
from ml_assets.frames import (
    FeatureEncoder,
    as_of_dates,
    check_keys,
    display_values,
    feature_version_of,
    is_same_version,
    labelled_rows,
    outcomes_of,
)
from ml_assets.task import Feature
from tests.unit.ml_assets.ml_world import CHURN

AMOUNT = Feature("amount", "Amount", "EUR", "payments", "number")
PLAN = Feature("plan", "Plan", "", "customer", "category")
LATE = Feature("is_late", "Pays late", "", "payments", "flag")
NAN = float("nan")


def _frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"amount": [1.0, 2.0], "plan": ["a", "b"], "is_late": [True, False], **columns})


def test_an_unseen_category_and_a_missing_one_are_both_missing_and_the_unseen_is_named() -> None:
    encoder = FeatureEncoder.fit(_frame(), [AMOUNT, PLAN, LATE])
    later = _frame(plan=["new", None])
    assert np.isnan(encoder.encode(later)[:, 1]).all()
    assert encoder.new_categories(later) == {"plan": ["new"]}


@pytest.mark.parametrize(
    "values",
    [
        [1, None],
        [Decimal("1.00"), None],
        pd.array([1, None], dtype="Int64"),
        pd.array([1.0, None], dtype="Float64"),
        pd.array([1.0, None], dtype=pd.ArrowDtype(pa.float64())),
        [True, None],
    ],
)
def test_numbers_are_read_from_every_type_that_arrow_and_postgres_give(values: Any) -> None:
    encoder = FeatureEncoder.fit(_frame(), [AMOUNT])
    matrix = encoder.encode(_frame(amount=pd.Series(values)))
    assert np.array_equal(matrix[:, 0], [1.0, NAN], equal_nan=True)


def test_a_column_without_any_value_is_missing_whatever_its_kind() -> None:
    empty = _frame(amount=[None, None], plan=[None, None], is_late=[None, None])
    assert np.isnan(FeatureEncoder.fit(empty, [AMOUNT, PLAN, LATE]).encode(empty)).all()


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("amount", ["1", "2"], "'amount' is a number and must hold numbers"),
        ("amount", [date(2025, 1, 1), None], "'amount' is a number"),
        ("amount", pd.to_datetime(["2025-01-01", None]), "'amount' is a number"),
        ("plan", [1, 2], "'plan' is a category and must hold texts, but the frame holds integer"),
        ("is_late", [2, 0], "'is_late' is a flag, and holds 2.0"),
        ("is_late", ["yes", "no"], "'is_late' is a flag and must hold numbers"),
    ],
)
def test_a_feature_of_another_type_is_named(column: str, values: Any, message: str) -> None:
    encoder = FeatureEncoder.fit(_frame(), [AMOUNT, PLAN, LATE])
    with pytest.raises(FeatureTypeError, match=message):
        encoder.encode(_frame(**{column: values}))


def test_infinite_values_are_named_with_their_count() -> None:
    encoder = FeatureEncoder.fit(_frame(), [AMOUNT])
    for value in (np.inf, -np.inf, 1e39):
        with pytest.raises(InfiniteValueError, match="'amount' is infinite in 1 of 2 rows"):
            encoder.encode(_frame(amount=[value, 1.0]))


def test_missing_features_are_all_named() -> None:
    encoder = FeatureEncoder.fit(_frame(), [AMOUNT, PLAN, LATE])
    with pytest.raises(FeatureMissingError, match=r"lacks 2 feature.*amount, is_late"):
        encoder.encode(_frame().drop(columns=["amount", "is_late"]))


def test_only_the_most_frequent_values_enter_the_vocabulary() -> None:
    frame = pd.DataFrame({"plan": [f"p{number:03d}" for number in range(80)] + ["often"] * 5})
    vocabulary = FeatureEncoder.fit(frame, [PLAN]).vocabularies["plan"]
    assert len(vocabulary) == 50
    assert "often" in vocabulary


def test_repeated_empty_and_absent_keys_are_refused() -> None:
    keys = pd.DataFrame({"company_id": [1, 1], "entity_id": ["a", "a"], "as_of_date": [date(2025, 1, 1)] * 2})
    with pytest.raises(DuplicateRowError, match="company 1, customer a, 2025-01-01"):
        check_keys(keys, CHURN)
    with pytest.raises(FrameError, match="rows without entity_id"):
        check_keys(keys.assign(entity_id=[None, "b"]), CHURN)
    with pytest.raises(FrameError, match=r"lacks the key column.* as_of_date"):
        check_keys(keys.drop(columns="as_of_date"), CHURN)


def test_labels_are_true_false_or_unknown() -> None:
    frame = pd.DataFrame({"outcome": [True, None, False, True], "is_mature": [True, True, True, False]})
    known = labelled_rows(frame, CHURN)
    assert outcomes_of(known, CHURN).tolist() == [1.0, 0.0]
    with pytest.raises(LabelError, match="must be true or false, found 'maybe'"):
        outcomes_of(pd.DataFrame({"outcome": ["maybe"]}), CHURN)
    with pytest.raises(LabelError, match="lacks the label 'outcome'"):
        labelled_rows(frame.drop(columns="outcome"), CHURN)


def test_dates_are_read_as_days_from_python_and_from_arrow() -> None:
    days = pa.table({"as_of_date": pa.array([date(2025, 1, 2)])})
    expected = np.array(["2025-01-02"], dtype="datetime64[D]")
    assert np.array_equal(as_of_dates(days.to_pandas()), expected)
    assert np.array_equal(as_of_dates(pd.DataFrame({"as_of_date": pd.to_datetime(["2025-01-02"])})), expected)


def test_values_are_shown_plainly() -> None:
    frame = _frame(amount=[1.5, None], plan=["a", None], is_late=pd.array([True, None], dtype="boolean"))
    displayed = [display_values(frame[feature.name], feature).tolist() for feature in (AMOUNT, PLAN, LATE)]
    assert displayed == [[1.5, None], ["a", None], [True, None]]


def _made_by(*versions: tuple[int, str, str]) -> pd.DataFrame:
    return pd.DataFrame(versions, columns=["company_id", "as_of_date", "feature_version"])


def test_one_company_has_a_version_and_several_share_its_sql() -> None:
    assert feature_version_of(_made_by((1, "2025-01-01", "a.x"), (1, "2025-02-01", "a.x"))) == "a.x"
    assert feature_version_of(_made_by((1, "2025-01-01", "a.x"), (2, "2025-01-01", "a.y"))) == "a"
    assert feature_version_of(_made_by()) is None
    assert feature_version_of(_frame()) is None


@pytest.mark.parametrize(
    "rows",
    [
        [(1, "2025-01-01", "a.x"), (1, "2025-02-01", "b.x")],
        [(1, "2025-01-01", "a.x"), (1, "2025-02-01", "a.y")],
        [(1, "2025-01-01", "a.x"), (2, "2025-02-01", "b.y")],
        [(1, "2025-01-01", "mixed")],
    ],
    ids=["another SQL", "other settings", "another company's SQL", "marts that disagree"],
)
def test_rows_of_different_makings_are_refused_and_named(rows: list[tuple[int, str, str]]) -> None:
    with pytest.raises(FeatureVersionError, match=f"company 1: version {rows[0][2]} from 2025-01-01 to 2025-01-01"):
        feature_version_of(_made_by(*rows))


def test_a_model_of_several_companies_goes_by_the_sql_and_one_of_its_own_by_the_settings_too() -> None:
    assert is_same_version("a.x", "a.x")
    assert is_same_version("a", "a.x")
    assert not is_same_version("a.x", "a.y")
    assert not is_same_version("b", "a.x")
    assert not is_same_version(None, "a.x")
