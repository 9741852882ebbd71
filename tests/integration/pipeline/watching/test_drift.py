"""Drift of a company's features, scores and base rate, from the warehouse's tables to the figures."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from ml_assets.judging.drift import TOGETHER
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.tasks import task_named
from pipeline.prediction.training import Trainer
from pipeline.watching.grades_and_drift import measure_company
from pipeline.watching.verdicts import drifted_companies
from tests.integration.conftest import Churn
from tests.integration.pipeline.watching.conftest import NOW
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.errors import CompanyNotFound
from warehouse.prediction.drift_log import read_drift
from warehouse.roles import Role

pytestmark = pytest.mark.xdist_group("mlflow")


CHURN = task_named("churn")


def test_drift_is_measured_once_a_day_against_what_the_champion_learned_from_and_shown_by_command(
    warehouse: Warehouse,
    company: Company,
    trained: tuple[ModelRegistry, Trainer],
    churn: Churn,
    add_company: Callable[..., Company],
) -> None:
    registry, _ = trained
    calm = measure_company(warehouse, registry, CHURN, company, NOW)
    assert (calm.status, calm.as_of_date, calm.drifted, calm.is_drifted) == ("measured", NOW.date(), 0, False)
    assert measure_company(warehouse, registry, CHURN, company, NOW).status == "already_measured"
    with warehouse.connect() as conn:
        conn.execute(
            "insert into features.churn_feature_matrix select company_id, customer_id, as_of_date + 1,"
            " days_since_last_payment + 30, revenue_90d, custom_attributes, feature_version"
            " from features.churn_feature_matrix where as_of_date = %s",
            [NOW.date()],
        )
    moved = measure_company(warehouse, registry, CHURN, company, NOW + timedelta(days=1))
    assert moved.drifted_features == "days_since_last_payment"
    assert moved.score_is_drifted
    with warehouse.connect(Role.ml) as conn:
        measured = read_drift(conn, company.company_id, "churn")
    assert measured is not None
    assert measured[0] == NOW.date() + timedelta(days=1)
    assert [row.feature for row in measured[1]][:2] == [TOGETHER, "probability"]
    nothing = measure_company(warehouse, registry, CHURN, company, NOW + timedelta(days=2))
    assert nothing.status == "not_measured"
    assert "no feature rows" in nothing.note

    output = churn("drift", "--company", "acme", "--all").output
    assert "acme · 2026-04-02" in output
    assert "Days since the last payment" in output or "days_since_last_payment" in output
    add_company("young")
    assert "young: not measured, it has no champion yet" in churn("drift", "--company", "young").output
    with pytest.raises(CompanyNotFound, match="acem"):
        churn("drift", "--company", "acem")


def test_the_base_rate_is_watched_as_soon_as_outcomes_mature(
    warehouse: Warehouse, company: Company, trained: tuple[ModelRegistry, Trainer]
) -> None:
    registry, _ = trained
    month_later = datetime(2026, 5, 1, 6, tzinfo=UTC)
    with warehouse.connect() as conn:
        conn.execute(
            "insert into features.churn_feature_matrix select company_id, customer_id, %s,"
            " days_since_last_payment, revenue_90d, custom_attributes, feature_version"
            " from features.churn_feature_matrix where as_of_date = %s",
            [month_later.date(), NOW.date()],
        )
    before = measure_company(warehouse, registry, CHURN, company, NOW)
    assert not before.base_rate_is_drifted
    with warehouse.connect() as conn:
        conn.execute(
            "update features.churn_labels set is_mature = true, is_churned = right(customer_id, 1) < '4'"
            " where as_of_date = %s",
            [NOW.date()],
        )
    after = measure_company(warehouse, registry, CHURN, company, month_later)
    assert (after.drifted, after.is_drifted, after.base_rate_is_drifted) == (0, False, True)
    with warehouse.connect(Role.ml) as conn:
        faults = drifted_companies(conn, "churn").faults
    assert re.fullmatch(
        r"2026-05-01: no feature drifted; the base rate is 40\.0% at 2026-04-01, \d+\.\d% in training", faults["acme"]
    )
