"""One-column rules: what a model must beat, and what a company gets that has too few outcomes to learn from.

`BinnedRule` is the best single column of the fit dates. `PriorRule` reads the column that the task names,
starts from a belief and moves from it as far as the outcomes carry, even if there are none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import orjson

from ml_assets.errors import FeatureMissingError
from ml_assets.estimators.base import Files, FitRows
from ml_assets.frames import FeatureEncoder, FloatArray
from ml_assets.task import RulePrior

BINS = 10
_PSEUDO_ROWS = 10.0
_NEWTON_STEPS = 50
_NO_SLOPE = 1e-6


@dataclass(frozen=True)
class BinnedRule:
    """Log-odds by bin of one column, monotone in a number; its part is the distance from the fit rows' mean.

    `edges` are the upper ends of all bins but the last (numbers); a category or flag has a bin per code.
    The last entry of `log_odds` stands for missing.
    """

    kind: ClassVar[str] = "one_column_rule"
    feature: str
    position: int
    columns: int
    edges: tuple[float, ...] | None
    log_odds: tuple[float, ...]
    bias: float

    def margins(self, matrix: FloatArray) -> FloatArray:
        """Uncalibrated log-odds, shape (rows,)."""
        return np.asarray(np.array(self.log_odds)[self._bins(matrix[:, self.position])])

    def parts(self, matrix: FloatArray) -> tuple[FloatArray, float]:
        """One column of parts, the others zero, and the fit rows' mean margin."""
        return _single_part(self.margins(matrix), self.bias, self.position, self.columns)

    def settings(self) -> dict[str, object]:
        """The column that was chosen."""
        return {"feature": self.feature}

    def reason_cost(self) -> float:
        """Nothing to speak of."""
        return 0.0

    def dump(self) -> Files:
        """All numbers as JSON."""
        return {"estimator.json": orjson.dumps(self.__dict__)}

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> "BinnedRule":
        """Read back what `dump` gave."""
        fields = orjson.loads(files["estimator.json"])
        edges = None if fields["edges"] is None else tuple(fields["edges"])
        return cls(**{**fields, "edges": edges, "log_odds": tuple(fields["log_odds"])})

    def log_loss(self, matrix: FloatArray, outcomes: FloatArray) -> float:
        """Mean log loss of its margins, from a logarithm per bin instead of one per row."""
        bins, log_odds = self._bins(matrix[:, self.position]), np.array(self.log_odds)
        return float((np.logaddexp(0.0, log_odds)[bins] - outcomes * log_odds[bins]).mean())

    def levelled_out(self, rate: float) -> "BinnedRule":
        """The same rule with one rate, in (0, 1), in every bin."""
        log_odds = float(np.log(rate / (1 - rate)))
        return replace(self, log_odds=(log_odds,) * len(self.log_odds), bias=log_odds)

    def _bins(self, column: FloatArray) -> np.ndarray:
        return _bins(column, self.edges, len(self.log_odds))


@dataclass(frozen=True)
class PriorRule:
    """Log-odds = intercept + slope * z, z = ln(1 + max(x, 0)) - ln(1 + reference), and 0 where x is missing.

    (intercept, slope) maximise the logistic likelihood times Gaussian priors, intercept around
    logit(prior rate) and slope around the task's: the posterior mode, which exists with any number of
    outcomes, zero included (weakly informative priors: Gelman et al. 2008, Ann. Appl. Stat. 2(4)).
    """

    kind: ClassVar[str] = "prior_rule"
    feature: str
    position: int
    columns: int
    reference: float
    intercept: float
    slope: float
    centre: float

    def margins(self, matrix: FloatArray) -> FloatArray:
        """Log-odds, shape (rows,)."""
        return self.intercept + self.slope * recency_scale(matrix[:, self.position], self.reference)

    def parts(self, matrix: FloatArray) -> tuple[FloatArray, float]:
        """One column of parts, the others zero; the bias is the log-odds at the fit rows' mean of z."""
        bias = self.intercept + self.slope * self.centre
        return _single_part(self.margins(matrix), bias, self.position, self.columns)

    def settings(self) -> dict[str, object]:
        """The column, and what was learned on top of the prior."""
        return {"feature": self.feature, "intercept": self.intercept, "slope": self.slope}

    def reason_cost(self) -> float:
        """Nothing to speak of."""
        return 0.0

    def dump(self) -> Files:
        """All numbers as JSON."""
        return {"estimator.json": orjson.dumps(self.__dict__)}

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> "PriorRule":
        """Read back what `dump` gave."""
        return cls(**orjson.loads(files["estimator.json"]))


def fit_binned_rule(rows: FitRows) -> BinnedRule:
    """Take the column with the least log loss on the later part of the fit rows (on all, if no part)."""
    early, late = rows.inner if rows.inner is not None else (slice(None), slice(None))
    learned, judged = (np.asfortranarray(rows.matrix[part]) for part in (early, late))
    losses = {}
    for position in range(rows.matrix.shape[1]):
        rule = bin_column(learned, rows.outcomes[early], rows.encoder, position)
        losses[position] = rule.log_loss(judged, rows.outcomes[late])
    best = min(losses, key=lambda position: (losses[position], position))
    return bin_column(rows.matrix, rows.outcomes, rows.encoder, best)


def bin_column(matrix: FloatArray, outcomes: FloatArray, encoder: FeatureEncoder, position: int) -> BinnedRule:
    """Log-odds by bin of one column: ten bins of equal mass, isotonic for a number, shrunk a little.

    A bin's rate is (outcomes + 10 * overall rate) / (rows + 10), as if ten average rows stood in each.
    """
    feature, column = encoder.features[position], matrix[:, position]
    edges, entries = None, len(encoder.vocabularies.get(feature.name, ("no", "yes"))) + 1
    if feature.kind == "number":
        edges = _edges(column)
        entries = len(edges) + 2
    bins = _bins(column, edges, entries)
    mass = np.bincount(bins, minlength=entries).astype(np.float64)
    overall = float(np.clip(outcomes.mean(), 1e-6, 1 - 1e-6))
    outcomes_in_bins = np.bincount(bins, weights=outcomes, minlength=entries)
    rates = (outcomes_in_bins + _PSEUDO_ROWS * overall) / (mass + _PSEUDO_ROWS)
    if edges is not None:
        rates[:-1] = _monotone(rates[:-1], mass[:-1] + _PSEUDO_ROWS)
    log_odds = np.log(rates / (1 - rates))
    return BinnedRule(
        feature=feature.name,
        position=position,
        columns=matrix.shape[1],
        edges=edges,
        log_odds=tuple(float(value) for value in log_odds),
        bias=float(log_odds @ mass / mass.sum()),
    )


def fit_prior_rule(
    matrix: FloatArray,
    outcomes: FloatArray,
    encoder: FeatureEncoder,
    feature: str,
    prior: RulePrior,
    rate: float,
) -> PriorRule:
    """The posterior mode of intercept and slope; any number of rows, none included.

    `rate`, in (0, 1), is the believed share with the outcome over the horizon.
    """
    names = [known.name for known in encoder.features]
    if feature not in names:
        raise FeatureMissingError(f"the rule reads {feature!r}, which is not among the features: {', '.join(names)}")
    position = names.index(feature)
    scaled = recency_scale(matrix[:, position], prior.reference)
    design = np.column_stack([np.ones_like(scaled), scaled])
    centre = np.array([np.log(rate / (1 - rate)), prior.slope])
    precision = np.diag([prior.intercept_sd**-2, prior.slope_sd**-2])
    weights = _posterior_mode(design, outcomes, centre, precision)
    return PriorRule(
        feature=feature,
        position=position,
        columns=matrix.shape[1],
        reference=prior.reference,
        intercept=float(weights[0]),
        slope=float(weights[1]),
        centre=float(scaled.mean()) if len(scaled) else 0.0,
    )


def posterior_covariance(rule: PriorRule, matrix: FloatArray, prior: RulePrior) -> tuple[float, float, float]:
    """The posterior's spread around its mode (Laplace), as that of a line on the rule's own margin.

    (variance of the slope, covariance, variance of the intercept). With m = a + b z a moved (a, b) is the line
    a + b z = slope * m + intercept, slope = b'/b and intercept = a' - a b'/b.
    """
    scaled = recency_scale(matrix[:, rule.position], rule.reference)
    design = np.column_stack([np.ones_like(scaled), scaled])
    rates = 1.0 / (1.0 + np.exp(-rule.margins(matrix)))
    precision = np.diag([prior.intercept_sd**-2, prior.slope_sd**-2])
    spread = np.linalg.inv((design * (rates * (1 - rates))[:, None]).T @ design + precision)
    if abs(rule.slope) < _NO_SLOPE:
        return 0.0, 0.0, float(spread[0, 0])
    moved = np.array([[0.0, 1.0 / rule.slope], [1.0, -rule.intercept / rule.slope]])
    slope, both, _, intercept = (moved @ spread @ moved.T).ravel().tolist()
    return slope, both, intercept


def recency_scale(column: FloatArray, reference: float) -> FloatArray:
    """ln(1 + max(x, 0)) - ln(1 + reference); 0, the usual value, where x is missing."""
    known = np.log1p(np.maximum(np.nan_to_num(column, nan=reference), 0.0))
    return np.asarray(known - np.log1p(reference))


def _posterior_mode(design: FloatArray, outcomes: FloatArray, centre: FloatArray, precision: FloatArray) -> FloatArray:
    def loss(weights: FloatArray) -> float:
        log_odds, away = design @ weights, weights - centre
        return float((np.logaddexp(0.0, log_odds) - outcomes * log_odds).sum() + away @ precision @ away / 2)

    weights = centre.copy()
    for _ in range(_NEWTON_STEPS):
        rates = 1.0 / (1.0 + np.exp(-(design @ weights)))
        gradient = design.T @ (rates - outcomes) + precision @ (weights - centre)
        curvature = (design * (rates * (1 - rates))[:, None]).T @ design + precision
        step, size = np.linalg.solve(curvature, gradient), 1.0
        while size > 1e-8 and loss(weights - size * step) > loss(weights):
            size /= 2
        weights = weights - size * step
        if np.abs(size * step).max() < 1e-12:
            break
    return weights


def _monotone(rates: FloatArray, weights: FloatArray) -> FloatArray:
    """The rising or falling sequence that is nearer to the rates by weighted squares."""
    from scipy.optimize import isotonic_regression

    ways = [isotonic_regression(rates, weights=weights, increasing=rising).x for rising in (True, False)]
    return np.asarray(min(ways, key=lambda way: float((weights * (way - rates) ** 2).sum())))


def _edges(column: FloatArray) -> tuple[float, ...]:
    known = np.sort(column[~np.isnan(column)])
    if len(known) == 0:
        return ()
    # The quantiles' lower values; of a sorted column they need only be looked up.
    inner = known[np.floor((len(known) - 1) * np.linspace(0, 1, BINS + 1)[1:-1]).astype(np.intp)]
    return tuple(float(edge) for edge in np.unique(inner) if edge < known[-1])


def _bins(column: FloatArray, edges: tuple[float, ...] | None, entries: int) -> np.ndarray:
    missing = np.isnan(column)
    if edges is None:
        return np.where(missing, entries - 1, column).astype(np.intp)
    # So few edges are passed one by one sooner than each row searches for its own.
    above = np.zeros(len(column), dtype=np.uint8)
    for edge in edges:
        above += column > edge
    above[missing] = entries - 1
    return above.astype(np.intp)


def _single_part(margins: FloatArray, bias: float, position: int, columns: int) -> tuple[FloatArray, float]:
    parts = np.zeros((len(margins), columns))
    parts[:, position] = margins - bias
    return parts, bias
