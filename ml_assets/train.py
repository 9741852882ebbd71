"""Training: fit the candidates on early dates, calibrate on later ones, judge on the last, decide.

The whole of it is a function of its arguments: same frame, seed and threads, same model.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import pandas as pd

from ml_assets.boosted_trees import fit_boosted_trees
from ml_assets.calibrate import AffineCalibrator, fit_calibrator, identity, not_worse_than_raw, with_range
from ml_assets.errors import FrameError, LabelError
from ml_assets.estimators import Estimator, FitRows
from ml_assets.evaluate import Metrics, auc_interval, calibration_intervals, evaluate
from ml_assets.explain import bound_log_odds, probabilities_of
from ml_assets.frames import (
    DateArray,
    FeatureEncoder,
    FloatArray,
    as_of_dates,
    check_features,
    check_keys,
    feature_version_of,
    labelled_rows,
    outcomes_of,
    plain_values,
)
from ml_assets.ladder import OutcomeCounts, Rung, count_outcomes
from ml_assets.logistic import fit_logistic
from ml_assets.model import TrainedModel, TrainingFacts
from ml_assets.rules import fit_binned_rule, fit_prior_rule, posterior_covariance
from ml_assets.splits import NoSplit, TimeSplit, count_by_date, inner_split, rows_on, split_by_time
from ml_assets.task import Feature, Gate, PredictionTask

RULE = "rule"
CHAMPION = "champion"
BASE_RATE = "base_rate"
LIBRARIES = ("numpy", "pandas", "scikit-learn", "xgboost")

Status = Literal["promoted", "kept_champion", "too_few_outcomes"]


@dataclass(frozen=True)
class TrainingResult:
    """What training found. `model` can always publish: with too few outcomes it is the rule.

    `evaluations` holds each candidate's metrics on the test rows, the base rate's and the champion's too.
    With status kept_champion `model` is the challenger, which should not publish.
    """

    status: Status
    model: TrainedModel
    counts: OutcomeCounts
    evaluations: dict[str, Metrics]
    split: dict[str, object]
    decision: dict[str, Any]


@dataclass(frozen=True)
class _Rows:
    """Labelled rows as arrays, all of shape (rows, ...)."""

    frame: pd.DataFrame
    outcomes: FloatArray
    dates: DateArray
    entities: np.ndarray


@dataclass(frozen=True)
class _Candidate:
    estimator: Estimator
    calibrator: AffineCalibrator
    selection_loss: float | None
    metrics: Metrics = field(default_factory=dict)

    def probabilities(self, matrix: FloatArray) -> FloatArray:
        return probabilities_of(bound_log_odds(self.calibrator.log_odds(self.estimator.margins(matrix))))


def train(
    frame: pd.DataFrame,
    features: Sequence[Feature],
    task: PredictionTask,
    *,
    horizon_days: int,
    trained_at: datetime,
    seed: int = 7,
    threads: int = 2,
    rung: Rung = "own_model",
    champion: TrainedModel | None = None,
) -> TrainingResult:
    """Train every candidate of the task on the labelled rows of the frame and decide which may publish.

    `frame` has the key columns, every feature, and the task's label (null where not yet known; an
    `is_mature` column is honoured). `horizon_days` >= 1 is how far the label looks ahead. `champion` is the
    model that publishes today: it is judged on the same test rows, unless it learned from another feature
    version and could not score them. Raises a `FrameError` for a frame that cannot be used, such as one that
    mixes feature versions; too few outcomes are a result and not an error.
    """
    _check_input(frame, features, task, horizon_days)
    rows = _rows(frame, task)
    counts = count_outcomes(frame, task)
    split = split_by_time(count_by_date(rows.dates, rows.outcomes), horizon_days=horizon_days, settings=task.split)
    if isinstance(split, NoSplit):
        return train_rule(
            frame,
            features,
            task,
            horizon_days=horizon_days,
            trained_at=trained_at,
            seed=seed,
            reason=split.reason,
        )
    encoder = FeatureEncoder.fit(rows.frame[rows_on(rows.dates, split.fit)], features)
    candidates = _candidates(rows, split, encoder, task, horizon_days, seed, threads)
    chosen, decision = _choose(candidates, task)
    model = TrainedModel(
        task_name=task.name,
        entity_key=task.entity_key,
        rung="rule" if chosen == RULE else rung,
        estimator=candidates[chosen].estimator,
        calibrator=_with_range(candidates[chosen], rows, split, encoder, seed),
        encoder=encoder,
        facts=_facts(rows, features, task, split, horizon_days=horizon_days, trained_at=trained_at, seed=seed),
    )
    evaluations = {name: candidate.metrics for name, candidate in candidates.items()}
    evaluations[BASE_RATE] = _base_rate_metrics(rows, split)
    status: Status = "promoted"
    if champion is not None:
        status = _compare_with_champion(model, champion, rows, split, seed, decision, evaluations)
    decision["settings"] = {name: candidate.estimator.settings() for name, candidate in candidates.items()}
    decision["calibrator"] = asdict(model.calibrator)
    return TrainingResult(status, model, counts, evaluations, split.describe(), decision)


def train_rule(
    frame: pd.DataFrame,
    features: Sequence[Feature],
    task: PredictionTask,
    *,
    horizon_days: int,
    trained_at: datetime,
    seed: int = 7,
    prior_rate: float | None = None,
    feature_version: str | None = None,
    reason: str = "too few outcomes for a model",
) -> TrainingResult:
    """`fit_rule`, as a result like that of `train`: status too_few_outcomes, no evaluations, and why."""
    _check_input(frame, features, task, horizon_days)
    model = fit_rule(
        frame,
        features,
        task,
        horizon_days=horizon_days,
        trained_at=trained_at,
        seed=seed,
        prior_rate=prior_rate,
        feature_version=feature_version,
    )
    decision: dict[str, Any] = {
        "chosen": RULE,
        "reason": reason,
        "settings": {RULE: model.estimator.settings()},
    }
    split: dict[str, object] = {"mode": "none", "note": reason}
    return TrainingResult("too_few_outcomes", model, count_outcomes(frame, task), {}, split, decision)


def fit_rule(
    frame: pd.DataFrame,
    features: Sequence[Feature],
    task: PredictionTask,
    *,
    horizon_days: int,
    trained_at: datetime,
    seed: int = 7,
    prior_rate: float | None = None,
    feature_version: str | None = None,
) -> TrainedModel:
    """The rule of a company with too few outcomes: the task's rule feature on a prior; any rows, even none.

    `prior_rate`, in (0, 1), is the believed share with the outcome over the horizon; the task's by default.
    `feature_version` is that of the features it will score, for where there are no rows to tell.
    """
    rows = _rows(frame, task)
    encoder = FeatureEncoder.fit(rows.frame, features)
    rate = task.rule_prior.rate(horizon_days) if prior_rate is None else prior_rate
    matrix = encoder.encode(rows.frame)
    estimator = fit_prior_rule(matrix, rows.outcomes, encoder, task.rule_feature, task.rule_prior, rate)
    covariance = posterior_covariance(estimator, matrix, task.rule_prior)
    facts = _facts(rows, features, task, None, horizon_days=horizon_days, trained_at=trained_at, seed=seed)
    base_rate = float(probabilities_of(np.array([estimator.intercept]))[0])
    return TrainedModel(
        task_name=task.name,
        entity_key=task.entity_key,
        rung="rule",
        estimator=estimator,
        calibrator=replace(identity("the rule's prior stands for calibration"), covariance=covariance),
        encoder=encoder,
        facts=replace(facts, base_rate=base_rate, feature_version=facts.feature_version or feature_version),
    )


def fingerprint(frame: pd.DataFrame, features: Sequence[Feature], task: PredictionTask) -> str:
    """A hash of keys, features and labels that does not depend on the order of the rows."""
    plain = pd.DataFrame(
        {
            "company_id": frame["company_id"].astype("str"),
            task.entity_key: frame[task.entity_key].astype("str"),
            "as_of_date": as_of_dates(frame).astype("int64"),
            task.label_column: outcomes_of(frame, task),
            **{f.name: plain_values(frame[f.name], f) for f in sorted(features, key=lambda f: f.name)},
        }
    )
    hashes = np.sort(pd.util.hash_pandas_object(plain, index=False).to_numpy())
    digest = hashlib.blake2b(",".join(plain.columns).encode(), digest_size=16)
    digest.update(hashes.tobytes())
    return digest.hexdigest()


def _check_input(frame: pd.DataFrame, features: Sequence[Feature], task: PredictionTask, horizon_days: int) -> None:
    if horizon_days < 1:
        raise FrameError(f"horizon_days must be at least 1, got {horizon_days!r}")
    if not features:
        raise FrameError(f"task {task.name!r} was given no features to train on")
    check_keys(frame, task)
    check_features(frame, features)
    if task.label_column not in frame.columns:
        raise LabelError(f"the training frame lacks the label {task.label_column!r} of task {task.name!r}")


def _rows(frame: pd.DataFrame, task: PredictionTask) -> _Rows:
    labelled = labelled_rows(frame, task)
    entities = labelled.groupby(["company_id", task.entity_key], sort=False).ngroup().to_numpy()
    return _Rows(labelled, outcomes_of(labelled, task), as_of_dates(labelled), entities)


def _candidates(
    rows: _Rows,
    split: TimeSplit,
    encoder: FeatureEncoder,
    task: PredictionTask,
    horizon_days: int,
    seed: int,
    threads: int,
) -> dict[str, _Candidate]:
    matrix = encoder.encode(rows.frame)
    fit, calibrate, test = (rows_on(rows.dates, days) for days in (split.fit, split.calibrate, split.test))
    inner = inner_split(rows.dates[fit], rows.outcomes[fit], horizon_days=horizon_days)
    fit_rows = FitRows(matrix[fit], rows.outcomes[fit], encoder, inner, seed, threads)
    fitters: dict[str, Callable[[FitRows], Estimator]] = {
        "xgboost": fit_boosted_trees,
        "logistic": fit_logistic,
        RULE: fit_binned_rule,
    }
    found = {}
    for name in (*task.candidates, RULE):
        estimator = fitters[name](fit_rows)
        calibrator, loss = identity(), None
        if calibrate.any():
            margins = estimator.margins(matrix[calibrate])
            calibrator = fit_calibrator(margins, rows.outcomes[calibrate])
            loss = _log_loss(calibrator.log_odds(margins), rows.outcomes[calibrate])
            calibrator = not_worse_than_raw(
                calibrator, estimator.margins(matrix[test]), rows.outcomes[test], rows.entities[test], seed
            )
        candidate = _Candidate(estimator, calibrator, loss)
        metrics = _judge(candidate.probabilities(matrix[test]), rows, test, seed)
        found[name] = _Candidate(estimator, calibrator, loss, metrics)
    return found


def _judge(probabilities: FloatArray, rows: _Rows, test: np.ndarray, seed: int) -> Metrics:
    metrics = evaluate(probabilities, rows.outcomes[test])
    interval = auc_interval(probabilities, rows.outcomes[test], rows.entities[test], seed=seed)
    low, high = interval if interval else (None, None)
    calibration = calibration_intervals(probabilities, rows.outcomes[test], rows.entities[test], seed=seed)
    return {**metrics, **calibration, "auc_low": low, "auc_high": high}


def _with_range(
    candidate: _Candidate, rows: _Rows, split: TimeSplit, encoder: FeatureEncoder, seed: int
) -> AffineCalibrator:
    """The calibrator with its spread over the customers of the calibration rows, or of the test rows without such."""
    held_out = rows_on(rows.dates, split.calibrate or split.test)
    margins = candidate.estimator.margins(encoder.encode(rows.frame[held_out]))
    return with_range(candidate.calibrator, margins, rows.outcomes[held_out], rows.entities[held_out], seed)


def _base_rate_metrics(rows: _Rows, split: TimeSplit) -> Metrics:
    seen = rows_on(rows.dates, (*split.fit, *split.calibrate))
    test = rows_on(rows.dates, split.test)
    constant = np.full(int(test.sum()), rows.outcomes[seen].mean())
    return evaluate(constant, rows.outcomes[test])


def _choose(candidates: dict[str, _Candidate], task: PredictionTask) -> tuple[str, dict[str, Any]]:
    """The candidate with the least log loss on the calibration rows, if it passes the gate; else the rule."""
    names = [name for name in candidates if name != RULE]
    chosen_on = "calibration rows"
    losses = {name: candidates[name].selection_loss for name in names}
    if any(loss is None for loss in losses.values()):
        chosen_on = "test rows, since there are no calibration dates"
        losses = {name: candidates[name].metrics["log_loss"] for name in names}
    best = min(names, key=lambda name: _or_infinity(losses[name]))
    gate = judge_gate(candidates[best].metrics, candidates[RULE].metrics, task.gate)
    decision: dict[str, Any] = {
        "candidate": best,
        "candidate_chosen_on": chosen_on,
        "selection_log_loss": losses,
        "gate": gate,
        "chosen": best if gate["passed"] else RULE,
    }
    return str(decision["chosen"]), decision


def judge_gate(candidate: Metrics, rule: Metrics, gate: Gate) -> dict[str, Any]:
    """Whether a candidate beats the rule by log loss or average precision on the same rows, with figures."""
    loss_gain = _difference(rule["log_loss"], candidate["log_loss"])
    precision_gain = _difference(candidate["average_precision"], rule["average_precision"])
    passed_by = [
        name
        for name, gain, needed in (
            ("log_loss", loss_gain, gate.log_loss_gain),
            ("average_precision", precision_gain, gate.average_precision_gain),
        )
        if gain is not None and gain > needed
    ]
    return {
        "passed": bool(passed_by),
        "passed_by": passed_by,
        "log_loss_gain": loss_gain,
        "average_precision_gain": precision_gain,
    }


def _compare_with_champion(
    model: TrainedModel,
    champion: TrainedModel,
    rows: _Rows,
    split: TimeSplit,
    seed: int,
    decision: dict[str, Any],
    evaluations: dict[str, Metrics],
) -> Status:
    """Judge both on the test rows that the champion has not learned from (on all, if there are none)."""
    if champion.facts.feature_version != model.facts.feature_version:
        decision["champion"] = {
            "promoted": True,
            "is_compared": False,
            "reason": f"the champion was trained on feature version {champion.facts.feature_version}, "
            f"and the matrix is of version {model.facts.feature_version}",
        }
        return "promoted"
    test = rows_on(rows.dates, split.test)
    unseen = test & _not_seen_by(champion, rows.dates)
    same = unseen if 0 < rows.outcomes[unseen].sum() < unseen.sum() else test
    frame = rows.frame[same]
    try:
        theirs = champion.score(frame, explain=False).probability
    except FrameError as error:
        decision["champion"] = {
            "promoted": True,
            "is_compared": False,
            "reason": f"the champion cannot score this matrix: {error}",
        }
        return "promoted"
    ours = model.score(frame, explain=False).probability
    evaluations[CHAMPION] = _judge(theirs, rows, same, seed)
    mine = evaluate(ours, rows.outcomes[same])["log_loss"]
    gain = _difference(evaluations[CHAMPION]["log_loss"], mine)
    promoted = gain is not None and gain > 0
    decision["champion"] = {
        "promoted": promoted,
        "is_compared": True,
        "measure": "log_loss",
        "gain": gain,
        "challenger_log_loss": mine,
        "champion_log_loss": evaluations[CHAMPION]["log_loss"],
        "rows": int(same.sum()),
        "champion_has_seen_these_rows": bool((same & ~_not_seen_by(champion, rows.dates)).any()),
        "reason": f"the challenger is {'better' if promoted else 'not better'} on the same rows",
    }
    return "promoted" if promoted else "kept_champion"


def _not_seen_by(champion: TrainedModel, dates: DateArray) -> np.ndarray:
    if champion.facts.last_seen_date is None:
        return np.ones(len(dates), dtype=bool)
    horizon = np.timedelta64(champion.facts.horizon_days, "D")
    return dates >= np.datetime64(champion.facts.last_seen_date, "D") + horizon


def _facts(
    rows: _Rows,
    features: Sequence[Feature],
    task: PredictionTask,
    split: TimeSplit | None,
    *,
    horizon_days: int,
    trained_at: datetime,
    seed: int,
) -> TrainingFacts:
    used = np.ones(len(rows.dates), dtype=bool)
    if split is not None:
        used = rows_on(rows.dates, (*split.fit, *split.calibrate))
    return TrainingFacts(
        trained_at=trained_at,
        horizon_days=horizon_days,
        seed=seed,
        rows=int(used.sum()),
        base_rate=float(rows.outcomes[used].mean()) if used.any() else float("nan"),
        last_seen_date=str(rows.dates[used].max()) if used.any() else None,
        fingerprint=fingerprint(rows.frame[used], features, task),
        libraries={name: version(name) for name in LIBRARIES},
        feature_version=feature_version_of(rows.frame),
        customers=len(np.unique(rows.entities[used])),
        outcomes=len(np.unique(rows.entities[used & (rows.outcomes == 1)])),
    )


def _log_loss(log_odds: FloatArray, outcomes: FloatArray) -> float:
    return float((np.logaddexp(0.0, log_odds) - outcomes * log_odds).mean())


def _or_infinity(loss: float | None) -> float:
    return np.inf if loss is None else loss


def _difference(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right
