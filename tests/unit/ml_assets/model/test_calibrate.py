"""The affine calibrator against scikit-learn, and where it falls back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.model import calibrate
from ml_assets.model.calibrate import AffineCalibrator, fit_calibrator, grown, levelled, with_range


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


def _customers(customers: int, rows_each: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Margins that lean on the customer, and whose row is whose."""
    lasting = np.repeat(random.normal(-1.5, 0.8, customers), rows_each)
    return lasting + random.normal(-1.5, 0.5, customers * rows_each), np.repeat(np.arange(customers), rows_each)


def test_the_range_holds_the_true_share_as_often_as_it_says() -> None:
    """60 calibration sets of 400 customers, known line: the 95 percent range holds it in 9 of 10 sets or more."""
    random, at = np.random.default_rng(5), np.array([-4.0, -3.0, -2.0])
    held = []
    for seed in range(60):
        margins, entities = _customers(400, 3, random)
        outcomes = (random.random(len(margins)) < 1 / (1 + np.exp(-(0.8 * margins - 0.3)))).astype(float)
        fitted = with_range(fit_calibrator(margins, outcomes), margins, outcomes, entities, seed)
        held.append(np.abs(fitted.log_odds(at) - (0.8 * at - 0.3)) <= fitted.half_width(at))
    assert 0.88 <= np.mean(held) <= 0.99


def test_the_range_narrows_with_more_customers_and_knows_rows_of_one_customer_from_rows_of_many() -> None:
    random = np.random.default_rng(6)
    margins, entities = _customers(2000, 2, random)
    outcomes = (random.random(len(margins)) < 1 / (1 + np.exp(-margins))).astype(float)
    at = np.array([-3.0])

    def width(rows: slice, copies: int) -> float:
        few = [np.tile(values[rows], copies) for values in (margins, outcomes, entities)]
        return float(with_range(fit_calibrator(*few[:2]), *few, seed=1).half_width(at)[0])

    assert width(slice(None), 1) < 0.75 * width(slice(0, 1000), 1)
    # The same rows four times over, of the same customers, are no more evidence.
    assert width(slice(0, 1000), 4) == pytest.approx(width(slice(0, 1000), 1), rel=0.15)


def test_without_outcomes_nothing_is_known_of_the_range() -> None:
    fitted = with_range(fit_calibrator(np.zeros(4), np.zeros(4)), np.zeros(4), np.zeros(4), np.arange(4), 1)
    assert fitted.covariance is None
    assert np.isinf(fitted.half_width(np.zeros(2))).all()


def test_a_line_that_is_levelled_keeps_its_slope_and_meets_the_share_of_its_rows() -> None:
    margins, outcomes = _drawn(1.0, 0.0, rows=3000)
    line = levelled(AffineCalibrator(0.5, 3.0, "of other rows", (0.1, 0.0, 0.1)), margins, outcomes)
    assert (line.slope, line.covariance) == (0.5, (0.1, 0.0, 0.1))
    assert (1 / (1 + np.exp(-line.log_odds(margins)))).mean() == pytest.approx(outcomes.mean(), abs=1e-9)
    assert levelled(line, margins, np.zeros(len(margins))) is line


@given(level_sd=st.floats(0, 2), margin=st.floats(-6, 6))
def test_the_spread_of_the_level_adds_to_the_range_of_customers_as_variances_do(level_sd: float, margin: float) -> None:
    line = AffineCalibrator(1.0, 0.0, "made up", (0.01, 0.0, 0.04), level_sd)
    by_customers, both = (width(np.array([margin]))[0] for width in (line.half_width, line.range_half_width))
    assert both**2 == pytest.approx(by_customers**2 + (1.96 * level_sd) ** 2, rel=1e-9)


@given(slope=st.floats(0.2, 4), then=st.floats(1, 1e4), more=st.floats(0, 1e4))
def test_a_slope_comes_nearer_to_one_as_outcomes_grow_and_never_passes_it(
    slope: float, then: float, more: float
) -> None:
    line = AffineCalibrator(slope, 0.0, "made up")
    later = grown(line, then, then + more).slope
    assert min(1.0, slope) - 1e-12 <= later <= max(1.0, slope) + 1e-12
    assert grown(grown(line, then, then + more), then + more, then + 2 * more).slope == pytest.approx(
        grown(line, then, then + 2 * more).slope
    )


@pytest.mark.parametrize(("slope", "then"), [(0.5, 0.0), (1.0, 5.0), (1.7, 5.0)])
def test_a_slope_of_no_outcomes_or_of_a_fit_that_was_held_back_is_left_alone(slope: float, then: float) -> None:
    line = AffineCalibrator(slope, 0.0, "made up")
    assert grown(line, then, 10.0) is line


def test_the_slope_of_a_fit_that_learned_from_noise_fades_about_as_the_power_says() -> None:
    """Nineteen columns of noise by plain regression: the slope that other rows ask for, of 300 rows and of 1,200."""
    from sklearn.linear_model import LogisticRegression

    chance, slopes = np.random.default_rng(8), {300: [], 1200: []}
    for rows, found in slopes.items():
        for _ in range(40):
            features = chance.normal(size=(rows + 4000, 20))
            outcomes = (chance.random(rows + 4000) < 1 / (1 + np.exp(1.5 - features[:, 0]))).astype(float)
            fit = LogisticRegression(C=1e6, max_iter=200).fit(features[:rows], outcomes[:rows])
            found.append(fit_calibrator(fit.decision_function(features[rows:]), outcomes[rows:]).slope)
    few, many = (float(np.mean(found)) for found in slopes.values())
    assert few < 0.85
    assert few**0.25 == pytest.approx(many, abs=0.04)
