"""What a place's features do to the champion, compared on a warehouse of simulated customers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from psycopg import sql

from pipeline.development.building import development_manifest, state_directory
from pipeline.development.training import ChangedModel, ChangeNotJudged, ChangeTrainer, NotCompared
from pipeline.development.training_text import training_json, training_markdown
from pipeline.features.catalogue import read_features
from pipeline.features.versions import sql_version
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.tasks import task_named
from pipeline.prediction.training import Trainer
from tests.integration.dbt_project.dbt_runs import DbtRuns, copy_project
from tests.unit.ml_assets.ml_world import simulate
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.developers import Developer, drop_place, make_place, place_of
from warehouse.settings import Settings

pytestmark = pytest.mark.xdist_group("mlflow")

NAME = "trainstests"
NOW = datetime(2025, 12, 1, 6, tzinfo=UTC)
CHURN = replace(task_named("churn"), task=replace(task_named("churn").task, candidates=("logistic",)))
WORLD = simulate(900, 16, rate=0.08, signal=1.5)
OLD = ("days_since_last_payment", "failed_payments_90d", "open_tickets", "tenure_days")
MATRIX = "model.churn_warehouse.customer_feature_matrix"


@dataclass
class Place:
    """A warehouse with a champion that read the OLD features, and a developer's place in it."""

    warehouse: Warehouse
    settings: Settings
    manifest: dict[str, Any]

    @property
    def developer(self) -> Developer:
        with self.warehouse.connect() as connection:
            return place_of(connection, NAME)

    def build(self, frame: pd.DataFrame, *new: str) -> None:
        """What `churn dev build` leaves: the matrix of the place, and a manifest that describes it."""
        described = _described(self.manifest, (*OLD, *new))
        development_manifest(self.settings).parent.mkdir(parents=True, exist_ok=True)
        development_manifest(self.settings).write_bytes(orjson.dumps(described))
        with self.warehouse.connect() as connection:
            schema = f"dev_{NAME}_features"
            was_built = "features.churn_feature_matrix" in self.developer.own_relations
            connection.execute(f"drop {'table' if was_built else 'view'} {schema}.churn_feature_matrix".encode())
            _write_matrix(connection, schema, frame, [*OLD, *new], sql_version(described, MATRIX))
            connection.execute(f"alter table {schema}.churn_feature_matrix owner to dev_{NAME}".encode())
            connection.execute("select ops.keep_own(%s)", [NAME])

    def compare(self) -> list[ChangedModel | NotCompared]:
        return ChangeTrainer(self.settings, self.warehouse, self.developer, CHURN).compare()

    def compared(self) -> ChangedModel:
        (changed,) = self.compare()
        assert isinstance(changed, ChangedModel)
        return changed


@pytest.fixture
def place(warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path) -> Iterator[Place]:
    company = add_company("acme", clock_at=NOW)
    settings = Settings(home=tmp_path / "home")
    manifest = _parsed(warehouse, tmp_path)
    described = _described(manifest, OLD)
    kept = state_directory(settings) / "manifest.json"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(orjson.dumps(described))
    shutil.copytree(kept.parent, settings.home / "dbt" / "target")
    world = WORLD.assign(company_id=company.company_id)
    with warehouse.connect() as connection:
        _write_matrix(connection, "features", world, list(OLD), sql_version(described, MATRIX))
        _write_labels(connection, world)
        connection.execute("grant select on all tables in schema features to churn_ml, churn_operator")
    registry, features = ModelRegistry(warehouse, settings.home), read_features(kept, CHURN.relations.matrix)
    Trainer(CHURN, warehouse, registry, features, Clock(None), 1).train(company, "always")
    with warehouse.connect() as connection:
        make_place(connection, NAME, None, None)
    yield Place(warehouse, settings, manifest)
    with warehouse.connect() as connection:
        drop_place(connection, NAME)


def _parsed(warehouse: Warehouse, folder: Path) -> dict[str, Any]:
    warehouse.write_dbt_profile(folder)
    DbtRuns(copy_project(folder / "project"), folder).parse()
    parsed: dict[str, Any] = orjson.loads((folder / "target" / "manifest.json").read_bytes())
    return parsed


def _described(manifest: dict[str, Any], features: tuple[str, ...]) -> dict[str, Any]:
    """The project's manifest, as if payment_features described these features and no other mart any."""
    changed: dict[str, Any] = orjson.loads(orjson.dumps(manifest))
    for node in changed["nodes"].values():
        for column in node.get("columns", {}).values():
            column["meta"], column["config"] = {}, {}
    words = {"unit": "days", "family": "customer", "kind": "number", "basis": "event_times"}
    changed["nodes"]["model.churn_warehouse.payment_features"]["columns"] |= {
        name: {"name": name, "meta": {"feature": {**words, "label": name}}, "config": {}} for name in features
    }
    return changed


def _write_matrix(connection: Any, schema: str, frame: pd.DataFrame, features: list[str], version: str) -> None:
    columns = ", ".join(f"{name} double precision" for name in features)
    connection.execute(
        f"create table {schema}.churn_feature_matrix (company_id int, customer_id text, as_of_date date, {columns},"
        " custom_attributes jsonb, feature_version text, matrix_version text)".encode()
    )
    copy = sql.SQL("copy {} from stdin").format(sql.Identifier(schema, "churn_feature_matrix"))
    with connection.cursor().copy(copy) as rows:
        for row in frame[["company_id", "entity_id", "as_of_date", *features]].itertuples(index=False):
            values = [None if isinstance(value, float) and np.isnan(value) else value for value in row]
            rows.write_row([*values, "{}", f"{version}.set1", f"{version}.set1"])


def _write_labels(connection: Any, frame: pd.DataFrame) -> None:
    connection.execute(
        "create table features.churn_labels (company_id int, customer_id text, as_of_date date, is_mature boolean,"
        " is_churned boolean)"
    )
    with connection.cursor().copy("copy features.churn_labels from stdin") as rows:
        for row in frame[["company_id", "entity_id", "as_of_date", "outcome"]].itertuples(index=False):
            is_mature = row.as_of_date < NOW.date()
            rows.write_row([*row[:3], is_mature, bool(row.outcome) if is_mature else None])


def world(place: Place) -> pd.DataFrame:
    with place.warehouse.connect() as connection:
        (company_id,) = connection.execute("select company_id from ops.companies").fetchone() or (0,)
    return WORLD.assign(company_id=company_id, noise=np.random.default_rng(3).normal(size=len(WORLD)))


def _state(warehouse: Warehouse) -> list[Any]:
    """Everything that a training writes: rows of ml and of MLflow's registry."""
    with warehouse.connect() as connection:
        return [
            connection.execute(f"select count(*) from {table}".encode()).fetchone()
            for table in ("ml.training_runs", "mlflow.runs", "mlflow.model_versions", "ml.promotions")
        ]


def test_a_good_a_useless_and_a_leaking_feature_have_their_verdicts_and_nothing_is_registered(place: Place) -> None:
    before = _state(place.warehouse)
    frame = world(place)
    place.build(frame, "usage_change")
    good = place.compared()
    assert good.judgement.verdict == "better"
    assert [feature.name for feature in good.change.added] == ["usage_change"]
    assert good.moves is not None
    assert 0 < good.moves.changed_levels < good.moves.entities
    markdown = training_markdown([good])
    assert "**Better for certain: log loss" in markdown
    assert "| usage_change |" in markdown
    (plain,) = orjson.loads(training_json([good]))
    assert (plain["verdict"], plain["added"], len(plain["most_moved"])) == ("better", ["usage_change"], 10)

    place.build(frame, "noise")
    useless = place.compared()
    assert useless.judgement.verdict == "no_difference"
    assert "No difference that this much data could show" in training_markdown([useless])

    place.build(frame.assign(noise=np.where(frame["outcome"], 3.0, np.nan)), "noise")
    leaking = place.compared()
    assert leaking.is_leaking
    assert "Do not use it: `noise` is filled only where the outcome came" in training_markdown([leaking])

    place.build(frame.assign(tenure_days=0.0))
    altered = place.compared()
    assert [feature.name for feature in altered.change.altered] == ["tenure_days"]
    assert _state(place.warehouse) == before


def test_what_a_place_does_not_hold_is_asked_for(place: Place) -> None:
    with pytest.raises(ChangeNotJudged, match="`churn dev build` builds what you changed"):
        place.compare()
    place.build(world(place), "noise")
    with place.warehouse.connect() as connection:
        connection.execute(f"update dev_{NAME}_features.churn_feature_matrix set matrix_version = 'x.set1'".encode())
    with pytest.raises(ChangeNotJudged, match="is not what the project says now"):
        place.compare()
    with place.warehouse.connect() as connection:
        connection.execute("update ops.developers set newest_dates = 3")
    with pytest.raises(ChangeNotJudged, match="--dates 0"):
        place.compare()


def test_a_place_that_was_built_before_the_newest_date_is_to_be_built_again(place: Place) -> None:
    place.build(world(place), "noise")
    with place.warehouse.connect() as connection:
        connection.execute(
            f"delete from dev_{NAME}_features.churn_feature_matrix where as_of_date = %s".encode(), [NOW.date()]
        )
    with pytest.raises(ChangeNotJudged, match="was built before the newest date of acme"):
        place.compare()
    with place.warehouse.connect() as connection:
        connection.execute("delete from features.churn_feature_matrix where as_of_date = %s", [NOW.date()])
    nobody = place.compared()
    assert nobody.moves is None
    assert nobody.judgement.verdict == "no_difference"


def test_another_meaning_of_the_outcome_is_no_change_of_features(place: Place) -> None:
    place.build(world(place), "noise")
    with place.warehouse.connect() as connection:
        connection.execute(f"drop view dev_{NAME}_features.churn_labels".encode())
        connection.execute(
            f"create table dev_{NAME}_features.churn_labels as select company_id, customer_id, as_of_date, is_mature,"
            " is_churned or customer_id < 'c00100' as is_churned from features.churn_labels".encode()
        )
        connection.execute(f"alter table dev_{NAME}_features.churn_labels owner to dev_{NAME}".encode())
        connection.execute("select ops.keep_own(%s)", [NAME])
    with pytest.raises(ChangeNotJudged, match="says otherwise of"):
        place.compare()
