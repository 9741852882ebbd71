"""A row says which SQL and which settings made it, and an ordinary run builds anew what another version made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.feature_catalogue import sql_version
from tests.conftest import TestServer
from tests.integration.crm_history import END, FIRST_LOAD, generate
from tests.integration.dbt_runs import FEATURE_RELATIONS, DbtRuns, copy_project, warehouse_for_a_module
from tests.integration.dbt_world import register_companies
from warehouse.connection import Warehouse

pytestmark = pytest.mark.xdist_group("dbt_feature_version")

SELECTED = ("run", "--select", "+features")


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
    runs.run("build", "--select", "+features", "--exclude-resource-type", "test", "unit_test")
    return runs


def _versions(warehouse: Warehouse, relation: str) -> dict[int, set[str]]:
    """The versions that a relation's rows name, by company."""
    with warehouse.connect() as connection:
        found: dict[int, set[str]] = {}
        for company_id, version in connection.execute(
            f"select distinct company_id, feature_version from features.{relation}"
        ):
            found.setdefault(company_id, set()).add(version)
    return found


def _append(dbt: DbtRuns, file: str, text: str) -> None:
    with (dbt.project / file).open("a") as opened:
        opened.write(text)
    dbt.parse()


def test_every_row_names_one_version_per_company_and_settings(warehouse: Warehouse, dbt: DbtRuns) -> None:
    for relation in FEATURE_RELATIONS:
        versions = _versions(warehouse, relation)
        assert [len(found) for found in versions.values()] == [1, 1]
        (one,), (other,) = versions.values()
        # One SQL made both; the companies' settings differ.
        assert one.split(".")[0] == other.split(".")[0]
        assert one.split(".")[1] != other.split(".")[1]


def test_dagsters_code_version_is_the_versions_first_part(warehouse: Warehouse, dbt: DbtRuns) -> None:
    manifest = dbt.manifest()
    for relation in FEATURE_RELATIONS:
        (version, *_), *_ = _versions(warehouse, relation).values()
        assert sql_version(manifest, f"model.churn_warehouse.{relation}") == version.split(".")[0]


def test_a_comment_in_an_unrelated_model_changes_no_version(warehouse: Warehouse, dbt: DbtRuns) -> None:
    _append(dbt, "models/analytics/risk_by_month.sql", "\n-- for the reader\n")
    _append(dbt, "models/features/churn_labels.sql", "\n-- for the reader\n")

    written = dbt.run(*SELECTED)

    assert {relation: written[relation] for relation in FEATURE_RELATIONS} == dict.fromkeys(FEATURE_RELATIONS, 0)


def test_the_version_is_the_same_wherever_the_project_stands(
    warehouse: Warehouse, dbt: DbtRuns, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    warehouse.write_dbt_profile(tmp_path)
    elsewhere = DbtRuns(copy_project(tmp_path / "elsewhere" / "project"), tmp_path)

    written = elsewhere.run(*SELECTED)

    assert {relation: written[relation] for relation in FEATURE_RELATIONS} == dict.fromkeys(FEATURE_RELATIONS, 0)


def test_changed_settings_build_that_companys_rows_anew(warehouse: Warehouse, dbt: DbtRuns) -> None:
    before = _versions(warehouse, "churn_feature_matrix")
    with warehouse.connect() as connection:
        connection.execute("update ops.companies set time_zone = 'Asia/Tokyo' where slug = 'shop'")
        rows = connection.execute(
            "select count(*) from features.customer_features inner join ops.companies using (company_id)"
            " where slug = 'shop'"
        ).fetchone()
        connection.commit()

    written = dbt.run(*SELECTED)

    after = _versions(warehouse, "churn_feature_matrix")
    assert rows == (written["customer_features"],)
    assert [len(found) for found in after.values()] == [1, 1]
    assert [before[company] == after[company] for company in sorted(before)] == [True, False]


def test_changed_sql_builds_the_mart_and_the_matrix_anew_and_never_mixes(warehouse: Warehouse, dbt: DbtRuns) -> None:
    before = {relation: _versions(warehouse, relation) for relation in FEATURE_RELATIONS}
    _append(dbt, "models/intermediate/int_payments__intervals.sql", "\n-- another way\n")

    # The matrix alone cannot vouch for the mart's old rows, and says so.
    dbt.run("run", "--select", "churn_feature_matrix")
    assert _versions(warehouse, "churn_feature_matrix") == {1: {"mixed"}, 2: {"mixed"}}

    dbt.run(*SELECTED)

    after = {relation: _versions(warehouse, relation) for relation in FEATURE_RELATIONS}
    unmoved = {relation for relation in FEATURE_RELATIONS if before[relation] == after[relation]}
    assert unmoved == {"customer_features", "ticket_features", "activity_features"}
    assert [len(found) for found in after["churn_feature_matrix"].values()] == [1, 1]


def test_words_about_a_feature_change_no_version_and_its_basis_does(warehouse: Warehouse, dbt: DbtRuns) -> None:
    yaml = dbt.project / "models" / "features" / "_ticket_features.yml"
    text = yaml.read_text()
    before = _versions(warehouse, "ticket_features")

    yaml.write_text(text.replace("label: Tickets open", "label: Tickets still open", 1))
    dbt.parse()
    assert dbt.run(*SELECTED)["ticket_features"] == 0

    yaml.write_text(text.replace("basis: event_times", "basis: attributes", 1))
    dbt.parse()
    dbt.run(*SELECTED)
    assert _versions(warehouse, "ticket_features") != before
