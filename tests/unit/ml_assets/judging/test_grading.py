"""Grades of published scores: the figures, their intervals, and by what they are split."""

from datetime import date

import numpy as np
import orjson
import pandas as pd
import pytest
from scipy.stats import binomtest

from ml_assets.frames import as_of_dates
from ml_assets.judging import grading
from ml_assets.judging.evaluate import evaluate
from ml_assets.judging.grading import calibration_bins, grade, lift_by_decile, wilson_interval


def _scores(customers: int = 400, dates: int = 3, seed: int = 1, promise: float = 1.0) -> pd.DataFrame:
    """Scores whose promise is kept at `promise` 1; two months, two models, two segments and one that is not known."""
    random = np.random.default_rng(seed)
    risk = random.uniform(0.02, 0.6, customers)
    leaves = random.random(customers) < risk
    days = [date(2026, 1, 10), date(2026, 1, 20), date(2026, 2, 10)][:dates]
    return pd.DataFrame(
        {
            "entity_id": np.tile([f"c{number}" for number in range(customers)], dates),
            "as_of_date": np.repeat(days, customers),
            "probability": np.tile(risk * promise, dates),
            "outcome": np.tile(leaves, dates),
            "segment": [("a", "b", None)[number % 3] for number in range(customers)] * dates,
            "model_version": np.repeat(["m v1", "m v1", "m v2"][:dates], customers),
            "evidence_level": "own_model",
        }
    )


def _row(graded: pd.DataFrame, **key: object) -> pd.Series:
    wanted = {"as_of_month": None, "segment": "all", "model_version": "all", "evidence_level": "all"} | key
    slices = graded[
        np.logical_and.reduce(
            [graded[name].isna() if value is None else graded[name] == value for name, value in wanted.items()]
        )
    ]
    assert len(slices) == 1
    return slices.iloc[0]


def test_a_grade_has_the_measures_of_training_on_the_published_probabilities() -> None:
    scores = _scores()
    whole = _row(grade(scores))
    probabilities, outcomes = scores["probability"].to_numpy(), scores["outcome"].to_numpy(dtype=float)
    expected = evaluate(probabilities, outcomes, as_of_dates(scores))
    assert {name: whole[name] for name in ("auc", "log_loss", "brier", "lift_top_decile")} == pytest.approx(
        {name: expected[name] for name in ("auc", "log_loss", "brier", "lift_top_decile")}
    )
    assert (whole["scores"], whole["customers"], whole["outcomes"]) == (1200, 400, scores["outcome"].sum())
    assert whole["promised"] == pytest.approx(scores["probability"].mean())
    assert whole["kept_low"] < whole["kept"] < whole["kept_high"]


def test_grades_are_split_by_month_segment_model_and_rung() -> None:
    graded = grade(_scores())
    january, february = (_row(graded, as_of_month=date(2026, month, 1)) for month in (1, 2))
    assert (january["scores"], february["scores"]) == (800, 400)
    segments = [_row(graded, segment=name)["scores"] for name in ("a", "b", "unknown")]
    assert sum(segments) == 1200
    assert _row(graded, model_version="m v2", evidence_level="own_model")["scores"] == 400
    assert _row(graded, evidence_level="own_model")["scores"] == 1200
    assert _row(graded, as_of_month=date(2026, 2, 1), segment="unknown")["scores"] == segments[2] / 3
    assert not graded.duplicated(grading.SLICE).any()


def test_only_the_months_that_are_asked_for_are_graded_again() -> None:
    graded = grade(_scores(), months=[date(2026, 2, 1)])
    assert set(graded["as_of_month"].dropna()) == {date(2026, 2, 1)}
    assert _row(graded)["scores"] == 1200


def test_intervals_count_customers_and_not_rows() -> None:
    """The same customers on one date or on three tell the same; resampling rows would claim more."""
    one_date, three_dates = (_row(grade(_scores(dates=dates))) for dates in (1, 3))
    for name in ("auc", "average_precision", "log_loss", "kept"):
        narrow = three_dates[f"{name}_high"] - three_dates[f"{name}_low"]
        assert narrow == pytest.approx(one_date[f"{name}_high"] - one_date[f"{name}_low"], rel=0.05), name


def test_many_rows_give_nearly_the_interval_of_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = pd.concat([_scores(dates=1).assign(as_of_date=date(2026, 1, day)) for day in range(1, 21)])
    whole = grading._intervals(scores, 0)
    monkeypatch.setattr(grading, "ROWS_FOR_INTERVALS", 1000)
    thinned = grading._intervals(scores, 0)
    for end in ("auc_low", "auc_high"):
        assert thinned[end] == pytest.approx(whole[end], abs=0.01)


def test_wilsons_interval_is_that_of_scipy() -> None:
    expected = binomtest(7, 40).proportion_ci(method="wilson")
    interval = wilson_interval(7 / 40, 40)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_promises_that_are_not_kept_lie_outside_the_interval() -> None:
    kept, broken = (_row(grade(_scores(customers=2000, promise=promise))) for promise in (1.0, 0.4))
    assert kept["kept_low"] < kept["promised"] < kept["kept_high"]
    assert broken["promised"] < broken["kept_low"]
    bins = orjson.loads(kept["bins"])
    assert len(bins) == 10
    assert sum(bin["scores"] for bin in bins) == 6000
    assert [bin["promised"] for bin in bins] == sorted(bin["promised"] for bin in bins)


def test_lift_by_decile_adds_up_and_does_not_depend_on_the_order_of_tied_rows() -> None:
    probabilities = np.repeat([0.5, 0.1], [15, 85])
    outcomes = np.zeros(100)
    outcomes[:9] = 1
    deciles = lift_by_decile(probabilities, outcomes)
    assert deciles == lift_by_decile(probabilities, np.r_[outcomes[:15][::-1], outcomes[15:]])
    assert [decile["outcomes"] for decile in deciles[:3]] == [6.0, 3.0, 0.0]
    assert deciles[0]["lift"] == pytest.approx(0.6 / 0.09)
    assert sum(decile["scores"] for decile in deciles) == 100


def test_one_class_only_has_counts_and_shares_and_no_ranking() -> None:
    whole = _row(grade(_scores(customers=30).assign(outcome=False)))
    assert (whole["outcomes"], whole["kept"]) == (0, 0.0)
    assert whole[["auc", "auc_low", "average_precision", "lift_top_decile"]].isna().all()
    assert whole["kept_high"] > 0


def test_equal_scores_share_a_bin() -> None:
    assert len(calibration_bins(_scores().assign(probability=0.2))) == 1


def test_nothing_to_grade_gives_no_grades() -> None:
    assert grade(_scores().iloc[:0]).empty
