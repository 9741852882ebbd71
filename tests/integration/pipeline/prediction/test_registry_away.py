"""Without the model registry, or a champion in it, nothing is scored, and the error says why."""

from __future__ import annotations

import logging
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy.exc
import sqlalchemy.orm

from foundation.model_version import ModelVersion
from orchestration.company_work import for_each_company
from pipeline.prediction.registry import ModelFilesMissing, ModelRegistry, RegistryUnreachable
from pipeline.prediction.scoring import Scorer
from pipeline.prediction.training import Trainer
from tests.integration.pipeline.prediction.two_features import ATTRIBUTES, CHURN, FEATURES, NOW, scorer_of, trainer_of
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.errors import WarehouseUnreachable

pytestmark = pytest.mark.xdist_group("mlflow")


def test_without_a_readable_champion_nothing_is_staged_and_training_mends_it(
    warehouse: Warehouse, company: Company, tmp_path: Path
) -> None:
    trainer_of(warehouse, tmp_path).train(company, "always")
    shutil.rmtree(tmp_path / "mlflow")
    with pytest.raises(ModelFilesMissing, match="Put them back, or `churn train --company SLUG` trains it again"):
        scorer_of(warehouse, tmp_path).stage(company)
    with warehouse.connect() as connection:
        assert connection.execute("select count(*) from ml.staged_scores").fetchone() == (0,)
    trainer_of(warehouse, tmp_path).train(company, "always")
    assert scorer_of(warehouse, tmp_path).stage(company).rows == 6


def test_a_registry_that_cannot_be_reached_is_a_clear_error_and_stages_nothing(
    warehouse: Warehouse, company: Company, tmp_path: Path
) -> None:
    trainer_of(warehouse, tmp_path).train(company, "always")
    away = ModelRegistry(Warehouse("postgresql://nobody:secret@127.0.0.1:1/nowhere"), tmp_path)
    trainer = Trainer(CHURN, warehouse, away, FEATURES, Clock(None), 1)
    scorer = Scorer(CHURN, warehouse, away, FEATURES, Clock(None))
    for work in (lambda: trainer.train(company, "always"), lambda: scorer.stage(company)):
        with pytest.raises(WarehouseUnreachable) as refused:
            work()
        assert "secret" not in str(refused.value)
    with warehouse.connect() as connection:
        assert connection.execute("select count(*) from ml.staged_scores").fetchone() == (0,)
        assert connection.execute("select count(*) from ml.training_runs").fetchone() == (1,)


class _Removable(ModelRegistry):
    """A registry whose MLflow store may be somewhere else than the warehouse."""

    elsewhere: str | None = None

    @property
    def tracking_uri(self) -> str:
        return self.elsewhere or super().tracking_uri


@pytest.mark.parametrize("answers", [False, None], ids=["refuses", "does not answer"])
def test_a_store_of_models_that_is_away_is_a_clear_error_in_seconds_and_the_next_company_goes_on(
    warehouse: Warehouse,
    company: Company,
    add_company: Callable[..., Company],
    tmp_path: Path,
    answers: bool | None,
) -> None:
    other = add_company("other", clock_at=NOW, custom_attributes=ATTRIBUTES)
    with warehouse.connect() as connection:
        for table in ("churn_feature_matrix", "churn_labels"):
            connection.execute(
                f"create temporary table more as select * from features.{table};"  # type: ignore[arg-type]
                f"update more set company_id = {other.company_id};"
                f"insert into features.{table} select * from more; drop table more"
            )
    for tenant in (company, other):
        trainer_of(warehouse, tmp_path).train(tenant, "always")
    registry = _Removable(warehouse, tmp_path)
    scorer = Scorer(CHURN, warehouse, registry, FEATURES, Clock(None))

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if answers is None:
            silent.listen()
        port = silent.getsockname()[1]

        def work(tenant: Company) -> int:
            away = f"postgresql+psycopg://churn:planted@127.0.0.1:{port}/models?connect_timeout=2"
            registry.elsewhere = away if tenant.slug == "acme" else None
            return scorer.stage(tenant).rows

        context: Any = SimpleNamespace(
            partition_keys=["acme", "other"],
            run_id="run",
            log=logging.getLogger("tests"),
            selected_asset_keys=[],
            add_asset_metadata=lambda *_: None,
        )
        started = time.monotonic()
        outcomes = for_each_company(context, warehouse, stage="score", work=work, counts=lambda rows: {"rows": rows})
        assert time.monotonic() - started < 15
    assert outcomes.results == {"other": 6}
    message = outcomes.failures["acme"]
    assert f"(MLflow, schema mlflow at 127.0.0.1:{port}/models) cannot be reached" in message
    assert "what is published stands" in message
    assert "planted" not in message
    with warehouse.connect() as connection:
        assert connection.execute("select distinct company_id from ml.staged_scores").fetchall() == [
            (other.company_id,)
        ]
        assert connection.execute(
            "select status, error like '%cannot be reached%' from ops.run_log order by run_log_id"
        ).fetchall() == [("failed", True), ("succeeded", None)]


def test_a_store_that_went_away_after_it_was_opened_is_told_in_the_same_words(
    warehouse: Warehouse, company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer_of(warehouse, tmp_path).train(company, "always")
    registry = ModelRegistry(warehouse, tmp_path)
    registry.load(ModelVersion("churn-acme", 1))

    def gone(*_: object, **__: object) -> None:
        raise sqlalchemy.exc.OperationalError("select 1", {}, Exception("server closed the connection"))

    monkeypatch.setattr(sqlalchemy.orm.Session, "query", gone)
    with pytest.raises(RegistryUnreachable, match="cannot be reached"):
        registry.load(ModelVersion("churn-acme", 1))
