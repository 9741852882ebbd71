"""Level and order of the probabilities by rolling origin: as published now and before, and beside simple models.

    python -m benchmarks.levels [--origins 4]

At each origin a model is trained with what was known by then and judged on the rows of that date. Before: the same
candidate without its last fit, its intercept that of the calibration dates alone. Raw: the margin as it is, without
slope or level. Modest: LightGBM (200 trees, rate 0.03, 15 leaves) on twenty columns of recency, frequency and money,
or on all. Worlds whose base rate is planted, then the companies of the homes that BENCH_DEMO_HOME names, separated by
colons: of a finished `churn demo run`, of what docs/online-retail.md takes in. Without it a demo is run.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from benchmarks.known_truth import CHURN, demo_home
from ml_assets.estimators.candidates import fit_candidate
from ml_assets.frames import FeatureEncoder, FloatArray, as_of_dates, outcomes_of
from ml_assets.judging.evaluate import calibration_error, log_losses_of
from ml_assets.model.calibrate import levelled
from ml_assets.model.explain import probabilities_of
from ml_assets.model.level import needed_shift
from ml_assets.model.trained import TrainedModel
from ml_assets.task import ENTITY_ID, OUTCOME, Feature
from ml_assets.training.lessons import make_lesson, read_rows
from ml_assets.training.splits import LEARNED, TimeSplit
from ml_assets.training.train import TrainingResult, train
from pipeline.features.catalogue import built_features, features_of_attributes, manifest_path, read_features
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.prediction.feature_store import labelled_rows
from warehouse.settings import Settings

THREADS, FEWEST_OUTCOMES = 2, 10
RANGES_KEPT = 0.90
FEWEST_ORIGINS = 3
#: Recency, frequency and money.
SIMPLE = (
    "days_since_last_payment",
    "tenure_days",
    *(f"payments_{days}d" for days in (7, 30, 90, 180, 365)),
    *(f"revenue_{days}d" for days in (7, 30, 90, 180, 365)),
    *(f"average_charge_{days}d" for days in (30, 90, 365)),
    "largest_charge_365d",
    "average_days_between_payments_365d",
    "recency_against_usual_gap",
    "payments_against_previous_90d",
    "revenue_against_previous_90d",
)
MODEST = {"objective": "binary", "learning_rate": 0.03, "num_leaves": 15, "verbose": -1, "seed": 1}


@dataclass(frozen=True)
class Set:
    """A company's labelled rows, its features and its horizon."""

    name: str
    frame: pd.DataFrame
    features: Sequence[Feature]
    horizon_days: int


def planted(months: int = 30, customers: int = 1200, horizon_days: int = 30) -> Iterator[Set]:
    """Worlds whose monthly log odds move by a season, a trend, a jump, by chance, or not at all."""
    time, chance = np.arange(months), np.random.default_rng(4)
    moves = {
        "none": 0 * time,
        "season": 0.6 * np.sin(2 * np.pi * time / 12),
        "trend": 0.04 * (time - months / 2),
        "jump": np.where(time >= 0.6 * months, 0.8, 0.0),
        "each its own": chance.normal(0, 0.35, months),
    }
    features = [Feature(f"x{place}", f"Number {place}", "", "numbers", "number") for place in range(8)]
    for name, shifts in moves.items():
        yield Set(f"planted: {name}", _world(shifts, customers, features), features, horizon_days)


def _world(shifts: FloatArray, customers: int, features: Sequence[Feature]) -> pd.DataFrame:
    """A row per customer and month; five of the features tell of who leaves, and who leaves makes room for another."""
    chance, parts = np.random.default_rng(5), []
    lasting, ids = chance.normal(size=(customers, len(features))), np.arange(customers)
    for month, shift in enumerate(shifts):
        matrix = 0.7 * lasting + 0.7 * chance.normal(size=lasting.shape)
        log_odds = -2.8 + shift + matrix[:, :5] @ [0.8, -0.6, 0.5, 0.4, 0.3]
        left = chance.random(customers) < probabilities_of(log_odds)
        frame = pd.DataFrame(matrix, columns=[feature.name for feature in features])
        day = date(2023 + month // 12, month % 12 + 1, 1)
        parts.append(frame.assign(company_id=1, as_of_date=day, feature_version="f.s", **{OUTCOME: left}))
        parts[-1][ENTITY_ID] = [f"c{number:06d}" for number in ids]
        ids = np.where(left, ids + customers, ids)
        lasting[left] = chance.normal(size=(int(left.sum()), len(features)))
    return pd.concat(parts, ignore_index=True)


def companies_of(home: Path) -> Iterator[Set]:
    """The labelled rows of a home's companies that have enough outcomes to train on."""
    settings = Settings(home=home)
    with Warehouse.open(settings) as warehouse:
        matrix = CHURN.relations.matrix
        features = built_features(warehouse, matrix, read_features(manifest_path(settings), matrix))
        with warehouse.connect() as conn:
            companies = list_companies(conn)
        for company in companies:
            names, attributes = [feature.name for feature in features], company.custom_attributes
            rows = labelled_rows(warehouse, CHURN.relations, [company.company_id], names, attributes).to_pandas()
            own = [*features, *features_of_attributes(attributes)]
            yield Set(f"{home.name}: {company.slug}", rows, own, CHURN.horizon_days(company))


def judge(company: Set, origins: int) -> Iterator[dict[str, float | str]]:
    """Rows of figures, one per origin: the latest ones, spread over the later half of the dates."""
    dates, outcomes = as_of_dates(company.frame), outcomes_of(company.frame, CHURN.task)
    days = np.unique(dates)
    later = days[len(days) // 2 :]
    for day in later[:: max(1, -(-len(later) // origins))]:
        known, there = dates + np.timedelta64(company.horizon_days, "D") <= day, dates == day
        if min(outcomes[known].sum(), outcomes[there].sum()) < FEWEST_OUTCOMES:
            continue
        past, rows = company.frame[known].reset_index(drop=True), company.frame[there]
        trained = train(
            past,
            company.features,
            CHURN.task,
            horizon_days=company.horizon_days,
            trained_at=datetime.combine(day.item(), datetime.min.time(), tzinfo=UTC),
            threads=THREADS,
        )
        if trained.model.level is not None and trained.split["mode"] != "by_entity":
            figures = _figures(trained, past, rows, outcomes[there], day.item())
            yield {"set": company.name, "origin": str(day), **figures} | _modest(company, past, rows, outcomes[there])


def _figures(
    trained: TrainingResult, past: pd.DataFrame, rows: pd.DataFrame, outcomes: FloatArray, day: date
) -> dict[str, float]:
    model = trained.model.at(day)
    assert model.level is not None
    margins = model.estimator.margins(model.encoder.encode(rows))
    level = model.level.at(day)
    needed, variance = needed_shift(model.calibrator.log_odds(margins) - level.shift, outcomes)
    probabilities = {
        "new": model.score(rows, explain=False).probability,
        "raw": probabilities_of(margins),
        "before": _before(model, trained.split, past, rows),
    }
    return {
        "kept": float(outcomes.mean()),
        "promised": float(probabilities["new"].mean()),
        "in_range": float(abs(needed - level.shift) <= norm.ppf(0.975) * np.hypot(level.sd, np.sqrt(variance))),
        **{f"loss_{name}": float(log_losses_of(values, outcomes).mean()) for name, values in probabilities.items()},
        **{f"ece_{name}": calibration_error(values, outcomes) for name, values in probabilities.items()},
        **{f"auc_{name}": float(roc_auc_score(outcomes, probabilities[name])) for name in ("new", "before")},
    }


def _before(model: TrainedModel, split: dict[str, object], past: pd.DataFrame, rows: pd.DataFrame) -> FloatArray:
    """The candidate without its last fit, and with the intercept at which the calibration dates' mean is kept."""
    seen, recorded, facts = read_rows(past, CHURN.task), TimeSplit.from_record(split), model.facts
    lesson = make_lesson(seen, model.encoder.features, recorded, LEARNED, facts.horizon_days, facts.seed, THREADS)
    estimator = fit_candidate(model.estimator.kind, lesson.fit_rows, model.estimator.settings())
    margins = estimator.margins(lesson.encoder.encode(rows))
    calibrate = seen.of(recorded, "calibrate")
    if not calibrate.any():
        return probabilities_of(margins)
    line = levelled(model.calibrator, estimator.margins(lesson.matrix[calibrate]), seen.outcomes[calibrate])
    return probabilities_of(line.log_odds(margins))


def _modest(company: Set, past: pd.DataFrame, rows: pd.DataFrame, outcomes: FloatArray) -> dict[str, float]:
    """The AUC of modest LightGBMs; NaN on simple columns where a set has none of them."""
    aucs = {}
    simple = [feature for feature in company.features if feature.name in SIMPLE]
    for name, features in (("simple", simple), ("all", company.features)):
        if not features:
            aucs[f"auc_{name}"] = np.nan
            continue
        encoder = FeatureEncoder.fit(past, features)
        learned = lightgbm.Dataset(encoder.encode(past), outcomes_of(past, CHURN.task))
        booster = lightgbm.train({**MODEST, "num_threads": THREADS}, learned, 200)
        aucs[f"auc_{name}"] = float(roc_auc_score(outcomes, booster.predict(encoder.encode(rows))))
    return aucs


def main() -> None:
    """Print a line per origin and a table of means per set; exits 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--origins", type=int, default=4, help="Origins per set, at most.")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    figures = [row for company in planted() for row in judge(company, options.origins)]
    with demo_home() as home:
        for each in os.environ.get("BENCH_DEMO_HOME", str(home)).split(":"):
            figures += [row for company in companies_of(Path(each)) for row in judge(company, options.origins)]
    table = pd.DataFrame(figures)
    print(table.round(3).to_string(index=False))
    means = table.drop(columns="origin").groupby("set", sort=False).mean()
    means.insert(0, "origins", table.groupby("set", sort=False).size())
    print("\nMeans over the origins\n", means.round(4).T.to_string(), sep="")
    if not all(_promises(table, means)):
        raise SystemExit(1)


def _promises(table: pd.DataFrame, means: pd.DataFrame) -> Iterator[bool]:
    """Whether the level is no worse than raw beyond chance, its range is honest, and the order beats modest trees."""
    excess = table["ece_new"] - table["ece_raw"]
    beyond = float(excess.mean() - norm.ppf(0.975) * excess.std(ddof=1) / np.sqrt(len(excess)))
    yield _promise("calibration error above raw, surely", beyond, beyond <= 0)
    for name, own in excess.groupby(table["set"], sort=False):
        if len(own) >= FEWEST_ORIGINS:
            reach = student.ppf(0.975, len(own) - 1) * own.std(ddof=1) / np.sqrt(len(own))
            yield _promise(f"    of {name}", own.mean() - reach, own.mean() <= reach)
    yield _promise(
        "origins within the level's range", float(table["in_range"].mean()), table["in_range"].mean() >= RANGES_KEPT
    )
    for name in ("simple", "all"):
        gain = float((means["auc_new"] - means[f"auc_{name}"]).mean())
        yield _promise(f"AUC above modest trees on {name}, mean of sets", gain, gain > 0)


def _promise(name: str, value: float, is_kept: bool) -> bool:
    print(f"    {name:48} {value:+8.4f}{'' if is_kept else '   MISSED'}", flush=True)
    return is_kept


if __name__ == "__main__":
    main()
