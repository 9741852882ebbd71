"""A row says which SQL and which settings made it, and an ordinary run builds again what another version made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.features.versions import sql_version
from tests.conftest import TestServer
from tests.integration.crm_history import END, FIRST_LOAD, generate
from tests.integration.dbt_project.dbt_runs import (
    CHURN_RELATIONS,
    FEATURE_RELATIONS,
    FEATURES_AND_TASKS,
    VIEWS_STAND,
    DbtRuns,
    copy_project,
    moved_columns,
    snapshot,
    warehouse_for_a_module,
)
from tests.integration.dbt_project.dbt_world import register_companies
from warehouse.connection import Warehouse

pytestmark = pytest.mark.xdist_group("dbt_feature_version")

SELECTED = ("run", "--select", *FEATURES_AND_TASKS, *VIEWS_STAND)


@pytest.fixture(scope="module")
def warehouse(postgres: TestServer, template_database: str) -> Iterator[Warehouse]:
    """Two companies with 30 customers each, all of their features built."""
    with warehouse_for_a_module(postgres, template_database) as warehouse:
        yield warehouse


@pytest.fixture(scope="module")
def dbt(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> DbtRuns:
    folder = tmp_path_factory.mktemp("dbt")
    warehouse.write_dbt_profile(folder)
    runs = DbtRuns(copy_project(folder / "project"), folder)
    with warehouse.connect() as connection:
        company_ids = register_companies(connection, now=END, first_load=FIRST_LOAD)
        generate(company_ids, customers=30, seed=7).write(connection, known_before=END)
        connection.commit()
    runs.run("build", "--select", *FEATURES_AND_TASKS, "--exclude-resource-type", "test", "unit_test")
    return runs


def _versions(warehouse: Warehouse, relation: str) -> dict[int, set[str]]:
    """The versions that a relation's rows name, by company."""
    with warehouse.connect() as connection:
        versions: dict[int, set[str]] = {}
        for company_id, version in connection.execute(
            f"select distinct company_id, feature_version from features.{relation}"
        ):
            versions.setdefault(company_id, set()).add(version)
    return versions


def _append(dbt: DbtRuns, file: str, text: str) -> None:
    with (dbt.project / file).open("a") as opened:
        opened.write(text)
    dbt.parse()


def test_every_row_names_one_version_per_company_and_settings(warehouse: Warehouse, dbt: DbtRuns) -> None:
    for relation in (*FEATURE_RELATIONS, *CHURN_RELATIONS):
        versions = _versions(warehouse, relation)
        assert [len(of_company) for of_company in versions.values()] == [1, 1]
        (version,), (other,) = versions.values()
        # One SQL made both; the companies' settings differ.
        assert version.split(".")[0] == other.split(".")[0]
        assert version.split(".")[1] != other.split(".")[1]


def test_dagsters_code_version_is_the_versions_first_part(warehouse: Warehouse, dbt: DbtRuns) -> None:
    manifest = dbt.manifest()
    for relation in (*FEATURE_RELATIONS, "churn_population"):
        (version, *_), *_ = _versions(warehouse, relation).values()
        assert sql_version(manifest, f"model.churn_warehouse.{relation}") == version.split(".")[0]


def _sql_versions(dbt: DbtRuns) -> dict[str, str]:
    """The versions' first part as the project stands; the test above holds it against what dbt writes."""
    dbt.parse()
    manifest = dbt.manifest()
    return {relation: sql_version(manifest, f"model.churn_warehouse.{relation}") for relation in FEATURE_RELATIONS}


def test_words_and_unrelated_models_change_no_version_and_a_features_basis_does(
    warehouse: Warehouse, dbt: DbtRuns, tmp_path: Path
) -> None:
    """Nor does where the project stands."""
    warehouse.write_dbt_profile(tmp_path)
    elsewhere = DbtRuns(copy_project(tmp_path / "project"), tmp_path)
    yaml = elsewhere.project / "models" / "features" / "_ticket_features.yml"
    text = yaml.read_text()
    for model in ("analytics/risk_by_month", "tasks/churn/churn_labels"):
        with (elsewhere.project / "models" / f"{model}.sql").open("a") as opened:
            opened.write("\n-- for the reader\n")
    yaml.write_text(text.replace("label: Tickets open", "label: Tickets still open", 1))
    before = _sql_versions(dbt)

    assert _sql_versions(elsewhere) == before

    yaml.write_text(text.replace("basis: event_times", "basis: attributes", 1))
    after = _sql_versions(elsewhere)
    assert {name for name in before if before[name] != after[name]} == {"ticket_features", "customer_feature_matrix"}


def test_changed_settings_and_rates_rebuild_the_rows_that_rest_on_them(warehouse: Warehouse, dbt: DbtRuns) -> None:
    """A rate of May reaches the dates after it, in the marts that hold money."""
    before = _versions(warehouse, "churn_feature_matrix")
    with warehouse.connect() as connection:
        connection.execute("update ops.companies set time_zone = 'Asia/Tokyo' where slug = 'shop'")
        connection.execute(
            "insert into ops.exchange_rates (currency, valid_from, rate_to_eur)"
            " select currency, valid_from, rate_to_eur from staging.exchange_rates where currency = 'GBP'"
            " union all select 'GBP', '2025-05-10', 2"
        )
        rows = connection.execute(
            "select count(*) filter (where slug = 'shop'),"
            " count(*) filter (where slug = 'shop' or as_of_date > '2025-05-10')"
            " from features.customer_features inner join ops.companies using (company_id)"
        ).fetchone()
        snapshot(connection, "before", FEATURE_RELATIONS)

    written = dbt.run(*SELECTED)

    after = _versions(warehouse, "churn_feature_matrix")
    assert rows == (written["ticket_features"], written["customer_features"])
    assert written["payment_features"] == written["customer_features"]
    assert [len(of_company) for of_company in after.values()] == [1, 1]
    assert [before[company] == after[company] for company in sorted(before)] == [True, False]
    with warehouse.connect() as connection:
        connection.execute("delete from before.customer_feature_matrix where company_id = 2")
        connection.execute("delete from features.customer_feature_matrix where company_id = 2")
        moved = moved_columns(connection, "before", ("customer_feature_matrix",))["customer_feature_matrix"]
        unmoved = moved_columns(connection, "before", ("customer_feature_matrix",), up_to="2025-05-10")
        connection.rollback()
    assert {"revenue_90d", "rates_version"} <= moved
    assert unmoved == {}


def test_changed_sql_rebuilds_the_mart_and_the_matrix_and_never_mixes(warehouse: Warehouse, dbt: DbtRuns) -> None:
    before = {relation: _versions(warehouse, relation) for relation in FEATURE_RELATIONS}
    _append(dbt, "models/intermediate/int_payments__intervals.sql", "\n-- another way\n")

    # The mart alone would read what the old SQL made, and the matrix alone the mart's old rows.
    with pytest.raises(AssertionError, match=r"int_payments__intervals, which is older than the SQL, .* of company 1"):
        dbt.run("run", "--select", "payment_features")
    dbt.run("run", "--select", "customer_feature_matrix")
    for matrix in ("customer_feature_matrix", "churn_feature_matrix"):
        assert _versions(warehouse, matrix) == {1: {"mixed"}, 2: {"mixed"}}

    dbt.run(*SELECTED)

    after = {relation: _versions(warehouse, relation) for relation in FEATURE_RELATIONS}
    after |= {relation: _versions(warehouse, relation) for relation in CHURN_RELATIONS}
    unmoved = {relation for relation in FEATURE_RELATIONS if before[relation] == after[relation]}
    assert unmoved == {"customer_features", "ticket_features", "activity_features", "engagement_features"}
    for relation in ("customer_feature_matrix", *CHURN_RELATIONS):
        assert [len(of_company) for of_company in after[relation].values()] == [1, 1]
        assert not any("mixed" in of_company for of_company in after[relation].values())


def test_a_mart_is_not_built_from_intervals_that_have_not_taken_in_a_load(warehouse: Warehouse, dbt: DbtRuns) -> None:
    with warehouse.connect() as connection:
        load = connection.execute(
            "insert into ops.load_log (company_id, entity, is_backfill, known_at, started_at, finished_at, status,"
            " loaded) values (1, 'tickets', false, %(end)s, %(end)s, %(end)s, 'succeeded', 1) returning load_id",
            {"end": END},
        ).fetchone()
        assert load is not None
        newest = "select * from raw.tickets where company_id = 1 and not is_backfill order by updated_at desc limit 1"
        connection.execute(
            f"insert into raw.tickets select version.* from ({newest}) as newest cross join lateral"
            " jsonb_populate_record(null::raw.tickets, to_jsonb(newest) || jsonb_build_object('updated_at',"
            " updated_at + interval '1 s', 'load_id', %s::bigint)) as version",
            load,
        )
        connection.commit()

    with pytest.raises(AssertionError, match=f"older than load {load[0]} of company 1.*--select .ticket_features"):
        dbt.run("run", "--select", "ticket_features")
    dbt.run("run", "--select", "+int_tickets__intervals", "ticket_features")
