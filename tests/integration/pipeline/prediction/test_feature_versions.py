"""Training and scoring on features of one version, and a company's own attributes among them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from foundation.model_version import ModelVersion
from ml_assets.errors import FeatureVersionError, TrainingChangedError
from ml_assets.task import LadderThresholds
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.retiring import champions_that_read
from pipeline.prediction.shadow import ShadowScorer
from pipeline.prediction.training import Trainer
from tests.integration.pipeline.prediction.two_features import CHURN, FEATURES, NOW, scorer_of, trainer_of
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.prediction.feature_store import labelled_rows, rows_at
from warehouse.prediction.model_log import promotions, trainings
from warehouse.roles import Role
from warehouse.settings import Settings

pytestmark = pytest.mark.xdist_group("mlflow")


def test_two_companies_that_mean_different_silences_share_no_pool(
    warehouse: Warehouse, company: Company, add_company: Callable[..., Company], tmp_path: Path
) -> None:
    silent: dict[str, Any] = {"churn_kind": "inactivity", "shares_training": True}
    sixty, ninety, also_ninety = (
        add_company(slug, inactivity_days=days, **silent) for slug, days in (("a60", 60), ("b90", 90), ("c90", 90))
    )
    trainer = trainer_of(warehouse, tmp_path)
    pools = [{other.slug for other in trainer.sharing(tenant)} for tenant in (sixty, ninety, also_ninety)]
    assert pools == [{"a60"}, {"b90", "c90"}, {"b90", "c90"}]
    meanings = [CHURN.settings_of(tenant).meaning() for tenant in (sixty, ninety, also_ninety)]
    assert meanings[0] != meanings[1] == meanings[2]


def test_a_company_climbs_the_ladder_by_the_evidence_that_the_settings_ask_for(
    warehouse: Warehouse, company: Company, tmp_path: Path
) -> None:
    registry = ModelRegistry(warehouse, tmp_path)
    asked = CHURN.with_ladder(Settings(home=tmp_path, ladder_own_outcomes=1, ladder_own_survivors=5))
    assert asked.task.ladder != LadderThresholds()
    trainer = Trainer(asked, warehouse, registry, FEATURES, Clock(None), 1)
    trained = trainer.train(company, "always")
    assert "1 customer with the outcome and 5 without carry an own model" in trained.reason
    # Two dates cannot be split, whatever the settings ask for: what publishes is said, and why.
    assert (trained.rung, ", but " in trained.reason) == ("rule", True)


def test_a_deprecated_feature_is_left_out_from_its_day_on_and_models_of_before_go_on_to_read_it(
    warehouse: Warehouse, company: Company, tmp_path: Path
) -> None:
    registry, day = ModelRegistry(warehouse, tmp_path), NOW.date()

    def learned(deprecated: dict[str, date]) -> set[str]:
        trainer = Trainer(CHURN, warehouse, registry, FEATURES, Clock(None), 1, deprecated)
        trainer.train(company, "always")
        champion = registry.champion("churn-acme")
        assert champion is not None
        return {feature.name for feature in champion[0].encoder.features}

    both = {feature.name for feature in FEATURES}
    assert learned({"revenue_90d": day + timedelta(days=1)}) >= both
    assert champions_that_read(warehouse, registry, ["revenue_90d"]) == {"revenue_90d": ["churn-acme v1"]}
    # The rule's own feature cannot go as long as the rule reads it.
    assert learned(dict.fromkeys(both, day)) & both == {CHURN.task.rule_feature}
    assert champions_that_read(warehouse, registry, ["revenue_90d"]) == {"revenue_90d": []}
    later = Trainer(CHURN, warehouse, registry, FEATURES, Clock(None), 1, {"revenue_90d": day})
    assert later.repeat(company, ModelVersion("churn-acme", 1)) == 0
    assert scorer_of(warehouse, tmp_path).stage(company).model_version == "churn-acme v2"


def test_a_changed_feature_version_is_trained_again_before_it_is_scored(
    warehouse: Warehouse, company: Company, tmp_path: Path
) -> None:
    registry = ModelRegistry(warehouse, tmp_path)
    assert trainer_of(warehouse, tmp_path).train(company, "when_due").status == "too_few_outcomes"
    assert registry.champion_feature_version("churn-acme") == "sql1.set1"
    champion = registry.champion("churn-acme")
    assert champion is not None
    assert champion[0].facts.feature_version == "sql1.set1"
    labels = {feature.name: feature.label for feature in champion[0].encoder.features}
    assert labels["attribute_account_tier"] == "Tier"
    assert list(labels) == [
        *("days_since_last_payment", "revenue_90d"),
        *("attribute_account_tier", "attribute_users", "attribute_trial"),
    ]
    assert trainer_of(warehouse, tmp_path).train(company, "when_due").status == "not_due"
    assert scorer_of(warehouse, tmp_path).stage(company).rows == 6

    # The features are built again by another SQL: no score without a training on them.
    with warehouse.connect() as connection:
        connection.execute("update features.churn_feature_matrix set feature_version = 'sql2.set1'")
        connection.commit()
    with pytest.raises(FeatureVersionError, match=r"trained on feature version sql1.set1 .* version sql2.set1"):
        scorer_of(warehouse, tmp_path).stage(company, again=True)
    assert trainer_of(warehouse, tmp_path).train(company, "when_due").status == "too_few_outcomes"
    assert scorer_of(warehouse, tmp_path).stage(company).model_version == "churn-acme v2"
    with warehouse.connect() as connection:
        causes = [training.cause for training in trainings(connection, company.company_id, "churn")]
        decisions = promotions(connection, company.company_id, "churn")
    assert causes == ["feature_version", "first"]
    assert [(decision.event, decision.from_version, decision.to_version) for decision in decisions] == [
        ("replaced", "1", "2"),
        ("first", None, "1"),
    ]

    # A champion of a release that recorded no version is out of date.
    with warehouse.connect() as connection:
        connection.execute("delete from mlflow.model_version_tags where key = 'feature_version'")
        connection.commit()
    assert trainer_of(warehouse, tmp_path).train(company, "when_due").status == "too_few_outcomes"

    # One date made by another version: nothing is learned from such a mix.
    with warehouse.connect() as connection:
        connection.execute(
            "update features.churn_feature_matrix set feature_version = 'sql1.set1' where as_of_date = '2025-02-01'"
        )
        connection.commit()
    with pytest.raises(FeatureVersionError, match=r"sql1\.set1 from 2025-02-01 to 2025-02-01") as refused:
        trainer_of(warehouse, tmp_path).train(company, "always")
    assert "`churn run --company SLUG` builds the features again" in str(refused.value)


def test_a_companys_own_attributes_are_read_as_typed_columns(warehouse: Warehouse, company: Company) -> None:
    with warehouse.connect() as connection:
        connection.execute(
            "update features.churn_feature_matrix set custom_attributes = %s where customer_id = 'c1'",
            [Jsonb({"account_tier": 3, "users": "many"})],
        )
        connection.commit()

    place = (warehouse, CHURN.relations, company.company_id, NOW.date())
    rows = rows_at(*place, ["revenue_90d"], company.custom_attributes).to_pylist()
    labelled = labelled_rows(warehouse, CHURN.relations, [company.company_id], [], company.custom_attributes)

    assert {name: rows[0][name] for name in rows[0] if name.startswith("attribute_")} == {
        "attribute_account_tier": "gold",
        "attribute_users": 0.0,
        "attribute_trial": True,
    }
    # What is of another kind than declared, and what is absent, is missing.
    assert [rows[1][f"attribute_{name}"] for name in ("account_tier", "users", "trial")] == [None, None, None]
    assert labelled.num_rows == 12
    assert {"feature_version", "attribute_users", "outcome"} <= set(labelled.column_names)


def test_a_challenger_scores_in_shadow_and_publishes_nothing(
    warehouse: Warehouse, company: Company, tmp_path: Path
) -> None:
    registry = ModelRegistry(warehouse, tmp_path)
    shadow = ShadowScorer(CHURN, warehouse, registry, FEATURES, Clock(None), retention_days=365)
    assert shadow.score(company).model_version is None
    for _ in range(2):
        trainer_of(warehouse, tmp_path).train(company, "always")
    assert shadow.score(company).model_version is None
    registry.set_champion(ModelVersion("churn-acme", 1))
    with warehouse.connect() as connection:
        connection.execute("update ml.training_runs set status = 'kept_champion' where model_version = '2'")
        connection.commit()
    for _ in range(2):
        assert (shadow.score(company).model_version, shadow.score(company).rows) == ("churn-acme v2", 6)
    with warehouse.connect() as connection:
        assert connection.execute(
            "select count(*), count(distinct entity_id), min(model_version) from ml.shadow_scores"
        ).fetchone() == (6, 6, "churn-acme v2")
        assert connection.execute("select count(*) from ml.staged_scores").fetchone() == (0,)


def test_a_score_in_shadow_is_forgotten_when_its_outcome_has_been_known_long_enough(
    warehouse: Warehouse, company: Company, tmp_path: Path
) -> None:
    today = Clock(None).for_company(company).date()
    ages = {days: today - timedelta(days=CHURN.horizon_days(company) + days) for days in (0, 10, 11)}
    with warehouse.connect(Role.ml) as connection:
        connection.cursor().executemany(
            "insert into ml.shadow_scores (company_id, task, entity_id, as_of_date, model_version, probability,"
            " scored_at) values (%s, 'churn', 'c1', %s, 'churn-acme v2', 0.5, now())",
            [(company.company_id, day) for day in ages.values()],
        )
    registry = ModelRegistry(warehouse, tmp_path)
    ShadowScorer(CHURN, warehouse, registry, FEATURES, Clock(None), retention_days=10).score(company)
    with warehouse.connect() as connection:
        kept = connection.execute("select as_of_date from ml.shadow_scores order by 1").fetchall()
    assert kept == [(ages[10],), (ages[0],)]


def test_a_recorded_training_is_repeated_until_its_data_change(
    warehouse: Warehouse, company: Company, tmp_path: Path
) -> None:
    trainer_of(warehouse, tmp_path).train(company, "always")
    assert trainer_of(warehouse, tmp_path).repeat(company, ModelVersion("churn-acme", 1)) == 0.0
    page = ModelRegistry(warehouse, tmp_path).card(ModelVersion("churn-acme", 1))
    assert page.startswith("<!doctype html>")
    assert "Too few outcomes" in page
    with warehouse.connect() as connection:
        connection.execute("update features.churn_feature_matrix set revenue_90d = 11 where customer_id = 'c1'")
        connection.commit()
    with pytest.raises(TrainingChangedError, match="`churn train --company SLUG` trains on the rows as they are now"):
        trainer_of(warehouse, tmp_path).repeat(company, ModelVersion("churn-acme", 1))
