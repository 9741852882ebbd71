"""Whether a change of features makes a model better: judged in pairs, and held against columns that say nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import numpy as np
import pandas as pd

from ml_assets.change.folds import Folds, judged_probabilities, make_folds, shuffled_within_dates
from ml_assets.change.overlap import associations, share_explained
from ml_assets.change.rows import FeatureChange, SameRows
from ml_assets.errors import LabelError
from ml_assets.frames import FloatArray
from ml_assets.judging.evaluate import Difference, Metrics, evaluate, log_losses_of, paired_differences
from ml_assets.snapshot.cross_validation import FOLDS, grouped_folds
from ml_assets.snapshot.leaks import Suspicion, find_leaks
from ml_assets.task import Feature, PredictionTask
from ml_assets.training.feature_selection import select_features
from ml_assets.training.last_fit import learn_from
from ml_assets.training.lessons import Rows, read_rows
from ml_assets.training.recipe import Recipe

Verdict = Literal["leaks", "better", "worse", "no_difference", "not_judged"]
PLACEBOS = 4
NEAREST = 3


@dataclass(frozen=True)
class NewColumn:
    """A feature that a change adds or alters.

    `nearest`: the features that it goes with most, each with how closely (0 to 1).
    `explained`: the share of it that all others explain together. `is_left_out`: a training leaves it out, since
    outcomes are few for the features.
    """

    feature: Feature
    nearest: Mapping[str, float]
    explained: float | None
    is_left_out: bool


@dataclass(frozen=True)
class Judgement:
    """A candidate with a change and without, on the same later rows.

    `differences` are with less without. `placebo_gains` are the gains in log loss of the same change with its new
    columns shuffled among the customers of a date, once per seed.
    """

    verdict: Verdict
    folds: Folds | None
    rows: int
    outcomes: int
    entities: int
    before: Metrics
    after: Metrics
    differences: Mapping[str, Difference]
    placebo_gains: tuple[float, ...]
    columns: tuple[NewColumn, ...]
    suspicions: tuple[Suspicion, ...]

    @property
    def gain(self) -> Difference | None:
        """By how much log loss is lower with the change, and its interval; None where nothing was judged."""
        loss = self.differences.get("log_loss")
        return None if loss is None else Difference(-loss.value, -loss.high, -loss.low)


def features_with(change: FeatureChange, recipe: Recipe) -> tuple[Feature, ...]:
    """What the recipe's candidate reads with the change: its own features that stay, and whatever is new."""
    new = {feature.name for feature in change.new}
    return tuple(feature for feature in change.after if feature.name in new or feature.name in recipe.features)


def features_without(change: FeatureChange, recipe: Recipe) -> tuple[Feature, ...]:
    """What it reads as things are."""
    return tuple(feature for feature in change.before if feature.name in recipe.features)


def judge_change(
    same: SameRows,
    change: FeatureChange,
    recipe: Recipe,
    task: PredictionTask,
    *,
    horizon_days: int,
    seed: int = 7,
    threads: int = 2,
    placebos: int = PLACEBOS,
) -> Judgement:
    """Fit the recipe's candidate with its settings on the same rows with the change and without, and judge both.

    `same` holds labelled rows, whose outcomes are those of `before`. Nothing is chosen here: candidate, settings and
    all other features are the recipe's. Raises a FrameError for frames that cannot be used.
    """
    rows, after = read_rows(same.before, task), same.after
    if len(rows.frame) != len(same.before):
        raise LabelError(f"{len(same.before) - len(rows.frame)} rows have no outcome that is known")
    suspicions = _suspicions(after, change, rows, task)
    columns = tuple(_new_columns(after, change, rows, seed, threads))
    folds = make_folds(rows, horizon_days) if len(rows.outcomes) else None
    if folds is None:
        nothing: Metrics = {}
        return Judgement("not_judged", None, 0, 0, 0, nothing, nothing, {}, (), columns, suspicions)

    def said(frame: pd.DataFrame, features: Sequence[Feature]) -> FloatArray:
        return judged_probabilities(frame, features, rows, folds, recipe.candidate, recipe.settings, seed, threads)

    with_change = features_with(change, recipe)
    before, with_it = said(rows.frame, features_without(change, recipe)), said(after, with_change)
    outcomes, dates, entities = rows.outcomes[folds.judged], rows.dates[folds.judged], rows.entities[folds.judged]
    names = [feature.name for feature in change.new]
    gains = [
        _gain(said(shuffled_within_dates(after, names, seed + number), with_change), before, outcomes)
        for number in range(1, placebos + 1 if names else 1)
    ]
    differences = paired_differences(with_it, before, outcomes, entities, dates, seed=seed)
    return Judgement(
        verdict=_verdict(differences.get("log_loss"), gains, suspicions),
        folds=folds,
        rows=len(outcomes),
        outcomes=int(outcomes.sum()),
        entities=len(np.unique(entities)),
        before=evaluate(before, outcomes, dates),
        after=evaluate(with_it, outcomes, dates),
        differences=differences,
        placebo_gains=tuple(gains),
        columns=columns,
        suspicions=suspicions,
    )


def _gain(probabilities: FloatArray, before: FloatArray, outcomes: FloatArray) -> float:
    return float((log_losses_of(before, outcomes) - log_losses_of(probabilities, outcomes)).mean())


def _verdict(loss: Difference | None, placebo_gains: Sequence[float], suspicions: Sequence[Suspicion]) -> Verdict:
    """Better and worse only where the interval leaves no doubt and columns that say nothing did not do as well."""
    if suspicions:
        return "leaks"
    if loss is None:
        return "not_judged"
    gain = -loss.value
    if loss.high < 0 and all(gain > placebo for placebo in placebo_gains):
        return "better"
    if loss.low > 0 and all(gain < placebo for placebo in placebo_gains):
        return "worse"
    return "no_difference"


def _suspicions(after: pd.DataFrame, change: FeatureChange, rows: Rows, task: PredictionTask) -> tuple[Suspicion, ...]:
    """New columns that may come of the outcome, where they did not before; each is held against all others."""
    if not change.new or not 0 < rows.outcomes.sum() < len(rows.outcomes):
        return ()
    folds = grouped_folds(rows.outcomes, rows.entities, FOLDS)

    def suspected(frame: pd.DataFrame, features: Sequence[Feature]) -> list[Suspicion]:
        wording = {"outcome_name": task.name, "happened": "the outcome came", "otherwise": "the outcome did not come"}
        return find_leaks(frame, features, rows.outcomes, folds, **wording)

    new = {feature.name for feature in change.new}
    before = suspected(rows.frame, change.before) if change.altered else []
    known = {(suspicion.feature.name, suspicion.kind) for suspicion in before}
    return tuple(
        suspicion
        for suspicion in suspected(after, change.after)
        if suspicion.feature.name in new and (suspicion.feature.name, suspicion.kind) not in known
    )


def _new_columns(
    after: pd.DataFrame, change: FeatureChange, rows: Rows, seed: int, threads: int
) -> Iterator[NewColumn]:
    if not change.new or not len(rows.outcomes):
        return
    lesson = learn_from(replace(rows, frame=after), change.after, None, seed, threads)
    kept = {change.after[place].name for place in select_features(lesson.fit_rows).kept}
    for feature in change.new:
        others = [other for other in change.after if other.name != feature.name]
        nearest = dict(islice(associations(after, feature, others).items(), NEAREST))
        yield NewColumn(feature, nearest, share_explained(after, feature, others), feature.name not in kept)
