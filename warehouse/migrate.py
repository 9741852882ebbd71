"""Bring the warehouse's schema up to date. Alembic is configured here, in code; there is no alembic.ini."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from psycopg import sql
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from warehouse.connection import Warehouse
from warehouse.developers import ensure_developers_limits
from warehouse.errors import MigrationError
from warehouse.publication.contract import Contract, ensure_contract, ensure_policies
from warehouse.relations import COMPANIES, DECISION_TABLES, MIGRATIONS
from warehouse.revisions import known_revisions, refuse_newer
from warehouse.rights import ensure_rights
from warehouse.roles import ensure_company_logins, ensure_database_privileges, ensure_roles
from warehouse.sessions import LOCK_TIMEOUT

# Any number, the same for ever: one migration of a database at a time.
ADVISORY_LOCK = 4_711_002_026
ATTEMPTS = 3
"""How often a migration is tried against tables that somebody reads."""


def migrate(warehouse: Warehouse, contracts: Sequence[Contract] = (), revision: str = "head") -> str:
    """Create the roles and bring the schema to a revision, the newest unless told, which is returned.

    Then the relations of each contract are made where they are missing, and rights given back that are missing. All of
    it is one transaction. Two at once wait for each other; a warehouse that is up to date is left alone. Raises
    MigrationError, and NewerWarehouse where a later release was here.
    """
    engine = create_engine("postgresql+psycopg://", creator=warehouse.connect, poolclass=NullPool)
    try:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with engine.begin() as connection:
                    return _migrate(connection, warehouse.place, contracts, revision)
            except (DBAPIError, psycopg.errors.LockNotAvailable) as error:
                # Readers who queue behind us go on before the next try.
                if not _waited_in_vain(error) or attempt == ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")
    except (CommandError, DBAPIError, psycopg.Error) as error:
        why = warehouse.lock_held().message if _waited_in_vain(error) else error
        raise MigrationError(
            f"The warehouse at {warehouse.place} could not be migrated, and is as it was: {why}"
        ) from error
    finally:
        engine.dispose()


def _waited_in_vain(error: Exception) -> bool:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, psycopg.errors.LockNotAvailable)


def newest_revision() -> str:
    """The revision that this code expects."""
    return known_revisions()[-1]


def knows_revision(revision: str) -> bool:
    """Whether this code can bring a schema of that revision up to date: a newer release's it cannot."""
    return revision in known_revisions()


def current_revision(warehouse: Warehouse) -> str | None:
    """The revision that the warehouse is at; None where it was never migrated."""
    with warehouse.connect() as connection:
        exists = connection.execute("select to_regclass(%s)", (str(MIGRATIONS),)).fetchone()
        if exists is None or exists[0] is None:
            return None
        row = connection.execute(sql.SQL("select version_num from {}").format(MIGRATIONS.identifier)).fetchone()
    return None if row is None else str(row[0])


def _migrate(connection: Connection, place: str, contracts: Sequence[Contract], target: str) -> str:
    # Another migration may take long; a reader may not keep us, and those behind us, for as long.
    connection.exec_driver_sql("set local lock_timeout = '1h'")
    connection.exec_driver_sql(f"select pg_advisory_xact_lock({ADVISORY_LOCK})")
    connection.exec_driver_sql(f"set local lock_timeout = '{LOCK_TIMEOUT.total_seconds() * 1000 / ATTEMPTS:.0f}ms'")
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)  # noqa: S101  (our own creator made it)
    ensure_roles(driver)
    refuse_newer(driver, place)
    driver.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(MIGRATIONS.schema)))
    command.upgrade(_config(connection), target)
    for contract in contracts:
        ensure_contract(driver, contract)
    for table in DECISION_TABLES:
        if driver.execute("select to_regclass(%s) is not null", [str(table)]).fetchone() == (True,):
            ensure_policies(driver, table)
    ensure_rights(driver)
    ensure_database_privileges(driver)
    for (company_id,) in driver.execute(sql.SQL("select company_id from {}").format(COMPANIES.identifier)).fetchall():
        ensure_company_logins(driver, company_id)
    if target == "head":
        ensure_developers_limits(driver)
    revision = MigrationContext.configure(
        connection, opts={"version_table": MIGRATIONS.name, "version_table_schema": MIGRATIONS.schema}
    ).get_current_revision()
    assert revision is not None  # noqa: S101  (upgrade has just written it)
    return revision


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
