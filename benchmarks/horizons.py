"""One curve over several horizons beside a model for each: log loss and calibration error at every horizon.

    python -m benchmarks.horizons [HOME ...] [--origins 2]

HOME, by default BENCH_DEMO_HOME, is that of a finished `churn demo run`, or of any warehouse whose companies were
trained. For each company and task, from several past dates on: everything is learned from what was known on that date,
and judged on what came of the entities of that date and the two after it, within each horizon. Four ways:

    curve    what publishes: the task's model, and how its risk comes over the days (`ml_assets/model/curve.py`)
    plain    the same without the lines by which each day is calibrated
    each     a model of the task for each horizon by itself, its labels those of that horizon
    hazard   one LightGBM on a row per entity, date and step, the step among the features

A way that has too few outcomes at a horizon says nothing there, which is counted as missing. Of `each` it is also
counted how many entities it says would rather leave within fewer days than within more.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd

from ml_assets.frames import DateArray, FeatureEncoder, FloatArray, as_of_dates
from ml_assets.judging.evaluate import calibration_error, log_losses_of
from ml_assets.model.curve import HorizonCurve
from ml_assets.model.trained import TrainedModel
from ml_assets.task import OBSERVED_DAYS, OUTCOME, OUTCOME_DAYS, Feature, PredictionTask
from ml_assets.training.train import train
from pipeline.prediction.tasks import tasks_of
from pipeline.prediction.training import Trainer
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.settings import Settings

CANDIDATES = ("logistic", "xgboost", "blend")
DATES_JUDGED = 3
FEWEST_OUTCOMES = 30
SMALLEST = 1e-4
TRAINED_AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, eq=False)
class World:
    """One company's rows of one task, with the days to each outcome and those that are known."""

    name: str
    frame: pd.DataFrame
    features: list[Feature]
    task: PredictionTask
    horizon_days: int

    @property
    def days(self) -> list[int]:
        """The horizons that a curve may speak of."""
        return sorted({*self.task.curve_days, self.horizon_days})

    def known_at(self, origin: np.datetime64, horizon_days: int) -> pd.DataFrame:
        """The rows whose label for this horizon was decided by then, labelled so, and nothing of what came later."""
        dates = as_of_dates(self.frame)
        passed = (origin - dates).astype("timedelta64[D]").astype(np.float64)
        observed = np.minimum(self.frame[OBSERVED_DAYS].to_numpy(np.float64), passed)
        came = self.frame[OUTCOME_DAYS].to_numpy(np.float64)
        came = np.where(came < observed, came, np.nan)
        known = self.frame.assign(**{OUTCOME_DAYS: came, OBSERVED_DAYS: observed, OUTCOME: came < horizon_days})
        return known[observed >= horizon_days].reset_index(drop=True)


def worlds_of(home: Path) -> Iterator[World]:
    """What the companies of a home would be trained on."""
    settings = Settings(home=home)
    with Warehouse.open(settings) as warehouse:
        with warehouse.connect() as conn:
            companies = list_companies(conn)
        for company in companies:
            for binding in tasks_of(company):
                trainer = Trainer.from_settings(binding, warehouse, settings)
                frame, features = trainer.rows_to_learn_from(company)
                task = replace(binding.task, candidates=CANDIDATES)
                if frame[OUTCOME].sum() >= task.ladder.own_outcomes:
                    name = f"{company.slug}, {task.name}"
                    yield World(name, frame, features, task, binding.horizon_days(company))


def origins_of(world: World, count: int) -> list[np.datetime64]:
    """The latest dates, at least one longest horizon before the end, spread over the later half of the history."""
    days: DateArray = np.unique(as_of_dates(world.frame))
    last = days[-1] + np.timedelta64(world.horizon_days - world.days[-1], "D")
    usable = days[len(days) // 2 :]
    usable = usable[usable <= last] if (usable <= last).any() else usable[:1]
    return list(usable[np.unique(np.linspace(0, len(usable) - 1, count).astype(int))])


def by_curve(world: World, origin: np.datetime64, judged: pd.DataFrame) -> dict[int, FloatArray]:
    """The published probability at each horizon of the curve."""
    model = _train(world, origin, world.horizon_days)
    return _by_curve_of(model, model.curve, judged)


def by_plain(world: World, origin: np.datetime64, judged: pd.DataFrame) -> dict[int, FloatArray]:
    """The same without the lines of the days."""
    model = _train(world, origin, world.horizon_days)
    return _by_curve_of(model, replace(model.curve, lines={}), judged)


def _by_curve_of(model: TrainedModel, curve: HorizonCurve, judged: pd.DataFrame) -> dict[int, FloatArray]:
    scores = model.score(judged, explain=False)
    assert scores.shares is not None
    return dict(zip(curve.days, curve.probabilities(scores.log_odds, scores.shares).T, strict=True))


def by_each(world: World, origin: np.datetime64, judged: pd.DataFrame) -> dict[int, FloatArray]:
    """A model for each horizon for which enough was known."""
    said = {}
    for days in world.days:
        known = world.known_at(origin, days)[OUTCOME]
        if min(known.sum(), (~known).sum()) >= FEWEST_OUTCOMES:
            said[days] = _train(world, origin, days).score(judged, explain=False).probability
    return said


def by_hazard(world: World, origin: np.datetime64, judged: pd.DataFrame) -> dict[int, FloatArray]:
    """One modest LightGBM on a row per step that was seen to its end: 200 trees, rate 0.03, 15 leaves."""
    known = world.known_at(origin, world.days[0])
    encoder = FeatureEncoder.fit(known, world.features)
    came = np.where(known[OUTCOME_DAYS].isna(), np.inf, known[OUTCOME_DAYS])
    matrix, steps = encoder.encode(known), list(zip([0, *world.days], world.days, strict=False))
    inputs, outcomes, reach = [], [], []
    for begin, end in steps:
        at_risk = (came >= begin) & (known[OBSERVED_DAYS].to_numpy() >= end)
        if (came[at_risk] < end).sum() < FEWEST_OUTCOMES:
            break
        inputs.append(np.column_stack([matrix[at_risk], np.full(at_risk.sum(), end)]))
        outcomes.append(came[at_risk] < end)
        reach.append(end)
    model = lightgbm.LGBMClassifier(n_estimators=200, learning_rate=0.03, num_leaves=15, verbose=-1, n_jobs=2)
    model.fit(np.vstack(inputs), np.concatenate(outcomes))
    remaining, said = np.ones(len(judged)), {}
    for end in reach:
        step = np.column_stack([encoder.encode(judged), np.full(len(judged), end)])
        remaining = remaining * model.predict_proba(step)[:, 0]
        said[end] = 1 - remaining
    return said


WAYS = {"curve": by_curve, "plain": by_plain, "each": by_each, "hazard": by_hazard}


def judge(world: World, origin: np.datetime64) -> Iterator[dict[str, object]]:
    """Rows, outcomes, log loss and calibration error of each way at each horizon."""
    dates = np.unique(as_of_dates(world.frame))
    dates = dates[dates >= origin][:DATES_JUDGED]
    judged = world.frame[np.isin(as_of_dates(world.frame), dates)].reset_index(drop=True)
    said = {name: way(world, origin, judged) for name, way in WAYS.items()}
    observed, came = (judged[name].to_numpy(np.float64) for name in (OBSERVED_DAYS, OUTCOME_DAYS))
    for days in world.days:
        seen = observed >= days
        outcomes = (came[seen] < days).astype(np.float64)
        if min(outcomes.sum(), (1 - outcomes).sum()) < FEWEST_OUTCOMES:
            continue
        for name, probabilities in said.items():
            if days in probabilities:
                promised = np.clip(probabilities[days][seen], SMALLEST, 1 - SMALLEST)
                yield {
                    "world": world.name,
                    "origin": str(origin),
                    "days": days,
                    "way": name,
                    "rows": int(seen.sum()),
                    "outcomes": int(outcomes.sum()),
                    "log_loss": float(log_losses_of(promised, outcomes).mean()),
                    "ece": calibration_error(promised, outcomes),
                    "falls": _falls(probabilities),
                }


def _falls(probabilities: dict[int, FloatArray]) -> float:
    """The share of rows whose probability falls somewhere as the horizon grows."""
    curve = np.column_stack(list(probabilities.values()))
    return float((np.diff(curve, axis=1) < -1e-9).any(axis=1).mean())


@cache
def _train(world: World, origin: np.datetime64, horizon_days: int) -> TrainedModel:
    known = world.known_at(origin, horizon_days)
    return train(known, world.features, world.task, horizon_days=horizon_days, trained_at=TRAINED_AT).model


def report(measured: pd.DataFrame) -> None:
    """Print the means over origins of what all ways said something about, and where which of them said nothing."""
    index = ["world", "days"]
    for figure in ("log_loss", "ece"):
        table = measured.pivot_table(index=index, columns="way", values=figure, aggfunc="mean")
        print(f"\n{figure} (mean over origins)\n{table.round(4).to_string()}")
    counts = measured.pivot_table(index=index, columns="way", values="rows", aggfunc="count")
    print(f"\norigins at which it said something\n{counts.fillna(0).astype(int).to_string()}")
    falls = measured.groupby(["world", "way"])["falls"].mean().unstack()
    print(f"\nshare of entities whose probability falls with more days\n{falls.round(3).to_string()}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("homes", nargs="*", type=Path, default=[Path(os.environ.get("BENCH_DEMO_HOME", ""))])
    parser.add_argument("--origins", type=int, default=2)
    options = parser.parse_args(arguments)
    if options.homes == [Path()]:
        print("Say the home of a finished `churn demo run`, or BENCH_DEMO_HOME: there is nothing to measure.")
        return
    measured = []
    for home in options.homes:
        for world in worlds_of(home):
            for origin in origins_of(world, options.origins):
                measured += list(judge(world, origin))
                print(f"{world.name} from {origin}", flush=True)
    report(pd.DataFrame(measured))


if __name__ == "__main__":
    main()
