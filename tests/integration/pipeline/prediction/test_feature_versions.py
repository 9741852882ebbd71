"""Training and scoring on features of one version, and a company's own attributes among them."""

from __future__ import annotations

import logging
import re
import shutil
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import sqlalchemy.exc
import sqlalchemy.orm
from psycopg.types.json import Jsonb

from ml_assets.errors import FeatureVersionError, TrainingChangedError
from ml_assets.task import Feature, LadderThresholds
from orchestration.company_work import for_each_company
from pipeline.prediction.champions import ChampionNotChanged, Champions
from pipeline.prediction.registry import ModelFilesMissing, ModelRegistry, RegistryUnreachable
from pipeline.prediction.scoring import ChurnScorer
from pipeline.prediction.shadow import ShadowScorer
from pipeline.prediction.training import ChurnTrainer, ladder_of, meaning_of_churn
from tests.integration.conftest import Churn
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.errors import CompanyNotFound, WarehouseUnreachable
from warehouse.prediction.feature_store import labelled_rows, rows_at
from warehouse.prediction.model_log import promotions, trainings
from warehouse.roles import Role
from warehouse.settings import Settings

pytestmark = pytest.mark.xdist_group("mlflow")

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


@pytest.fixture
def company(warehouse: Warehouse, add_company: Callable[..., Company]) -> Company:
    """A company with six customers at three dates, all of one feature version."""
    company = add_company("acme", clock_at=NOW, custom_attributes=ATTRIBUTES)
    with warehouse.connect() as connection:
        _write_features(connection, company.company_id)
    return company


def _write_features(connection: psycopg.Connection[Any], company_id: int) -> None:
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


def _trainer(warehouse: Warehouse, home: Path) -> ChurnTrainer:
    return ChurnTrainer(warehouse, ModelRegistry(warehouse, home), FEATURES, Clock(None), 1)


def _scorer(warehouse: Warehouse, home: Path) -> ChurnScorer:
    return ChurnScorer(warehouse, ModelRegistry(warehouse, home), FEATURES, Clock(None))


def test_two_companies_that_mean_different_silences_share_no_pool(
    warehouse: Warehouse, company: Company, add_company: Callable[..., Company], tmp_path: Path
) -> None:
    silent: dict[str, Any] = {"churn_kind": "inactivity", "shares_training": True}
    sixty, ninety, also_ninety = (
        add_company(slug, inactivity_days=days, **silent) for slug, days in (("a60", 60), ("b90", 90), ("c90", 90))
    )
    trainer = _trainer(warehouse, tmp_path)
    pools = [{other.slug for other in trainer._sharing(one)} for one in (sixty, ninety, also_ninety)]
    assert pools == [{"a60"}, {"b90", "c90"}, {"b90", "c90"}]
    assert meaning_of_churn(sixty) != meaning_of_churn(ninety) == meaning_of_churn(also_ninety)


def test_a_company_climbs_the_ladder_by_the_evidence_that_the_settings_ask_for(
    warehouse: Warehouse, company: Company, tmp_path: Path
) -> None:
    registry = ModelRegistry(warehouse, tmp_path)
    ladder = ladder_of(Settings(home=tmp_path, ladder_own_outcomes=1, ladder_own_survivors=5))
    assert ladder != LadderThresholds()
    trainer = ChurnTrainer(warehouse, registry, FEATURES, Clock(None), 1, ladder)
    assert trainer.train(company, "always").rung == "own_model"


def test_a_changed_feature_version_is_trained_anew_before_it_is_scored(
    warehouse: Warehouse, company: Company, tmp_path: Path
) -> None:
    registry = ModelRegistry(warehouse, tmp_path)
    assert _trainer(warehouse, tmp_path).train(company, "when_due").status == "too_few_outcomes"
    assert registry.champion_feature_version("churn-acme") == "sql1.set1"
    found = registry.champion("churn-acme")
    assert found is not None
    assert found[0].facts.feature_version == "sql1.set1"
    words = {feature.name: feature.label for feature in found[0].encoder.features}
    assert words["attribute_account_tier"] == "Tier"
    assert list(words) == [
        *("days_since_last_payment", "revenue_90d"),
        *("attribute_account_tier", "attribute_users", "attribute_trial"),
    ]
    assert _trainer(warehouse, tmp_path).train(company, "when_due").status == "not_due"
    assert _scorer(warehouse, tmp_path).stage(company).rows == 6

    # The features are built anew by another SQL: no score without a training on them.
    with warehouse.connect() as connection:
        connection.execute("update features.churn_feature_matrix set feature_version = 'sql2.set1'")
        connection.commit()
    with pytest.raises(FeatureVersionError, match=r"trained on feature version sql1.set1 .* version sql2.set1"):
        _scorer(warehouse, tmp_path).stage(company, again=True)
    assert _trainer(warehouse, tmp_path).train(company, "when_due").status == "too_few_outcomes"
    assert _scorer(warehouse, tmp_path).stage(company).model_version == "churn-acme v2"
    with warehouse.connect() as connection:
        causes = [training.cause for training in trainings(connection, company.company_id, "churn")]
        decisions = promotions(connection, company.company_id, "churn")
    assert causes == ["feature_version", "first"]
    assert [(one.event, one.from_version, one.to_version) for one in decisions] == [
        ("replaced", "1", "2"),
        ("first", None, "1"),
    ]

    # A champion of a release that recorded no version is out of date.
    with warehouse.connect() as connection:
        connection.execute("delete from mlflow.model_version_tags where key = 'feature_version'")
        connection.commit()
    assert _trainer(warehouse, tmp_path).train(company, "when_due").status == "too_few_outcomes"

    # One date made by another version: nothing is learned from such a mix.
    with warehouse.connect() as connection:
        connection.execute(
            "update features.churn_feature_matrix set feature_version = 'sql1.set1' where as_of_date = '2025-02-01'"
        )
        connection.commit()
    with pytest.raises(FeatureVersionError, match=r"sql1\.set1 from 2025-02-01 to 2025-02-01") as refused:
        _trainer(warehouse, tmp_path).train(company, "always")
    assert "dbt build" in str(refused.value)


def test_a_companys_own_attributes_are_read_as_typed_columns(warehouse: Warehouse, company: Company) -> None:
    with warehouse.connect() as connection:
        connection.execute(
            "update features.churn_feature_matrix set custom_attributes = %s where customer_id = 'c1'",
            [Jsonb({"account_tier": 3, "users": "many"})],
        )
        connection.commit()

    rows = rows_at(warehouse, company.company_id, NOW.date(), ["revenue_90d"], company.custom_attributes).to_pylist()
    labelled = labelled_rows(warehouse, [company.company_id], [], company.custom_attributes)

    assert {name: rows[0][name] for name in rows[0] if name.startswith("attribute_")} == {
        "attribute_account_tier": "gold",
        "attribute_users": 0.0,
        "attribute_trial": True,
    }
    # What is of another kind than declared, and what is absent, is missing.
    assert [rows[1][f"attribute_{name}"] for name in ("account_tier", "users", "trial")] == [None, None, None]
    assert labelled.num_rows == 12
    assert {"feature_version", "attribute_users", "is_churned"} <= set(labelled.column_names)


def _champions(warehouse: Warehouse, home: Path) -> Champions:
    return Champions(warehouse, ModelRegistry(warehouse, home), Clock(None))


def test_one_command_goes_back_to_the_champion_before_and_the_audit_log_says_who(
    warehouse: Warehouse, company: Company, tmp_path: Path
) -> None:
    registry, champions = ModelRegistry(warehouse, tmp_path), _champions(warehouse, tmp_path)
    with pytest.raises(ChampionNotChanged, match="churn train --company acme"):
        champions.rollback(company, "ann")
    for _ in range(3):
        _trainer(warehouse, tmp_path).train(company, "always")
    assert _scorer(warehouse, tmp_path).stage(company).model_version == "churn-acme v3"

    assert champions.rollback(company, "ann").after == "2"
    assert _scorer(warehouse, tmp_path).stage(company).model_version == "churn-acme v2"
    assert champions.rollback(company, "ann").after == "1"
    with pytest.raises(ChampionNotChanged, match="nothing to go back to"):
        champions.rollback(company, "ann")
    assert champions.promote(company, "3", "bob").before == "1"
    with warehouse.connect() as connection:
        audit = connection.execute(
            "select actor, action, before ->> 'version', after ->> 'version' from ops.audit_log"
            " where action like 'model.%' order by audit_id"
        ).fetchall()
        connection.execute("update features.churn_feature_matrix set feature_version = 'sql2.set1'")
        connection.commit()
    assert audit == [
        ("training", "model.first", None, "1"),
        ("training", "model.replaced", "1", "2"),
        ("training", "model.replaced", "2", "3"),
        ("ann", "model.rolled_back", "3", "2"),
        ("ann", "model.rolled_back", "2", "1"),
        ("bob", "model.chosen", "1", "3"),
    ]
    with pytest.raises(ChampionNotChanged, match=r"features of version sql1\.set1.*v3 publishes on"):
        champions.rollback(company, "ann")
    assert registry.champion_version("churn-acme") == "3"


def test_models_are_listed_shown_promoted_and_rolled_back_by_command(
    warehouse: Warehouse, company: Company, tmp_path: Path, churn: Churn
) -> None:
    untrained = churn("model", "list", "--company", "acme")
    assert "acme was never trained: run `churn train --company acme`" in str(untrained.exception)
    for _ in range(2):
        _trainer(warehouse, tmp_path).train(company, "always")

    listed = churn("model", "list", "--company", "acme").output
    assert re.search(r"churn-acme v2 .* champion", listed)
    assert not re.search(r"churn-acme v1 .* champion", listed)
    assert re.search(r"replaced +v1 → v2 .* training", listed)
    shown = churn("model", "show", "--company", "acme", "--version", "1").output
    assert shown.startswith("churn-acme v1  too_few_outcomes, rung rule")
    promoted = churn("model", "promote", "--company", "acme", "--version", "1").output
    assert promoted.startswith("churn-acme v1 publishes for acme now, instead of v2.")
    back = churn("model", "rollback", "--company", "acme").output
    assert back.startswith("churn-acme v2 publishes for acme now, instead of v1.")
    assert ModelRegistry(warehouse, tmp_path).champion_version("churn-acme") == "2"

    with pytest.raises(ChampionNotChanged, match="v2 is the champion already"):
        churn("model", "promote", "--company", "acme", "--version", "2")
    for command in ("show", "promote"):
        missing = churn("model", command, "--company", "acme", "--version", "9")
        assert "acme: version 9 of model 'churn-acme' could not be read" in str(missing.exception)
    with pytest.raises(CompanyNotFound, match="acem"):
        churn("model", "rollback", "--company", "acem")


def test_a_challenger_scores_in_shadow_and_publishes_nothing(
    warehouse: Warehouse, company: Company, tmp_path: Path
) -> None:
    registry = ModelRegistry(warehouse, tmp_path)
    shadow = ShadowScorer(warehouse, registry, FEATURES, Clock(None), retention_days=365)
    assert shadow.score(company).model_version is None
    for _ in range(2):
        _trainer(warehouse, tmp_path).train(company, "always")
    assert shadow.score(company).model_version is None
    registry.set_champion("churn-acme", "1")
    with warehouse.connect() as connection:
        connection.execute("update ml.training_runs set status = 'kept_champion' where model_version = '2'")
        connection.commit()
    for _ in range(2):
        assert (shadow.score(company).model_version, shadow.score(company).rows) == ("churn-acme v2", 6)
    with warehouse.connect() as connection:
        assert connection.execute(
            "select count(*), count(distinct customer_id), min(model_version) from ml.shadow_scores"
        ).fetchone() == (6, 6, "churn-acme v2")
        assert connection.execute("select count(*) from ml.staged_scores").fetchone() == (0,)


def test_a_score_in_shadow_is_forgotten_when_its_outcome_has_been_known_long_enough(
    warehouse: Warehouse, company: Company, tmp_path: Path
) -> None:
    today = Clock(None).for_company(company).date()
    ages = {days: today - timedelta(days=company.horizon_days + days) for days in (0, 10, 11)}
    with warehouse.connect(Role.ml) as connection:
        connection.cursor().executemany(
            "insert into ml.shadow_scores values (%s, 'c1', %s, 'churn-acme v2', 0.5, now())",
            [(company.company_id, day) for day in ages.values()],
        )
    ShadowScorer(warehouse, ModelRegistry(warehouse, tmp_path), FEATURES, Clock(None), retention_days=10).score(company)
    with warehouse.connect() as connection:
        kept = connection.execute("select as_of_date from ml.shadow_scores order by 1").fetchall()
    assert kept == [(ages[10],), (ages[0],)]


def test_a_recorded_training_is_repeated_until_its_data_change(
    warehouse: Warehouse, company: Company, tmp_path: Path
) -> None:
    _trainer(warehouse, tmp_path).train(company, "always")
    assert _trainer(warehouse, tmp_path).repeat(company, "churn-acme", "1") == 0.0
    page = ModelRegistry(warehouse, tmp_path).card("churn-acme", "1")
    assert page.startswith("<!doctype html>")
    assert "Too few outcomes" in page
    with warehouse.connect() as connection:
        connection.execute("update features.churn_feature_matrix set revenue_90d = 11 where customer_id = 'c1'")
        connection.commit()
    with pytest.raises(TrainingChangedError, match="train anew"):
        _trainer(warehouse, tmp_path).repeat(company, "churn-acme", "1")


def test_without_a_readable_champion_nothing_is_staged_and_training_mends_it(
    warehouse: Warehouse, company: Company, tmp_path: Path
) -> None:
    _trainer(warehouse, tmp_path).train(company, "always")
    shutil.rmtree(tmp_path / "mlflow")
    with pytest.raises(ModelFilesMissing, match="put them back, or train again"):
        _scorer(warehouse, tmp_path).stage(company)
    with warehouse.connect() as connection:
        assert connection.execute("select count(*) from ml.staged_scores").fetchone() == (0,)
    _trainer(warehouse, tmp_path).train(company, "always")
    assert _scorer(warehouse, tmp_path).stage(company).rows == 6


def test_a_registry_that_cannot_be_reached_is_a_clear_error_and_stages_nothing(
    warehouse: Warehouse, company: Company, tmp_path: Path
) -> None:
    _trainer(warehouse, tmp_path).train(company, "always")
    away = ModelRegistry(Warehouse("postgresql://nobody:secret@127.0.0.1:1/nowhere"), tmp_path)
    trainer = ChurnTrainer(warehouse, away, FEATURES, Clock(None), 1)
    scorer = ChurnScorer(warehouse, away, FEATURES, Clock(None))
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
    for one in (company, other):
        _trainer(warehouse, tmp_path).train(one, "always")
    registry = _Removable(warehouse, tmp_path)
    scorer = ChurnScorer(warehouse, registry, FEATURES, Clock(None))

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if answers is None:
            silent.listen()
        port = silent.getsockname()[1]

        def work(one: Company) -> int:
            away = f"postgresql+psycopg://churn:planted@127.0.0.1:{port}/models?connect_timeout=2"
            registry.elsewhere = away if one.slug == "acme" else None
            return scorer.stage(one).rows

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
    words = outcomes.failures["acme"]
    assert f"(MLflow, schema mlflow at 127.0.0.1:{port}/models) cannot be reached" in words
    assert "what is published stands" in words
    assert "planted" not in words
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
    _trainer(warehouse, tmp_path).train(company, "always")
    registry = ModelRegistry(warehouse, tmp_path)
    registry.load("churn-acme", "1")

    def gone(*_: object, **__: object) -> None:
        raise sqlalchemy.exc.OperationalError("select 1", {}, Exception("server closed the connection"))

    monkeypatch.setattr(sqlalchemy.orm.Session, "query", gone)
    with pytest.raises(RegistryUnreachable, match="cannot be reached"):
        registry.load("churn-acme", "1")
