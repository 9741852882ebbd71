"""Which model publishes: gone back from, promoted and shown by command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from foundation.model_version import ModelVersion
from pipeline.prediction.champions import ChampionNotChanged, Champions
from pipeline.prediction.registry import ModelRegistry, RegistryError
from tests.integration.conftest import Churn
from tests.integration.pipeline.prediction.two_features import CHURN, scorer_of, trainer_of
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.errors import CompanyNotFound

pytestmark = pytest.mark.xdist_group("mlflow")


def _champions(warehouse: Warehouse, home: Path) -> Champions:
    return Champions(CHURN, warehouse, ModelRegistry(warehouse, home), Clock(None))


def test_one_command_goes_back_to_the_champion_before_and_the_audit_log_says_who(
    warehouse: Warehouse, company: Company, tmp_path: Path
) -> None:
    registry, champions = ModelRegistry(warehouse, tmp_path), _champions(warehouse, tmp_path)
    with pytest.raises(ChampionNotChanged, match="churn train --company acme"):
        champions.rollback(company, "ann")
    for _ in range(3):
        trainer_of(warehouse, tmp_path).train(company, "always")
    assert scorer_of(warehouse, tmp_path).stage(company).model_version == "churn-acme v3"

    assert champions.rollback(company, "ann").after == ModelVersion("churn-acme", 2)
    assert scorer_of(warehouse, tmp_path).stage(company).model_version == "churn-acme v2"
    assert champions.rollback(company, "ann").after == ModelVersion("churn-acme", 1)
    with pytest.raises(ChampionNotChanged, match="nothing to go back to"):
        champions.rollback(company, "ann")
    assert champions.promote(company, 3, "bob").before == ModelVersion("churn-acme", 1)
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
    assert registry.champion_version("churn-acme") == ModelVersion("churn-acme", 3)


def test_models_are_listed_shown_promoted_and_rolled_back_by_command(
    warehouse: Warehouse, company: Company, tmp_path: Path, churn: Churn
) -> None:
    untrained = churn("model", "list", "--company", "acme")
    assert "acme was never trained for churn: run `churn train --company acme`" in str(untrained.exception)
    for _ in range(2):
        trainer_of(warehouse, tmp_path).train(company, "always")

    listed = churn("model", "list", "--company", "acme").output
    assert re.search(r"churn-acme v2 .* champion", listed)
    assert not re.search(r"churn-acme v1 .* champion", listed)
    assert re.search(r"replaced +v1 → v2 .* training", listed)
    output = churn("model", "show", "--company", "acme", "--version", "1").output
    assert output.startswith("churn-acme v1  too_few_outcomes, rung rule")
    promoted = churn("model", "promote", "--company", "acme", "--version", "1").output
    assert promoted.startswith("churn-acme v1 publishes for acme now, instead of v2.")
    back = churn("model", "rollback", "--company", "acme").output
    assert back.startswith("churn-acme v2 publishes for acme now, instead of v1.")
    assert ModelRegistry(warehouse, tmp_path).champion_version("churn-acme") == ModelVersion("churn-acme", 2)

    with pytest.raises(ChampionNotChanged, match="v2 is the champion already"):
        churn("model", "promote", "--company", "acme", "--version", "2")
    for command in ("show", "promote"):
        with pytest.raises(RegistryError, match="churn-acme v9 could not be read"):
            churn("model", command, "--company", "acme", "--version", "9")
    with pytest.raises(CompanyNotFound, match="acem"):
        churn("model", "rollback", "--company", "acem")
