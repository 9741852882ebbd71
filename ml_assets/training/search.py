"""The search for a candidate's settings: Optuna over rolling-origin folds, within a budget, resumable and pruned.

Each trial fits one candidate on the earlier dates of each fold and is judged by the log loss on the later ones. What
was tried is Optuna's own record, in the storage that the caller gives; a search that is started again on the same
rows goes on where it stopped.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml_assets.estimators.base import FitRows, log_loss_of
from ml_assets.estimators.candidates import BLEND, fit_candidate, starting_point, suggest
from ml_assets.training.splits import Fold

_SPACE = 1
"""The number of the search space: another space is another study."""


@dataclass(frozen=True)
class SearchBudget:
    """How long to search: `trials` in all, resumed ones counted, or `seconds` from now; both: whichever ends first.

    `storage` is Optuna's (None: nothing is kept), `name` says whose study it is.
    """

    trials: int | None = None
    seconds: float | None = None
    storage: Any = None
    name: str = "search"

    def __post_init__(self) -> None:
        for what, value in (("trials", self.trials), ("seconds", self.seconds)):
            if value is not None and value <= 0:
                raise ValueError(f"a search's {what} must be more than 0, got {value!r}")
        if self.trials is None and self.seconds is None:
            raise ValueError("a search needs a budget: trials, seconds, or both")


@dataclass(frozen=True)
class SearchResult:
    """The settings that a search chose for each candidate, and what it did, JSON-ready."""

    settings: dict[str, dict[str, Any]]
    record: dict[str, Any]


@dataclass(frozen=True)
class _Tried:
    kind: str
    settings: dict[str, Any]
    losses: list[float]
    cost: float
    mean: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", statistics.fmean(self.losses))


def search(
    rows: FitRows, folds: Sequence[Fold], kinds: Sequence[str], budget: SearchBudget, fingerprint: str
) -> SearchResult:
    """Search settings for these candidates (a blend has none of its own) on the folds' rows.

    A study belongs to its rows: `fingerprint` is part of its name. A trial that fails is recorded and does not stop
    the others. Among a candidate's settings within one standard error of its best, over the folds and in pairs, the
    one whose reasons cost least is chosen (the rule of Breiman et al. 1984, with cost for complexity).
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tunable = [kind for kind in kinds if kind != BLEND]
    study = optuna.create_study(
        study_name=f"{budget.name}-{fingerprint}-{_SPACE}-{len(folds)}-{'+'.join(tunable)}",
        storage=budget.storage,
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=0),
    )
    done = sum(trial.state.is_finished() for trial in study.trials)
    # Another seed after a resumption: the first one's random start is already among the trials.
    study.sampler = optuna.samplers.TPESampler(seed=rows.seed + done)
    if not study.trials:
        for kind in tunable:
            study.enqueue_trial(starting_point(kind))
    left = None if budget.trials is None else budget.trials - done
    if left is None or left > 0:
        study.optimize(_objective(rows, folds, tunable), n_trials=left, timeout=budget.seconds, catch=(Exception,))
    return _result(study, folds, done)


def _objective(rows: FitRows, folds: Sequence[Fold], kinds: Sequence[str]) -> Callable[[Any], float]:
    import optuna

    def objective(trial: Any) -> float:
        kind, settings = suggest(trial, kinds)
        trial.set_user_attr("settings", settings)
        losses: list[float] = []
        for number, fold in enumerate(folds):
            try:
                early = FitRows(
                    rows.matrix[fold.fit], rows.outcomes[fold.fit], rows.encoder, None, rows.seed, rows.threads
                )
                estimator = fit_candidate(kind, early, settings)
                losses.append(log_loss_of(estimator.margins(rows.matrix[fold.judge]), rows.outcomes[fold.judge]))
            except Exception as error:
                trial.set_user_attr("error", f"{type(error).__name__}: {error}")
                raise
            trial.set_user_attr("cost", estimator.reason_cost())
            trial.report(statistics.fmean(losses), number)
            if number + 1 < len(folds) and trial.should_prune():
                raise optuna.TrialPruned
        trial.set_user_attr("losses", losses)
        return statistics.fmean(losses)

    return objective


def _result(study: Any, folds: Sequence[Fold], resumed: int) -> SearchResult:
    states = [trial.state.name for trial in study.trials if trial.state.is_finished()]
    tried = [
        _Tried(
            trial.params["candidate"],
            trial.user_attrs["settings"],
            trial.user_attrs["losses"],
            float(trial.user_attrs["cost"]),
        )
        for trial in study.trials
        if trial.state.name == "COMPLETE"
    ]
    chosen = {
        kind: cheapest_of_the_best([attempt for attempt in tried if attempt.kind == kind])
        for kind in dict.fromkeys(attempt.kind for attempt in tried)
    }
    errors = sorted({trial.user_attrs["error"] for trial in study.trials if "error" in trial.user_attrs})
    record = {
        "folds": [fold.describe() for fold in folds],
        "trials": len(states),
        "resumed": resumed,
        "complete": states.count("COMPLETE"),
        "pruned": states.count("PRUNED"),
        "failed": states.count("FAIL"),
        "errors": errors,
        "candidates": {
            kind: {
                "settings": pick.settings,
                "fold_log_loss": pick.losses,
                "log_loss": pick.mean,
                "best_log_loss": min(attempt.mean for attempt in tried if attempt.kind == kind),
                "reason_cost": pick.cost,
            }
            for kind, pick in chosen.items()
        },
    }
    return SearchResult({kind: pick.settings for kind, pick in chosen.items()}, record)


def cheapest_of_the_best(tried: Sequence[_Tried]) -> _Tried:
    """The one whose reasons cost least among those within one standard error of the best, in pairs over the folds."""
    best = min(tried, key=lambda attempt: attempt.mean)
    near = [attempt for attempt in tried if attempt.mean - best.mean <= _standard_error(attempt, best)]
    return min(near, key=lambda attempt: (attempt.cost, attempt.mean))


def _standard_error(attempt: _Tried, best: _Tried) -> float:
    if len(best.losses) < 2:
        return 0.0
    differences = np.subtract(attempt.losses, best.losses)
    return float(differences.std(ddof=1) / np.sqrt(len(differences)))
