"""Whom a change of features would move: the newest date scored by a model trained with it, and by one without."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import orjson
import pandas as pd

from ml_assets.change.judging import features_with, features_without
from ml_assets.change.rows import FeatureChange, SameRows
from ml_assets.estimators.candidates import fit_candidate
from ml_assets.frames import feature_version_of
from ml_assets.model.calibrate import levelled
from ml_assets.model.level import measure_level
from ml_assets.model.trained import Scores, TrainedModel
from ml_assets.scoring.moves import largest_changes
from ml_assets.scoring.rows import build_score_rows, risk_levels
from ml_assets.task import ENTITY_ID, Feature, PredictionTask
from ml_assets.training.last_fit import learn_from
from ml_assets.training.lessons import read_rows
from ml_assets.training.recipe import Recipe

MOST_MOVED = 10
_REASONS = 3


@dataclass(frozen=True)
class Move:
    """An entity whose score the change moves: probability and level before and after, and why.

    `feature` is the one whose part differs most. `reasons` are the first of the score with the change, in words.
    """

    company_id: int
    entity_id: str
    before: float
    after: float
    level_before: str
    level_after: str
    feature: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Moves:
    """The newest date's scores with a change and without.

    `levels` counts entities by (level before, level after). `weights` is each feature's share of the mean size of all
    parts with the change, the largest first.
    """

    entities: int
    levels: Mapping[tuple[str, str], int]
    most_moved: tuple[Move, ...]
    weights: Mapping[str, float]

    @property
    def changed_levels(self) -> int:
        """Entities whose risk level is another one."""
        return sum(number for (before, after), number in self.levels.items() if before != after)


def find_moves(
    labelled: SameRows,
    newest: SameRows,
    change: FeatureChange,
    recipe: Recipe,
    champion: TrainedModel,
    task: PredictionTask,
) -> Moves:
    """Fit the recipe on all labelled rows, with the change and without, and score the newest date by both.

    Slope and grounds are the champion's, the level is that of the rows. Raises a FrameError for frames that cannot be
    used.
    """
    before = _fitted(labelled.before, features_without(change, recipe), recipe, champion, task)
    after = _fitted(labelled.after, features_with(change, recipe), recipe, champion, task)
    scores = before.score(newest.before), after.score(newest.after)
    levels = [
        risk_levels(each.probability, model.facts.base_rate, task.risk)
        for each, model in zip(scores, (before, after), strict=True)
    ]
    counts = Counter((str(old), str(new)) for old, new in zip(*levels, strict=True))
    return Moves(
        entities=len(newest.after),
        levels=dict(counts.most_common()),
        most_moved=_most_moved(scores, levels, after, newest.after, task),
        weights=_weights(scores[1]),
    )


def _fitted(
    frame: pd.DataFrame, features: Sequence[Feature], recipe: Recipe, champion: TrainedModel, task: PredictionTask
) -> TrainedModel:
    """The candidate as a training's last fit leaves it (see `training.last_fit`), with these features."""
    facts = champion.facts
    rows = read_rows(frame, task)
    lesson = learn_from(rows, features, None, facts.seed, facts.threads)
    estimator = fit_candidate(recipe.candidate, lesson.fit_rows, recipe.settings)
    line, level = champion.calibrator, None
    if champion.level is not None:
        margins = estimator.margins(lesson.matrix)
        if champion.level.is_applied:
            line = levelled(line, margins, rows.outcomes)
        level = measure_level(margins, rows.outcomes, rows.dates, line, facts.horizon_days)
        level = replace(level, is_applied=champion.level.is_applied)
    return replace(
        champion,
        estimator=estimator,
        calibrator=line,
        encoder=lesson.encoder,
        facts=replace(facts, base_rate=float(rows.outcomes.mean()), feature_version=feature_version_of(frame)),
        level=level,
        further=None,
    )


def _weights(scores: Scores) -> dict[str, float]:
    parts = _parts(scores)
    sizes = parts.abs().mean().sort_values(ascending=False)
    total = float(sizes.sum())
    return {str(name): float(size) / total for name, size in sizes.items()} if total else {}


def _parts(scores: Scores) -> pd.DataFrame:
    """Contributions of the features, shape (rows, features)."""
    if scores.contributions is None:
        raise ValueError("the scores were made without their parts")
    return scores.contributions.reset_index(drop=True)


def _most_moved(
    scores: tuple[Scores, Scores],
    levels: Sequence[np.ndarray],
    after: TrainedModel,
    frame: pd.DataFrame,
    task: PredictionTask,
) -> tuple[Move, ...]:
    change = scores[1].log_odds - scores[0].log_odds
    order = np.argsort(-np.abs(change), kind="stable")[:MOST_MOVED]
    order = order[np.abs(change[order]) > 0]
    if not len(order):
        return ()
    parts = [_parts(each).iloc[order] for each in scores]
    names = sorted({*parts[0].columns, *parts[1].columns})
    aligned = [each.reindex(columns=names, fill_value=0.0).to_numpy() for each in parts]
    features, _ = largest_changes(aligned[0], aligned[1], names)
    rows = build_score_rows(after, frame.iloc[order], task, model_version="with the change")
    return tuple(
        Move(
            company_id=int(frame["company_id"].iloc[place]),
            entity_id=str(frame[ENTITY_ID].iloc[place]),
            before=float(scores[0].probability[place]),
            after=float(scores[1].probability[place]),
            level_before=str(levels[0][place]),
            level_after=str(levels[1][place]),
            feature=str(feature),
            reasons=tuple(reason["text"] for reason in orjson.loads(reasons)[:_REASONS]),
        )
        for place, feature, reasons in zip(order, features, rows["reasons"], strict=True)
    )
