"""Rights and policies come from their declaration: a warehouse that lost them all has each again after a migration."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql

from pipeline.prediction.tasks import CONTRACTS
from tests.integration.warehouse.rights_in_catalog import rights
from warehouse.connection import Warehouse
from warehouse.migrate import migrate
from warehouse.rights import SCHEMAS
from warehouse.roles import Role


def take_everything(connection: psycopg.Connection[Any]) -> None:
    roles = sql.SQL(", ").join(map(sql.Identifier, Role))
    for schema in map(sql.Identifier, SCHEMAS[Role.operator]):
        connection.execute(sql.SQL("revoke all on all tables in schema {} from {}").format(schema, roles))
        connection.execute(sql.SQL("revoke all on schema {} from {}").format(schema, roles))
        connection.execute(
            sql.SQL("alter default privileges in schema {} revoke all on tables from {}").format(schema, roles)
        )
    connection.execute("grant execute on all functions in schema ops to public")
    tables = "select polrelid::regclass::text, quote_ident(polname) from pg_policy"
    for table, policy in connection.execute(tables).fetchall():
        connection.execute(f"drop policy {policy} on {table}")
        connection.execute(f"alter table {table} no force row level security")


def test_a_migration_gives_back_every_right_and_policy(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        before = rights(connection)
        take_everything(connection)
        taken = rights(connection)
    assert len(before - taken) > 300

    migrate(warehouse, CONTRACTS)

    with warehouse.connect() as connection:
        assert rights(connection) == before


@pytest.mark.parametrize(
    "lost",
    [
        "revoke select on ml.grades from churn_ml",
        "revoke select (known_at) on raw.events from churn_ml",
        "revoke usage on schema predictions from churn_company",
        "drop policy company_reads_its_own on predictions.churn_scores_v1",
        "alter table predictions.support_scores_v1 disable row level security",
        "alter default privileges in schema features revoke select on tables from churn_ml",
        "grant execute on function ops.refuse_change() to public",
    ],
)
def test_a_single_loss_is_mended(warehouse: Warehouse, lost: str) -> None:
    with warehouse.connect() as connection:
        before = rights(connection)
        connection.execute(lost)
        assert rights(connection) != before

    migrate(warehouse, CONTRACTS)

    with warehouse.connect() as connection:
        assert rights(connection) == before


def test_a_warehouse_in_order_is_left_alone(warehouse: Warehouse) -> None:
    """No catalogue row is written, so that commands side by side do not wait for each other."""
    catalogues = ("pg_class", "pg_namespace", "pg_proc", "pg_policy", "pg_default_acl", "pg_attribute")
    written = " union all ".join(f"select '{name}', max(xmin::text::bigint) from {name}" for name in catalogues)
    migrate(warehouse, CONTRACTS)
    with warehouse.connect() as connection:
        before = connection.execute(written).fetchall()

    migrate(warehouse, CONTRACTS)

    with warehouse.connect() as connection:
        assert connection.execute(written).fetchall() == before
