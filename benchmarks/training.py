"""Training beside the libraries' own fits on the same encoded matrix: what everything around them costs.

    python -m benchmarks.training [--rows 50000] [--full] [--months 24] [--horizon-days 30]

The churn task's own candidates with their default settings, then XGBoost alone; 60 features, monthly dates, no search.
A library's part is its own fits: on the fit dates, with the early stopping that chooses the number of trees, and once
more on the calibration rows too, with that number. A history too short for its horizon (`--months 6 --horizon-days
180`) is split by entity, as a training does. The model card's shallower shape is two more fits, of settings that
are only tried: it is tuning, and stands by itself. `--full` (or BENCH_FULL=1) takes 400,000 rows. In one process by
turns, the same threads: medians of three turns, and of their ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from ml_assets.estimators.base import FitRows
from ml_assets.estimators.candidates import BLEND, fit_candidate, shallower
from ml_assets.task import ENTITY_ID, OUTCOME, Feature, PredictionTask
from ml_assets.training.lessons import make_lessons, read_rows
from ml_assets.training.splits import NoSplit, split_rows
from ml_assets.training.train import TrainingResult, train
from pipeline.prediction.tasks import task_named

MONTHS, HORIZON_DAYS, SEED, THREADS, TIMES = 24, 30, 7, 2, 3
FULL_ROWS = 400_000
PROMISED = 1.20
FEATURES = tuple(
    Feature(f"feature_{number:02d}", f"Feature {number}", "days", f"family_{number % 6}", "number")
    for number in range(60)
)
CHURN = task_named("churn").task
TASKS = {"all candidates": CHURN, "XGBoost alone": replace(CHURN, candidates=("xgboost",))}


def make_frame(rows: int, count: int) -> pd.DataFrame:
    """Customers at so many month starts, 5 percent of the values missing, 4 percent of the rows with the outcome."""
    chance = np.random.default_rng(1)
    matrix = chance.normal(size=(rows, len(FEATURES)))
    log_odds = -4 + matrix[:, :8] @ chance.normal(0, 0.5, 8) + 0.5 * matrix[:, 8] * matrix[:, 9]
    outcomes = chance.random(rows) < 1 / (1 + np.exp(-log_odds))
    matrix[chance.random(matrix.shape) < 0.05] = np.nan
    customers = rows // count
    frame = pd.DataFrame(matrix[: customers * count], columns=[feature.name for feature in FEATURES])
    months = pd.date_range("2024-01-01", periods=count, freq="MS").date
    frame.insert(0, "as_of_date", np.repeat(months, customers))
    frame.insert(0, ENTITY_ID, np.tile([f"cus_{number:07d}" for number in range(customers)], count))
    frame.insert(0, "company_id", 1)
    return frame.assign(**{OUTCOME: outcomes[: len(frame)]}, feature_version="sql1.set1")


def fit_rows_of(frame: pd.DataFrame, horizon_days: int) -> tuple[str, FitRows, FitRows]:
    """How the training splits, and the encoded rows that it fits on: those to fit on, and those to calibrate on too."""
    rows = read_rows(frame, CHURN)
    split = split_rows(
        rows.dates, rows.outcomes, rows.buckets, horizon_days=horizon_days, settings=CHURN.split, entity=CHURN.entity
    )
    assert not isinstance(split, NoSplit), split.reason
    lessons, _ = make_lessons(rows, FEATURES, split, horizon_days, SEED, THREADS)
    return split.mode, lessons.first.fit_rows, lessons.last.fit_rows


def libraries(first: FitRows, last: FitRows, task: PredictionTask) -> float:
    """Seconds of the candidates' fits alone; a blend is made of others and has none of its own."""
    started = time.perf_counter()
    for name in task.candidates:
        if name != BLEND:
            fit_candidate(name, last, fit_candidate(name, first, {}).settings())
    return time.perf_counter() - started


def shallower_shape(first: FitRows, last: FitRows, result: TrainingResult) -> float:
    """Seconds of the fits of the chosen model's shallower shape; 0 where it has none."""
    settings = shallower(result.model.estimator.settings())
    started = time.perf_counter()
    if settings is not None:
        for rows in (first, last):
            fit_candidate(result.model.estimator.kind, rows, settings)
    return time.perf_counter() - started


def ours(frame: pd.DataFrame, task: PredictionTask, horizon_days: int) -> tuple[float, TrainingResult]:
    """Seconds of a whole training of the task's candidates and the rule, and what it found."""
    started = time.perf_counter()
    result = train(
        frame, FEATURES, task, horizon_days=horizon_days, trained_at=datetime(2026, 1, 1, tzinfo=UTC), threads=THREADS
    )
    assert not result.decision["failed"], result.decision["failed"]
    return time.perf_counter() - started, result


def compare(
    name: str, task: PredictionTask, frame: pd.DataFrame, first: FitRows, last: FitRows, horizon_days: int
) -> bool:
    """Print one comparison; whether the promise was kept."""
    turns = []
    for _ in range(TIMES):
        alone = libraries(first, last, task)
        whole, result = ours(frame, task, horizon_days)
        turns.append((alone, whole, shallower_shape(first, last, result)))
    alone, whole, shape = map(statistics.median, zip(*turns, strict=True))
    ratio = statistics.median((whole - shape) / alone for alone, whole, shape in turns)
    kept = ratio <= PROMISED
    print(f"{name}, {result.model.estimator.kind} chosen")
    print(f"  the libraries' fits alone    {alone:7.2f} s")
    print(f"  the whole training           {whole:7.2f} s   ({whole / alone:.2f} times the fits)")
    print(f"    of it the shallower shape  {shape:7.2f} s")
    print(f"    {'training without it / fits alone':34} {ratio:7.2f}", end="")
    print(f"   (promised: at most {PROMISED:g}){'' if kept else '   MISSED'}", flush=True)
    return kept


def main() -> None:
    """Run the benchmark and print what came out; exits 1 where the promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--full", action="store_true", default=bool(os.environ.get("BENCH_FULL")))
    parser.add_argument("--months", type=int, default=MONTHS)
    parser.add_argument("--horizon-days", type=int, default=HORIZON_DAYS)
    options = parser.parse_args()
    frame = make_frame(FULL_ROWS if options.full else options.rows, options.months)
    mode, first, last = fit_rows_of(frame, options.horizon_days)
    sizes = f"{len(first.outcomes):,} and then {len(last.outcomes):,} of them to fit on"
    print(f"Training on {len(frame):,} rows of {len(FEATURES)} features, split {mode}: {sizes}")
    kept = [compare(name, task, frame, first, last, options.horizon_days) for name, task in TASKS.items()]
    if not all(kept):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
