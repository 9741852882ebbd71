"""The model registry on a real Postgres and a real folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foundation.model_version import ModelVersion
from ml_assets.training.train import TrainingResult, fit_rule, train
from pipeline.prediction.registry import ModelRegistry, RegistryError
from tests.unit.ml_assets.ml_world import CHURN, FEATURES, HORIZON_DAYS, TRAINED_AT, simulate
from warehouse.connection import Warehouse

pytestmark = pytest.mark.xdist_group("mlflow")

FIRST, SECOND = (ModelVersion("churn-acme", number) for number in (1, 2))


@pytest.fixture(scope="module")
def result() -> TrainingResult:
    """A small trained model."""
    task = replace(CHURN, segment_feature="plan")
    return train(
        simulate(300, 10, rate=0.1), FEATURES, task, horizon_days=HORIZON_DAYS, trained_at=TRAINED_AT, threads=1
    )


def test_versions_the_champion_and_the_figures_survive_in_mlflow(
    warehouse: Warehouse, tmp_path: Path, result: TrainingResult
) -> None:
    registry = ModelRegistry(warehouse, tmp_path)
    assert registry.champion_version("churn-acme") is None
    assert registry.champion("churn-acme") is None
    assert registry.champion_version("churn-acme") is None

    first = registry.log_training("churn-acme", result, CHURN, tags={"company": "acme"})
    challenger = registry.log_training("churn-acme", result, CHURN, promote=False)
    assert (first.version, challenger.version) == (FIRST, SECOND)

    champion = ModelRegistry(warehouse, tmp_path).champion("churn-acme")
    assert champion is not None
    model, version = champion
    assert version == registry.champion_version("churn-acme") == FIRST
    frame = simulate(300, 10, rate=0.1)
    assert np.array_equal(model.score(frame).probability, result.model.score(frame).probability)

    registry.set_champion(SECOND)
    again = registry.champion("churn-acme")
    assert again is not None
    assert again[1] == registry.champion_version("churn-acme") == SECOND

    run = registry._client.get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["company"] == "acme"
    assert run.data.tags["data_fingerprint"] == result.model.facts.fingerprint
    assert run.data.params["library.xgboost"]
    assert run.data.metrics["rule/log_loss"] == pytest.approx(result.evaluations["rule"]["log_loss"])
    files = {file.path for file in registry._client.list_artifacts(first.run_id)}
    assert files == {"model", "training.json", "card.html"}
    page = registry.card(FIRST)
    for heading in (
        "What moves the scores",
        "Promised and kept",
        "Lift by tenth",
        "By segment",
        "Limits",
        "Fingerprint",
    ):
        assert heading in page
    assert page.count("<svg") == 2
    assert "http-equiv" not in page
    assert "src=" not in page
    assert registry.report(FIRST)["split"] == result.split
    report = json.loads(next(tmp_path.glob(f"mlflow/*/{first.run_id}/artifacts/training.json")).read_text())
    assert len(report["features"]) == len(FEATURES)


def test_a_home_folder_that_moved_still_loads_and_a_lost_one_is_named(
    warehouse: Warehouse, tmp_path: Path, result: TrainingResult
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    ModelRegistry(warehouse, old).log_training("churn-acme", result, CHURN)
    shutil.move(old, new)
    assert ModelRegistry(warehouse, new).load(FIRST).rung == result.model.rung
    with pytest.raises(RegistryError, match=r"the files of churn-acme v1 are not under .*old"):
        ModelRegistry(warehouse, old).load(FIRST)


def test_the_rule_of_a_company_with_no_outcomes_becomes_champion(
    warehouse: Warehouse, tmp_path: Path, result: TrainingResult
) -> None:
    frame = simulate(30, 2).assign(outcome=False)
    rule = fit_rule(frame, FEATURES, CHURN, horizon_days=HORIZON_DAYS, trained_at=TRAINED_AT)
    too_few = TrainingResult("too_few_outcomes", rule, result.counts, {}, {"mode": "none"}, {})
    registry = ModelRegistry(warehouse, tmp_path)
    registry.log_training("churn-young", too_few, CHURN)
    champion = registry.champion("churn-young")
    assert champion is not None
    assert champion[0].rung == "rule"


def test_a_version_that_does_not_exist_cannot_become_champion(warehouse: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="churn-acme v9 could not be made champion"):
        ModelRegistry(warehouse, tmp_path).set_champion(ModelVersion("churn-acme", 9))


def test_a_registry_that_cannot_be_reached_says_where_and_keeps_the_password(tmp_path: Path) -> None:
    nowhere = Warehouse("postgresql://someone:hidden-word@127.0.0.1:9/nothing")
    with pytest.raises(Exception, match=r"127\.0\.0\.1:9/nothing") as raised:
        ModelRegistry(nowhere, tmp_path).champion("churn-acme")
    assert "hidden-word" not in str(raised.value)


def test_a_forgotten_model_leaves_neither_rows_nor_files_and_another_stays(
    warehouse: Warehouse, tmp_path: Path, result: TrainingResult
) -> None:
    registry = ModelRegistry(warehouse, tmp_path)
    assert registry.forget("churn-acme") == 0
    for _ in range(2):
        registry.log_training("churn-acme", result, CHURN)
    other = registry.log_training("churn-other", result, CHURN)
    assert registry.forget("churn-acme") == 2
    assert registry.champion("churn-acme") is None
    with warehouse.connect() as connection:
        assert connection.execute("select run_uuid from mlflow.runs").fetchall() == [(other.run_id,)]
    assert [path.name for path in (tmp_path / "mlflow").glob("*/*")] == [other.run_id]
    assert registry.champion("churn-other") is not None
