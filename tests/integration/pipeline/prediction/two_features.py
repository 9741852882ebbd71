"""Companies with six customers, two features and three attributes of their own, to train and score."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from ml_assets.task import Feature
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.scoring import Scorer
from pipeline.prediction.tasks import task_named
from pipeline.prediction.training import Trainer
from warehouse.clock import Clock
from warehouse.connection import Warehouse

CHURN = task_named("churn")
NOW = datetime(2025, 3, 1, 6, tzinfo=UTC)
FEATURES = [
    Feature("days_since_last_payment", "Days since the last payment", "days", "payments", "number"),
    Feature("revenue_90d", "Revenue in the last 90 days", "company's currency", "payments", "number"),
]
ATTRIBUTES = [
    {"name": "account_tier", "kind": "category", "is_fixed": True, "label": "Tier", "unit": ""},
    {"name": "users", "kind": "number", "is_fixed": False, "label": "Users", "unit": "users"},
    {"name": "trial", "kind": "flag", "is_fixed": True, "label": "Came by a trial", "unit": "yes or no"},
]


def write_features(connection: psycopg.Connection[Any], company_id: int) -> None:
    connection.execute(
        "create table features.churn_feature_matrix (company_id int, customer_id text, as_of_date date,"
        " days_since_last_payment int, revenue_90d double precision, custom_attributes jsonb, feature_version text);"
        "create table features.churn_labels (company_id int, customer_id text, as_of_date date, is_mature boolean,"
        " is_churned boolean);"
        "grant select on all tables in schema features to churn_ml"
    )
    for month in (1, 2, 3):
        for customer in range(6):
            connection.execute(
                "insert into features.churn_feature_matrix values (%s, %s, %s, %s, 10, %s, 'sql1.set1')",
                [
                    company_id,
                    f"c{customer}",
                    f"2025-0{month}-01",
                    10 * customer,
                    Jsonb({"account_tier": "gold", "users": customer, "trial": customer % 2 == 0}),
                ],
            )
    connection.execute(
        "insert into features.churn_labels select company_id, customer_id, as_of_date, as_of_date < '2025-03-01',"
        " case when as_of_date < '2025-03-01' then customer_id = 'c5' end from features.churn_feature_matrix"
    )


def trainer_of(warehouse: Warehouse, home: Path) -> Trainer:
    return Trainer(CHURN, warehouse, ModelRegistry(warehouse, home), FEATURES, Clock(None), 1)


def scorer_of(warehouse: Warehouse, home: Path) -> Scorer:
    return Scorer(CHURN, warehouse, ModelRegistry(warehouse, home), FEATURES, Clock(None))
