"""LightGBM, small and regularised. It grows the leaf that gains most, within a depth, and adds up in float64."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import orjson

from ml_assets.errors import AttributionError
from ml_assets.estimators.base import Files, FitRows, Settings, predicting_threads
from ml_assets.estimators.tree_shapes import LARGEST_TREES, PATIENCE, choose_shape
from ml_assets.frames import FloatArray

_SLACK = 1e-6

LEAFWISE: dict[str, Any] = {
    "objective": "binary",
    "metric": "binary_logloss",
    "learning_rate": 0.05,
    "min_data_in_leaf": 40,
    "lambda_l2": 5.0,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "feature_fraction": 0.5,
    "max_cat_to_onehot": 8,
    "cat_smooth": 20.0,
}


@dataclass(frozen=True)
class LeafwiseTrees:
    """A fitted booster."""

    kind: ClassVar[str] = "lightgbm"
    booster: Any
    columns: int
    trees: int
    threads: int
    parameters: dict[str, Any]

    def margins(self, matrix: FloatArray) -> FloatArray:
        """Uncalibrated log-odds, shape (rows,)."""
        if len(matrix) == 0:
            return np.zeros(0)
        threads = predicting_threads(matrix, self.threads)
        return np.asarray(self.booster.predict(matrix, raw_score=True, num_threads=threads), dtype=np.float64)

    def parts(self, matrix: FloatArray) -> tuple[FloatArray, float]:
        """Exact TreeSHAP parts (Lundberg et al. 2020) and the bias; they add up to the margin in float64.

        Raises `AttributionError` where they miss it by more than rounding explains.
        """
        if len(matrix) == 0:
            return np.zeros((0, self.columns)), 0.0
        threads = predicting_threads(matrix, self.threads)
        contributions = np.asarray(
            self.booster.predict(matrix, pred_contrib=True, num_threads=threads), dtype=np.float64
        )
        parts, bias = np.ascontiguousarray(contributions[:, :-1]), float(contributions[0, -1])
        missed = self.margins(matrix) - bias - parts.sum(axis=1)
        if np.abs(missed).max() > _SLACK:
            raise AttributionError(
                f"TreeSHAP parts miss the margin by {np.abs(missed).max():.2g}, more than rounding explains: "
                "is this the version of lightgbm that the model was trained with?"
            )
        parts[np.arange(len(parts)), np.abs(parts).argmax(axis=1)] += missed
        return parts, bias

    def settings(self) -> dict[str, object]:
        """The number of trees and LightGBM's parameters."""
        return {"trees": self.trees, **self.parameters}

    def reason_cost(self) -> float:
        """Trees * leaves * depth^2, the order of TreeSHAP."""
        return float(self.trees * self.parameters["num_leaves"] * self.parameters["max_depth"] ** 2)

    def dump(self) -> Files:
        """LightGBM's text format, and the fields beside it."""
        fields = {
            "columns": self.columns,
            "trees": self.trees,
            "threads": self.threads,
            "parameters": self.parameters,
        }
        return {"booster.txt": self.booster.model_to_string().encode(), "estimator.json": orjson.dumps(fields)}

    @classmethod
    def load(cls, files: Mapping[str, bytes]) -> Self:
        """Read back what `dump` gave."""
        import lightgbm

        fields = orjson.loads(files["estimator.json"])
        return cls(lightgbm.Booster(model_str=files["booster.txt"].decode()), **fields)


def fit_leafwise_trees(rows: FitRows, settings: Settings | None = None) -> LeafwiseTrees:
    """Fit the settings' `max_depth` and number of `trees`, or what `choose_shape` finds.

    Other settings replace single parameters of `LEAFWISE`. The same rows, seed and threads give the same trees.
    """
    import lightgbm

    parameters = {**LEAFWISE, **(settings or {})}
    told = {
        "seed": rows.seed,
        "num_threads": rows.threads,
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }

    def stop_early(depth: int, early: np.ndarray, late: np.ndarray) -> tuple[int, FloatArray]:
        booster = lightgbm.train(
            {"num_leaves": 2**depth, **parameters, **told, "max_depth": depth},
            _dataset(rows, early),
            num_boost_round=LARGEST_TREES,
            valid_sets=[_dataset(rows, late)],
            callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
        )
        return int(booster.best_iteration), np.asarray(booster.predict(rows.matrix[late], raw_score=True))

    parameters.update(choose_shape(rows, parameters, stop_early))
    parameters.setdefault("num_leaves", 2 ** parameters["max_depth"])
    trees = int(parameters.pop("trees"))
    booster = lightgbm.train({**parameters, **told}, _dataset(rows, slice(None)), num_boost_round=trees)
    # What is kept is what its text says, so that the stored model scores the same bits.
    kept = lightgbm.Booster(model_str=booster.model_to_string())
    return LeafwiseTrees(kept, rows.matrix.shape[1], trees, rows.threads, parameters)


def _dataset(rows: FitRows, part: Any) -> Any:
    import lightgbm

    categories = [position for position, feature in enumerate(rows.encoder.features) if feature.kind == "category"]
    return lightgbm.Dataset(
        rows.matrix[part],
        rows.outcomes[part],
        categorical_feature=categories,
        params={"verbosity": -1, "max_bin": 255},
    )
