"""A past date rebuilt beside the stored rows, the record of it, and the catalogue that shows it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from pydantic import SecretStr
from typer.testing import CliRunner

from orchestration.cli.main import app
from pipeline.features.catalogue import place_of, read_features
from pipeline.features.dbt import prepare_manifest, profiles_directory
from pipeline.features.impact import UnknownName, columns_that_hang_on, find_impact
from pipeline.features.proof import SCHEMAS, SUFFIX, describe_failure, prove_features
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.scoring import Scorer
from pipeline.prediction.tasks import task_named
from pipeline.prediction.training import Trainer
from tests.conftest import TestServer
from tests.integration.crm_history import END, FIRST_LOAD, generate
from tests.integration.dbt_project.dbt_runs import FEATURES_AND_TASKS, PROJECT, DbtRuns, warehouse_for_a_module
from tests.integration.dbt_project.dbt_world import record_load, register_companies
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.companies.registry import get_company
from warehouse.connection import Warehouse
from warehouse.prediction.feature_catalogue import read_catalogue
from warehouse.prediction.feature_proofs import compare_with_stored
from warehouse.prediction.feature_store import FeaturesNotBuilt
from warehouse.publication.holds import hold
from warehouse.relations import Relation
from warehouse.settings import Settings

pytestmark = pytest.mark.xdist_group("features_proved")

CHURN = task_named("churn")
PAST = date(2025, 6, 1)
PAID = "days_since_last_payment"


@pytest.fixture(scope="module")
def warehouse(postgres: TestServer, template_database: str) -> Iterator[Warehouse]:
    with warehouse_for_a_module(postgres, template_database) as warehouse:
        yield warehouse


@pytest.fixture(scope="module")
def settings(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), database_url=SecretStr(warehouse.url()))


@pytest.fixture(scope="module")
def dbt(warehouse: Warehouse, settings: Settings) -> DbtRuns:
    """Two companies with 30 customers each, all of their features built by the project as it is."""
    folder = profiles_directory(settings)
    warehouse.write_dbt_profile(folder)
    with warehouse.connect() as connection:
        company_ids = register_companies(connection, now=END, first_load=FIRST_LOAD)
        generate(company_ids, customers=30, seed=3).write(connection, known_before=END)
        connection.commit()
    runs = DbtRuns(PROJECT, folder)
    runs.run("build", "--select", *FEATURES_AND_TASKS, "--exclude-resource-type", "test", "unit_test")
    return runs


@pytest.fixture(scope="module")
def company(warehouse: Warehouse, dbt: DbtRuns) -> Company:
    with warehouse.connect() as connection:
        return get_company(connection, "subscriptions")


def _catalogue(warehouse: Warehouse, company: Company) -> dict[str, bool | None]:
    with warehouse.connect() as connection:
        return {row.feature: row.is_proven for row in read_catalogue(connection, company.company_id)}


def test_features_whose_past_stands_still_are_proven_and_those_that_moved_are_named(
    warehouse: Warehouse, settings: Settings, company: Company
) -> None:
    assert set(_catalogue(warehouse, company).values()) == {None}
    with warehouse.connect() as connection:
        customer, other = connection.execute(
            "select customer_id from features.churn_feature_matrix where company_id = %s and as_of_date = %s"
            " order by 1 limit 2",
            [company.company_id, PAST],
        ).fetchall()
        where = "where company_id = %s and as_of_date = %s and customer_id = %s"
        connection.execute(
            f"update features.customer_feature_matrix set tenure_days = tenure_days + 1 {where}",
            [company.company_id, PAST, *customer],
        )
        connection.execute(
            "update features.customer_feature_matrix"
            f' set custom_attributes = custom_attributes || \'{{"industry": "no"}}\' {where}',
            [company.company_id, PAST, *other],
        )
        connection.commit()

    proof = prove_features(settings, warehouse, CHURN.relations, company, PAST)

    assert proof is not None
    assert proof.rows > 10
    assert {"revenue_90d", "attribute_industry", "attribute_employees"} <= set(proof.differing)
    assert proof.failed == {"tenure_days": 1, "attribute_industry": 1}
    assert "attribute_industry 1, tenure_days 1" in str(describe_failure([proof]))
    assert describe_failure([replace(proof, differing=dict.fromkeys(proof.differing, 0))]) is None
    proven = _catalogue(warehouse, company)
    assert set(proven) == set(proof.differing)
    assert {name for name, passed in proven.items() if not passed} == set(proof.failed)
    with warehouse.connect() as connection:
        scratch = "select count(*) from pg_namespace where nspname = any(%s)"
        assert connection.execute(scratch, [[schema + SUFFIX for schema in SCHEMAS]]).fetchone() == (0,)


def test_rows_that_only_one_side_has_differ_in_every_feature_and_versions_must_be_the_same(
    warehouse: Warehouse, company: Company
) -> None:
    rebuilt = Relation("elsewhere", "matrix")
    with warehouse.connect() as connection:
        connection.execute(
            "create schema elsewhere; create table elsewhere.matrix as select * from features.churn_feature_matrix"
            " where (company_id, customer_id, as_of_date) not in (select company_id, customer_id, as_of_date"
            " from features.churn_feature_matrix where as_of_date = '2025-06-01' order by company_id limit 1)"
        )
        comparison = compare_with_stored(connection, CHURN.relations, rebuilt, company.company_id, PAST, [])
        assert set(comparison.differing.values()) == {1}

        connection.execute("update elsewhere.matrix set feature_version = 'another.one'")
        with pytest.raises(FeaturesNotBuilt, match=r"another\.one.*`churn run`"):
            compare_with_stored(connection, CHURN.relations, rebuilt, company.company_id, PAST, [])
        connection.execute("drop schema elsewhere cascade")


def test_a_date_that_is_not_stored_is_refused_with_those_that_are(
    warehouse: Warehouse, settings: Settings, company: Company
) -> None:
    with pytest.raises(FeaturesNotBuilt, match="no past date 2001-01-01 to prove; it has: 2025-07-01, 2025-06-01"):
        prove_features(settings, warehouse, CHURN.relations, company, date(2001, 1, 1))


def test_the_catalogue_says_how_much_is_missing_and_since_when(warehouse: Warehouse, company: Company) -> None:
    with warehouse.connect() as connection:
        rows = {row.feature: row for row in read_catalogue(connection, company.company_id)}
        shared = {row.feature for row in read_catalogue(connection, None)}
        missing, first = connection.execute(
            "select avg((seats is null)::int)::float, min(as_of_date) filter (where seats is not null)"
            " from features.churn_feature_matrix where company_id = %s",
            [company.company_id],
        ).fetchone() or (None, None)
    assert rows["seats"].share_missing == pytest.approx(missing)
    # What rests on attributes is there after the first load only.
    assert rows["seats"].first_date_available == first
    assert first is not None
    assert first > FIRST_LOAD.date()
    assert rows["tenure_days"].share_missing == 0
    assert rows["attribute_industry"].label == "Industry"
    assert "attribute_industry" not in shared
    assert "tenure_days" in shared


@pytest.fixture
def churn(settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("CHURN_HOME", str(settings.home))
    monkeypatch.setenv("CHURN_DATABASE_URL", warehouse.url())
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_features_and_impact_are_told_in_the_terminal(churn: Callable[..., Result], company: Company) -> None:
    listed = churn("features", "--company", company.slug)
    assert listed.exit_code == 0, listed.output
    assert "has no churn champion yet" in listed.output
    assert "attribute_industry" in listed.output
    assert "models/features/customer_features.sql:" in listed.output

    told = churn("impact", "stg_crm__ticket_versions.satisfaction")
    assert told.exit_code == 0, told.output
    assert "average_satisfaction_180d (ticket_features)" in told.output
    assert "tenure_days" not in told.output
    assert "predictions.churn_scores.churn_probability" in told.output


def test_a_held_date_is_replayed_as_the_source_said_it_and_nothing_else_moves(
    warehouse: Warehouse, settings: Settings, company: Company, churn: Callable[..., Result]
) -> None:
    """Payments of weeks come late: the date as it was known lacks them, the replay counts each from its day."""
    held = END.date() - timedelta(days=3)
    described = read_features(prepare_manifest(settings), CHURN.relations.matrix)
    features = [feature for feature in described if feature.name == PAID]
    with warehouse.connect() as connection:
        connection.execute("update ops.companies set clock_at = %s where company_id = %s", [END, company.company_id])
        record_load(connection, company.company_id, END - timedelta(hours=1), is_backfill=False)
        connection.execute("update ops.companies set clock_at = %s where company_id = %s", [END, company.company_id])
        late = connection.execute(
            "update raw.payments set known_at = %s, is_backfill = false"
            " where company_id = %s and known_at between %s and %s",
            [END - timedelta(hours=1), company.company_id, END - timedelta(days=40), END],
        )
        assert late.rowcount > 10
        connection.commit()
    registry = ModelRegistry(warehouse, settings.home)
    Trainer(CHURN, warehouse, registry, features, Clock(END), 1).train(company, "always")
    scorer = Scorer(CHURN, warehouse, registry, features, Clock(END))
    with warehouse.connect() as connection:
        newest = scorer.stage(company).as_of_date
        hold(
            connection,
            CHURN.relations.contract,
            company.company_id,
            newest,
            END,
            {"no source fell silent": "payments: 0"},
        )
        connection.execute("update ml.publication_holds set as_of_date = %s", [held])
        connection.commit()

    with warehouse.connect() as connection:
        newest_load = connection.execute(
            "update ops.load_log set status = 'failed' where load_id = (select max(load_id) from ops.load_log)"
            " returning load_id"
        ).fetchone()
    too_early = churn("replay", "--company", company.slug, "--date", f"{held}")
    assert str(too_early.exception).startswith(f"{held} is held still: the data is too old for {held}: ")
    assert f"`churn holds accept --company {company.slug} --task churn --date {held}" in str(too_early.exception)
    with warehouse.connect() as connection:
        connection.execute("update ops.load_log set status = 'succeeded' where load_id = %s", newest_load)
    done = churn("replay", "--company", company.slug)

    assert done.exit_code == 0, done.output
    assert f"{company.slug}: {held} is published, as the source said it." in done.output
    assert f"{company.slug}: no past date is held." in churn("replay", "--company", company.slug).output
    assert "'acem'" in str(churn("replay", "--company", "acem").exception)
    with warehouse.connect() as connection:
        (paid_of_late,) = connection.execute(
            "select count(*) from predictions.churn_scores_v1, jsonb_array_elements(reasons) as reason"
            " where company_id = %s and as_of_date = %s and reason ->> 'feature' = %s"
            " and (reason ->> 'value')::numeric < 35",
            [company.company_id, held, PAID],
        ).fetchone() or (0,)
        released = connection.execute("select release from ml.publication_holds").fetchall()
    assert paid_of_late > 0
    assert released == [("replayed",)]


def test_impact_follows_lineage_and_suggests_names(settings: Settings, dbt: DbtRuns) -> None:
    manifest = json.loads(prepare_manifest(settings).read_text())
    compiled = settings.home / "dbt" / "target" / "compiled"
    whole = find_impact(manifest, "int_tickets__as_known", compiled)
    assert "features.ticket_features" in whole.models
    assert {feature.split("(")[1] for feature in whole.features} == {"ticket_features)"}
    assert "Churn overview (dashboard)" in whole.exposures
    with pytest.raises(UnknownName, match=r"Did you mean .*revenue_90d"):
        find_impact(manifest, "revenue_9d", compiled)
    seat = place_of(manifest, "customer_features", "tenure_days", PROJECT)
    line = int(seat.rpartition(":")[2])
    assert "tenure_days" in (PROJECT / "models/features/customer_features.sql").read_text().splitlines()[line - 1]


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("with a as (select x as y, z from t) select y, z as w from a", {"y"}),
        ("with a as (select * from t) select * from a", {"x"}),
        ("select z from t where x > 1", {"*"}),
        ("select o.q from t inner join o on o.id = t.id", set()),
        ("select count(*) filter (where t.x = 1) as n, max(t.z) as m from t group by t.id", {"n"}),
        ("select x as u from t union all select z from t", {"u"}),
    ],
    ids=["renamed", "star", "condition", "not used", "in an aggregate", "union"],
)
def test_a_column_is_followed_through_scopes_and_new_names(query: str, columns: set[str]) -> None:
    assert columns_that_hang_on(query, {"t": {"x"}}) == columns


def test_every_feature_is_found_by_its_name_where_it_is_made(dbt: DbtRuns) -> None:
    manifest = dbt.manifest()
    places = {
        name: place_of(manifest, node["name"], name, PROJECT)
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model"
        for name, column in node["columns"].items()
        if column["config"]["meta"].get("feature")
    }

    assert len(places) > 130
    assert [name for name, place in places.items() if ":" not in place] == []


def test_where_a_feature_is_made_is_the_file_alone_where_no_line_shows_it(tmp_path: Path) -> None:
    (tmp_path / "mart.sql").write_text("a\n  count(*) as payments_30d,\n  b.payments_90d\n")
    manifest = {
        "metadata": {"project_name": "p"},
        "nodes": {
            "model.p.mart": {
                "resource_type": "model",
                "name": "mart",
                "package_name": "p",
                "original_file_path": "mart.sql",
            }
        },
    }
    assert place_of(manifest, "mart", "payments_30d", tmp_path) == "mart.sql:2"
    assert place_of(manifest, "mart", "payments_90d", tmp_path) == "mart.sql:3"
    assert place_of(manifest, "mart", "unheard_of", tmp_path) == "mart.sql"
