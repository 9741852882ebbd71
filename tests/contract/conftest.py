"""What the tests of dashboards and of the report share: marts that dbt has built on no data, to be cloned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql

from tests.conftest import TestServer
from tests.integration.dbt_project.dbt_runs import PROJECT, DbtRuns, warehouse_for_a_module
from warehouse.connection import Warehouse

MARTS_TEMPLATE = "marts_template"


@pytest.fixture(scope="session")
def marts_template(
    postgres: TestServer, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Name of a database to clone; modules that use it are of the xdist group `dashboards_marts`."""
    with warehouse_for_a_module(postgres, template_database) as warehouse:
        build_marts(warehouse, tmp_path_factory.mktemp("dbt"))
        with warehouse.connect() as connection:
            row = connection.execute("select current_database()").fetchone()
        assert row is not None
        with postgres.administer() as connection:
            connection.execute(
                sql.SQL("create database {} template {}").format(sql.Identifier(MARTS_TEMPLATE), sql.Identifier(row[0]))
            )
            # Companies' logins of other tests are not to find a door here.
            connection.execute(
                sql.SQL("revoke connect on database {} from public").format(sql.Identifier(MARTS_TEMPLATE))
            )
    yield MARTS_TEMPLATE
    with postgres.administer() as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(MARTS_TEMPLATE)))


def build_marts(warehouse: Warehouse, folder: Path) -> None:
    """The marts and what they are made of, as dbt makes them."""
    warehouse.write_dbt_profile(folder)
    marts = ("--select", "+path:models/analytics", "--exclude-resource-type", "test", "unit_test")
    DbtRuns(PROJECT, folder).run("build", *marts)
