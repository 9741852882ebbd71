"""Metrics against hand-computed values and scikit-learn."""

import numpy as np
import pytest

from ml_assets.judging.evaluate import (
    RESAMPLED,
    calibration_bins,
    calibration_error,
    evaluate,
    lift_in_top_decile,
    metric_intervals,
)
from ml_assets.resampling import entity_draws, members

PROBABILITIES = np.array([0.1, 0.4, 0.35, 0.8])
OUTCOMES = np.array([0.0, 0.0, 1.0, 1.0])


def test_the_small_example_of_the_textbooks_comes_out_as_computed_by_hand() -> None:
    """Of the four pairs of a churner and a survivor three are in order; precision is 1 at rank 1, 2/3 at rank 3."""
    metrics = evaluate(PROBABILITIES, OUTCOMES)
    assert metrics["auc"] == pytest.approx(0.75)
    assert metrics["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert metrics["brier"] == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)
    assert metrics["log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.35, 0.8]).mean())
    assert (metrics["rows"], metrics["outcomes"]) == (4.0, 2.0)


def test_the_figures_are_those_of_scikit_learn_with_ties_too() -> None:
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    random = np.random.default_rng(3)
    outcomes = (random.random(500) < 0.1).astype(float)
    for probabilities in (random.uniform(0.01, 0.6, 500), np.round(random.uniform(0.01, 0.6, 500), 1) + 0.01):
        metrics = evaluate(probabilities, outcomes)
        assert metrics["auc"] == pytest.approx(roc_auc_score(outcomes, probabilities), abs=1e-14)
        assert metrics["average_precision"] == pytest.approx(average_precision_score(outcomes, probabilities))
        assert metrics["log_loss"] == pytest.approx(log_loss(outcomes, probabilities))
        assert metrics["brier"] == pytest.approx(brier_score_loss(outcomes, probabilities))


@pytest.mark.parametrize("outcomes", [np.zeros(4), np.ones(4)])
def test_one_class_has_no_auc_but_still_a_loss(outcomes: np.ndarray) -> None:
    metrics = evaluate(PROBABILITIES, outcomes)
    assert metrics["auc"] is None
    assert metrics["average_precision"] is None
    assert metrics["log_loss"] is not None


def test_no_rows_have_no_metrics() -> None:
    assert {value for name, value in evaluate(np.zeros(0), np.zeros(0)).items() if name != "rows"} == {None, 0.0}


def test_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    """Two groups of equal probability: 0.2 with a share of 0.1, 0.6 with a share of 0.8, half of the rows each."""
    probabilities = np.repeat([0.2, 0.6], 10)
    outcomes = np.r_[[1.0], np.zeros(9), np.ones(8), np.zeros(2)]
    assert calibration_error(probabilities, outcomes) == pytest.approx(0.5 * 0.1 + 0.5 * 0.2)


def test_calibration_error_of_one_constant_does_not_depend_on_the_order_of_rows() -> None:
    outcomes = np.r_[np.ones(50), np.zeros(50)]
    assert calibration_error(np.full(100, 0.5), outcomes) == 0.0


def test_lift_counts_the_top_tenth_against_all() -> None:
    probabilities = np.linspace(0.01, 0.99, 20)
    outcomes = np.zeros(20)
    outcomes[[19, 3]] = 1.0
    assert lift_in_top_decile(probabilities, outcomes) == pytest.approx((1 / 2) / (2 / 20))


def test_lift_of_a_constant_is_one_in_any_order() -> None:
    outcomes = np.r_[np.ones(5), np.zeros(95)]
    assert lift_in_top_decile(np.full(100, 0.05), outcomes) == pytest.approx(1.0)
    assert lift_in_top_decile(np.full(100, 0.05), np.zeros(100)) is None


def test_the_interval_of_single_rows_agrees_with_a_plain_bootstrap_by_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(5)
    outcomes = (random.random(400) < 0.3).astype(float)
    probabilities = np.round(np.clip(0.3 + 0.1 * outcomes + random.normal(0, 0.15, 400), 0.01, 0.99), 2)
    draws = [random.integers(0, 400, 400) for _ in range(400)]
    plain = np.quantile([roc_auc_score(outcomes[draw], probabilities[draw]) for draw in draws], [0.025, 0.975])
    intervals = metric_intervals(probabilities, outcomes, np.arange(400), seed=1, rounds=400)
    assert (intervals["auc_low"], intervals["auc_high"]) == pytest.approx(tuple(plain), abs=0.012)


def test_each_draw_is_measured_as_scikit_learn_measures_weighted_rows() -> None:
    """With ties, and customers of several rows; one draw alone is an interval without width."""
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    random = np.random.default_rng(8)
    outcomes = (random.random(300) < 0.3).astype(float)
    probabilities = np.round(np.clip(0.3 + 0.2 * outcomes + random.normal(0, 0.2, 300), 0.01, 0.99), 2)
    customers = random.integers(0, 60, 300)
    (drawn,) = entity_draws(members(customers), 4, 1)
    weights = drawn[members(customers)]
    intervals = metric_intervals(probabilities, outcomes, customers, seed=4, rounds=1)
    measures = {
        "auc": roc_auc_score,
        "average_precision": average_precision_score,
        "log_loss": log_loss,
        "brier": brier_score_loss,
    }
    for name, measure in measures.items():
        expected = measure(outcomes, probabilities, sample_weight=weights)
        assert intervals[f"{name}_low"] == intervals[f"{name}_high"] == pytest.approx(expected), name
    bins = calibration_bins(probabilities)
    gaps = np.bincount(bins, weights * (probabilities - outcomes))
    assert intervals["calibration_error_low"] == pytest.approx(np.abs(gaps).sum() / weights.sum())


def test_the_auc_of_dates_counts_pairs_of_one_date_as_scikit_learn_counts_them() -> None:
    """Each date's AUC, weighted by its pairs; with ties, drawn customers, and a date on which nobody left."""
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(11)
    dates = random.integers(0, 5, 400).astype("datetime64[D]")
    rates = np.array([0.0, 0.1, 0.2, 0.4, 0.8])[dates.astype(int)]
    outcomes = (random.random(400) < rates).astype(float)
    probabilities = np.round(np.clip(rates + random.normal(0, 0.2, 400), 0.01, 0.99), 2)
    customers = random.integers(0, 90, 400)
    (drawn,) = entity_draws(members(customers), 4, 1)

    def by_date(weights: np.ndarray) -> float:
        aucs, pairs = [], []
        for day in np.unique(dates)[1:]:
            there = dates == day
            aucs.append(roc_auc_score(outcomes[there], probabilities[there], sample_weight=weights[there]))
            pairs.append((weights * outcomes)[there].sum() * (weights * (1 - outcomes))[there].sum())
        return float(np.average(aucs, weights=pairs))

    assert evaluate(probabilities, outcomes, dates)["auc"] == pytest.approx(by_date(np.ones(400)), abs=1e-12)
    intervals = metric_intervals(probabilities, outcomes, customers, dates, seed=4, rounds=1)
    assert intervals["auc_low"] == pytest.approx(by_date(drawn[members(customers)]), abs=1e-12)
    assert (
        evaluate(probabilities, outcomes)["average_precision"]
        == evaluate(probabilities, outcomes, dates)["average_precision"]
    )


def test_a_share_that_rises_over_the_dates_is_no_order_of_customers() -> None:
    dates = np.repeat(np.arange(4), 500).astype("datetime64[D]")
    rates = np.repeat([0.05, 0.1, 0.2, 0.4], 500)
    outcomes = (np.random.default_rng(2).random(2000) < rates).astype(float)
    assert (evaluate(rates, outcomes)["auc"] or 0) > 0.65
    intervals = metric_intervals(rates, outcomes, np.arange(2000), dates, seed=1)
    assert intervals["auc_low"] == intervals["auc_high"] == evaluate(rates, outcomes, dates)["auc"] == 0.5


def test_dates_with_one_row_each_have_no_pairs() -> None:
    dates = np.arange(4).astype("datetime64[D]")
    assert evaluate(PROBABILITIES, OUTCOMES, dates)["auc"] is None
    assert metric_intervals(PROBABILITIES, OUTCOMES, np.arange(4), dates, seed=1)["auc_low"] is None


def test_customers_seen_many_times_widen_every_interval() -> None:
    random = np.random.default_rng(6)
    outcomes = (random.random(200) < 0.3).astype(float)
    probabilities = np.clip(0.3 + 0.1 * outcomes + random.normal(0, 0.2, 200), 0.01, 0.99)
    tenfold = [np.repeat(values, 10) for values in (probabilities, outcomes, np.arange(200))]
    by_customer = metric_intervals(*tenfold, seed=1)
    by_row = metric_intervals(tenfold[0], tenfold[1], np.arange(2000), seed=1)
    for metric in RESAMPLED:
        wide, narrow = (each[f"{metric}_high"] - each[f"{metric}_low"] for each in (by_customer, by_row))
        assert wide > 2 * narrow, metric


def test_one_class_has_no_interval_but_of_its_calibration() -> None:
    intervals = metric_intervals(PROBABILITIES, np.zeros(4), np.arange(4), seed=1)
    assert {name for name, end in intervals.items() if end is not None} == {
        "brier_low",
        "brier_high",
        "calibration_error_low",
        "calibration_error_high",
    }


def test_no_rows_have_no_intervals() -> None:
    assert set(metric_intervals(np.zeros(0), np.zeros(0), np.zeros(0), seed=1).values()) == {None}
