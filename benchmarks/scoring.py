"""Scoring beside its bare parts: reading to a matrix, XGBoost's own predict, and COPY of the results.

    python -m benchmarks.scoring [--rows 100000] [--full]

60 features, 5 percent of the values missing, an embedded Postgres of its own, the real scorer, gate and publication
from the warehouse's matrix to published rows, in one process, on a day on which 3 percent of the customers moved.
`--full` (or BENCH_FULL=1) takes 1,000,000 rows. Without reasons first; then reasons of 20,000 rows beside XGBoost's own
contributions, the same day with reasons, and one customer at a time. Seconds are of this machine as busy as it was;
ratios are within one run.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import xgboost
from psycopg import sql

from foundation.model_version import ModelVersion
from ml_assets.estimators.base import FitRows
from ml_assets.estimators.boosted_trees import BoostedTrees, fit_boosted_trees
from ml_assets.frames import FeatureEncoder, FloatArray
from ml_assets.model.calibrate import AffineCalibrator
from ml_assets.model.explain import publish_parts
from ml_assets.model.trained import TrainedModel, TrainingFacts
from ml_assets.scoring.rows import build_score_rows
from ml_assets.task import Feature
from pipeline.companies import parse_definition
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.scoring import Scorer
from pipeline.prediction.tasks import CONTRACTS, task_named
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.companies.registry import add_company
from warehouse.connection import Warehouse
from warehouse.frames import copy_arrow, read_arrow
from warehouse.migrate import migrate
from warehouse.prediction.feature_store import rows_at
from warehouse.publication.gate import run_gate
from warehouse.publication.publish import JSON_COLUMNS, SCORES, publish_staged_scores
from warehouse.relations import Relation
from warehouse.roles import Role
from warehouse.settings import Settings

CHURN = task_named("churn")
CONTRACT = CHURN.relations.contract
FIRST, NEXT = date(2026, 1, 1), date(2026, 1, 2)
VERSION = "sql1.set1"
FULL_ROWS = 1_000_000
EXPLAINED_ROWS = 20_000
EXPLAINED_TIMES = 9
BARE = Relation("ml", "bare_copy")
FEATURES = tuple(
    Feature(f"feature_{number:02d}", f"Feature {number}", "days", f"family_{number % 6}", "number")
    for number in range(60)
)
THREADS = 2


class _RegistryInMemory:
    """A registry that holds one model in memory: how a model is stored is not measured here."""

    def __init__(self, model: TrainedModel) -> None:
        self._model = model

    def champion_version(self, name: str) -> ModelVersion:
        """Always the first."""
        return ModelVersion(name, 1)

    def load(self, version: ModelVersion) -> TrainedModel:  # noqa: ARG002
        """The model."""
        return self._model


def make_model() -> TrainedModel:
    """Trees of the product's own settings, fitted on 20,000 made-up rows."""
    chance = np.random.default_rng(1)
    matrix = chance.normal(size=(20_000, len(FEATURES)))
    log_odds = -3 + matrix[:, :8] @ chance.normal(0, 0.5, 8) + 0.5 * matrix[:, 8] * matrix[:, 9]
    outcomes = (chance.random(len(matrix)) < 1 / (1 + np.exp(-log_odds))).astype(float)
    matrix[chance.random(matrix.shape) < 0.05] = np.nan
    encoder = FeatureEncoder(FEATURES, {}, {"1": {feature.name: 0.0 for feature in FEATURES}})
    trees = fit_boosted_trees(FitRows(matrix, outcomes, encoder, None, 7, THREADS))
    facts = TrainingFacts(
        trained_at=datetime(2026, 1, 1, tzinfo=UTC),
        horizon_days=30,
        seed=7,
        rows=len(matrix),
        base_rate=float(outcomes.mean()),
        last_seen_date=None,
        fingerprint="",
        libraries={},
        feature_version=VERSION,
        customers=len(matrix),
        outcomes=int(outcomes.sum()),
    )
    calibrator = AffineCalibrator(0.95, 0.02, "made up", (0.001, 0.0, 0.001))
    return TrainedModel(CHURN.name, "own_model", trees, calibrator, encoder, facts)


def fill(warehouse: Warehouse, company_id: int, rows: int, day: date, moved_share: float = 0.0) -> None:
    """Feature rows of one date: of every customer the same as on another, but for a share of them."""
    columns = ", ".join(f"{feature.name} double precision" for feature in FEATURES)
    with warehouse.connect() as conn, conn.cursor() as cursor:
        cursor.execute(
            "create table if not exists features.churn_feature_matrix (company_id int not null,"
            f" customer_id text not null, as_of_date date not null, feature_version text not null, {columns},"
            " primary key (company_id, as_of_date, customer_id))"
        )
        cursor.execute("grant select on features.churn_feature_matrix to churn_ml")
        for start in range(0, rows, 50_000):
            size, chance = min(50_000, rows - start), np.random.default_rng(start)
            values = chance.normal(size=(len(FEATURES), size))
            missing = chance.random(values.shape) < 0.05
            # A day later everybody is a little older, which no tree minds, and some have moved.
            values[0] += 1e-12 * (day - FIRST).days
            has_moved = chance.random(size) < moved_share
            values[1:5, has_moved] += 2.0
            table = {
                "company_id": pa.array(np.full(size, company_id), pa.int32()),
                "customer_id": [f"cus_{number:08d}" for number in range(start, start + size)],
                "as_of_date": pa.array([day] * size, pa.date32()),
                "feature_version": [VERSION] * size,
            }
            for place, feature in enumerate(FEATURES):
                table[feature.name] = pa.array(values[place], mask=missing[place])
            copy_arrow(cursor, pa.table(table), CHURN.relations.matrix)
    with warehouse.connect(autocommit=True) as conn:
        conn.execute("vacuum analyze features.churn_feature_matrix")


def loads(conn: psycopg.Connection[Any], company: Company) -> None:
    """Loads behind the made-up features, without which no score would be published."""
    conn.execute(
        "insert into ops.load_log (company_id, entity, is_backfill, known_at, finished_at, status)"
        " select %(company)s, entity, true, %(at)s, %(at)s, 'succeeded' from unnest(%(entities)s::text[]) as entity",
        {"company": company.company_id, "at": datetime(2025, 12, 31, tzinfo=UTC), "entities": list(company.entities)},
    )


def bare_read(warehouse: Warehouse, company_id: int) -> tuple[float, FloatArray]:
    """Seconds to read the features into a float32 matrix, and the matrix."""
    names = sql.SQL(", ").join(sql.Identifier(feature.name) for feature in FEATURES)
    query = sql.SQL("select {} from features.churn_feature_matrix where company_id = {} and as_of_date = {}")
    started = time.perf_counter()
    table = read_arrow(warehouse, query.format(names, company_id, FIRST), role=Role.ml)
    matrix = np.empty(table.shape, dtype=np.float32, order="F")
    for place, column in enumerate(table.columns):
        matrix[:, place] = column.to_numpy()
    return time.perf_counter() - started, matrix


def bare_predict(trees: BoostedTrees, matrix: FloatArray) -> float:
    """Seconds of XGBoost's own predict, from a matrix."""
    started = time.perf_counter()
    trees.booster.predict(xgboost.DMatrix(matrix, nthread=THREADS), validate_features=False)
    return time.perf_counter() - started


def _published(name: str) -> sql.Composed:
    """A column of SCORES as the published table has it."""
    plain = {
        "task": sql.Literal(CONTRACT.task),
        "entity_id": sql.Identifier(CONTRACT.entity_id),
        "probability": sql.Identifier(CONTRACT.probability),
    }.get(name, sql.Identifier(name))
    return sql.SQL("{}::text as {}" if name in JSON_COLUMNS else "{} as {}").format(plain, sql.Identifier(name))


def published_rows(warehouse: Warehouse, day: date) -> pa.Table:
    """A published set as it was handed over."""
    columns = sql.SQL(", ").join(_published(name) for name in SCORES.names)
    query = sql.SQL("select {} from predictions.churn_scores_v1 where as_of_date = {} order by customer_id")
    return read_arrow(warehouse, query.format(columns, day)).cast(SCORES)


def _with_published_names(table: pa.Table) -> pa.Table:
    """Scores with the columns' names of the published table, which holds one task's."""
    own = {"entity_id": CONTRACT.entity_id, "probability": CONTRACT.probability}
    kept = table.drop_columns(["task"])
    return kept.rename_columns([own.get(name, name) for name in kept.column_names])


def bare_copy(warehouse: Warehouse) -> float:
    """Seconds to COPY the second day's results into a table like the published one, which holds the first day's."""
    first, second = (published_rows(warehouse, day) for day in (FIRST, NEXT))
    with warehouse.connect(autocommit=True) as conn:
        conn.execute(
            sql.SQL("create table {} (like {} including all)").format(BARE.identifier, CONTRACT.scores_v1.identifier)
        )
    seconds = 0.0
    for table in (first, second):
        started = time.perf_counter()
        with warehouse.connect() as conn, conn.cursor() as cursor:
            copy_arrow(cursor, _with_published_names(table), BARE, json_columns=JSON_COLUMNS)
        seconds = time.perf_counter() - started
    with warehouse.connect(autocommit=True) as conn:
        conn.execute(sql.SQL("drop table {}").format(BARE.identifier))
    return seconds


def publish(warehouse: Warehouse, company: Company, day: date) -> float:
    """Seconds of gate and publication."""
    at = datetime(day.year, day.month, day.day, 6, tzinfo=UTC)
    started = time.perf_counter()
    with warehouse.connect(Role.ml) as conn:
        failed = [check for check in run_gate(conn, CHURN.relations, company, day, at) if not check.passed]
    assert not failed, failed
    with warehouse.connect(Role.publisher, autocommit=True) as conn:
        publish_staged_scores(conn, CONTRACT, company.company_id, day, at)
    return time.perf_counter() - started


def without_reasons(warehouse: Warehouse, scorer: Scorer, company: Company, model: TrainedModel) -> list[bool]:
    """Scoring to published rows on an ordinary day, on which few customers moved, beside the sum of its bare parts."""
    scorer.stage(company, explain=False)
    first = publish(warehouse, company, FIRST)
    started = time.perf_counter()
    staged = scorer.stage(_a_day_later(company), explain=False)
    scoring = time.perf_counter() - started
    publishing = publish(warehouse, company, NEXT)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    reading, matrix = bare_read(warehouse, company.company_id)
    predicting = bare_predict(cast(BoostedTrees, model.estimator), matrix)
    del matrix
    copying = bare_copy(warehouse)
    print(f"Scoring {staged.rows:,} rows of {len(FEATURES)} features without reasons, from warehouse to published rows")
    print(f"  bare: read to a matrix       {reading:7.1f} s")
    print(f"  bare: XGBoost's predict      {predicting:7.1f} s")
    print(f"  bare: COPY of the results    {copying:7.1f} s")
    print(f"  scoring to staged rows       {scoring:7.1f} s")
    print(f"  gate and publication         {publishing:7.1f} s ({first:.1f} s of the first set, all of it to the feed)")
    return [
        _promise("all of it / sum of bare parts", (scoring + publishing) / (reading + predicting + copying), 1.5),
        _promise("peak memory of our process, GB", peak, 2.0),
    ]


def reasons(warehouse: Warehouse, company: Company, model: TrainedModel) -> list[bool]:
    """Exact reasons beside the library's own contributions on the same rows."""
    names = [feature.name for feature in FEATURES]
    frame = rows_at(warehouse, CHURN.relations, company.company_id, FIRST, names).slice(0, EXPLAINED_ROWS).to_pandas()
    matrix = model.encoder.encode(frame)
    trees = cast(BoostedTrees, model.estimator)
    library, ours = [], []
    for _ in range(EXPLAINED_TIMES):
        started = time.perf_counter()
        data = xgboost.DMatrix(matrix.astype(np.float32), nthread=THREADS)
        trees.booster.predict(data, pred_contribs=True, validate_features=False)
        library.append(time.perf_counter() - started)
        started = time.perf_counter()
        parts, bias = trees.parts(matrix)
        publish_parts(parts, bias, model.calibrator)
        ours.append(time.perf_counter() - started)
    started = time.perf_counter()
    build_score_rows(model, frame, CHURN.task, model_version="v")
    everything = time.perf_counter() - started
    print(f"Exact reasons of {len(frame):,} rows, {trees.trees} trees; quickest of {EXPLAINED_TIMES}")
    print(f"  XGBoost's contributions      {min(library):7.2f} s")
    print(f"  parts of published log-odds  {min(ours):7.2f} s")
    print(f"  whole rows, words included   {everything:7.2f} s")
    return [_promise("parts / XGBoost's contributions", min(ours) / min(library), 1.1)]


def ordinary_day(warehouse: Warehouse, scorer: Scorer, company: Company) -> None:
    """The first day with reasons, and a day on which few customers moved."""
    started = time.perf_counter()
    scorer.stage(company, again=True)
    first = time.perf_counter() - started
    started = time.perf_counter()
    staged = scorer.stage(_a_day_later(company), again=True)
    ordinary = time.perf_counter() - started
    with warehouse.connect() as conn:
        (moved,) = conn.execute("select count(*) from ml.score_moves").fetchone() or (0,)
    print(f"With reasons, {staged.rows:,} customers: everybody explained {first:.1f} s;")
    print(f"  an ordinary day, {moved:,} of them moved {ordinary:.1f} s, why they moved included")


def one_customer(model: TrainedModel) -> list[bool]:
    """Milliseconds of one customer's row with reasons, from a loaded model."""
    chance = np.random.default_rng(3)
    values = dict(zip([feature.name for feature in FEATURES], chance.normal(size=(len(FEATURES), 500)), strict=True))
    keys = {"company_id": 1, "customer_id": [f"c{number}" for number in range(500)], "as_of_date": FIRST}
    rows = pd.DataFrame({**keys, **values, "feature_version": VERSION})
    times = []
    for number in range(len(rows)):
        frame = rows.iloc[[number]]
        started = time.perf_counter()
        build_score_rows(model, frame, CHURN.task, model_version="v")
        times.append((time.perf_counter() - started) * 1000)
    print(f"One customer with reasons, 500 times: median {statistics.median(times):.1f} ms")
    return [_promise("99th percentile, milliseconds", float(np.quantile(times, 0.99)), 100)]


def main() -> None:
    """Run the benchmark and print what came out; exits 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--full", action="store_true", default=bool(os.environ.get("BENCH_FULL")))
    options = parser.parse_args()
    rows = FULL_ROWS if options.full else options.rows
    model = make_model()
    kept = one_customer(model)
    with tempfile.TemporaryDirectory() as name, Warehouse.open(Settings(home=Path(name) / "home")) as warehouse:
        migrate(warehouse, CONTRACTS)
        with warehouse.connect() as conn:
            definition = {"slug": "acme", "name": "A", "connector": "files", "currency": "EUR"}
            company = add_company(conn, parse_definition(definition | {"churn_kind": "cancellation"}), "benchmark")
            conn.execute(
                "insert into ml.training_runs (task, company_id, rung, status, model_name)"
                " values ('churn', %s, 'own_model', 'promoted', 'churn-acme')",
                [company.company_id],
            )
            loads(conn, company)
        fill(warehouse, company.company_id, rows, FIRST)
        fill(warehouse, company.company_id, rows, NEXT, moved_share=0.03)
        scorer = Scorer(CHURN, warehouse, cast(ModelRegistry, _RegistryInMemory(model)), FEATURES, Clock(None))
        company = company.model_copy(update={"clock_at": datetime(2026, 1, 1, 6, tzinfo=UTC)})
        kept += without_reasons(warehouse, scorer, company, model)
        kept += reasons(warehouse, company, model)
        ordinary_day(warehouse, scorer, company)
    if not all(kept):
        raise SystemExit(1)


def _a_day_later(company: Company) -> Company:
    return company.model_copy(update={"clock_at": datetime(NEXT.year, NEXT.month, NEXT.day, 6, tzinfo=UTC)})


def _promise(name: str, value: float, promised: float) -> bool:
    kept = value <= promised
    print(f"    {name:34} {value:7.2f}   (promised: at most {promised:g}){'' if kept else '   MISSED'}", flush=True)
    return kept


if __name__ == "__main__":
    main()
