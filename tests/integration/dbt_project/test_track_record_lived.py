"""A world that is run day by day, and the same world replayed: what was published, and what would have been."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import LiteralString

import pytest

from pipeline.features.catalogue import read_features
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.scoring import Scorer
from pipeline.prediction.tasks import task_named
from pipeline.prediction.track_record.replaying import Replayer
from pipeline.prediction.training import Trainer
from tests.integration.crm_history import END, FIRST_LOAD, History, generate
from tests.integration.dbt_project.dbt_runs import FEATURES_AND_TASKS, PROJECT, VIEWS_STAND, DbtRuns
from tests.integration.dbt_project.dbt_world import record_load, register_companies
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.publication.publish import publish_staged_scores
from warehouse.roles import Role
from warehouse.settings import Settings

pytestmark = [pytest.mark.xdist_group("mlflow"), pytest.mark.nightly]

LADDER = Settings(ladder_own_outcomes=15, ladder_own_survivors=30)
CHURN = task_named("churn").with_ladder(LADDER)
BINDING = replace(CHURN, task=replace(CHURN.task, candidates=("logistic", "lightgbm")))
LIVED = [datetime(2025, month, 1, 6, tzinfo=UTC) for month in (6, 7)]

PUBLISHED: LiteralString = """
    select company_id, as_of_date, customer_id as entity_id, churn_probability as probability, risk_level, reasons
    from predictions.churn_scores
"""
REPLAYED: LiteralString = """
    select company_id, as_of_date, entity_id, probability, risk_level, reasons from ml.track_record
    where (company_id, as_of_date) in (select company_id, as_of_date from predictions.churn_scores)
"""


def test_a_replayed_month_equals_what_the_run_of_that_day_published(warehouse: Warehouse, tmp_path: Path) -> None:
    warehouse.write_dbt_profile(tmp_path)
    dbt = DbtRuns(PROJECT, tmp_path)
    with warehouse.connect() as connection:
        company_ids = register_companies(connection, now=LIVED[0], first_load=FIRST_LOAD)
    history = generate(company_ids, customers=250, seed=31)
    selected = ("build", "--select", *FEATURES_AND_TASKS, "--exclude-resource-type", "test", "unit_test")
    for moment in LIVED:
        _load_until(warehouse, history, company_ids, moment)
        dbt.run(*selected)
        selected = ("run", "--select", *FEATURES_AND_TASKS, *VIEWS_STAND)
        for company in _companies(warehouse):
            _publish(warehouse, dbt, company, tmp_path, moment)
    _load_until(warehouse, history, company_ids, END)
    dbt.run(*selected)

    features = read_features(dbt.folder / "target" / "manifest.json", BINDING.relations.matrix)
    clock = Clock(None)
    trainer = Trainer(BINDING, warehouse, ModelRegistry(warehouse, tmp_path), features, clock, 1)
    replayer = Replayer(BINDING, warehouse, trainer, features, clock, 1)
    for company in _companies(warehouse):
        past = replayer.history(company, {})
        for moment in LIVED:
            month = moment.date()
            decision = past.decide_rung(month, BINDING.task)
            assert decision.rung == "own_model"
            replayer.replay_month(past, month, decision, _feature_version(warehouse, company, month))

    with warehouse.connect() as connection:
        (published,) = connection.execute("select count(*) from predictions.churn_scores").fetchone() or (0,)
        (corrected,) = connection.execute(
            "select count(*) from features.churn_label_versions where label_version > 1 and known_at > %s", [LIVED[0]]
        ).fetchone() or (0,)
        missing = connection.execute(f"{PUBLISHED} except all {REPLAYED}").fetchall()
        added = connection.execute(f"{REPLAYED} except all {PUBLISHED}").fetchall()
    assert published > 400
    # A world in which no outcome was corrected afterwards would prove little.
    assert corrected > 0
    assert (missing, added) == ([], [])


def _companies(warehouse: Warehouse) -> list[Company]:
    with warehouse.connect() as connection:
        return list_companies(connection)


def _load_until(warehouse: Warehouse, history: History, company_ids: list[int], moment: datetime) -> None:
    with warehouse.connect() as connection:
        for company_id in company_ids:
            record_load(connection, company_id, moment, is_backfill=False)
        history.write(connection, known_before=moment)


def _publish(warehouse: Warehouse, dbt: DbtRuns, company: Company, home: Path, moment: datetime) -> None:
    """A first training on that day, and its scores, as the daily run makes them."""
    features = read_features(dbt.folder / "target" / "manifest.json", BINDING.relations.matrix)
    registry = ModelRegistry(warehouse, home)
    with warehouse.connect() as connection:
        connection.execute("delete from ml.promotions; delete from ml.evaluations; delete from ml.training_runs")
    registry.forget(f"churn-{company.slug}")
    clock = Clock(None)
    assert Trainer(BINDING, warehouse, registry, features, clock, 1).train(company, "always").rung == "own_model"
    assert Scorer(BINDING, warehouse, registry, features, clock).stage(company).rows > 0
    with warehouse.connect(Role.ml) as connection:
        connection.execute(
            "insert into ml.publication_gates (company_id, task, as_of_date, staged_at, checked_at, is_passed, checks)"
            " select %s, 'churn', %s, max(staged_at), now(), true, '[]' from ml.staged_scores where company_id = %s",
            [company.company_id, moment.date(), company.company_id],
        )
    with warehouse.connect(Role.publisher, autocommit=True) as connection:
        publish_staged_scores(connection, BINDING.relations.contract, company.company_id, moment.date(), moment)


def _feature_version(warehouse: Warehouse, company: Company, month: date) -> str:
    with warehouse.connect() as connection:
        ((version,),) = connection.execute(
            "select distinct feature_version from features.churn_feature_matrix"
            " where company_id = %s and as_of_date = %s",
            [company.company_id, month],
        ).fetchall()
    return str(version)
