"""A mart of a project of somebody's own, built by dbt in a place beside a production that knows nothing of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from pipeline.development.building import build, run_unit_tests, state_directory
from pipeline.development.new_project import make_project
from pipeline.development.places import development_directory
from tests.integration.conftest import TwoCompanies
from warehouse.dbt_targets import DEVELOPMENT_TARGET
from warehouse.developers import Developer, drop_place, make_place, place_of
from warehouse.settings import Settings

pytestmark = pytest.mark.xdist_group("two_companies")

NAME = "ownproject"


@dataclass
class Project:
    """A project as `churn init` makes it, and a place to build it in."""

    two: TwoCompanies
    settings: Settings
    place: Developer

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with self.two.warehouse.connect() as connection:
            return connection.execute(query.encode()).fetchall()


@pytest.fixture(scope="module")
def project(two_companies: TwoCompanies, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("own") / "shop"
    make_project(folder, "shop")
    settings = Settings(home=folder / ".churn", project=folder)
    state_directory(settings).mkdir(parents=True)
    shutil.copy(two_companies.dbt.folder / "target" / "manifest.json", state_directory(settings))
    with two_companies.warehouse.connect() as connection:
        password = make_place(connection, NAME, two_companies.company_ids[:1], 2)
        place = place_of(connection, NAME)
    two_companies.warehouse.write_dbt_profile(
        development_directory(settings), developers={f"dev_{NAME}": password}, default=DEVELOPMENT_TARGET
    )
    yield Project(two_companies, settings, place)
    with two_companies.warehouse.connect() as connection:
        drop_place(connection, NAME)


def test_its_feature_is_built_for_each_customer_and_joined_into_the_matrix(project: Project) -> None:
    build(project.settings, project.place, ["shop_features", "customer_feature_matrix"])
    schema = f"{project.place.login}_features"
    (counts,) = project.ask(f"""
        select
            (select count(*) from {schema}.customer_features),
            count(*),
            count(payments_60d),
            count(*) filter (where payments_60d > 0),
            count(*) filter (where payments_60d < payments_30d or payments_60d > payments_90d),
            count(*) filter (where feature_version = 'mixed')
        from {schema}.customer_feature_matrix
    """)
    customers, rows, known, paying, out_of_order, mixed = counts
    assert customers == rows > 0
    assert known > 0
    assert paying > 0
    assert (out_of_order, mixed) == (0, 0)
    assert project.ask("select to_regclass('features.shop_features') is null") == [(True,)]


def test_its_unit_tests_run_by_themselves(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    run_unit_tests(project.settings, project.place, [])
    said = capfd.readouterr().out
    assert "1 of 1 START unit_test shop_features::payments_count_for_sixty_days" in said
    assert "WARN=0 ERROR=0 SKIP=0" in said
