"""XGBoost, small and regularised: shallow trees, since exact reasons cost with depth, and few rows.

Missing values and categories are XGBoost's own. A category is the code of our stored vocabulary, so an
unseen value is a missing one and nothing depends on how a frame happened to be typed.

The random forest is XGBoost's own mode of one: many trees in a single round. Each leaf is then one Newton step from
the base rate p, (rate of the leaf - p) / (p (1 - p)) before shrinkage: the margin is the forest's mean rate on an
affine scale, which the affine calibrator takes to log-odds, and its TreeSHAP parts add up as those of boosted trees.
"""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import orjson

from ml_assets.errors import AttributionError
from ml_assets.estimators.base import FEW_ROWS, Files, FitRows, Settings, predicting_threads
from ml_assets.estimators.tree_shapes import LARGEST_TREES, PATIENCE, choose_shape, tree_reason_cost
from ml_assets.frames import FloatArray

LEARNING_RATE = 0.05
_FLOAT32_SLACK = 1e-3

_COMMON: dict[str, Any] = {"objective": "binary:logistic", "eval_metric": "logloss", "tree_method": "hist"}
BOOSTED: dict[str, Any] = {
    **_COMMON,
    "eta": LEARNING_RATE,
    "min_child_weight": 2.0,
    "reg_lambda": 5.0,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    "max_cat_to_onehot": 8,
}
FOREST: dict[str, Any] = {
    **_COMMON,
    "max_depth": 5,
    "eta": 1.0,
    "min_child_weight": 2.0,
    "reg_lambda": 1.0,
    "subsample": 0.63,
    "colsample_bynode": 0.3,
    "max_cat_to_onehot": 8,
}
FOREST_TREES = 100


@dataclass(frozen=True)
class BoostedTrees:
    """A fitted booster with the types of its columns."""

    kind: ClassVar[str] = "xgboost"
    booster: Any
    column_types: tuple[str, ...]
    trees: int
    threads: int
    parameters: dict[str, Any]

    def margins(self, matrix: FloatArray) -> FloatArray:
        """Uncalibrated log-odds, shape (rows,); float32 inside XGBoost."""
        if len(matrix) == 0:
            return np.zeros(0)
        predicted = self._booster_for(matrix).predict(self._matrix(matrix), output_margin=True)
        return np.asarray(predicted, dtype=np.float64)

    def parts(self, matrix: FloatArray) -> tuple[FloatArray, float]:
        """Exact TreeSHAP parts (Lundberg et al. 2020) and the bias.

        XGBoost adds up in float32, so its parts miss its margin by some 1e-6. The difference goes to the
        row's largest part, after which they add up in float64; a difference that rounding cannot explain
        raises `AttributionError`.
        """
        if len(matrix) == 0:
            return np.zeros((0, len(self.column_types))), 0.0
        data, booster = self._matrix(matrix), self._booster_for(matrix)
        margins = np.asarray(booster.predict(data, output_margin=True), dtype=np.float64)
        contributions = np.asarray(booster.predict(data, pred_contribs=True, validate_features=False))
        parts, bias = contributions[:, :-1].astype(np.float64), float(contributions[0, -1])
        missed = margins - bias - parts.sum(axis=1)
        if np.abs(missed).max() > _FLOAT32_SLACK:
            raise AttributionError(
                f"TreeSHAP parts miss the margin by {np.abs(missed).max():.2g}, more than rounding explains: "
                "is this the version of xgboost that the model was trained with?"
            )
        largest = np.abs(contributions[:, :-1]).argmax(axis=1)
        parts[np.arange(len(parts)), largest] += missed
        return parts, bias

    def signatures(self, matrix: FloatArray) -> npt.NDArray[np.int64]:
        """A hash of where each row's features fall between the model's splits, shape (rows,).

        Rows with the same signature take the same way through every tree, and so have the same margin and parts: a
        customer for 401 days instead of 400 is the same to a model that splits at 365.
        """
        signatures = np.full(len(matrix), len(self.column_types), dtype=np.uint64)
        for position, splits in sorted(_splits(self.booster).items()):
            column = matrix[:, position].astype(np.float32)
            places = column if self.column_types[position] == "c" else np.searchsorted(splits, column, side="right")
            codes = np.where(np.isnan(column), -1, np.nan_to_num(places)).astype(np.int64).astype(np.uint64)
            with np.errstate(over="ignore"):
                signatures = (signatures ^ (codes + np.uint64(position << 32))) * np.uint64(0x9E3779B97F4A7C15)
            signatures ^= signatures >> np.uint64(29)
        return signatures.view(np.int64)

    def settings(self) -> dict[str, object]:
        """The number of trees and XGBoost's parameters."""
        return {"trees": self.trees, **self.parameters}

    def reason_cost(self) -> float:
        """Trees * leaves * depth^2, the order of TreeSHAP, with as many leaves as the depth allows."""
        return tree_reason_cost(int(self.parameters["max_depth"]), self.trees)

    def dump(self) -> Files:
        """XGBoost's universal binary JSON, and the fields beside it."""
        fields = {
            "column_types": self.column_types,
            "trees": self.trees,
            "threads": self.threads,
            "parameters": self.parameters,
        }
        return {"booster.ubj": bytes(self.booster.save_raw("ubj")), "estimator.json": orjson.dumps(fields)}

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> Self:
        """Read back what `dump` gave."""
        import xgboost

        fields = orjson.loads(files["estimator.json"])
        booster = xgboost.Booster({"nthread": fields["threads"]})
        booster.load_model(bytearray(files["booster.ubj"]))
        booster.set_param({"device": device()})
        parameters = fields.get("parameters", {**BOOSTED, "max_depth": 3})
        return cls(booster, tuple(fields["column_types"]), fields["trees"], fields["threads"], parameters)

    def _matrix(self, matrix: FloatArray) -> Any:
        return _dmatrix(matrix, self.column_types, predicting_threads(matrix, self.threads))

    def _booster_for(self, matrix: FloatArray) -> Any:
        return self._alone if len(matrix) <= FEW_ROWS else self.booster

    @cached_property
    def _alone(self) -> Any:
        """The same trees with one thread."""
        booster = self.booster.copy()
        booster.set_param({"nthread": 1, "device": device()})
        return booster


@dataclass(frozen=True)
class RandomForest(BoostedTrees):
    """Trees that were grown side by side in one round; everything else is as with boosted ones."""

    kind: ClassVar[str] = "random_forest"


@cache
def device() -> Literal["cuda", "cpu"]:
    """Where XGBoost computes: on a GPU if it was built for one and the driver finds one."""
    import xgboost

    if not xgboost.build_info().get("USE_CUDA"):
        return "cpu"
    try:
        driver, count = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(0)
    except OSError:
        return "cpu"
    has_device = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    return "cuda" if has_device else "cpu"


def fit_boosted_trees(rows: FitRows, settings: Settings | None = None) -> BoostedTrees:
    """Fit the settings' `max_depth` and number of `trees`, or what `choose_shape` finds.

    Other settings replace single parameters of `BOOSTED`.
    """
    import xgboost

    parameters = {**BOOSTED, **(settings or {})}
    told = {"seed": rows.seed, "nthread": rows.threads, "device": device()}
    column_types = _column_types(rows)

    def data(part: Any) -> Any:
        return _dmatrix(rows.matrix[part], column_types, rows.threads, rows.outcomes[part])

    def stop_early(depth: int, early: np.ndarray, late: np.ndarray) -> tuple[int, FloatArray]:
        later = data(late)
        booster = xgboost.train(
            {**parameters, **told, "max_depth": depth},
            data(early),
            num_boost_round=LARGEST_TREES,
            evals=[(later, "later")],
            early_stopping_rounds=PATIENCE,
            verbose_eval=False,
        )
        trees = int(booster.best_iteration) + 1
        margins = booster.predict(later, output_margin=True, iteration_range=(0, trees))
        return trees, margins.astype(np.float64)

    parameters.update(choose_shape(rows, parameters, stop_early))
    trees = int(parameters.pop("trees"))
    booster = xgboost.train({**parameters, **told}, data(slice(None)), num_boost_round=trees)
    return BoostedTrees(booster, column_types, trees, rows.threads, parameters)


def fit_random_forest(rows: FitRows, settings: Settings | None = None) -> RandomForest:
    """Grow the settings' number of `trees` in one round; other settings replace single parameters of `FOREST`."""
    import xgboost

    parameters = {**FOREST, **(settings or {})}
    trees = int(parameters.pop("trees", FOREST_TREES))
    told = {
        **parameters,
        "num_parallel_tree": trees,
        "seed": rows.seed,
        "nthread": rows.threads,
        "device": device(),
    }
    column_types = _column_types(rows)
    data = _dmatrix(rows.matrix, column_types, rows.threads, rows.outcomes)
    booster = xgboost.train(told, data, num_boost_round=1)
    return RandomForest(booster, column_types, trees, rows.threads, parameters)


def _column_types(rows: FitRows) -> tuple[str, ...]:
    return tuple("c" if feature.kind == "category" else "q" for feature in rows.encoder.features)


def _dmatrix(
    matrix: FloatArray, column_types: tuple[str, ...], threads: int, outcomes: FloatArray | None = None
) -> Any:
    import xgboost

    return xgboost.DMatrix(
        matrix.astype(np.float32),
        label=outcomes,
        feature_types=list(column_types),
        enable_categorical=True,
        nthread=threads,
    )


def _splits(booster: Any) -> dict[int, npt.NDArray[np.float32]]:
    """Each column's split values over all trees, ascending; XGBoost goes left below a split."""
    trees = orjson.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]["trees"]
    splits: dict[int, set[float]] = {}
    for tree in trees:
        for left, column, split in zip(
            tree["left_children"], tree["split_indices"], tree["split_conditions"], strict=True
        ):
            if left >= 0:
                splits.setdefault(column, set()).add(split)
    return {column: np.unique(np.array(list(values), dtype=np.float32)) for column, values in splits.items()}
