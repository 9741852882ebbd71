"""Published parts add up to the published log-odds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ml_assets.model.calibrate import AffineCalibrator
from ml_assets.model.explain import LARGEST_LOG_ODDS, probabilities_of, publish_parts


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
