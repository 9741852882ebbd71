"""Training beside the libraries' own fits on the same encoded matrix: what everything around them costs.

    python -m benchmarks.training [--rows 50000] [--full]

The churn task's own candidates with their default settings, then XGBoost alone; 60 features, monthly dates, no search.
A library's part is its own fits: on the fit dates, with the early stopping that chooses the number of trees, and once
more on the calibration dates too, with that number. The model card's shallower shape is two more fits, of settings that
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
from ml_assets.frames import FeatureEncoder, as_of_dates, outcomes_of
from ml_assets.task import ENTITY_ID, OUTCOME, Feature, PredictionTask
from ml_assets.training.splits import NoSplit, count_by_date, inner_split, rows_on, split_by_time
from ml_assets.training.train import TrainingResult, train
from pipeline.prediction.tasks import task_named

MONTHS, HORIZON_DAYS, THREADS, TIMES = 24, 30, 2, 3
FULL_ROWS = 400_000
PROMISED = 1.20
FEATURES = tuple(
    Feature(f"feature_{number:02d}", f"Feature {number}", "days", f"family_{number % 6}", "number")
    for number in range(60)
)
CHURN = task_named("churn").task
TASKS = {"all candidates": CHURN, "XGBoost alone": replace(CHURN, candidates=("xgboost",))}


def make_frame(rows: int) -> pd.DataFrame:
    """Customers at month starts, 5 percent of the values missing, 4 percent of the rows with the outcome."""
    chance = np.random.default_rng(1)
    matrix = chance.normal(size=(rows, len(FEATURES)))
    log_odds = -4 + matrix[:, :8] @ chance.normal(0, 0.5, 8) + 0.5 * matrix[:, 8] * matrix[:, 9]
    outcomes = chance.random(rows) < 1 / (1 + np.exp(-log_odds))
    matrix[chance.random(matrix.shape) < 0.05] = np.nan
    customers = rows // MONTHS
    frame = pd.DataFrame(matrix[: customers * MONTHS], columns=[feature.name for feature in FEATURES])
    months = pd.date_range("2024-01-01", periods=MONTHS, freq="MS").date
    frame.insert(0, "as_of_date", np.repeat(months, customers))
    frame.insert(0, ENTITY_ID, np.tile([f"cus_{number:07d}" for number in range(customers)], MONTHS))
    frame.insert(0, "company_id", 1)
    return frame.assign(**{OUTCOME: outcomes[: len(frame)]}, feature_version="sql1.set1")


def fit_rows_of(frame: pd.DataFrame) -> tuple[FitRows, FitRows]:
    """The encoded rows that the training fits on: those of the fit dates, and those of the calibration dates too."""
    dates, outcomes = as_of_dates(frame), outcomes_of(frame, CHURN)
    split = split_by_time(count_by_date(dates, outcomes), horizon_days=HORIZON_DAYS, settings=CHURN.split)
    assert not isinstance(split, NoSplit)
    return _encoded(frame, rows_on(dates, split.fit)), _encoded(frame, rows_on(dates, (*split.fit, *split.calibrate)))


def _encoded(frame: pd.DataFrame, fit: np.ndarray) -> FitRows:
    dates, outcomes = as_of_dates(frame)[fit], outcomes_of(frame, CHURN)[fit]
    encoder = FeatureEncoder.fit(frame[fit], FEATURES)
    inner = inner_split(dates, outcomes, horizon_days=HORIZON_DAYS)
    return FitRows(encoder.encode(frame[fit]), outcomes, encoder, inner, 7, THREADS)


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


def ours(frame: pd.DataFrame, task: PredictionTask) -> tuple[float, TrainingResult]:
    """Seconds of a whole training of the task's candidates and the rule, and what it found."""
    started = time.perf_counter()
    result = train(
        frame, FEATURES, task, horizon_days=HORIZON_DAYS, trained_at=datetime(2026, 1, 1, tzinfo=UTC), threads=THREADS
    )
    assert not result.decision["failed"], result.decision["failed"]
    return time.perf_counter() - started, result


def compare(name: str, task: PredictionTask, frame: pd.DataFrame, first: FitRows, last: FitRows) -> bool:
    """Print one comparison; whether the promise was kept."""
    turns = []
    for _ in range(TIMES):
        alone = libraries(first, last, task)
        whole, result = ours(frame, task)
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
    options = parser.parse_args()
    frame = make_frame(FULL_ROWS if options.full else options.rows)
    first, last = fit_rows_of(frame)
    sizes = f"{len(first.outcomes):,} and then {len(last.outcomes):,} of them to fit on"
    print(f"Training on {len(frame):,} rows of {len(FEATURES)} features, {sizes}")
    kept = [compare(name, task, frame, first, last) for name, task in TASKS.items()]
    if not all(kept):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
