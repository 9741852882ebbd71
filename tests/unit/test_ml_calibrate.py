"""The affine calibrator against scikit-learn, and where it falls back."""

import numpy as np
import pytest

from ml_assets import calibrate
from ml_assets.calibrate import fit_calibrator


def _drawn(slope: float, intercept: float, rows: int = 20_000, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    margins = random.normal(-3, 1, rows)
    probability = 1 / (1 + np.exp(-(slope * margins + intercept)))
    return margins, (random.random(rows) < probability).astype(float)


def test_slope_and_intercept_are_those_of_an_unpenalised_logistic_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.linear_model import LogisticRegression

    margins, outcomes = _drawn(0.7, 0.4)
    reference = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(margins[:, None], outcomes)
    monkeypatch.setattr(calibrate, "SLOPE_PRIOR_SD", 1e6)
    fitted = fit_calibrator(margins, outcomes)
    assert fitted.slope == pytest.approx(reference.coef_[0, 0], abs=1e-4)
    assert fitted.intercept == pytest.approx(reference.intercept_[0], abs=1e-4)


def test_the_prior_on_the_slope_hardly_moves_a_fit_on_many_rows() -> None:
    margins, outcomes = _drawn(0.7, 0.4)
    assert fit_calibrator(margins, outcomes).slope == pytest.approx(0.7, abs=0.06)


def test_the_mean_probability_equals_the_observed_share_on_the_calibration_rows() -> None:
    margins, outcomes = _drawn(0.5, 1.0, rows=800)
    probabilities = 1 / (1 + np.exp(-fit_calibrator(margins, outcomes).log_odds(margins)))
    assert probabilities.mean() == pytest.approx(outcomes.mean(), abs=1e-9)


def test_a_ranking_that_is_the_wrong_way_round_gets_an_intercept_only() -> None:
    margins, outcomes = _drawn(-0.8, -4.0)
    fitted = fit_calibrator(margins, outcomes)
    assert fitted.slope == 1.0
    assert "not positive" in fitted.reason
    assert (1 / (1 + np.exp(-fitted.log_odds(margins)))).mean() == pytest.approx(outcomes.mean(), abs=1e-9)


def test_separable_outcomes_keep_a_finite_slope() -> None:
    margins = np.array([-3.0, -2.0, 2.0, 3.0])
    fitted = fit_calibrator(margins, (margins > 0).astype(float))
    assert 0 < fitted.slope < 5


@pytest.mark.parametrize("outcomes", [np.zeros(5), np.ones(5), np.zeros(0)])
def test_one_class_changes_nothing_and_says_so(outcomes: np.ndarray) -> None:
    fitted = fit_calibrator(np.linspace(-1, 1, len(outcomes)), outcomes)
    assert (fitted.slope, fitted.intercept) == (1.0, 0.0)
    assert "only one class" in fitted.reason


def test_extreme_margins_do_not_break_the_fit() -> None:
    margins, outcomes = _drawn(1.0, 0.0, rows=2000)
    with np.errstate(over="raise"):
        fitted = fit_calibrator(margins * 200, outcomes)
    assert fitted.slope > 0
    assert np.isfinite(fitted.intercept)
