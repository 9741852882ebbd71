"""A warehouse that release 0.1.0 filled comes to the newest revision with every row, setting and published value.

The fixture is the plain dump of one with three companies; the rows of dbt's tables and of most raw tables, which no
migration touches, were left out of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from pipeline.prediction.tasks import CONTRACTS, ChurnSettings, churn_settings_of
from tests.conftest import TestServer
from tests.integration.warehouse.release_dump import restore_release
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.migrate import current_revision, migrate, newest_revision
from warehouse.relations import ENTITY_RELATIONS
from warehouse.roles import Role, relations_open_to_all_companies

PUBLISHED = tuple(
    f"predictions.churn_{name}" for name in ("scores", "current", "publications", "changes", "snapshot", "cursors")
)
SCORES = (*PUBLISHED[:2], "predictions.churn_scores_v1", "predictions.churn_current_v1")
RENAMED = {"customer_id": "entity_id", "churn_probability": "probability"}
SETTINGS = {
    "kind": "churn_kind",
    "horizon_days": "horizon_days",
    "inactivity_days": "inactivity_days",
    "downgrade_share": "downgrade_share",
}
"""A setting of churn, and the column of the company that it stood in."""

Row = dict[str, Any]
Content = dict[str, list[Row]]

TABLES = """
    select oid::regclass::text from pg_class
    where relkind = 'r' and relnamespace::regnamespace::text
        in ('raw', 'ops', 'ml', 'predictions', 'staging', 'intermediate', 'features', 'analytics')
"""
EVALUATION = """
    insert into ml.evaluations (training_run_id, company_id, candidate, metric, value)
    select training_run_id, company_id, 'rule', 'auc', 0.625 from ml.training_runs
"""
"""The one table of ml that the dump has no row of."""


@dataclass(frozen=True)
class Upgrade:
    """The warehouse after the upgrade; every table and published relation with its rows, before and after."""

    warehouse: Warehouse
    before: Content
    after: Content


@pytest.fixture(scope="module")
def upgrade(postgres: TestServer, template_database: str) -> Iterator[Upgrade]:
    """The template's migration made the roles that the dump gives rights to."""
    with postgres.database("template1") as url:
        restore_release(postgres, str(make_url(url).database))
        warehouse = Warehouse(url)
        with warehouse.connect() as conn:
            conn.execute(EVALUATION)
        assert current_revision(warehouse) == "0017"
        before = _content(warehouse)
        assert migrate(warehouse, CONTRACTS) == newest_revision()
        yield Upgrade(warehouse, before, _content(warehouse))


def _content(warehouse: Warehouse) -> Content:
    with warehouse.connect() as conn:
        names = [*PUBLISHED, *(name for (name,) in conn.execute(TABLES))]
        return {name: _rows(conn, name) for name in names}


def _rows(conn: psycopg.Connection[Any], name: str) -> list[Row]:
    relation = sql.Identifier(*name.split("."))
    rows = conn.execute(sql.SQL("select to_jsonb(one) from {} as one").format(relation)).fetchall()
    return _in_order(row for (row,) in rows)


def _in_order(rows: Iterator[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))


ADDED: dict[str, Row] = {
    **{relation: {"horizon_curve": None} for relation in SCORES},
    "ops.load_log": {"late": 0, "vanished": 0, "remarks": None},
    "ops.sync_cursors": {
        "compared_at": None,
        "still_unaccounted": None,
        "deletions_accepted_at": None,
        "filled_columns": [],
        "accepted_columns": [],
    },
}


def _upgraded(relation: str, row: Row) -> Row:
    """What a row of the release must be afterwards."""
    if relation == "ops.companies":
        kept = {name: value for name, value in row.items() if name not in SETTINGS.values()}
        return kept | {"allows_small_pool": False, "margin_share": 1, "yearly_discount": 0}
    if relation == "ops.alembic_version":
        return {"version_num": newest_revision()}
    if relation in {str(table) for table in ENTITY_RELATIONS.values()}:
        pauses = {"paused_at": None, "resumes_at": None} if relation == "raw.customers" else {}
        return row | {"revision": 0, "made_at": None, "is_vanished": False} | pauses
    if relation in ADDED:
        return row | ADDED[relation]
    if not relation.startswith("ml."):
        return row
    changed = {RENAMED.get(name, name): value for name, value in row.items()}
    if relation == "ml.staged_scores":
        changed["horizon_curve"] = None
    if relation not in ("ml.promotions", "ml.feature_drift", "ml.drift_references"):
        changed.setdefault("task", "churn")
    if relation == "ml.feature_proofs":
        changed["matrix_version"] = row["feature_version"]
    if relation == "ml.feature_drift":
        changed["feature"] = RENAMED.get(row["feature"], row["feature"])
    if relation == "ml.drift_references":
        changed["profile"] = json.loads(json.dumps(row["profile"]).replace('"churn_probability"', '"probability"'))
    return changed


def test_every_table_has_its_rows(upgrade: Upgrade) -> None:
    counts = {name: len(rows) for name, rows in upgrade.before.items()}
    assert {name: len(upgrade.after.get(name, [])) for name in counts} == counts
    assert [name for name, rows in counts.items() if name.startswith(("ml.", "predictions.")) and not rows] == []
    assert counts["predictions.churn_scores_v1"] == 565


def test_every_value_is_there_under_the_name_that_it_has_now(upgrade: Upgrade) -> None:
    for relation, rows in upgrade.before.items():
        expected = _in_order(_upgraded(relation, row) for row in rows)
        assert upgrade.after[relation] == expected, relation
    assert all(row["task"] == "churn" for name, rows in upgrade.after.items() if name.startswith("ml.") for row in rows)


def test_the_release_had_scores_whose_drift_was_measured(upgrade: Upgrade) -> None:
    """Else the test above would hold of nothing."""
    assert "churn_probability" in {row["feature"] for row in upgrade.before["ml.feature_drift"]}
    assert '"churn_probability"' in json.dumps(upgrade.before["ml.drift_references"])


def test_what_each_company_means_by_churn_is_a_setting_of_its_task(upgrade: Upgrade) -> None:
    settings = {
        row["company_id"]: {name: row[column] for name, column in SETTINGS.items() if row[column] is not None}
        for row in upgrade.before["ops.companies"]
    }
    assert len(settings) == 3
    tasks = {row["company_id"]: row for row in upgrade.after["ops.company_tasks"]}
    assert {company_id: (row["task"], row["settings"], row["is_active"]) for company_id, row in tasks.items()} == {
        company_id: ("churn", said, True) for company_id, said in settings.items()
    }
    with upgrade.warehouse.connect() as conn:
        read = {company.company_id: churn_settings_of(company) for company in list_companies(conn, active_only=False)}
    assert read == {company_id: ChurnSettings.model_validate(said) for company_id, said in settings.items()}


@pytest.mark.parametrize("relation", PUBLISHED)
def test_readers_see_what_was_published_row_by_row(upgrade: Upgrade, relation: str) -> None:
    assert upgrade.before[relation]
    with upgrade.warehouse.connect(Role.operator) as conn:
        assert _rows(conn, relation) == _in_order(_upgraded(relation, row) for row in upgrade.before[relation])


def test_other_tasks_have_their_relations_and_nothing_in_them(upgrade: Upgrade) -> None:
    with upgrade.warehouse.connect() as conn:
        for contract in CONTRACTS:
            if contract.task != "churn":
                assert _rows(conn, str(contract.scores)) == []
        assert relations_open_to_all_companies(conn) == []
