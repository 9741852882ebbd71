"""Training: fit the candidates on early dates, calibrate on later ones, judge on the last, decide.

What is judged has been fitted once more, on the dates of the calibration too. Its slope rests on the earlier fit, which
had not seen the rows that it was calibrated on (as scikit-learn's CalibratedClassifierCV does without an ensemble).
What publishes has been fitted a last time, on all dates: where outcomes are few, a third more of them is worth more
than anything else.

The whole of it is a function of its arguments: same frame, seed and threads, same model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.estimators.candidates import fit_candidate
from ml_assets.estimators.rules import PriorRule, fit_prior_rule, posterior_covariance
from ml_assets.frames import FeatureEncoder, feature_version_of
from ml_assets.judging.evaluate import Metrics
from ml_assets.model.calibrate import identity
from ml_assets.model.explain import probabilities_of
from ml_assets.model.trained import TrainedModel, TrainingFacts
from ml_assets.task import Feature, PredictionTask, Rung
from ml_assets.training.champion import Status, compare_with_champion
from ml_assets.training.choosing import (
    BASE_RATE,
    RULE,
    base_rate_metrics,
    choose,
    fit_candidates,
)
from ml_assets.training.ladder import OutcomeCounts, count_outcomes
from ml_assets.training.last_fit import fit_last, learn_from
from ml_assets.training.lessons import (
    Lesson,
    Rows,
    check_fingerprint,
    check_input,
    fingerprint,
    make_lesson,
    make_lessons,
    read_rows,
)
from ml_assets.training.reach import learn_curve
from ml_assets.training.recipe import Recipe
from ml_assets.training.report import report_of
from ml_assets.training.search import SearchBudget, search
from ml_assets.training.splits import (
    LEARNED,
    NoSplit,
    TimeSplit,
    rolling_folds,
    split_rows,
)

LIBRARIES = {name: name for name in ("numpy", "pandas", "xgboost", "lightgbm", "optuna")} | {"scikit-learn": "sklearn"}
"""What a model's making depends on, by name, and the module that knows its version."""


@dataclass(frozen=True)
class TrainingResult:
    """What training found. `model` can always publish: with too few outcomes it is the rule.

    `evaluations` holds each candidate's metrics on the test rows, the base rate's and the champion's too.
    With status kept_champion `model` is the challenger, which should not publish. `report` is what a model card
    shows besides (see `report.describe_model`); empty where nothing could be judged.
    """

    status: Status
    model: TrainedModel
    counts: OutcomeCounts
    evaluations: dict[str, Metrics]
    split: dict[str, object]
    decision: dict[str, Any]
    report: dict[str, Any] = field(default_factory=dict)


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
    budget: SearchBudget | None = None,
    recipe: Recipe | None = None,
) -> TrainingResult:
    """Train every candidate of the task on the labelled rows of the frame and decide which may publish.

    `frame` has the key columns, every feature, and the task's label (null where not yet known; an
    `is_mature` column is honoured). `horizon_days` >= 1 is how far the label looks ahead. `champion` is the
    model that publishes today: it is judged on the same test rows, unless it learned from another feature
    version and could not score them. Where outcomes are few for the features some are left out, of all candidates
    alike, which the decision names. With a `budget` the candidates' settings are searched on folds of the fit
    rows; without one they are the defaults. A `recipe` gives candidate, features and settings: only that one is fitted,
    against the rule, and there is no report. A candidate that fails is named in the decision and stops no other.
    Raises a `FrameError` for a frame that cannot be used, such as one that mixes feature versions; too few
    outcomes are a result and not an error.
    """
    check_input(frame, features, task, horizon_days)
    rows = read_rows(frame, task)
    counts = count_outcomes(frame, task)
    split = split_rows(
        rows.dates, rows.outcomes, rows.buckets, horizon_days=horizon_days, settings=task.split, entity=task.entity
    )
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
    if recipe is not None:
        features, task = recipe.features_of(features), recipe.task_of(task)
    lessons, selection = make_lessons(
        rows, features, split, horizon_days, seed, threads, selects_features=recipe is None
    )
    settings, searched = _search(rows, lessons.first, split, task, horizon_days, budget)
    if recipe is not None:
        settings = recipe.settings_by_candidate()
    candidates, failed = fit_candidates(rows, lessons, split, task, settings)
    chosen, decision = choose(candidates, rows, split, task, seed)
    decision["failed"] = failed
    if searched:
        decision["search"] = searched
    last = fit_last(candidates[chosen], rows, features, lessons, selection, split, selects_features=recipe is None)
    decision["features"] = last.selection.record(features)
    model = TrainedModel(
        task_name=task.name,
        rung="rule" if chosen == RULE else rung,
        estimator=last.estimator,
        calibrator=last.calibrator,
        encoder=last.encoder,
        facts=_facts(
            rows,
            last.encoder.features,
            task,
            split if last.level is None else None,
            horizon_days=horizon_days,
            trained_at=trained_at,
            seed=seed,
            threads=threads,
        ),
        level=last.level,
    ).at(trained_at.date())
    evaluations = {name: candidate.metrics for name, candidate in candidates.items()}
    evaluations[BASE_RATE] = base_rate_metrics(rows, split)
    status: Status = "promoted"
    if champion is not None:
        status = compare_with_champion(
            candidates[chosen], model.facts, champion, rows, lessons, split, task, decision, evaluations
        )
    decision["settings"] = {name: candidate.estimator.settings() for name, candidate in candidates.items()}
    decision["calibrator"] = asdict(model.calibrator)
    report: dict[str, Any] = {}
    if recipe is None:
        report = report_of(candidates[chosen], rows, lessons, split, task)
        log_odds = last.calibrator.log_odds(last.estimator.margins(last.lesson.matrix[last.lesson.learned]))
        model = replace(model, further=learn_curve(last.lesson, log_odds, rows, task, horizon_days))
    return TrainingResult(status, model, counts, evaluations, split.describe(), decision, report)


def repeat(model: TrainedModel, split: Mapping[str, Any], frame: pd.DataFrame, task: PredictionTask) -> TrainedModel:
    """Fit a recorded model again, on the same rows with the settings that it recorded; it gives the same scores.

    `split` is the recorded one (`TrainingResult.split`); the calibrator is the recorded one too. The frame may hold
    more rows than were learned from. Raises `TrainingChangedError` where the rows are not those of the record:
    something was corrected or erased since.
    """
    facts, features = model.facts, list(model.encoder.features)
    check_input(frame, features, task, facts.horizon_days)
    rows = read_rows(frame, task)
    if isinstance(model.estimator, PriorRule):
        again = fit_rule(
            frame,
            features,
            task,
            horizon_days=facts.horizon_days,
            trained_at=facts.trained_at,
            seed=facts.seed,
            feature_version=facts.feature_version,
        )
        check_fingerprint(again.facts.fingerprint, facts.fingerprint)
        return again
    if model.level is None:
        lesson = make_lesson(
            rows, features, TimeSplit.from_record(split), LEARNED, facts.horizon_days, facts.seed, facts.threads
        )
    else:
        lesson = learn_from(rows, features, facts.last_seen_date, facts.seed, facts.threads)
    check_fingerprint(fingerprint(rows.frame[lesson.learned], features, task), facts.fingerprint)
    estimator = fit_candidate(model.estimator.kind, lesson.fit_rows, model.estimator.settings())
    return replace(model, estimator=estimator, encoder=lesson.encoder)


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
    check_input(frame, features, task, horizon_days)
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
    rows = read_rows(frame, task)
    encoder = FeatureEncoder.fit(rows.frame, features)
    rate = task.rule_prior.rate(horizon_days) if prior_rate is None else prior_rate
    matrix = encoder.encode(rows.frame)
    estimator = fit_prior_rule(matrix, rows.outcomes, encoder, task.rule_feature, task.rule_prior, rate)
    covariance = posterior_covariance(estimator, matrix, task.rule_prior)
    facts = _facts(rows, features, task, None, horizon_days=horizon_days, trained_at=trained_at, seed=seed)
    base_rate = float(probabilities_of(np.array([estimator.intercept]))[0])
    return TrainedModel(
        task_name=task.name,
        rung="rule",
        estimator=estimator,
        calibrator=replace(identity("the rule's prior stands for calibration"), covariance=covariance),
        encoder=encoder,
        facts=replace(facts, base_rate=base_rate, feature_version=facts.feature_version or feature_version),
    )


def _search(
    rows: Rows,
    lesson: Lesson,
    split: TimeSplit,
    task: PredictionTask,
    horizon_days: int,
    budget: SearchBudget | None,
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Settings by candidate and the search's record; both empty without a budget or without folds."""
    if budget is None:
        return {}, {}
    fit = rows.of(split, "fit")
    folds = rolling_folds(rows.dates[fit], rows.outcomes[fit], horizon_days=horizon_days)
    if not folds:
        return {}, {"folds": [], "note": "too short a history for folds: the settings are the defaults"}
    seen = fingerprint(rows.frame[fit], lesson.encoder.features, task)
    searched = search(lesson.fit_rows, folds, task.candidates, budget, seen)
    return searched.settings, searched.record


def _facts(
    rows: Rows,
    features: Sequence[Feature],
    task: PredictionTask,
    split: TimeSplit | None,
    *,
    horizon_days: int,
    trained_at: datetime,
    seed: int,
    threads: int = 2,
) -> TrainingFacts:
    used = np.ones(len(rows.dates), dtype=bool)
    if split is not None:
        used = rows.of(split, *LEARNED)
    companies = rows.frame["company_id"].to_numpy()
    customers, outcomes = _counts(rows, used)
    return TrainingFacts(
        trained_at=trained_at,
        horizon_days=horizon_days,
        seed=seed,
        rows=int(used.sum()),
        base_rate=float(rows.outcomes[used].mean()) if used.any() else float("nan"),
        last_seen_date=str(rows.dates[used].max()) if used.any() else None,
        fingerprint=fingerprint(rows.frame[used], features, task),
        libraries=dict(_library_versions()),
        feature_version=feature_version_of(rows.frame),
        customers=customers,
        outcomes=outcomes,
        by_company={str(company): _counts(rows, used & (companies == company)) for company in np.unique(companies)},
        threads=threads,
    )


def _counts(rows: Rows, used: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Different entities, and those with the outcome, among the rows that are used."""
    return len(np.unique(rows.entities[used])), len(np.unique(rows.entities[used & (rows.outcomes == 1)]))


@cache
def _library_versions() -> Mapping[str, str]:
    # By the module, for a distribution may have another name (xgboost-cpu).
    return {name: str(import_module(module).__version__) for name, module in LIBRARIES.items()}
