"""Training: fit the candidates on early dates, calibrate on later ones, judge on the last, decide.

What is judged and published has been fitted once more, on the dates of the calibration too: where outcomes are few, a
third more of them is worth more than anything else. Its calibrator rests on the earlier fit, which had not seen the
rows that it was calibrated on (as scikit-learn's CalibratedClassifierCV does without an ensemble).

The whole of it is a function of its arguments: same frame, seed and threads, same model.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from functools import cache, cached_property
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.errors import FrameError, LabelError, TrainingChangedError
from ml_assets.estimators.base import Estimator, FitRows, Settings, log_losses
from ml_assets.estimators.blend import blend
from ml_assets.estimators.candidates import BLEND, BLENDED, fit_candidate, shallower
from ml_assets.estimators.rules import BinnedRule, PriorRule, fit_prior_rule, posterior_covariance
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
from ml_assets.judging.evaluate import Metrics, evaluate, metric_intervals
from ml_assets.judging.report import describe_model
from ml_assets.model.calibrate import (
    AffineCalibrator,
    fit_calibrator,
    identity,
    levelled,
    not_worse_than_raw,
    with_range,
)
from ml_assets.model.explain import bound_log_odds, probabilities_of
from ml_assets.model.trained import TrainedModel, TrainingFacts
from ml_assets.task import Feature, Gate, PredictionTask
from ml_assets.training.feature_selection import Selection, select_features
from ml_assets.training.ladder import OutcomeCounts, Rung, count_outcomes
from ml_assets.training.promotion import Judged, judge_promotion, paired_loss_interval
from ml_assets.training.search import SearchBudget, search
from ml_assets.training.splits import (
    NoSplit,
    TimeSplit,
    count_by_date,
    inner_split,
    rolling_folds,
    rows_on,
    split_by_time,
)

RULE = "rule"
CHAMPION = "champion"
BASE_RATE = "base_rate"
CHANCE = 0.5
"""The AUC of a coin."""
LIBRARIES = ("numpy", "pandas", "scikit-learn", "xgboost", "lightgbm", "optuna")
_DRIVER_ROWS = 1_000

Status = Literal["promoted", "kept_champion", "too_few_outcomes"]


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


@dataclass(frozen=True)
class _Rows:
    """Labelled rows as arrays, all of shape (rows, ...)."""

    frame: pd.DataFrame
    outcomes: FloatArray
    dates: DateArray
    entities: np.ndarray


@dataclass(frozen=True)
class _Lesson:
    """What candidates are fitted on: the rows of some dates, and all rows encoded as those of these dates are."""

    encoder: FeatureEncoder
    matrix: FloatArray
    learned: np.ndarray
    fit_rows: FitRows

    def narrowed(self, kept: npt.NDArray[np.intp]) -> "_Lesson":
        """The same with these features only."""
        if len(kept) == len(self.encoder.features):
            return self
        encoder, matrix = self.encoder.narrowed(kept), np.asfortranarray(self.matrix[:, kept])
        # Taken from the matrix anew, as `repeat` will: rows that lie otherwise in memory add up to other last digits.
        fit_rows = replace(self.fit_rows, matrix=matrix[self.learned], encoder=encoder)
        return _Lesson(encoder, matrix, self.learned, fit_rows)


@dataclass(frozen=True)
class _Lessons:
    """The fit dates', and the one that what publishes learns from; the same where there are no calibration dates."""

    first: _Lesson
    last: _Lesson

    @property
    def seed(self) -> int:
        """What chance is drawn from."""
        return self.last.fit_rows.seed


@dataclass(frozen=True)
class _CalibrationRows:
    """How the first fit did on rows that it had not seen: its margins there, the line that they need, its losses."""

    fitted: AffineCalibrator
    margins: FloatArray
    losses: FloatArray


@dataclass(frozen=True)
class _Candidate:
    """A candidate as fitted on the fit dates and, to be published, on the calibration dates too; its test margins."""

    first: Estimator
    estimator: Estimator
    calibrator: AffineCalibrator
    test_margins: FloatArray
    calibration_rows: _CalibrationRows | None = None
    metrics: Metrics = field(default_factory=dict)

    @property
    def selection_losses(self) -> FloatArray | None:
        return None if self.calibration_rows is None else self.calibration_rows.losses

    @property
    def selection_loss(self) -> float | None:
        return None if self.selection_losses is None else float(self.selection_losses.mean())

    @cached_property
    def test_probabilities(self) -> FloatArray:
        return probabilities_of(bound_log_odds(self.calibrator.log_odds(self.test_margins)))


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
) -> TrainingResult:
    """Train every candidate of the task on the labelled rows of the frame and decide which may publish.

    `frame` has the key columns, every feature, and the task's label (null where not yet known; an
    `is_mature` column is honoured). `horizon_days` >= 1 is how far the label looks ahead. `champion` is the
    model that publishes today: it is judged on the same test rows, unless it learned from another feature
    version and could not score them. Where outcomes are few for the features some are left out, of all candidates
    alike, which the decision names. With a `budget` the candidates' settings are searched on folds of the fit
    rows; without one they are the defaults. A candidate that fails is named in the decision and stops no other.
    Raises a `FrameError` for a frame that cannot be used, such as one that mixes feature versions; too few
    outcomes are a result and not an error.
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
    lessons, selection = _lessons(rows, features, split, horizon_days, seed, threads)
    encoder = lessons.last.encoder
    settings, searched = _search(rows, lessons.first, split, task, horizon_days, budget)
    candidates, failed = _candidates(rows, lessons, split, task, settings)
    chosen, decision = _choose(candidates, rows, split, task)
    decision["failed"] = failed
    decision["features"] = selection.record(features)
    if searched:
        decision["search"] = searched
    model = TrainedModel(
        task_name=task.name,
        entity_key=task.entity_key,
        rung="rule" if chosen == RULE else rung,
        estimator=candidates[chosen].estimator,
        calibrator=_with_range(candidates[chosen], rows, split, seed),
        encoder=encoder,
        facts=_facts(
            rows,
            encoder.features,
            task,
            split,
            horizon_days=horizon_days,
            trained_at=trained_at,
            seed=seed,
            threads=threads,
        ),
    )
    evaluations = {name: candidate.metrics for name, candidate in candidates.items()}
    evaluations[BASE_RATE] = _base_rate_metrics(rows, split)
    status: Status = "promoted"
    if champion is not None:
        status = _compare_with_champion(model, champion, rows, split, task, decision, evaluations)
    decision["settings"] = {name: candidate.estimator.settings() for name, candidate in candidates.items()}
    decision["calibrator"] = asdict(model.calibrator)
    report = _report(model, candidates[chosen], rows, lessons, split, task)
    return TrainingResult(status, model, counts, evaluations, split.describe(), decision, report)


def repeat(model: TrainedModel, split: Mapping[str, Any], frame: pd.DataFrame, task: PredictionTask) -> TrainedModel:
    """Fit a recorded model anew, on the same rows with the settings that it recorded; it gives the same scores.

    `split` is the recorded one (`TrainingResult.split`); the calibrator is the recorded one too. The frame may hold
    more rows than were learned from. Raises `TrainingChangedError` where the rows are not those of the record:
    something was corrected or erased since.
    """
    facts, features = model.facts, list(model.encoder.features)
    _check_input(frame, features, task, facts.horizon_days)
    rows = _rows(frame, task)
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
        _check_fingerprint(again.facts.fingerprint, facts.fingerprint)
        return again
    days = tuple(date.fromisoformat(day) for part in ("fit", "calibrate") for day in split[part])
    _check_fingerprint(fingerprint(rows.frame[rows_on(rows.dates, days)], features, task), facts.fingerprint)
    lesson = _lesson(rows, features, days, facts.horizon_days, facts.seed, facts.threads)
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


def _check_fingerprint(found: str, recorded: str) -> None:
    if found != recorded:
        raise TrainingChangedError(
            f"the rows are not those that the model was trained on (fingerprint {found}, recorded {recorded}): labels "
            "or features were corrected, or customers erased, since; train anew instead"
        )


def _lessons(
    rows: _Rows, features: Sequence[Feature], split: TimeSplit, horizon_days: int, seed: int, threads: int
) -> tuple[_Lessons, Selection]:
    """The first lesson and the last, each with the features that stay, and what stayed in the last."""
    first, selection = _selected(_lesson(rows, features, split.fit, horizon_days, seed, threads))
    if not split.calibrate:
        return _Lessons(first, first), selection
    days = (*split.fit, *split.calibrate)
    last, selection = _selected(_lesson(rows, features, days, horizon_days, seed, threads))
    return _Lessons(first, last), selection


def _selected(lesson: _Lesson) -> tuple[_Lesson, Selection]:
    selection = select_features(lesson.fit_rows)
    return lesson.narrowed(selection.kept), selection


def _lesson(
    rows: _Rows, features: Sequence[Feature], days: tuple[date, ...], horizon_days: int, seed: int, threads: int
) -> _Lesson:
    learned = rows_on(rows.dates, days)
    encoder = FeatureEncoder.fit(rows.frame[learned], features)
    matrix = encoder.encode(rows.frame)
    outcomes = rows.outcomes[learned]
    inner = inner_split(rows.dates[learned], outcomes, horizon_days=horizon_days)
    return _Lesson(encoder, matrix, learned, FitRows(matrix[learned], outcomes, encoder, inner, seed, threads))


def _search(
    rows: _Rows,
    lesson: _Lesson,
    split: TimeSplit,
    task: PredictionTask,
    horizon_days: int,
    budget: SearchBudget | None,
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Settings by candidate and the search's record; both empty without a budget or without folds."""
    if budget is None:
        return {}, {}
    fit = rows_on(rows.dates, split.fit)
    folds = rolling_folds(rows.dates[fit], rows.outcomes[fit], horizon_days=horizon_days)
    if not folds:
        return {}, {"folds": [], "note": "too short a history for folds: the settings are the defaults"}
    seen = fingerprint(rows.frame[fit], lesson.encoder.features, task)
    found = search(lesson.fit_rows, folds, task.candidates, budget, seen)
    return found.settings, found.record


def _candidates(
    rows: _Rows, lessons: _Lessons, split: TimeSplit, task: PredictionTask, settings: Mapping[str, Settings]
) -> tuple[dict[str, _Candidate], dict[str, str]]:
    """Every candidate that could be fitted, the rule last, and why the others could not."""
    test = rows_on(rows.dates, split.test)
    found: dict[str, _Candidate] = {}
    failed: dict[str, str] = {}
    for name in (*task.candidates, RULE):
        try:
            first, last = _fit(name, lessons, settings, found)
            candidate = _calibrated(first, last, rows, lessons, split)
            metrics = _judge(candidate.test_probabilities, rows, test, lessons.seed)
        except Exception as error:  # noqa: BLE001 - whatever a library raises, the other candidates go on
            failed[name] = f"{type(error).__name__}: {error}"
            continue
        found[name] = replace(candidate, metrics=metrics)
    if RULE not in found:
        raise FrameError(f"not even the rule could be fitted: {failed[RULE]}")
    return found, failed


def _fit(
    name: str, lessons: _Lessons, settings: Mapping[str, Settings], found: Mapping[str, _Candidate]
) -> tuple[Estimator, Estimator]:
    """The candidate as fitted in the first lesson, and in the last with the settings that the first one found."""
    if name == BLEND:
        missing = [member for member in BLENDED if member not in found]
        if missing:
            raise FrameError(f"nothing to blend without {', '.join(missing)}")
        members = [found[member] for member in BLENDED]
        return blend([member.first for member in members]), blend([member.estimator for member in members])
    kind = BinnedRule.kind if name == RULE else name
    first = fit_candidate(kind, lessons.first.fit_rows, settings.get(name, {}))
    return first, _fit_again(first, lessons)


def _fit_again(first: Estimator, lessons: _Lessons) -> Estimator:
    if lessons.last is lessons.first:
        return first
    return fit_candidate(first.kind, lessons.last.fit_rows, first.settings())


def _calibrated(first: Estimator, last: Estimator, rows: _Rows, lessons: _Lessons, split: TimeSplit) -> _Candidate:
    """Both fits with their calibrator, and the first one's losses on the calibration rows as the fitted line has them.

    The slope that the first fit's margins need there is given to the last one's, unless on the test rows those are
    better calibrated as they are.
    """
    calibrate, test = (rows_on(rows.dates, days) for days in (split.calibrate, split.test))
    later = last.margins(lessons.last.matrix[test])
    if not calibrate.any():
        return _Candidate(first, last, identity(), later)
    margins, outcomes = first.margins(lessons.first.matrix[calibrate]), rows.outcomes[calibrate]
    fitted = fit_calibrator(margins, outcomes)
    losses = log_losses(fitted.log_odds(margins), outcomes)
    line = levelled(fitted, last.margins(lessons.last.matrix[calibrate]), outcomes)
    line = not_worse_than_raw(line, later, rows.outcomes[test], rows.entities[test], lessons.seed)
    return _Candidate(first, last, line, later, _CalibrationRows(fitted, margins, losses))


def _judge(probabilities: FloatArray, rows: _Rows, test: np.ndarray, seed: int) -> Metrics:
    outcomes, entities = rows.outcomes[test], rows.entities[test]
    return {**evaluate(probabilities, outcomes), **metric_intervals(probabilities, outcomes, entities, seed=seed)}


def _report(
    model: TrainedModel,
    chosen: _Candidate,
    rows: _Rows,
    lessons: _Lessons,
    split: TimeSplit,
    task: PredictionTask,
) -> dict[str, Any]:
    test = rows_on(rows.dates, split.test)
    some = np.flatnonzero(test)[:: max(1, int(test.sum()) // _DRIVER_ROWS)][:_DRIVER_ROWS]
    parts, _ = chosen.estimator.parts(lessons.last.matrix[some])
    probabilities = chosen.test_probabilities
    return {
        **describe_model(
            probabilities,
            rows.outcomes[test],
            rows.entities[test],
            _segments_of(rows.frame, task, test),
            parts * chosen.calibrator.slope,
            model.encoder.features,
            seed=lessons.seed,
        ),
        "reason_cost": chosen.estimator.reason_cost(),
        "shallower": _judge_shallower(chosen, probabilities, rows, lessons, split),
    }


def _judge_shallower(
    chosen: _Candidate,
    probabilities: FloatArray,
    rows: _Rows,
    lessons: _Lessons,
    split: TimeSplit,
) -> dict[str, Any] | None:
    """What the same model with trees one level less deep would lose on the test rows, and what its reasons cost."""
    settings = shallower(chosen.estimator.settings())
    if settings is None:
        return None
    test = rows_on(rows.dates, split.test)
    first = fit_candidate(chosen.estimator.kind, lessons.first.fit_rows, settings)
    estimator = _fit_again(first, lessons)
    other = _calibrated(first, estimator, rows, lessons, split).test_probabilities
    loss, low, high = paired_loss_interval(
        probabilities, other, rows.outcomes[test], rows.entities[test], seed=lessons.seed
    )
    return {
        "log_loss_lost": loss,
        "log_loss_lost_low": low,
        "log_loss_lost_high": high,
        "auc": evaluate(other, rows.outcomes[test])["auc"],
        "reason_cost": estimator.reason_cost(),
    }


def _segments_of(frame: pd.DataFrame, task: PredictionTask, chosen: np.ndarray) -> np.ndarray | None:
    """The chosen rows' segments as text, None where missing; None where the frame has no such column."""
    if task.segment_feature not in frame.columns:
        return None
    column = frame[task.segment_feature][chosen].astype(object)
    return column.where(column.notna(), None).to_numpy()


def _with_range(candidate: _Candidate, rows: _Rows, split: TimeSplit, seed: int) -> AffineCalibrator:
    """The calibrator with the spread of its line over the customers of the calibration rows, or of the test rows."""
    held_out = rows_on(rows.dates, split.calibrate or split.test)
    outcomes, entities = rows.outcomes[held_out], rows.entities[held_out]
    if candidate.calibration_rows is None:
        return with_range(candidate.calibrator, candidate.test_margins, outcomes, entities, seed)
    line = with_range(candidate.calibration_rows.fitted, candidate.calibration_rows.margins, outcomes, entities, seed)
    return replace(candidate.calibrator, covariance=line.covariance)


def _base_rate_metrics(rows: _Rows, split: TimeSplit) -> Metrics:
    seen = rows_on(rows.dates, (*split.fit, *split.calibrate))
    test = rows_on(rows.dates, split.test)
    constant = np.full(int(test.sum()), rows.outcomes[seen].mean())
    return evaluate(constant, rows.outcomes[test])


def _choose(
    candidates: dict[str, _Candidate], rows: _Rows, split: TimeSplit, task: PredictionTask
) -> tuple[str, dict[str, Any]]:
    """The best candidate on the calibration rows, or one near it (see `_pick_near`), if it passes the gate."""
    names = [name for name in candidates if name != RULE]
    if not names:
        return RULE, {"chosen": RULE, "reason": "no candidate could be fitted"}
    chosen_on = "calibration rows"
    losses = {name: candidates[name].selection_loss for name in names}
    if any(loss is None for loss in losses.values()):
        chosen_on = "test rows, since there are no calibration dates"
        losses = {name: candidates[name].metrics["log_loss"] for name in names}
    best = min(names, key=lambda name: _or_infinity(losses[name]))
    picked = _pick_near(best, names, candidates, rows.entities[rows_on(rows.dates, split.calibrate)])
    gate = judge_gate(candidates[picked].metrics, candidates[RULE].metrics, task.gate)
    decision: dict[str, Any] = {
        "candidate": picked,
        "candidate_chosen_on": chosen_on,
        "candidate_with_least_loss": best,
        "selection_log_loss": losses,
        "reason_cost": {name: candidates[name].estimator.reason_cost() for name in names},
        "gate": gate,
        "chosen": picked if gate["passed"] else RULE,
    }
    return str(decision["chosen"]), decision


def _pick_near(best: str, names: Sequence[str], candidates: dict[str, _Candidate], entities: np.ndarray) -> str:
    """Of those within one standard error of the best, in pairs and by entities: the blend, else the cheapest reasons.

    The mean of two models varies less with the rows that they happened to see, and a straight line's reasons cost
    nothing: the blend's cost as much as those of its trees alone.
    """
    least = candidates[best].selection_losses
    if least is None:
        return best
    near = []
    for name in names:
        losses = candidates[name].selection_losses
        if losses is not None and losses.mean() - least.mean() <= _standard_error(losses - least, entities):
            near.append(name)
    return min(
        near,
        key=lambda name: (
            name != BLEND,
            candidates[name].estimator.reason_cost(),
            _or_infinity(candidates[name].selection_loss),
        ),
    )


def _standard_error(values: FloatArray, entities: np.ndarray) -> float:
    """Of the mean of the values, where those of one entity are not independent."""
    _, member = np.unique(entities, return_inverse=True)
    sums = np.bincount(member, weights=values - values.mean())
    return float(np.sqrt((sums**2).sum()) / len(values))


def judge_gate(candidate: Metrics, rule: Metrics, gate: Gate) -> dict[str, Any]:
    """Whether a candidate beats the rule by log loss or average precision on the same rows, with figures.

    And is told from chance: one whose AUC's interval reaches down to 0.5 may rank no better than a coin.
    """
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
    auc_low = candidate["auc_low"]
    is_told_from_chance = auc_low is not None and auc_low > CHANCE
    return {
        "passed": bool(passed_by) and is_told_from_chance,
        "passed_by": passed_by,
        "is_told_from_chance": is_told_from_chance,
        "log_loss_gain": loss_gain,
        "average_precision_gain": precision_gain,
    }


def _compare_with_champion(
    model: TrainedModel,
    champion: TrainedModel,
    rows: _Rows,
    split: TimeSplit,
    task: PredictionTask,
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
    seed = model.facts.seed
    evaluations[CHAMPION] = _judge(theirs, rows, same, seed)
    if not 0 < rows.outcomes[same].sum() < same.sum():
        decision["champion"] = {
            "promoted": False,
            "is_compared": True,
            "reason": "the same later rows hold one class only",
        }
        return "kept_champion"
    judged = Judged(rows.outcomes[same], rows.entities[same], _segments_of(rows.frame, task, same))
    beats_rule = decision["chosen"] == RULE or bool(decision["gate"]["passed"])
    decision["champion"] = {
        **judge_promotion(ours, theirs, judged, task.promotion, beats_rule=beats_rule, seed=seed),
        "challenger_log_loss": evaluate(ours, rows.outcomes[same])["log_loss"],
        "champion_log_loss": evaluations[CHAMPION]["log_loss"],
        "champion_has_seen_these_rows": bool((same & ~_not_seen_by(champion, rows.dates)).any()),
    }
    return "promoted" if decision["champion"]["promoted"] else "kept_champion"


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
    threads: int = 2,
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
        libraries=dict(_library_versions()),
        feature_version=feature_version_of(rows.frame),
        customers=len(np.unique(rows.entities[used])),
        outcomes=len(np.unique(rows.entities[used & (rows.outcomes == 1)])),
        threads=threads,
    )


@cache
def _library_versions() -> Mapping[str, str]:
    return {name: version(name) for name in LIBRARIES}


def _or_infinity(loss: float | None) -> float:
    return np.inf if loss is None else loss


def _difference(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right
