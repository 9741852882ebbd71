"""Sums of doubles depend on the order of rows, which no query promises: none is taken, so equal is equal."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pipeline.integrations.metabase.definition_files import load_definitions
from pipeline.integrations.metabase.filled_sql import filled_sql
from tests.integration.conftest import TwoCompanies

pytestmark = pytest.mark.xdist_group("two_companies")

# What adds doubles up: sum, avg, variance and regression of them. Least, greatest and medians depend on no order.
ADDS_DOUBLES = """
    select aggregate.oid::text, aggregate.oid::regprocedure::text
    from pg_proc as aggregate inner join pg_aggregate on aggfnoid = aggregate.oid
    where aggregate.proname !~ '^(min|max|count|array_agg|json|percentile|mode|rank|dense_rank|any_value)'
        and aggregate.proargtypes::oid[] && array['float8'::regtype::oid, 'float4'::regtype::oid]
"""


def adding_doubles(connection: psycopg.Connection[Any]) -> dict[str, list[str]]:
    """Views of this database's that add doubles up, as Postgres has read them, and by which aggregates."""
    aggregates = dict(connection.execute(ADDS_DOUBLES).fetchall())
    views = connection.execute(
        "select ev_class::regclass::text, ev_action::text from pg_rewrite"
        " inner join pg_class on pg_class.oid = ev_class"
        " where relkind = 'v' and relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
    ).fetchall()
    used = {view: re.findall(r":(?:aggfnoid|winfnoid) (\d+)", read) for view, read in views}
    adding = {
        view: sorted({aggregates[each] for each in called if each in aggregates}) for view, called in used.items()
    }
    return {view: called for view, called in adding.items() if called}


def test_no_model_adds_doubles_up(two_companies: TwoCompanies) -> None:
    compiled = two_companies.dbt.compile("--select", "resource_type:model", "--full-refresh")
    assert len(compiled) > 80
    with two_companies.warehouse.connect() as connection:
        connection.execute("create schema read_by_postgres")
        for number, (model, code) in enumerate(sorted(compiled.items())):
            name = f"read_by_postgres.{model.split('.')[2][:50]}_{number}"
            with connection.transaction():
                connection.execute(f"create view {name} as {code}".encode())
        adding = adding_doubles(connection)
        connection.rollback()
    assert adding == {}


def test_no_card_of_a_dashboard_does(two_companies: TwoCompanies) -> None:
    with two_companies.warehouse.connect() as connection:
        connection.execute("create schema read_by_postgres")
        for number, card in enumerate(load_definitions().cards()):
            name = sql.Identifier("read_by_postgres", f"card_{number} {card.name}"[:60])
            connection.execute(sql.SQL("create view {} as {}").format(name, filled_sql(card)))
        adding = adding_doubles(connection)
        connection.rollback()
    assert adding == {}


@pytest.mark.parametrize("query", ["sum(number)", "avg(number) over ()", "stddev(number)", "sum(number::real)"])
def test_it_would_be_seen(two_companies: TwoCompanies, query: str) -> None:
    with two_companies.warehouse.connect() as connection:
        connection.execute(
            f"create view public.adding as select {query} from (values (0.1::float8)) as numbers (number)".encode()
        )
        assert "adding" in adding_doubles(connection)
        connection.rollback()
