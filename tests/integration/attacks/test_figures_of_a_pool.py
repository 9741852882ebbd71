"""A company of a pool takes its own figures away from the pool's, to have those of the other one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from foundation.counting import rounded_count
from ml_assets.scoring.rows import build_score_rows
from ml_assets.training.ladder import hides_each_company
from ml_assets.training.train import train
from pipeline.prediction.tasks import churn_settings_of
from tests.integration.pipeline.prediction.two_features import trainer_of, write_features
from tests.unit.ml_assets.ml_world import CHURN, FEATURES, HORIZON_DAYS, TRAINED_AT, simulate
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse

SHARING: dict[str, Any] = {"shares_training": True}
Add = Callable[..., Company]


def learned_by(companies: dict[int, int]) -> pd.DataFrame:
    """Labelled rows of so many customers of each company."""
    return pd.concat([simulate(customers, 1).assign(company_id=company) for company, customers in companies.items()])


@pytest.mark.parametrize(
    ("contributors", "consenting", "is_allowed"),
    [
        ((1, 2), (), False),
        ((1, 2), (1,), False),
        ((1, 2), (2,), False),
        ((1, 2), (1, 2), True),
        ((1,), (), True),
        ((2,), (1,), False),
        ((2,), (2,), True),
        ((2, 3), (1, 2), False),
        ((1, 2, 3), (), True),
        ((2, 3, 4), (), True),
    ],
)
def test_a_pool_has_three_companies_or_their_consent(
    contributors: tuple[int, ...], consenting: tuple[int, ...], is_allowed: bool
) -> None:
    frame = learned_by(dict.fromkeys(contributors, 20))
    assert hides_each_company(frame, CHURN, 1, consenting) is is_allowed


def test_a_company_whose_rows_have_no_label_yet_hides_nobody() -> None:
    frame = learned_by({1: 20, 2: 20, 3: 20})
    frame["outcome"] = frame["outcome"].astype("boolean").mask(frame["company_id"] == 3)
    assert not hides_each_company(frame, CHURN, 1, ())


def test_a_trainer_takes_no_other_companys_rows_until_both_allow_it(
    warehouse: Warehouse, add_company: Add, tmp_path: Path
) -> None:
    companies = [add_company(slug, **SHARING) for slug in ("acme", "bolt")]
    assert len({settings.meaning() for each in companies if (settings := churn_settings_of(each))}) == 1
    with warehouse.connect() as connection:
        write_features(connection, companies[0].company_id)
        for table in ("churn_feature_matrix", "churn_labels"):
            connection.execute(
                f"create temporary table copied as select * from features.{table};"  # type: ignore[arg-type]
                f"update copied set company_id = {companies[1].company_id};"
                f"insert into features.{table} select * from copied; drop table copied"
            )
    trainer = trainer_of(warehouse, tmp_path)
    assert trainer._pool(companies[0]) == ([], None)
    with warehouse.connect() as connection:
        connection.execute("update ops.companies set allows_small_pool = slug = 'acme'")
    assert trainer._pool(companies[0]) == ([], None)
    with warehouse.connect() as connection:
        connection.execute("update ops.companies set allows_small_pool = true")
    sharing, counts = trainer._pool(companies[0])
    assert counts is not None
    assert (len(sharing), counts.entities) == (2, 12)


def test_evidence_tells_a_company_its_own_counts_and_the_pools_rounded() -> None:
    sizes = {1: 137, 2: 241, 3: 118}
    frame = learned_by(sizes)
    result = train(
        frame, FEATURES, CHURN, horizon_days=HORIZON_DAYS, trained_at=TRAINED_AT, threads=1, rung="pooled_model"
    )
    model = replace(result.model, rung="pooled_model")
    rows = build_score_rows(model, learned_by({1: 5, 2: 5, 9: 5}), CHURN, model_version="v")
    counts = {company: json.loads(text) for company, text in zip(rows["company_id"], rows["evidence"], strict=True)}
    for company in (1, 2):
        own = model.facts.by_company[str(company)]
        assert (counts[company]["customers"], counts[company]["outcomes"]) == tuple(own)
    assert (counts[9]["customers"], counts[9]["outcomes"]) == (0, 0)
    assert {each["pool_customers"] for each in counts.values()} == {rounded_count(model.facts.customers)}
    exact = {model.facts.customers, model.facts.outcomes}
    assert not exact & {number for each in counts.values() for number in each.values() if number not in (True, False)}


@pytest.mark.parametrize(("count", "told"), [(0, 0), (4, 10), (7, 10), (37, 40), (364, 400), (2345, 2000)])
def test_a_pools_count_is_told_by_its_first_digit(count: int, told: int) -> None:
    assert rounded_count(count) == told
