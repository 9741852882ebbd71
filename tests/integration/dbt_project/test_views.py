"""A view takes the place of the one before it, whatever that was, and what reads it stays where it can."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.integration.dbt_project.dbt_runs import DbtRuns, copy_project
from warehouse.connection import Warehouse

pytestmark = pytest.mark.xdist_group("dbt_staging")


class Views:
    """A model, and one that reads it, in a project of their own."""

    def __init__(self, warehouse: Warehouse, folder: Path) -> None:
        self.warehouse = warehouse
        warehouse.write_dbt_profile(folder)
        self.dbt = DbtRuns(copy_project(folder / "project"), folder)
        self.folder = self.dbt.project / "models" / "staging"
        self.write("reading", "select * from {{ ref('read') }}")

    def write(self, name: str, sql: str) -> None:
        (self.folder / f"{name}.sql").write_text(sql)

    def build(self, sql: str, *models: str) -> None:
        self.write("read", sql)
        self.dbt.parse()
        self.dbt.run("run", "--select", *models)

    def rows(self, model: str) -> list[tuple[object, ...]]:
        with self.warehouse.connect() as connection:
            return connection.execute(f"table staging.{model}".encode()).fetchall()


def test_a_view_is_replaced_with_its_columns_and_rights(warehouse: Warehouse, tmp_path: Path) -> None:
    views = Views(warehouse, tmp_path)
    views.build("select 1 as figure", "read", "reading")
    views.build("select 2 as figure", "read")
    assert views.rows("reading") == [(2,)]
    views.build("select 'two' as figure", "read")
    with pytest.raises(psycopg.errors.UndefinedTable):
        views.rows("reading")
    views.build("select 'three' as word", "read", "reading")
    assert views.rows("reading") == [("three",)]
    views.build("{{ config(materialized='table') }} select 4 as figure", "read", "reading")
    views.build("select 5 as figure", "read", "reading")
    assert views.rows("reading") == [(5,)]
    with warehouse.connect() as connection:
        rights = connection.execute(
            "select relname, relkind::text, has_table_privilege('churn_operator', oid, 'select') from pg_class"
            " where relnamespace = 'staging'::regnamespace and relname like 'read%' order by 1"
        ).fetchall()
    assert rights == [("read", "v", True), ("reading", "v", True)]
