"""Migrations: from nothing to the newest revision, twice, and two at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from warehouse import relations
from warehouse.connection import Warehouse
from warehouse.errors import MigrationError, NewerWarehouse
from warehouse.migrate import ADVISORY_LOCK, current_revision, migrate, newest_revision
from warehouse.relations import Relation
from warehouse.revisions import known_revisions
from warehouse.roles import Role, relations_open_to_all_companies

MADE_BY_DBT = {"intermediate", "features", "analytics"}
MADE_HERE = [
    relation
    for relation in vars(relations).values()
    if isinstance(relation, Relation) and relation.schema not in MADE_BY_DBT
]


def test_an_empty_database_comes_to_the_newest_revision_and_stays_there(empty_database: Warehouse) -> None:
    assert current_revision(empty_database) is None
    assert migrate(empty_database) == newest_revision()
    assert current_revision(empty_database) == newest_revision()
    assert migrate(empty_database) == newest_revision()


def test_two_migrations_at_once_both_succeed(empty_database: Warehouse) -> None:
    with ThreadPoolExecutor(2) as pool:
        revisions = list(pool.map(migrate, [empty_database, empty_database]))
    assert revisions == [newest_revision()] * 2


def test_a_migration_waits_for_one_that_is_going_on(empty_database: Warehouse) -> None:
    with ThreadPoolExecutor(1) as pool:
        with empty_database.connect() as going_on:
            going_on.execute("select pg_advisory_xact_lock(%s)", (ADVISORY_LOCK,))
            waiting = pool.submit(migrate, empty_database)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=1)
            assert current_revision(empty_database) is None
        assert waiting.result(timeout=30) == newest_revision()


def test_a_migration_that_fails_leaves_the_warehouse_as_it_was(empty_database: Warehouse) -> None:
    with empty_database.connect() as connection:
        connection.execute("create schema raw")
        connection.execute("create table raw.customers (mine int)")
    with pytest.raises(MigrationError, match="is as it was"):
        migrate(empty_database)
    with empty_database.connect() as connection:
        row = connection.execute("select to_regclass('ops.companies'), to_regclass('raw.customers')").fetchone()
    assert row == (None, "raw.customers")
    assert current_revision(empty_database) is None


def test_a_revision_that_this_code_does_not_know_is_an_error(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute("update ops.alembic_version set version_num = '9999'")
    with pytest.raises(NewerWarehouse, match=f"to revision 9999, and this one knows none after {newest_revision()}"):
        migrate(warehouse)


def test_the_files_of_migrations_are_in_the_order_of_their_revisions() -> None:
    """By their names it is told which revisions this release knows."""
    script = ScriptDirectory(str(Path(relations.__file__).parent / "migrations"))
    assert script.get_current_head() == newest_revision()
    assert {each.revision for each in script.walk_revisions()} == set(known_revisions())


@pytest.mark.parametrize("relation", MADE_HERE, ids=str)
def test_every_relation_that_python_names_exists(warehouse: Warehouse, relation: Relation) -> None:
    with warehouse.connect() as connection:
        row = connection.execute("select to_regclass(%s)::text", (str(relation),)).fetchone()
    assert row == (str(relation),)


def test_every_column_of_predictions_is_described(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        bare = connection.execute(
            "select attrelid::regclass::text, attname from pg_attribute"
            " inner join pg_class on pg_class.oid = attrelid"
            " where relnamespace = 'predictions'::regnamespace and relkind in ('r', 'v') and attnum > 0"
            " and col_description(attrelid, attnum) is null"
        ).fetchall()
    assert bare == []


def test_every_key_and_index_of_a_companys_rows_leads_with_the_company(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        others = connection.execute(
            "select indexrelid::regclass::text from pg_index"
            " inner join pg_class on pg_class.oid = indrelid"
            " inner join pg_attribute on attrelid = indrelid and attnum = indkey[0]"
            " where relnamespace in ('raw'::regnamespace, 'predictions'::regnamespace)"
            " and attname <> 'company_id'"
            " order by 1"
        ).fetchall()
    # The generated id of a log: no reader looks for it across companies.
    assert others == [("raw.rejected_records_pkey",)]


def test_nothing_is_open_to_all_companies(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        assert relations_open_to_all_companies(connection) == []


@pytest.mark.parametrize(
    ("opened", "named"),
    [
        ("create table analytics.leak (company_id int)", "analytics.leak"),
        ("create view analytics.leak as select * from predictions.churn_scores", "analytics.leak"),
        ("create materialized view analytics.leak as select 1 as company_id", "analytics.leak"),
        (
            "create table analytics.leak (id int); alter table analytics.leak enable row level security",
            "analytics.leak",
        ),
    ],
)
def test_what_is_open_to_all_companies_is_found(warehouse: Warehouse, opened: str, named: str) -> None:
    with warehouse.connect() as connection:
        connection.execute(opened)  # type: ignore[call-overload]
        assert relations_open_to_all_companies(connection) == []
        connection.execute("grant select on analytics.leak to churn_company")
        assert relations_open_to_all_companies(connection) == [named]


def test_what_was_published_before_the_contract_had_versions_is_all_still_there(empty_database: Warehouse) -> None:
    before = [
        "insert into predictions.churn_scores select 1, 'c' || number, date '2026-01-02', 0.5, 'high', 50, 0,"
        " '[{\"feature\": \"a\"}]', 'm v1', 'rule', 'h' || number, now() from generate_series(1, 3) as number",
        "insert into predictions.churn_publications values (1, '2026-01-02', 'm v1', 'rule', 3, '2026-01-02')",
        "insert into predictions.churn_changes (company_id, customer_id, operation, as_of_date, churn_probability,"
        " risk_level, reasons, model_version, row_hash, changed_at)"
        " select 1, customer_id, 'upsert', as_of_date, churn_probability, risk_level, reasons, model_version, row_hash,"
        " timestamptz '2026-01-01' from predictions.churn_scores union all"
        " select 1, 'c3', 'delete', '2026-01-02', null, null, null, null, 'h3', timestamptz '2026-01-02'",
    ]
    later = "'{probability_low,probability_high,families,evidence,horizon_curve}'::text[]"
    content = [
        f"select to_jsonb(row) - {later} from predictions.churn_scores as row order by 1",
        f"select to_jsonb(row) - {later} from predictions.churn_current as row order by 1",
        "select to_jsonb(row) - 'newest_cursor' from predictions.churn_publications as row order by 1",
        "select to_jsonb(row) - 'change_reason' from predictions.churn_changes as row order by 1",
    ]
    migrate(empty_database, revision="0002")
    with empty_database.connect() as connection:
        for statement in before:
            connection.execute(statement)  # type: ignore[call-overload]
        held = [connection.execute(query).fetchall() for query in content]  # type: ignore[call-overload]
    migrate(empty_database)
    with empty_database.connect() as connection:
        assert [connection.execute(query).fetchall() for query in content] == held  # type: ignore[call-overload]
        snapshot = connection.execute("select customer_id, next_cursor from predictions.churn_snapshot order by 1")
        assert snapshot.fetchall() == [("c1", 4), ("c2", 4)]
        assert connection.execute("select * from predictions.churn_cursors").fetchall() == [(1, 4, 0)]
        assert connection.execute("select newest_cursor from predictions.churn_publications").fetchall() == [(4,)]
    with empty_database.connect(Role.publisher) as connection:
        assert connection.execute("select count(*) from predictions.churn_changes_v1").fetchone() == (4,)
