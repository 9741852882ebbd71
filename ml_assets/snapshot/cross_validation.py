"""A table without dates: candidates are judged on customers whom they have not seen, each customer in one fold.

Nothing is split by time here, for there is none. That cannot show whether tomorrow is like the day of the table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.errors import FrameError
from ml_assets.estimators.base import Estimator, FitRows, log_losses
from ml_assets.estimators.blend import blend
from ml_assets.estimators.candidates import BLEND, BLENDED, fit_candidate
from ml_assets.frames import FeatureEncoder, FloatArray
from ml_assets.judging.evaluate import Metrics, evaluate, metric_intervals
from ml_assets.model.calibrate import AffineCalibrator, fit_calibrator, with_range
from ml_assets.model.explain import bound_log_odds, probabilities_of, publish_parts
from ml_assets.resampling import members, standard_error_of_mean
from ml_assets.task import CandidateName, Feature
from ml_assets.training.feature_selection import select_features
from ml_assets.training.promotion import paired_loss_interval

FOLDS = 5
_INNER_FOLDS = 4
_FOLD_SEED = 7
_CHANCE = 0.5

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SnapshotRows:
    """Rows of a table with their outcome: features by name, outcomes (0.0 or 1.0) and customers of shape (rows,)."""

    frame: pd.DataFrame
    outcomes: FloatArray
    customers: npt.NDArray[np.intp]

    @cached_property
    def folds(self) -> npt.NDArray[np.intp]:
        """Each row's fold, from 0: a customer's rows together, the outcome's share about equal in all."""
        return grouped_folds(self.outcomes, self.customers, FOLDS)


@dataclass(frozen=True)
class Lesson:
    """What candidates of one fold learn from: the encoder of its rows, and which features stay."""

    encoder: FeatureEncoder
    kept: npt.NDArray[np.intp]
    fit_rows: FitRows


@dataclass(frozen=True)
class FoldModel:
    """An estimator and what encodes rows for it; `kept` are its features' places among all."""

    estimator: Estimator
    encoder: FeatureEncoder
    kept: npt.NDArray[np.intp]

    def margins(self, frame: pd.DataFrame) -> FloatArray:
        """Uncalibrated log-odds, shape (rows,)."""
        return self.estimator.margins(self.encoder.encode(frame))

    def parts(self, frame: pd.DataFrame, features: int) -> tuple[FloatArray, float]:
        """Parts of all features, shape (rows, features), zero where one was left out; and the bias."""
        kept_parts, bias = self.estimator.parts(self.encoder.encode(frame))
        parts = np.zeros((len(frame), features))
        parts[:, self.kept] = kept_parts
        return parts, bias


@dataclass(frozen=True)
class JudgedCandidate:
    """A candidate's margins and probabilities, each of rows that their fit has not seen, shape (rows,).

    A row's probability is calibrated by the other folds' margins; `calibrator` is by all of them, for new rows.
    """

    models: tuple[FoldModel, ...]
    margins: FloatArray
    log_odds: FloatArray
    calibrators: tuple[AffineCalibrator, ...]
    calibrator: AffineCalibrator
    metrics: Metrics

    @property
    def probabilities(self) -> FloatArray:
        """Calibrated and bounded as published ones are."""
        return probabilities_of(bound_log_odds(self.log_odds))

    @property
    def reason_cost(self) -> float:
        """Steps that a row's parts take, on average over the folds."""
        return float(np.mean([model.estimator.reason_cost() for model in self.models]))


@dataclass(frozen=True)
class CrossValidation:
    """Every candidate that could be fitted, judged; why the others could not; and the one that was chosen.

    `is_told_from_chance` is False where the chosen one may rank no better than a coin, or may promise no better than
    the share of all does (intervals of 95 percent): it is the best of several, and nobody should act on its scores.
    """

    rows: SnapshotRows
    features: tuple[Feature, ...]
    candidates: Mapping[str, JudgedCandidate]
    failed: Mapping[str, str]
    chosen: str
    base_rate: Metrics
    is_told_from_chance: bool
    seed: int
    threads: int

    @property
    def best(self) -> JudgedCandidate:
        """The chosen candidate."""
        return self.candidates[self.chosen]

    @cached_property
    def contributions(self) -> FloatArray:
        """The chosen candidate's parts of each row's published log-odds, by the fold that has not seen it."""
        contributions = np.zeros((len(self.rows.outcomes), len(self.features)))
        for fold, (model, calibrator) in enumerate(zip(self.best.models, self.best.calibrators, strict=True)):
            judged = self.rows.folds == fold
            parts, bias = model.parts(self.rows.frame[judged], len(self.features))
            contributions[judged] = publish_parts(parts, bias, calibrator).contributions
        return contributions

    def fit_on_all(self) -> FoldModel:
        """The chosen candidate, learned from all rows, to score those of which nothing is known yet."""
        everybody = np.ones(len(self.rows.outcomes), dtype=bool)
        lesson = _lesson(self.rows, everybody, self.features, self.seed, self.threads)
        return FoldModel(_fit(self.chosen, lesson, {}), lesson.encoder, lesson.kept)


def grouped_folds(outcomes: FloatArray, customers: np.ndarray, count: int) -> npt.NDArray[np.intp]:
    """Each row's fold of `count`, from 0, shape (rows,): scikit-learn's stratified ones, shuffled by a fixed seed.

    By groups only where a customer has several rows, which takes far longer.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    folds = np.zeros(len(outcomes), dtype=np.intp)
    if len(np.unique(customers)) == len(customers):
        parts = StratifiedKFold(count, shuffle=True, random_state=_FOLD_SEED).split(outcomes, outcomes)
    else:
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=_FOLD_SEED)
        parts = splitter.split(outcomes, outcomes, customers)
    for number, (_, judged) in enumerate(parts):
        folds[judged] = number
    return folds


def cross_validate(
    rows: SnapshotRows,
    features: Sequence[Feature],
    candidates: Sequence[CandidateName],
    *,
    seed: int = 7,
    threads: int = 2,
) -> CrossValidation:
    """Fit every candidate in each fold and judge it on the others' customers.

    Needs at least FOLDS customers with and as many without the outcome. Calibrated by two numbers from margins of
    unseen rows. A candidate that fails in a fold is named in `failed` and stops no other; raises FrameError where all
    failed.
    """
    lessons = [_lesson(rows, rows.folds != fold, features, seed, threads) for fold in range(FOLDS)]
    fitted: dict[str, list[Estimator]] = {}
    failed: dict[str, str] = {}
    for name in candidates:
        try:
            earlier = [{kind: estimators[fold] for kind, estimators in fitted.items()} for fold in range(FOLDS)]
            fitted[name] = [_fit(name, lesson, others) for lesson, others in zip(lessons, earlier, strict=True)]
        except Exception as error:  # noqa: BLE001 - whatever a library raises, the other candidates go on
            failed[name] = f"{type(error).__name__}: {error}"
    if not fitted:
        told = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise FrameError(f"no candidate could be fitted: {told}")
    judged = {name: _judged(rows, lessons, estimators, seed) for name, estimators in fitted.items()}
    chosen = _choose(judged, rows)
    constant = _other_shares(rows)
    return CrossValidation(
        rows=rows,
        features=tuple(features),
        candidates=judged,
        failed=failed,
        chosen=chosen,
        base_rate=evaluate(constant, rows.outcomes),
        is_told_from_chance=_is_told_from_chance(judged[chosen], constant, rows, seed),
        seed=seed,
        threads=threads,
    )


def _lesson(rows: SnapshotRows, learned: Mask, features: Sequence[Feature], seed: int, threads: int) -> Lesson:
    frame = rows.frame[learned]
    encoder = FeatureEncoder.fit(frame, features)
    outcomes = rows.outcomes[learned]
    late = grouped_folds(outcomes, rows.customers[learned], _INNER_FOLDS) == 0
    fit_rows = FitRows(encoder.encode(frame), outcomes, encoder, (~late, late), seed, threads)
    kept = select_features(fit_rows).kept
    narrow = encoder.narrowed(kept)
    matrix = np.asfortranarray(fit_rows.matrix[:, kept])
    return Lesson(narrow, kept, FitRows(matrix, outcomes, narrow, fit_rows.inner, seed, threads))


def _fit(name: str, lesson: Lesson, earlier: Mapping[str, Estimator]) -> Estimator:
    """The candidate on the lesson's rows; a blend of those that were fitted on them already, or of its own."""
    if name == BLEND:
        return blend([earlier.get(kind) or fit_candidate(kind, lesson.fit_rows, {}) for kind in BLENDED])
    return fit_candidate(name, lesson.fit_rows, {})


def _judged(
    rows: SnapshotRows, lessons: Sequence[Lesson], estimators: Sequence[Estimator], seed: int
) -> JudgedCandidate:
    models = tuple(
        FoldModel(estimator, lesson.encoder, lesson.kept) for estimator, lesson in zip(estimators, lessons, strict=True)
    )
    margins = np.empty(len(rows.outcomes))
    for fold, model in enumerate(models):
        judged = rows.folds == fold
        margins[judged] = model.margins(rows.frame[judged])
    log_odds, calibrators = np.empty_like(margins), []
    for fold in range(FOLDS):
        judged = rows.folds == fold
        calibrators.append(fit_calibrator(margins[~judged], rows.outcomes[~judged]))
        log_odds[judged] = calibrators[-1].log_odds(margins[judged])
    whole = fit_calibrator(margins, rows.outcomes)
    probabilities = probabilities_of(bound_log_odds(log_odds))
    return JudgedCandidate(
        models=models,
        margins=margins,
        log_odds=log_odds,
        calibrators=tuple(calibrators),
        calibrator=with_range(whole, margins, rows.outcomes, rows.customers, seed),
        metrics={
            **evaluate(probabilities, rows.outcomes),
            **metric_intervals(probabilities, rows.outcomes, rows.customers, seed=seed),
        },
    )


def _choose(candidates: Mapping[str, JudgedCandidate], rows: SnapshotRows) -> str:
    """As a task's training chooses: of those within one standard error of the best, the blend, else the cheapest."""
    losses = {name: log_losses(candidate.log_odds, rows.outcomes) for name, candidate in candidates.items()}
    least = min(losses.values(), key=lambda each: float(each.mean()))
    near = [
        name
        for name, each in losses.items()
        if each.mean() - least.mean() <= standard_error_of_mean(each - least, members(rows.customers))
    ]
    return min(near, key=lambda name: (name != BLEND, candidates[name].reason_cost, float(losses[name].mean())))


def _other_shares(rows: SnapshotRows) -> FloatArray:
    """For each row the outcome's share in the other folds."""
    shares = np.array([rows.outcomes[rows.folds != fold].mean() for fold in range(FOLDS)])
    return np.asarray(shares[rows.folds])


def _is_told_from_chance(candidate: JudgedCandidate, constant: FloatArray, rows: SnapshotRows, seed: int) -> bool:
    low = candidate.metrics["auc_low"]
    _, gain, _ = paired_loss_interval(candidate.probabilities, constant, rows.outcomes, rows.customers, seed=seed)
    return low is not None and low > _CHANCE and gain > 0
