"""A score on demand over HTTP: the number that would be published, and what if."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml_assets.scoring.rows import build_score_rows
from ml_assets.training.train import TrainingResult, train
from pipeline.features.catalogue import manifest_path
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.tasks import task_named
from tests.integration.company_ids import take_ids_of_no_other_test
from tests.integration.serving.served import Served, serving
from tests.unit.ml_assets.ml_world import CHURN, FEATURES, HORIZON_DAYS, TRAINED_AT, simulate
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.frames import copy_arrow
from warehouse.settings import Settings

pytestmark = pytest.mark.xdist_group("mlflow")

DAY = date(2025, 12, 1)
VERSION = "sql1.set1"
CUSTOMERS = 30


@pytest.fixture(scope="module")
def result() -> TrainingResult:
    """A model of trees, of one small world."""
    world = simulate(500, 10, rate=0.1).assign(feature_version=VERSION)
    task = replace(CHURN, candidates=("xgboost",))
    return train(world, FEATURES, task, horizon_days=HORIZON_DAYS, trained_at=TRAINED_AT, threads=1, seed=1)


class Asked(NamedTuple):
    """A client of a company with a model, and the key of another without one."""

    client: httpx.Client
    company_id: int
    other_key: str


def _features(company_id: int) -> pd.DataFrame:
    matrix = simulate(CUSTOMERS, 1).assign(as_of_date=DAY, feature_version=VERSION, custom_attributes=None)
    matrix["company_id"] = np.int32(company_id)
    return matrix.drop(columns=["outcome", "true_probability"])


def _build(warehouse: Warehouse, company: Company) -> None:
    """The matrix, with an older row of each customer, and the mart by which a company knows its customers."""
    with warehouse.connect() as conn, conn.cursor() as cursor:
        cursor.execute(
            "create table features.churn_feature_matrix (company_id int, customer_id text, as_of_date date,"
            " days_since_last_payment double precision, revenue_90d double precision,"
            " failed_payments_90d double precision, open_tickets double precision, tenure_days double precision,"
            " usage_change double precision, plan text, country text, is_late_payer boolean, noise_1 double precision,"
            " noise_2 double precision, feature_version text, custom_attributes jsonb);"
            "create table analytics.customer_overview (company_id int, customer_id text);"
            "alter table analytics.customer_overview enable row level security, force row level security;"
            "create policy owner on analytics.customer_overview to current_user using (true) with check (true);"
            "create policy own on analytics.customer_overview for select to churn_company"
            " using (company_id = (select split_part(current_user, '_', 2)::int));"
            "grant select on analytics.customer_overview to churn_company;"
            "grant select on all tables in schema features to churn_ml"
        )
        for day, shift in ((date(2025, 11, 1), 500.0), (DAY, 0.0)):
            kept = _features(company.company_id).assign(as_of_date=day)
            kept["days_since_last_payment"] += shift
            table = kept.drop(columns="custom_attributes").rename(columns={"entity_id": "customer_id"})
            matrix = task_named("churn").relations.matrix
            copy_arrow(cursor, pa.Table.from_pandas(table, preserve_index=False), matrix)
        cursor.execute(
            "insert into analytics.customer_overview select distinct company_id, customer_id"
            " from features.churn_feature_matrix"
        )


def _describe(home: Path) -> None:
    """dbt's manifest, as far as features go."""
    words = {
        feature.name: {
            "meta": {"feature": {name: getattr(feature, name) for name in ("label", "unit", "family", "kind")}}
        }
        for feature in FEATURES
    }
    node = {"name": "churn_feature_matrix", "resource_type": "model", "config": {}, "columns": words}
    path = manifest_path(Settings(home=home))
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"nodes": {"model.churn_warehouse.churn_feature_matrix": node}}))


@pytest.fixture
def asked(
    warehouse: Warehouse, add_company: Callable[..., Company], result: TrainingResult, tmp_path: Path
) -> Iterator[Asked]:
    with warehouse.connect() as connection:
        take_ids_of_no_other_test(connection)
    company, _ = add_company("acme", clock_at=datetime(2025, 12, 2, 6, tzinfo=UTC)), add_company("other")
    _build(warehouse, company)
    registered = ModelRegistry(warehouse, tmp_path).log_training("churn-acme", result, CHURN)
    with warehouse.connect() as conn:
        conn.execute(
            "insert into ml.training_runs (task, company_id, rung, status, model_name, model_version)"
            " values ('churn', %s, 'own_model', 'promoted', %s, %s)",
            [company.company_id, registered.version.name, registered.version.number],
        )
    _describe(tmp_path)
    with serving(warehouse, tmp_path) as (address, process, log):
        served = Served(warehouse, address, process, log)
        with served.client(served.key("acme")) as client:
            yield Asked(client, company.company_id, served.key("other"))
        served.forget_keys()


def test_a_customer_is_scored_now_and_what_if(asked: Asked, result: TrainingResult) -> None:
    def ask(customer: str, body: Any = None) -> httpx.Response:
        return asked.client.post(f"/v1/customers/{customer}/scores/churn/score", json=body)

    # From the newest row, as it would be published.
    features = _features(asked.company_id)
    whole = build_score_rows(result.model, features, CHURN, model_version="churn-acme v1").set_index("entity_id")
    for customer in ("c00003", "c00007"):
        answer = ask(customer)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        expected = whole.loc[customer]
        assert told["score"]["probability"] == pytest.approx(expected["probability"], abs=1e-12)
        assert told["score"]["reasons"] == json.loads(expected["reasons"])
        assert (told["score"]["as_of_date"], told["score"]["percentile"]) == ("2025-12-01", None)
        assert (told["probability_before"], told["changed"]) == (told["score"]["probability"], [])

    # What if: the model's own answer for that row with the value in it.
    changes = {"failed_payments_90d": 5, "is_late_payer": True, "plan": features["plan"].iloc[0]}
    changed = ask("c00003", {"attributes": changes}).json()
    row = features.set_index("entity_id", drop=False).loc[["c00003"]].assign(**changes)
    alone = build_score_rows(result.model, row, CHURN, model_version="churn-acme v1").iloc[0]
    assert changed["score"]["probability"] == pytest.approx(alone["probability"], abs=1e-12)
    assert changed["probability_before"] == pytest.approx(whole.loc["c00003", "probability"], abs=1e-12)
    assert {each["feature"]: each["after"] for each in changed["changed"]} == changes
    assert changed["meaning"] == "association, not effect"
    assert ask("c00003", {"attributes": {"failed_payments_90d": None}}).status_code == 200

    # What cannot be is refused, all of it at once.
    wrong = {"failed_payments_90d": -1, "is_late_payer": 3, "plan": "a stranger's", "nonsense": 1}
    refused = ask("c00003", {"attributes": wrong})
    assert refused.status_code == 422
    assert {each["where"] for each in refused.json()["errors"]} == {f"body.attributes.{name}" for name in wrong}
    assert "vip" not in refused.text

    # Whom nobody has, and whom another company has.
    assert ask("nobody").status_code == 404
    asked.client.headers["Authorization"] = f"Bearer {asked.other_key}"
    assert ask("c00003").status_code == 404
