"""The candidates by name: how each is fitted, and which settings a search may try."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_assets.errors import ArtefactError, TaskError
from ml_assets.estimators.base import Estimator, FitRows, Settings
from ml_assets.estimators.blend import Blend, blend
from ml_assets.estimators.boosted_trees import BoostedTrees, RandomForest, fit_boosted_trees, fit_random_forest
from ml_assets.estimators.leafwise_trees import LeafwiseTrees, fit_leafwise_trees
from ml_assets.estimators.logistic import LinearModel, fit_logistic
from ml_assets.estimators.rules import BinnedRule, PriorRule, fit_binned_rule

BLENDED = ("logistic", "xgboost")
BLEND = "blend"

_FITTERS: dict[str, Callable[[FitRows, Settings], Estimator]] = {
    "logistic": fit_logistic,
    "random_forest": fit_random_forest,
    "xgboost": fit_boosted_trees,
    "lightgbm": fit_leafwise_trees,
    "one_column_rule": lambda rows, _: fit_binned_rule(rows),
}


def fit_candidate(kind: str, rows: FitRows, settings: Settings) -> Estimator:
    """Fit a candidate. With all of an estimator's own `settings()` it is that estimator again, on the same rows."""
    if kind == BLEND:
        members: Mapping[str, Settings] = settings.get("members", {})
        return blend([fit_candidate(member, rows, members.get(member, {})) for member in BLENDED])
    if kind not in _FITTERS:
        raise TaskError(f"there is no candidate {kind!r}; there are {', '.join([*_FITTERS, BLEND])}")
    return _FITTERS[kind](rows, settings)


def shallower(settings: Settings) -> dict[str, Any] | None:
    """The same settings with trees one level less deep; None where no tree is deeper than one level."""
    if "members" in settings:
        members = {kind: shallower(own) or dict(own) for kind, own in settings["members"].items()}
        return {**settings, "members": members} if members != settings["members"] else None
    depth = int(settings.get("max_depth", 1))
    if depth < 2:
        return None
    fewer = {**settings, "max_depth": depth - 1}
    return {**fewer, "num_leaves": 2 ** (depth - 1)} if "num_leaves" in settings else fewer


def starting_point(kind: str) -> dict[str, Any]:
    """What a search tries first for a candidate, as `suggest` names it: about what a training without one finds."""
    start: dict[str, dict[str, Any]] = {
        "logistic": {"strength": 0.003},
        "random_forest": {"max_depth": 5, "trees": 100, "min_child_weight": 2.0, "colsample_bynode": 0.3},
        "xgboost": {
            "max_depth": 1,
            "trees": 300,
            "eta": 0.05,
            "min_child_weight": 2.0,
            "reg_lambda": 5.0,
            "colsample_bytree": 0.5,
        },
        "lightgbm": {
            "max_depth": 1,
            "trees": 300,
            "learning_rate": 0.05,
            "min_data_in_leaf": 40,
            "lambda_l2": 5.0,
            "feature_fraction": 0.5,
        },
    }
    return {"candidate": kind, **{f"{kind}.{name}": value for name, value in start[kind].items()}}


def suggest(trial: Any, kinds: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """A candidate and its settings from an Optuna trial. Trees stay shallow, since their reasons cost with depth."""
    kind = trial.suggest_categorical("candidate", list(kinds))

    def number(name: str, low: float, high: float, *, log: bool = False) -> float:
        return float(trial.suggest_float(f"{kind}.{name}", low, high, log=log))

    def whole(name: str, low: int, high: int, *, log: bool = False) -> int:
        return int(trial.suggest_int(f"{kind}.{name}", low, high, log=log))

    if kind == "logistic":
        return kind, {"strength": number("strength", 1e-4, 1.0, log=True)}
    if kind == "random_forest":
        return kind, {
            "max_depth": whole("max_depth", 3, 8),
            "trees": whole("trees", 50, 200, log=True),
            "min_child_weight": number("min_child_weight", 0.5, 10.0, log=True),
            "colsample_bynode": number("colsample_bynode", 0.1, 0.6),
        }
    depth = whole("max_depth", 1, 4)
    trees = whole("trees", 40, 400, log=True)
    if kind == "xgboost":
        return kind, {
            "max_depth": depth,
            "trees": trees,
            "eta": number("eta", 0.02, 0.1, log=True),
            "min_child_weight": number("min_child_weight", 0.5, 20.0, log=True),
            "reg_lambda": number("reg_lambda", 1.0, 50.0, log=True),
            "colsample_bytree": number("colsample_bytree", 0.2, 0.9),
        }
    return kind, {
        "max_depth": depth,
        "num_leaves": 2**depth,
        "trees": trees,
        "learning_rate": number("learning_rate", 0.02, 0.1, log=True),
        "min_data_in_leaf": whole("min_data_in_leaf", 10, 200, log=True),
        "lambda_l2": number("lambda_l2", 1.0, 50.0, log=True),
        "feature_fraction": number("feature_fraction", 0.2, 0.9),
    }


def load_estimator(kind: str, files: Mapping[str, bytes]) -> Estimator:
    """Read an estimator of this kind back. Raises `ArtefactError` for an unknown kind."""
    loaders: dict[str, Callable[[Mapping[str, bytes]], Estimator]] = {
        Blend.kind: lambda blended: Blend.load(blended, load_estimator),
        BoostedTrees.kind: BoostedTrees.load,
        RandomForest.kind: RandomForest.load,
        LeafwiseTrees.kind: LeafwiseTrees.load,
        LinearModel.kind: LinearModel.load,
        BinnedRule.kind: BinnedRule.load,
        PriorRule.kind: PriorRule.load,
    }
    if kind not in loaders:
        raise ArtefactError(f"the stored model is of unknown kind {kind!r}; this version reads {sorted(loaders)}")
    return loaders[kind](files)
