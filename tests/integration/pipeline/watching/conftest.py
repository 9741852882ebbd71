"""A company with published scores to watch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from psycopg.types.json import Jsonb

from ml_assets.task import Feature
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.tasks import task_named
from pipeline.prediction.training import Trainer
from tests.integration.published import Score, publish
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse

pytestmark = pytest.mark.xdist_group("mlflow")


CHURN = task_named("churn")
FEATURES = [
    Feature("days_since_last_payment", "Days since the last payment", "days", "payments", "number"),
    Feature("revenue_90d", "Revenue in the last 90 days", "company's currency", "payments", "number"),
]
FIRST, SECOND = date(2026, 1, 5), date(2026, 2, 5)
NOW = datetime(2026, 4, 1, 6, tzinfo=UTC)


@pytest.fixture
def company(warehouse: Warehouse, add_company: Callable[..., Company]) -> Company:
    """A company whose customers c0 to c9 have scores of two dates; its labels come one by one."""
    company = add_company("acme", clock_at=NOW)
    with warehouse.connect() as conn:
        conn.execute(
            "create table features.churn_label_versions (company_id int, customer_id text, as_of_date date,"
            " label_status text, label_version int, is_churned boolean, known_at timestamptz);"
            "create table intermediate.int_customers__segments (company_id int, customer_id text, segment text);"
            "insert into intermediate.int_customers__segments"
            " select 1, 'c' || number, case number % 2 when 0 then 'shops' end from generate_series(0, 9) as number;"
            "grant select on all tables in schema features, intermediate to churn_ml"
        )
    for day in (FIRST, SECOND):
        publish(warehouse, company.company_id, day, {f"c{number}": Score(0.05 + number / 12) for number in range(10)})
    return company


@pytest.fixture
def trained(warehouse: Warehouse, company: Company, tmp_path: Path) -> tuple[ModelRegistry, Trainer]:
    """Twelve months of features and labels of 200 customers, and a model that was trained on them."""
    with warehouse.connect() as conn:
        conn.execute(
            "create table features.churn_feature_matrix (company_id int, customer_id text, as_of_date date,"
            " days_since_last_payment int, revenue_90d double precision, custom_attributes jsonb,"
            " feature_version text);"
            "create table features.churn_labels (company_id int, customer_id text, as_of_date date,"
            " is_mature boolean, is_churned boolean);"
            "grant select on all tables in schema features to churn_ml"
        )
        random = np.random.default_rng(1)
        for month in range(13):
            day = date(2025 + (month + 3) // 12, (month + 3) % 12 + 1, 1)
            with conn.cursor() as cursor:
                rows = [
                    (company.company_id, f"c{number}", day, int(random.integers(1, 60)), float(random.gamma(2, 50)))
                    for number in range(200)
                ]
                cursor.executemany(
                    "insert into features.churn_feature_matrix values (%s, %s, %s, %s, %s, %s, 'sql1.set1')",
                    [(*row, Jsonb({})) for row in rows],
                )
                cursor.executemany(
                    "insert into features.churn_labels values (%s, %s, %s, %s, %s)",
                    [(*row[:3], day < NOW.date(), bool(random.random() < row[3] / 400)) for row in rows],
                )
    registry = ModelRegistry(warehouse, tmp_path)
    trainer = Trainer(CHURN, warehouse, registry, FEATURES, Clock(None), 1)
    assert trainer.train(company, "when_due").status in ("promoted", "too_few_outcomes")
    return registry, trainer
