"""The baseline: logistic regression on clipped, imputed, scaled and one-hot columns.

scikit-learn fits it; what is kept are plain numbers, so that the stored model needs no pickle and its
parts are readable: a feature's part is its term minus that term's mean over the fit rows (linear SHAP
with independent features, Lundberg & Lee 2017, corollary 1).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import orjson

from ml_assets.estimators.base import Files, FitRows, Settings, log_loss_of
from ml_assets.frames import FeatureEncoder, FloatArray

STRENGTHS = (0.001, 0.003, 0.01, 0.1)
STRENGTH_WITHOUT_CHOICE = 0.01
RIDGE_STRENGTH = 0.003
SKEWED = 1.5
_LOW, _HIGH = 0.01, 0.99


@dataclass(frozen=True)
class LinearModel:
    """Margin = bias + one part per feature. Tuples are indexed by feature.

    A number or a flag x has the part slope * (clip(y, low, high) - mean) + when_present, or when_missing; y is x, or
    log(1 + x / unit) where the feature has a unit (0 stands for none). A category has the entry of its code in
    `tables`, whose last entry stands for missing.
    """

    kind: ClassVar[str] = "logistic"
    bias: float
    unit: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    slope: tuple[float, ...]
    when_present: tuple[float, ...]
    when_missing: tuple[float, ...]
    tables: dict[int, tuple[float, ...]]
    strength: float

    def margins(self, matrix: FloatArray) -> FloatArray:
        """Uncalibrated log-odds, shape (rows,)."""
        parts, bias = self.parts(matrix)
        return np.asarray(parts.sum(axis=1) + bias)

    def parts(self, matrix: FloatArray) -> tuple[FloatArray, float]:
        """Each feature's part, shape (rows, features), and the mean margin of the fit rows as the bias."""
        clipped = np.clip(_levelled(matrix, np.array(self.unit)), np.array(self.low), np.array(self.high))
        parts = np.array(self.slope) * (clipped - np.array(self.mean)) + np.array(self.when_present)
        parts = np.where(np.isnan(matrix), np.array(self.when_missing), parts)
        for position, table in self.tables.items():
            parts[:, position] = np.array(table)[_codes(matrix[:, position], len(table) - 1)]
        return np.ascontiguousarray(parts), self.bias

    def settings(self) -> dict[str, object]:
        """The inverse penalty that was chosen."""
        return {"strength": self.strength}

    def reason_cost(self) -> float:
        """Nothing to speak of: the parts are the terms of a sum."""
        return 0.0

    def dump(self) -> Files:
        """All numbers as JSON."""
        tables = {str(position): table for position, table in self.tables.items()}
        return {"estimator.json": orjson.dumps({**self.__dict__, "tables": tables})}

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> "LinearModel":
        """Read back what `dump` gave."""
        fields = orjson.loads(files["estimator.json"])
        tables = {int(position): tuple(table) for position, table in fields.pop("tables").items()}
        # A model of before version 0.2 took every number as it is.
        fields.setdefault("unit", [0.0] * len(fields["low"]))
        lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        return cls(**{**fields, **lists, "tables": tables})


def fit_logistic(rows: FitRows, settings: Settings | None = None) -> LinearModel:
    """Fit with the `strength` of the settings, or with the one that is best on the later part of the fit rows."""
    given = (settings or {}).get("strength")
    strength = STRENGTH_WITHOUT_CHOICE if given is None else float(given)
    if given is None and rows.inner is not None:
        early, late = rows.inner
        models = fit_linear(rows.matrix[early], rows.outcomes[early], rows.encoder, STRENGTHS)
        losses = {
            model.strength: log_loss_of(model.margins(rows.matrix[late]), rows.outcomes[late]) for model in models
        }
        strength = min(losses, key=lambda candidate: losses[candidate])
    return fit_linear(rows.matrix, rows.outcomes, rows.encoder, [strength])[0]


def fit_linear(
    matrix: FloatArray, outcomes: FloatArray, encoder: FeatureEncoder, strengths: Sequence[float]
) -> list[LinearModel]:
    """Fit with each inverse penalty (scikit-learn's C), from where the one before it ended.

    The design has, per number or flag, the scaled value (the mean where missing) and, where the rows lack some
    values but not all, a missing indicator; per category one column for each value and one for missing.
    """
    from sklearn.linear_model import LogisticRegression

    design = _design(matrix, encoder)
    # Newton steps: many rows, few columns, and columns that lean on each other, which gradient steps take long over.
    fitted = LogisticRegression(solver="newton-cholesky", max_iter=200, tol=1e-6, warm_start=True)
    models = []
    for strength in strengths:
        fitted.set_params(C=strength).fit(design.columns, outcomes)
        models.append(_taken_apart(design, fitted.coef_[0], float(fitted.intercept_[0]), strength))
    return models


def features_with_weight(
    matrix: FloatArray, outcomes: FloatArray, encoder: FeatureEncoder, strengths: Sequence[float]
) -> Iterator[npt.NDArray[np.intp]]:
    """Positions of the features that an adaptive lasso (Zou 2006) gives any weight, one inverse strength after another.

    A column is penalised the less, the more weight a ridge regression gives it.
    """
    from sklearn.linear_model import LogisticRegression

    design = _design(matrix, encoder)
    ridge = LogisticRegression(C=RIDGE_STRENGTH, solver="newton-cholesky", max_iter=200)
    importance = np.abs(ridge.fit(design.columns, outcomes).coef_[0])
    columns = design.columns * (importance / max(importance.mean(), 1e-12))
    # liblinear penalises the intercept, as the weight of a column of this value: so large a value frees it.
    fitted = LogisticRegression(
        l1_ratio=1.0, solver="liblinear", intercept_scaling=100.0, max_iter=1000, random_state=0
    )
    for strength in strengths:
        weights = fitted.set_params(C=strength).fit(columns, outcomes).coef_[0]
        yield np.unique(design.owners[weights != 0])


@dataclass(frozen=True)
class _Design:
    """The columns that are fitted, and where each came from: scaled numbers, missing indicators, values one by one."""

    columns: FloatArray
    plain: list[int]
    gaps: list[int]
    tables: dict[int, int]
    unit: FloatArray
    low: FloatArray
    high: FloatArray
    mean: FloatArray
    spread: FloatArray

    @property
    def owners(self) -> npt.NDArray[np.intp]:
        """The feature that each column came from."""
        values = [np.full(size, position) for position, size in self.tables.items()]
        return np.concatenate([self.plain, self.gaps, *values]).astype(np.intp)


def _design(matrix: FloatArray, encoder: FeatureEncoder) -> _Design:
    unit = _units(matrix, encoder)
    levelled = _levelled(matrix, unit)
    low, high = _clip_bounds(levelled, encoder)
    clipped = np.clip(levelled, low, high)
    missing = np.isnan(matrix)
    known = (~missing).sum(axis=0)
    mean = np.where(known > 0, np.nansum(clipped, axis=0) / np.maximum(known, 1), 0.0)
    filled = np.where(missing, mean, clipped)
    spread = filled.std(axis=0)
    spread = np.where(spread > 1e-12 * np.maximum(1.0, np.abs(mean)), spread, np.inf)
    sizes = _table_sizes(encoder)
    one_hot = [np.eye(size)[_codes(matrix[:, position], size - 1)] for position, size in sizes.items()]
    plain = [position for position in range(matrix.shape[1]) if position not in sizes]
    gaps = [position for position in plain if 0 < known[position] < len(matrix)]
    columns = np.hstack([((filled - mean) / spread)[:, plain], missing[:, gaps].astype(np.float64), *one_hot])
    return _Design(columns, plain, gaps, sizes, unit, low, high, mean, spread)


def _taken_apart(design: _Design, weights: FloatArray, intercept: float, strength: float) -> LinearModel:
    """Coefficients by feature: each feature's terms, less their mean over the fit rows."""
    plain, gaps, centres = design.plain, design.gaps, design.columns.mean(axis=0)
    slope, when_missing, when_present = (np.zeros(len(design.mean)) for _ in range(3))
    slope[plain] = weights[: len(plain)] / design.spread[plain]
    indicator = weights[len(plain) : len(plain) + len(gaps)]
    share = centres[len(plain) : len(plain) + len(gaps)]
    when_present[gaps], when_missing[gaps] = -indicator * share, indicator * (1.0 - share)
    tables, start = {}, len(plain) + len(gaps)
    for position, size in design.tables.items():
        entries, shares = weights[start : start + size], centres[start : start + size]
        tables[position] = tuple(float(entry) for entry in entries - entries @ shares)
        start += size
    return LinearModel(
        bias=float(intercept + weights @ centres),
        unit=_floats(design.unit),
        low=_floats(design.low),
        high=_floats(design.high),
        mean=_floats(design.mean),
        slope=_floats(slope),
        when_present=_floats(when_present),
        when_missing=_floats(when_missing),
        tables=tables,
        strength=strength,
    )


def _units(matrix: FloatArray, encoder: FeatureEncoder) -> FloatArray:
    """The median positive value of each number that is never negative and leans far to the right, else 0.

    Amounts, counts and waiting times do: twice as much means about the same whether of little or of much.
    """
    units = np.zeros(matrix.shape[1])
    for position, feature in enumerate(encoder.features):
        known = matrix[~np.isnan(matrix[:, position]), position]
        if feature.kind == "number" and len(known) and known.min() >= 0 and _skewness(known) > SKEWED:
            units[position] = np.median(known[known > 0])
    return units


def _skewness(values: FloatArray) -> float:
    """The third standardised moment; 0 where all values are equal."""
    spread = values.std()
    return float((((values - values.mean()) / spread) ** 3).mean()) if spread > 0 else 0.0


def _levelled(matrix: FloatArray, unit: FloatArray) -> FloatArray:
    """log(1 + x / unit) in the columns that have a unit; a value below 0, which the fit never saw, counts as 0."""
    has_unit = unit > 0
    filled = np.array(matrix, dtype=np.float64, copy=True)
    filled[:, has_unit] = np.log1p(np.maximum(matrix[:, has_unit], 0.0) / unit[has_unit])
    return filled


def _clip_bounds(matrix: FloatArray, encoder: FeatureEncoder) -> tuple[FloatArray, FloatArray]:
    """Each number's 1st and 99th percentile: a linear model must not be led by a few huge values."""
    largest = float(np.finfo(np.float32).max)
    low, high = np.full(matrix.shape[1], -largest), np.full(matrix.shape[1], largest)
    for position, feature in enumerate(encoder.features):
        known = matrix[~np.isnan(matrix[:, position]), position]
        if feature.kind == "number" and len(known):
            low[position], high[position] = np.quantile(known, [_LOW, _HIGH])
    return low, high


def _table_sizes(encoder: FeatureEncoder) -> dict[int, int]:
    return {
        position: len(encoder.vocabularies[feature.name]) + 1
        for position, feature in enumerate(encoder.features)
        if feature.kind == "category"
    }


def _codes(column: FloatArray, missing_code: int) -> np.ndarray:
    return np.where(np.isnan(column), missing_code, column).astype(np.intp)


def _floats(values: FloatArray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
