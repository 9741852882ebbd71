"""Each estimator against an independent computation, its parts, and its stored form."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from ml_assets.errors import ArtefactError, AttributionError, FeatureMissingError
from ml_assets.estimators import boosted_trees
from ml_assets.estimators.base import FEW_ROWS, Estimator, FitRows
from ml_assets.estimators.blend import blend
from ml_assets.estimators.boosted_trees import BoostedTrees, device, fit_boosted_trees, fit_random_forest
from ml_assets.estimators.candidates import fit_candidate, load_estimator, shallower
from ml_assets.estimators.leafwise_trees import LeafwiseTrees, fit_leafwise_trees
from ml_assets.estimators.logistic import fit_linear, fit_logistic
from ml_assets.estimators.rules import bin_column, fit_binned_rule, fit_prior_rule
from ml_assets.frames import FeatureEncoder, FloatArray, as_of_dates, outcomes_of
from ml_assets.task import RulePrior
from ml_assets.training.splits import inner_split
from tests.unit.ml_assets.ml_world import CHURN, FEATURES, HORIZON_DAYS, simulate


@pytest.fixture(scope="module")
def rows() -> FitRows:
    """A small world, ready to fit."""
    frame = simulate(400, 8, rate=0.08)
    encoder = FeatureEncoder.fit(frame, FEATURES)
    outcomes = outcomes_of(frame, CHURN)
    inner = inner_split(as_of_dates(frame), outcomes, horizon_days=HORIZON_DAYS)
    return FitRows(encoder.encode(frame), outcomes, encoder, inner, seed=7, threads=1)


@pytest.fixture(scope="module")
def fitted(rows: FitRows) -> dict[str, Estimator]:
    """One of each kind."""
    prior = fit_prior_rule(rows.matrix, rows.outcomes, rows.encoder, CHURN.rule_feature, CHURN.rule_prior, 0.05)
    return {
        "xgboost": (trees := fit_boosted_trees(rows)),
        "logistic": (line := fit_logistic(rows)),
        "lightgbm": fit_leafwise_trees(rows),
        "random_forest": fit_random_forest(rows),
        "blend": blend([line, trees]),
        "one_column_rule": fit_binned_rule(rows),
        "prior_rule": prior,
    }


KINDS = ["xgboost", "logistic", "lightgbm", "random_forest", "blend", "one_column_rule", "prior_rule"]


def _strange_rows(encoder: FeatureEncoder, count: int = 500) -> FloatArray:
    """Rows far outside of what was fitted, missing values everywhere."""
    random = np.random.default_rng(11)
    matrix = random.normal(0, 1, (count, len(encoder.features))) * 10.0 ** random.integers(-3, 7, (count, 1))
    for position, feature in enumerate(encoder.features):
        if feature.kind == "category":
            matrix[:, position] = random.integers(0, len(encoder.vocabularies[feature.name]), count)
        if feature.kind == "flag":
            matrix[:, position] = random.integers(0, 2, count)
    matrix[random.random(matrix.shape) < 0.3] = np.nan
    matrix[0] = np.nan
    return matrix


@pytest.mark.parametrize("kind", KINDS)
def test_parts_and_bias_add_up_to_the_margin_on_any_row(kind: str, rows: FitRows, fitted: dict[str, Estimator]) -> None:
    for matrix in (rows.matrix, _strange_rows(rows.encoder)):
        parts, bias = fitted[kind].parts(matrix)
        assert parts.shape == matrix.shape
        assert np.abs(parts.sum(axis=1) + bias - fitted[kind].margins(matrix)).max() < 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_estimator_gives_the_same_bits(kind: str, rows: FitRows, fitted: dict[str, Estimator]) -> None:
    again = load_estimator(kind, fitted[kind].dump())
    matrix = _strange_rows(rows.encoder)
    assert np.array_equal(again.margins(matrix), fitted[kind].margins(matrix))
    assert np.array_equal(again.parts(matrix)[0], fitted[kind].parts(matrix)[0])
    assert again.settings() == fitted[kind].settings()


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_alone_scores_the_same_bits_as_among_many(kind: str, rows: FitRows, fitted: dict[str, Estimator]) -> None:
    many = _strange_rows(rows.encoder)
    assert len(many) > FEW_ROWS
    margins, (parts, bias) = fitted[kind].margins(many), fitted[kind].parts(many)
    assert fitted[kind].margins(many[:1])[0] == margins[0]
    alone, alone_bias = fitted[kind].parts(many[:1])
    np.testing.assert_array_equal(alone[0], parts[0])
    assert alone_bias == bias


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_give_no_margins(kind: str, rows: FitRows, fitted: dict[str, Estimator]) -> None:
    assert fitted[kind].margins(rows.matrix[:0]).shape == (0,)
    assert fitted[kind].parts(rows.matrix[:0])[0].shape == (0, rows.matrix.shape[1])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "prior_rule"])
def test_an_estimators_own_settings_fit_it_again(kind: str, rows: FitRows, fitted: dict[str, Estimator]) -> None:
    again = fit_candidate(kind, rows, json.loads(json.dumps(fitted[kind].settings())))
    assert np.array_equal(again.margins(rows.matrix), fitted[kind].margins(rows.matrix))


def test_the_forests_margin_is_its_mean_rate_on_an_affine_scale(rows: FitRows) -> None:
    """Leaves of a forest of one Newton step without shrinkage are (rate of the leaf - p) / (p (1 - p))."""
    plain = {"reg_lambda": 0.0, "subsample": 1.0, "colsample_bynode": 1.0, "trees": 1, "max_depth": 1}
    stump = fit_random_forest(rows, plain)
    margins = stump.margins(rows.matrix)
    base = rows.outcomes.mean()
    for leaf in np.unique(margins):
        rate = rows.outcomes[margins == leaf].mean()
        expected = np.log(base / (1 - base)) + (rate - base) / (base * (1 - base))
        assert leaf == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("fit", [fit_boosted_trees, fit_leafwise_trees])
def test_trees_are_as_deep_as_the_rows_give_reason_for(
    fit: Callable[..., BoostedTrees | LeafwiseTrees], rows: FitRows
) -> None:
    random = np.random.default_rng(3)
    matrix = random.normal(size=(6_000, len(rows.encoder.features)))
    matrix[:, [position for position, feature in enumerate(rows.encoder.features) if feature.kind != "number"]] = 0.0
    early = np.arange(len(matrix)) < 4_000
    first, second = matrix[:, 0], matrix[:, 1]

    def depth_for(log_odds: FloatArray) -> int:
        outcomes = (random.random(len(matrix)) < 1 / (1 + np.exp(2 - log_odds))).astype(float)
        model = fit(replace(rows, matrix=matrix, outcomes=outcomes, inner=(early, ~early)))
        return int(model.parameters["max_depth"])

    assert depth_for(first + second) == 1
    assert depth_for(2.0 * np.sign(first * second)) > 1


def test_a_shallower_shape_is_one_level_less_deep_and_a_line_and_trees_of_one_level_have_none(
    rows: FitRows, fitted: dict[str, Estimator]
) -> None:
    trees = {"max_depth": 3, "trees": 5}
    boosted, leafwise = (fit(rows, trees).settings() for fit in (fit_boosted_trees, fit_leafwise_trees))
    assert shallower(boosted) == {**boosted, "max_depth": 2}
    assert shallower(leafwise) == {**leafwise, "max_depth": 2, "num_leaves": 4}
    line = fit_logistic(rows).settings()
    for kind in ("xgboost", "lightgbm", "random_forest", "blend"):
        assert fitted[kind].reason_cost() > fitted["logistic"].reason_cost() == 0.0
    forest = fitted["random_forest"].settings()
    assert shallower(forest) == {**forest, "max_depth": 4}
    assert shallower({"members": {"logistic": line, "xgboost": boosted}}) == {
        "members": {"logistic": line, "xgboost": {**boosted, "max_depth": 2}}
    }
    flat = {**boosted, "max_depth": 1}
    for settings in (line, flat, {"members": {"logistic": line, "xgboost": flat}}):
        assert shallower(settings) is None


@pytest.mark.skipif(device() == "cpu", reason="no GPU here, or an XGBoost without one")
def test_a_gpu_gives_the_processors_answers_within_tolerance(
    rows: FitRows, fitted: dict[str, Estimator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boosted_trees, "device", lambda: "cpu")
    trees = fitted["xgboost"].settings()["trees"]
    on_processor = fit_boosted_trees(rows, {"trees": trees}).margins(rows.matrix)
    rates = [1 / (1 + np.exp(-margins)) for margins in (on_processor, fitted["xgboost"].margins(rows.matrix))]
    assert np.abs(rates[0] - rates[1]).mean() < 0.01


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ArtefactError, match="unknown kind 'forest'"):
        load_estimator("forest", {})


def test_fitting_twice_gives_the_same_model_with_any_number_of_threads(rows: FitRows) -> None:
    by_one_thread = fit_boosted_trees(rows).margins(rows.matrix)
    by_two_threads = fit_boosted_trees(FitRows(**{**rows.__dict__, "threads": 2})).margins(rows.matrix)
    assert np.array_equal(by_one_thread, by_two_threads)


def test_contributions_are_tree_shap_values_by_their_definition(rows: FitRows) -> None:
    """Two features, one tree of depth two: Shapley values over path-dependent expectations, written out.

    The expectation of a coalition follows known features down the tree and averages unknown ones by the
    rows' share (cover) in each branch (Lundberg et al. 2020).
    """
    keep = [2, 3]
    pair = FeatureEncoder(tuple(FEATURES[position] for position in keep), {})
    small = FitRows(np.nan_to_num(rows.matrix[:, keep]), rows.outcomes, pair, None, 7, 1)
    model = fit_boosted_trees(small, {"max_depth": 2, "subsample": 1.0, "colsample_bytree": 1.0})
    first_tree = BoostedTrees(model.booster[:1], model.column_types, 1, 1, model.parameters)
    tree = json.loads(first_tree.booster.get_dump(dump_format="json", with_stats=True)[0])

    def expected(node: dict[str, Any], row: FloatArray, known: set[int]) -> float:
        if "leaf" in node:
            return float(node["leaf"])
        yes, no = sorted(node["children"], key=lambda child: child["nodeid"] != node["yes"])
        position = int(node["split"].removeprefix("f"))
        if position in known:
            return expected(yes if row[position] < node["split_condition"] else no, row, known)
        total = yes["cover"] + no["cover"]
        return sum(child["cover"] / total * expected(child, row, known) for child in (yes, no))

    parts, _ = first_tree.parts(small.matrix[:60])
    for row, contributions in zip(small.matrix[:60], parts, strict=True):
        nothing, first, second, both = (expected(tree, row, known) for known in (set(), {0}, {1}, {0, 1}))
        by_hand = [(first - nothing + both - second) / 2, (second - nothing + both - first) / 2]
        assert contributions == pytest.approx(by_hand, abs=1e-5)


def test_parts_that_miss_the_margin_by_more_than_rounding_are_an_error(
    rows: FitRows, fitted: dict[str, Estimator]
) -> None:
    trees = fitted["xgboost"]
    assert isinstance(trees, BoostedTrees)

    class Wrong:
        def predict(self, data: Any, **how: Any) -> Any:
            return trees.booster.predict(data, **how) + (0.01 if "pred_contribs" in how else 0.0)

    with pytest.raises(AttributionError, match="miss the margin"):
        BoostedTrees(Wrong(), trees.column_types, trees.trees, 1, trees.parameters).parts(rows.matrix)


def _skewness(column: np.ndarray) -> float:
    return float(scipy.stats.skew(column, nan_policy="omit"))


def test_the_baseline_equals_a_pipeline_of_scikit_learn(rows: FitRows) -> None:
    """The same steps by scikit-learn's own transformers, on the frame itself."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    kinds = [feature.kind for feature in FEATURES]
    numbers = [position for position, kind in enumerate(kinds) if kind == "number"]
    plain = [position for position, kind in enumerate(kinds) if kind != "category"]
    matrix = rows.matrix.copy()
    skewed = [place for place in numbers if np.nanmin(matrix[:, place]) >= 0 and _skewness(matrix[:, place]) > 1.5]
    assert skewed
    for place in skewed:
        matrix[:, place] = np.log1p(matrix[:, place] / np.nanmedian(matrix[matrix[:, place] > 0, place]))
    low, high = np.nanquantile(matrix[:, numbers], [0.01, 0.99], axis=0)
    matrix[:, numbers] = np.clip(matrix[:, numbers], low, high)
    table = pd.DataFrame(matrix).astype({position: object for position, kind in enumerate(kinds) if kind == "category"})
    categories = [position for position, kind in enumerate(kinds) if kind == "category"]
    table[categories] = table[categories].map(lambda code: "missing" if code != code else f"{code:.0f}")
    columns = ColumnTransformer(
        [
            ("values", make_pipeline(SimpleImputer(), StandardScaler()), plain),
            ("missing", MissingIndicator(features="all"), plain),
            ("one_hot", OneHotEncoder(sparse_output=False), categories),
        ]
    )
    reference = make_pipeline(columns, LogisticRegression(C=0.1, max_iter=5000, tol=1e-8)).fit(table, rows.outcomes)
    ours = fit_linear(rows.matrix, rows.outcomes, rows.encoder, [0.1])[0]
    assert np.abs(ours.margins(rows.matrix) - reference.decision_function(table)).max() < 2e-3


def test_the_baselines_parts_have_mean_zero_over_the_fit_rows(rows: FitRows, fitted: dict[str, Estimator]) -> None:
    assert np.abs(fitted["logistic"].parts(rows.matrix)[0].mean(axis=0)).max() < 1e-9


def test_a_column_that_was_never_known_while_fitting_changes_nothing_later(rows: FitRows) -> None:
    blind = rows.matrix.copy()
    blind[:, 3] = np.nan
    for fit in (fit_boosted_trees, fit_logistic, fit_leafwise_trees, fit_random_forest):
        model = fit(FitRows(**{**rows.__dict__, "matrix": blind}))
        assert np.allclose(model.margins(blind), model.margins(rows.matrix))


def test_the_best_single_column_is_found_and_its_bins_are_monotone(rows: FitRows) -> None:
    random = np.random.default_rng(2)
    matrix = rows.matrix.copy()
    matrix[:, 9] = rows.outcomes + random.normal(0, 0.8, len(matrix))
    rule = fit_binned_rule(FitRows(**{**rows.__dict__, "matrix": matrix}))
    assert rule.feature == FEATURES[9].name
    assert np.all(np.diff(rule.log_odds[:-1]) >= 0)


def test_a_bins_rate_is_its_share_with_ten_average_rows_added() -> None:
    frame = pd.DataFrame({"is_late_payer": [True] * 40 + [False] * 60})
    encoder = FeatureEncoder.fit(frame, [FEATURES[8]])
    outcomes = np.r_[np.ones(10), np.zeros(30), np.ones(5), np.zeros(55)]
    rule = bin_column(encoder.encode(frame), outcomes, encoder, 0)
    late, prompt = (10 + 10 * 0.15) / 50, (5 + 10 * 0.15) / 70
    expected = [np.log(prompt / (1 - prompt)), np.log(late / (1 - late)), np.log(0.15 / 0.85)]
    assert rule.log_odds == pytest.approx(expected)


def test_the_prior_rule_with_no_rows_is_the_prior_itself() -> None:
    frame = simulate(5, 2).iloc[:0]
    encoder = FeatureEncoder.fit(frame, FEATURES)
    prior = RulePrior()
    rule = fit_prior_rule(encoder.encode(frame), np.zeros(0), encoder, "days_since_last_payment", prior, 0.03)
    matrix = np.full((2, len(FEATURES)), np.nan)
    matrix[1, 0] = 30.0
    assert 1 / (1 + np.exp(-rule.margins(matrix))) == pytest.approx([0.03, 0.03])


def test_the_prior_rule_is_the_posterior_mode_by_scipy() -> None:
    from scipy.optimize import minimize

    frame = simulate(60, 4, rate=0.1)
    encoder = FeatureEncoder.fit(frame, FEATURES)
    matrix, outcomes, prior = encoder.encode(frame), outcomes_of(frame, CHURN), RulePrior()
    rule = fit_prior_rule(matrix, outcomes, encoder, "days_since_last_payment", prior, 0.03)
    scaled = np.log((1 + matrix[:, 0]) / 31)

    def loss(weights: FloatArray) -> float:
        log_odds = weights[0] + weights[1] * scaled
        priors = (weights[0] - np.log(0.03 / 0.97)) ** 2 / 2 + (weights[1] - 0.5) ** 2 / (2 * 0.25)
        return float(np.logaddexp(0, log_odds).sum() - outcomes @ log_odds + priors)

    best = minimize(loss, [0.0, 0.0], tol=1e-10).x
    assert (rule.intercept, rule.slope) == pytest.approx(tuple(best), abs=1e-4)


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_the_prior_rule_stays_between_zero_and_one_when_nobody_or_everybody_left(outcome: float) -> None:
    frame = simulate(90, 12)
    encoder = FeatureEncoder.fit(frame, FEATURES)
    matrix = encoder.encode(frame)
    rule = fit_prior_rule(matrix, np.full(len(frame), outcome), encoder, CHURN.rule_feature, RulePrior(), 0.03)
    probabilities = 1 / (1 + np.exp(-rule.margins(matrix)))
    assert np.all((probabilities > 1e-4) & (probabilities < 1 - 1e-4))


def test_a_rule_feature_that_is_not_there_is_named() -> None:
    frame = simulate(5, 2)
    encoder = FeatureEncoder.fit(frame, FEATURES[1:])
    with pytest.raises(FeatureMissingError, match="'days_since_last_payment'"):
        fit_prior_rule(encoder.encode(frame), outcomes_of(frame, CHURN), encoder, CHURN.rule_feature, RulePrior(), 0.03)
