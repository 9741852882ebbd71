"""Scoring a company in chunks: what is explained again, why a score moved, and one customer alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from ml_assets.estimators.boosted_trees import BoostedTrees
from ml_assets.scoring.rows import build_score_rows
from ml_assets.training.train import TrainingResult, fit_rule, train
from orchestration.cli import main as cli
from pipeline.prediction import scoring
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.scoring import Scorer
from pipeline.prediction.tasks import task_named
from tests.unit.ml_assets.ml_world import CHURN, FEATURES, HORIZON_DAYS, TRAINED_AT, simulate
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.frames import copy_arrow
from warehouse.prediction.feature_store import FeaturesNotBuilt, missing_shares
from warehouse.publication.publish import publish_staged_scores
from warehouse.roles import Role

pytestmark = pytest.mark.xdist_group("mlflow")

NOW = datetime(2025, 12, 2, 6, tzinfo=UTC)
YESTERDAY, TODAY = date(2025, 12, 1), date(2025, 12, 2)
VERSION = "sql1.set1"
BINDING = task_named("churn")
CUSTOMERS = 90


def _features(day: date) -> pd.DataFrame:
    matrix = simulate(CUSTOMERS, 1).assign(as_of_date=day, feature_version=VERSION, custom_attributes=None)
    return matrix.drop(columns=["outcome", "true_probability"])


@pytest.fixture(scope="module")
def results() -> dict[str, TrainingResult]:
    """Two models of trees and a rule, of one small world."""
    world = simulate(500, 10, rate=0.1).assign(feature_version=VERSION)
    task = replace(CHURN, candidates=("xgboost",))
    trees = [
        train(world, FEATURES, task, horizon_days=HORIZON_DAYS, trained_at=TRAINED_AT, threads=1, seed=seed)
        for seed in (1, 2)
    ]
    assert all(isinstance(result.model.estimator, BoostedTrees) for result in trees)
    rule = replace(trees[0], model=fit_rule(world, FEATURES, CHURN, horizon_days=HORIZON_DAYS, trained_at=TRAINED_AT))
    return {"first": trees[0], "second": trees[1], "rule": rule}


@pytest.fixture
def company(warehouse: Warehouse, add_company: Callable[..., Company], monkeypatch: pytest.MonkeyPatch) -> Company:
    """A company whose customers stand in the matrix at two dates; scored in chunks of 40."""
    monkeypatch.setattr(scoring, "CHUNK_ROWS", 40)
    company = add_company("acme", clock_at=NOW)
    with warehouse.connect() as conn:
        conn.execute(
            "create table features.churn_feature_matrix (company_id int, customer_id text, as_of_date date,"
            " days_since_last_payment double precision, revenue_90d double precision,"
            " failed_payments_90d double precision, open_tickets double precision, tenure_days double precision,"
            " usage_change double precision, plan text, country text, is_late_payer boolean, noise_1 double precision,"
            " noise_2 double precision, feature_version text, custom_attributes jsonb);"
            "grant select on all tables in schema features to churn_ml"
        )
    _write(warehouse, company, _features(YESTERDAY))
    return company


def _write(warehouse: Warehouse, company: Company, matrix: pd.DataFrame) -> None:
    kept = matrix.assign(company_id=np.int32(company.company_id)).drop(columns="custom_attributes")
    table = pa.Table.from_pandas(kept.rename(columns={"entity_id": "customer_id"}), preserve_index=False)
    with warehouse.connect() as conn, conn.cursor() as cursor:
        cursor.execute(
            "delete from features.churn_feature_matrix where as_of_date = %s", [matrix["as_of_date"].iloc[0]]
        )
        copy_arrow(cursor, table, BINDING.relations.matrix)


def _scorer(warehouse: Warehouse, home: Path) -> Scorer:
    return Scorer(BINDING, warehouse, ModelRegistry(warehouse, home), FEATURES, Clock(None))


def _register(warehouse: Warehouse, home: Path, company: Company, result: TrainingResult) -> None:
    registered = ModelRegistry(warehouse, home).log_training("churn-acme", result, CHURN)
    with warehouse.connect() as conn:
        conn.execute(
            "insert into ml.training_runs (task, company_id, rung, status, model_name, model_version)"
            " values ('churn', %s, 'own_model', 'promoted', %s, %s)",
            [company.company_id, registered.version.name, registered.version.number],
        )


def _publish(warehouse: Warehouse, company: Company, day: date) -> None:
    with warehouse.connect(Role.ml) as conn:
        conn.execute(
            "insert into ml.publication_gates (company_id, task, as_of_date, staged_at, checked_at, is_passed, checks)"
            " select %s, 'churn', %s, max(staged_at), now(), true, '[]' from ml.staged_scores",
            [company.company_id, day],
        )
    with warehouse.connect(Role.publisher, autocommit=True) as conn:
        publish_staged_scores(conn, BINDING.relations.contract, company.company_id, day, NOW)


def _on(company: Company, day: date) -> Company:
    return company.model_copy(update={"clock_at": datetime(day.year, day.month, day.day, 6, tzinfo=UTC)})


def _ask(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connect() as conn:
        return conn.execute(query).fetchall()  # type: ignore[call-overload,no-any-return]


def test_chunks_make_the_rows_that_one_frame_makes_and_an_ordinary_day_explains_only_who_changed(
    warehouse: Warehouse,
    company: Company,
    results: dict[str, TrainingResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _register(warehouse, tmp_path, company, results["first"])
    assert _scorer(warehouse, tmp_path).stage(_on(company, YESTERDAY)).rows == CUSTOMERS
    whole = build_score_rows(results["first"].model, _features(YESTERDAY), CHURN, model_version="churn-acme v1")
    staged = dict(_ask(warehouse, "select entity_id, to_jsonb(staged_scores) from ml.staged_scores"))
    for row in whole.itertuples():
        staged_row = staged[row.entity_id]
        assert staged_row["percentile"] == pytest.approx(row.percentile)
        assert staged_row["probability"] == pytest.approx(row.probability, abs=1e-12)
        assert (staged_row["reasons"], staged_row["families"]) == (json.loads(row.reasons), json.loads(row.families))
        assert (staged_row["row_hash"], staged_row["evidence"]) == (row.row_hash, json.loads(row.evidence))
    assert _ask(warehouse, "select count(*) from ml.explained_parts") == [(CUSTOMERS,)]
    _publish(warehouse, company, YESTERDAY)

    # A day later three customers failed to pay; the others are a day older, and no tree minds that.
    today = _features(TODAY)
    today.loc[today.index[:3], "failed_payments_90d"] = 6.0
    today["noise_1"] += 1e-9
    _write(warehouse, company, today)
    explained: list[int] = []
    parts = BoostedTrees.parts
    monkeypatch.setattr(
        BoostedTrees, "parts", lambda self, matrix: explained.append(len(matrix)) or parts(self, matrix)
    )
    assert _scorer(warehouse, tmp_path).stage(company).rows == CUSTOMERS
    assert sorted({size for size in explained if size > 1}) == [3]
    again = build_score_rows(results["first"].model, today, CHURN, model_version="churn-acme v1")
    staged = dict(_ask(warehouse, "select entity_id, to_jsonb(staged_scores) from ml.staged_scores"))
    for row in again.itertuples():
        assert staged[row.entity_id]["reasons"] == json.loads(row.reasons)

    moves = _ask(
        warehouse,
        "select entity_id, log_odds_change, behaviour, model, correction, main_feature, main_feature_change"
        " from ml.score_moves order by entity_id",
    )
    assert [move[0] for move in moves] == ["c00000", "c00001", "c00002"]
    before, after = (dict(zip(rows["entity_id"], rows["probability"], strict=True)) for rows in (whole, again))
    for customer, change, behaviour, model, correction, feature, most in moves:
        assert change == pytest.approx(_logit(after[customer]) - _logit(before[customer]), abs=1e-9)
        assert (behaviour, model, correction) == (change, 0, 0)
        assert (feature, most > 0) == ("failed_payments_90d", True)


def _logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def test_a_new_model_and_corrected_data_have_their_own_parts_and_all_add_up(
    warehouse: Warehouse, company: Company, results: dict[str, TrainingResult], tmp_path: Path
) -> None:
    _register(warehouse, tmp_path, company, results["first"])
    _scorer(warehouse, tmp_path).stage(_on(company, YESTERDAY))
    _publish(warehouse, company, YESTERDAY)
    first, second = results["first"].model, results["second"].model
    was = _features(YESTERDAY)
    corrected, today = was.copy(), _features(TODAY).iloc[1:]
    corrected.loc[5, "open_tickets"] = 9.0
    today.loc[5, "open_tickets"] = 9.0
    today.loc[7, "usage_change"] = -3.0
    _write(warehouse, company, corrected)
    _write(warehouse, company, today)
    _register(warehouse, tmp_path, company, results["second"])
    assert _scorer(warehouse, tmp_path).stage(company).model_version == "churn-acme v2"
    moves = {
        move[0]: move[1:]
        for move in _ask(
            warehouse,
            "select entity_id, log_odds_change, behaviour, model, correction, previous_model_version, main_feature"
            " from ml.score_moves",
        )
    }
    assert "c00000" not in moves, "who is not scored any more has no move"
    steps = [
        first.score(was, explain=False).log_odds[1:],
        first.score(corrected, explain=False).log_odds[1:],
        first.score(today, explain=False).log_odds,
        second.score(today, explain=False).log_odds,
    ]
    for place, customer in enumerate(today["entity_id"]):
        published, rebuilt, behaved, now = (step[place] for step in steps)
        total, behaviour, model, correction, version, feature = moves[customer]
        assert total == pytest.approx(now - published, abs=1e-9)
        assert [correction, behaviour, model] == pytest.approx(
            [rebuilt - published, behaved - rebuilt, now - behaved], abs=1e-9
        )
        assert behaviour + model + correction == pytest.approx(total, abs=1e-12)
        assert (version, feature) == ("churn-acme v1", None)
    assert moves["c00005"][3] != 0
    assert moves["c00007"][1] != 0
    # The parts of the model that no longer publishes are not kept.
    assert _ask(warehouse, "select distinct model_version from ml.explained_parts") == [("churn-acme v2",)]


def test_a_rule_says_what_moved_too_and_an_earlier_model_that_is_gone_leaves_all_to_the_new_one(
    warehouse: Warehouse, company: Company, results: dict[str, TrainingResult], tmp_path: Path
) -> None:
    _register(warehouse, tmp_path, company, results["rule"])
    _scorer(warehouse, tmp_path).stage(_on(company, YESTERDAY))
    _publish(warehouse, company, YESTERDAY)
    today = _features(TODAY).assign(days_since_last_payment=lambda matrix: matrix["days_since_last_payment"] + 1)
    _write(warehouse, company, today)
    _scorer(warehouse, tmp_path).stage(company)
    query = "select distinct main_feature, behaviour > 0, model = 0 and correction = 0 from ml.score_moves"
    assert _ask(warehouse, query) == [("days_since_last_payment", True, True)]
    assert _ask(warehouse, "select count(*) from ml.explained_parts") == [(0,)]

    _register(warehouse, tmp_path, company, results["first"])
    with warehouse.connect() as conn:
        conn.execute("update predictions.churn_scores_v1 set model_version = 'churn-gone v7'")
        conn.execute("update predictions.churn_publications_v1 set model_version = 'churn-gone v7'")
    _scorer(warehouse, tmp_path).stage(company)
    parts = _ask(
        warehouse,
        "select bool_and(model = log_odds_change), bool_and(behaviour = 0 and correction = 0), count(*)"
        " from ml.score_moves",
    )
    assert parts == [(True, True, CUSTOMERS)]


def test_scores_without_reasons_pass_through_the_same_line(
    warehouse: Warehouse, company: Company, results: dict[str, TrainingResult], tmp_path: Path
) -> None:
    _register(warehouse, tmp_path, company, results["first"])
    _scorer(warehouse, tmp_path).stage(_on(company, YESTERDAY), explain=False)
    assert _ask(warehouse, "select distinct jsonb_array_length(reasons) from ml.staged_scores") == [(1,)]
    assert _ask(warehouse, "select count(*) from ml.explained_parts") == [(0,)]


def test_scoring_keeps_how_many_lack_each_feature_and_counts_anew_where_another_version_made_them(
    warehouse: Warehouse, company: Company, results: dict[str, TrainingResult], tmp_path: Path
) -> None:
    _register(warehouse, tmp_path, company, results["first"])
    with warehouse.connect() as conn:
        conn.execute("update features.churn_feature_matrix set open_tickets = null where customer_id < 'c00030'")
        conn.execute(
            "update features.churn_feature_matrix set custom_attributes ="
            """ case when customer_id < 'c00050' then '{"seats": null, "region": "north"}' else '{"seats": 3}' end"""
            "::jsonb"
        )
    _scorer(warehouse, tmp_path).stage(_on(company, YESTERDAY))
    shares = partial(missing_shares, task=BINDING.relations, company_id=company.company_id, as_of_date=YESTERDAY)
    with warehouse.connect() as conn:
        kept = shares(conn)
        conn.execute("delete from ml.missing_features")
        counted = shares(conn)
        assert kept == counted
        assert kept["open_tickets"] >= 30 / CUSTOMERS
        assert (kept["attribute_seats"], kept["attribute_region"]) == (50 / CUSTOMERS, 1 - 50 / CUSTOMERS)
        conn.rollback()
        conn.execute("update features.churn_feature_matrix set plan = null")
        assert shares(conn) == kept, "the features were not read again"
        conn.execute("update features.churn_feature_matrix set feature_version = 'other'")
        assert shares(conn)["plan"] == 1


@pytest.mark.parametrize("gone", ["min", "max"])
def test_features_that_are_built_anew_between_two_readings_stop_the_scoring(
    warehouse: Warehouse,
    company: Company,
    results: dict[str, TrainingResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gone: str,
) -> None:
    _register(warehouse, tmp_path, company, results["first"])
    stage_scores = scoring.stage_scores

    def stage_later(*arguments: Any) -> int:
        with warehouse.connect() as conn:
            conn.execute(
                "delete from features.churn_feature_matrix where customer_id ="  # type: ignore[call-overload]
                f" (select {gone}(customer_id) from features.churn_feature_matrix)"
            )
        return stage_scores(*arguments)

    monkeypatch.setattr(scoring, "stage_scores", stage_later)
    with pytest.raises(FeaturesNotBuilt, match="acme for 2025-12-01 were built again while they were scored"):
        _scorer(warehouse, tmp_path).stage(_on(company, YESTERDAY))
    assert _ask(warehouse, "select count(*) from ml.staged_scores") == [(0,)]


def test_one_customer_is_scored_alone_with_reasons_and_nothing_is_kept(
    warehouse: Warehouse, company: Company, results: dict[str, TrainingResult], tmp_path: Path
) -> None:
    _register(warehouse, tmp_path, company, results["first"])
    scored = _scorer(warehouse, tmp_path).score_entity(_on(company, YESTERDAY), "c00003")
    whole = build_score_rows(results["first"].model, _features(YESTERDAY), CHURN, model_version="churn-acme v1")
    assert scored["probability"] == pytest.approx(whole["probability"].iloc[3], abs=1e-12)
    assert scored["reasons"] == json.loads(whole["reasons"].iloc[3])
    assert scored["percentile"] is None
    assert _ask(warehouse, "select count(*) from ml.staged_scores") == [(0,)]
    with pytest.raises(FeaturesNotBuilt, match="no active customer 'nobody'"):
        _scorer(warehouse, tmp_path).score_entity(_on(company, YESTERDAY), "nobody")


def test_the_command_shows_one_customers_score_in_words_and_publishes_nothing(
    warehouse: Warehouse,
    company: Company,
    results: dict[str, TrainingResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHURN_DATABASE_URL", warehouse.url("postgresql"))
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    monkeypatch.setattr("pipeline.features.dbt.prepare_manifest", lambda _: None)
    monkeypatch.setattr(Scorer, "from_settings", lambda *_: _scorer(warehouse, tmp_path))
    with warehouse.connect() as conn:
        conn.execute("update ops.companies set clock_at = %s", [datetime(2025, 12, 1, 6, tzinfo=UTC)])

    def asked(*arguments: str) -> Any:
        return CliRunner().invoke(cli.app, ["score", *arguments])

    untrained = asked("--company", "acme", "--customer", "c00003")
    assert "acme has no churn champion yet: run `churn train --company acme`" in str(untrained.exception)
    _register(warehouse, tmp_path, company, results["first"])
    answer = asked("--company", "acme", "--customer", "c00003")
    assert answer.exit_code == 0, answer.exception
    expected = _scorer(warehouse, tmp_path).score_entity(_on(company, YESTERDAY), "c00003")
    lines = answer.output.splitlines()
    assert lines[0] == "Acme, customer c00003, as of 2025-12-01"
    assert lines[1].startswith(f"{expected['probability']:.1%} likely to leave within 30 days (")
    assert lines[2].startswith("By churn-acme v1, a model of the company's own, which learned from ")
    assert lines[3] == f"At stake: {expected['value']:,.2f} EUR (revenue_90d)."
    assert lines[-len(expected["reasons"]) :] == [
        f"  {reason['contribution']:+.2f}  {reason['text']}" for reason in expected["reasons"]
    ]
    assert _ask(warehouse, "select count(*) from ml.staged_scores") == [(0,)]
    assert _ask(warehouse, "select count(*) from predictions.churn_scores") == [(0,)]

    for arguments, told in (
        (["--customer", "c00003"], "Say whose customer it is"),
        (["--company", "acme", "--customer", "nobody"], "acme: There is no active customer 'nobody'"),
        (["--company", "acem", "--customer", "c00003"], "acem"),
    ):
        wrong = asked(*arguments)
        assert wrong.exit_code == 1
        assert re.search(told, str(wrong.exception))


def test_an_infinite_value_is_missing_for_its_customer_and_everybody_is_scored(
    warehouse: Warehouse, company: Company, results: dict[str, TrainingResult], tmp_path: Path
) -> None:
    _register(warehouse, tmp_path, company, results["first"])
    broken, mended = (_features(YESTERDAY + timedelta(days=days)) for days in (1, 2))
    broken.loc[80, "revenue_90d"], mended.loc[80, "revenue_90d"] = np.inf, np.nan
    probabilities = []
    for features, day in ((broken, 1), (mended, 2)):
        _write(warehouse, company, features)
        _scorer(warehouse, tmp_path).stage(_on(company, YESTERDAY + timedelta(days=day)))
        probabilities.append(_ask(warehouse, "select entity_id, probability from ml.staged_scores order by 1"))
    assert len(probabilities[0]) == CUSTOMERS
    assert probabilities[0] == probabilities[1]


def test_stored_parts_that_are_damaged_are_made_anew(
    warehouse: Warehouse, company: Company, results: dict[str, TrainingResult], tmp_path: Path
) -> None:
    _register(warehouse, tmp_path, company, results["first"])
    _scorer(warehouse, tmp_path).stage(_on(company, YESTERDAY))
    query = "select entity_id, parts from ml.explained_parts order by 1"
    before = _ask(warehouse, query)
    with warehouse.connect() as conn:
        conn.execute("update ml.explained_parts set parts = '\\x00' where entity_id < 'c00050'")
    _scorer(warehouse, tmp_path).stage(_on(company, YESTERDAY), again=True)
    assert _ask(warehouse, query) == before
