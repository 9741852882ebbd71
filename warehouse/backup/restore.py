"""Restore a backup into an empty warehouse, and see that everything is there; or rehearse it beside a full one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from foundation.errors import ChurnError
from foundation.private_files import scratch_folder
from warehouse.backup.archive import FOLDERS, Manifest, key_check, read_manifest, take_out, take_out_home
from warehouse.backup.make import row_counts
from warehouse.client_programs import run_client
from warehouse.connection import Warehouse
from warehouse.embedded.server import EmbeddedServer
from warehouse.migrate import knows_revision, migrate
from warehouse.publication.contract import Contract
from warehouse.roles import METABASE_LOGIN, Role, ensure_company_logins, ensure_roles, make_role
from warehouse.settings import Settings

_LOGINS_OF_OURS = re.compile(rf"company_\d+(_sync|_metabase|_key_[0-9a-f]{{12}})?|{METABASE_LOGIN}")


class RestoreRefused(ChurnError):
    """Nothing was restored; the message says what is in the way."""


class RestoreIncomplete(ChurnError):
    """The warehouse does not hold what the backup does; the message names the tables."""

    advice = "Drop the database, create it again, and restore once more; or take an older backup."


@dataclass(frozen=True)
class Restored:
    """What a restore brought back. `same_key` is None where the backup knew no CHURN_SECRET_KEY."""

    manifest: Manifest
    same_key: bool | None

    @property
    def rows(self) -> int:
        """Rows of all tables together."""
        return sum(self.manifest.rows.values())


def restore_backup(settings: Settings, warehouse: Warehouse, path: Path, contracts: Sequence[Contract]) -> Restored:
    """Fill an empty warehouse from a backup, bring its schema to this version, and put the models' files back.

    Logins come back without their passwords. Raises NotABackup, RestoreRefused (and has done nothing) where the
    warehouse or the home is not empty, where the backup is of a newer release, of another owner, or gives rights to
    roles that are not here; RestoreIncomplete where counts differ afterwards; and ProgramFailed.
    """
    manifest = read_manifest(path)
    _refuse_full_home(settings)
    with warehouse.connect() as connection:
        _refuse_full_database(connection, warehouse, path)
        _refuse_unfit(connection, manifest, path)
    with warehouse.connect() as connection:
        _make_roles(connection, manifest)
    _load(settings, warehouse, path)
    _compare(warehouse, manifest)
    migrate(warehouse, contracts)
    take_out_home(path, settings.home)
    return _restored(settings, manifest)


def rehearse_restore(settings: Settings, warehouse: Warehouse, path: Path) -> Restored:
    """Restore a backup into a database of its own on the same server, compare the counts, and drop it again.

    Raises as `restore_backup`, and RestoreRefused where the warehouse's owner may not create a database.
    """
    manifest = read_manifest(path)
    with warehouse.connect() as connection:
        _refuse_unfit(connection, manifest, path)
    with warehouse.connect() as connection:
        _make_roles(connection, manifest)
    with _scratch_database(settings, warehouse) as scratch:
        _load(settings, scratch, path)
        _compare(scratch, manifest)
    return _restored(settings, manifest)


def _restored(settings: Settings, manifest: Manifest) -> Restored:
    return Restored(manifest, None if manifest.key_check is None else manifest.key_check == key_check(settings))


def _refuse_full_home(settings: Settings) -> None:
    for folder in FOLDERS:
        place = settings.home / folder
        if place.is_dir() and any(place.iterdir()):
            raise RestoreRefused(
                f"{place} is not empty, and the backup has files for it. Restore into an empty home (CHURN_HOME), or "
                "move that folder away."
            )


def _refuse_full_database(connection: psycopg.Connection[Any], warehouse: Warehouse, path: Path) -> None:
    rows = connection.execute(
        "select nspname, count(*) from pg_class inner join pg_namespace on pg_namespace.oid = relnamespace"
        " where relkind in ('r', 'p', 'v', 'm') and nspname <> 'information_schema' and nspname not like 'pg\\_%'"
        " group by 1 order by 1"
    ).fetchall()
    if rows:
        tables = ", ".join(f"{schema} ({count})" for schema, count in rows)
        raise RestoreRefused(
            f"The warehouse at {warehouse.place} is not empty; it has tables and views in {tables}. Restore into an "
            f"empty database; on the embedded Postgres, into a new home: CHURN_HOME=... churn restore {path}."
        )


def _refuse_unfit(connection: psycopg.Connection[Any], manifest: Manifest, path: Path) -> None:
    if not knows_revision(manifest.revision):
        raise RestoreRefused(
            f"{path} was made by release {manifest.version}, whose schema (revision {manifest.revision}) is newer than "
            "this one. Install that release or a later one."
        )
    owner = connection.info.user
    if owner != manifest.owner:
        raise RestoreRefused(
            f"{path} belongs to the owner {manifest.owner}, and the warehouse here to {owner}. Connect as a role of "
            f"that name: create role {manifest.owner} login createrole password '...'"
        )
    there = {name for (name,) in connection.execute("select rolname from pg_roles").fetchall()}
    strangers = [role for role in manifest.roles if role not in there and not _is_ours(role)]
    if strangers:
        commands = "; ".join(f'create role "{role}"' for role in strangers)
        raise RestoreRefused(
            f"{path} gives rights to roles that this server does not have: {', '.join(strangers)}. "
            f"As an administrator: {commands}"
        )


def _is_ours(role: str) -> bool:
    return role in {*Role} or _LOGINS_OF_OURS.fullmatch(role) is not None


def _make_roles(connection: psycopg.Connection[Any], manifest: Manifest) -> None:
    """Before any table: a right that is given to nobody is lost without a word."""
    ensure_roles(connection)
    for company_id in manifest.company_ids:
        ensure_company_logins(connection, company_id)
    for role in manifest.roles:
        if _is_ours(role):
            make_role(connection, role)


def _load(settings: Settings, warehouse: Warehouse, path: Path) -> None:
    with scratch_folder(settings.home, ".churn-restore-unfinished-") as folder:
        dump = take_out(path, folder)
        run_client(
            warehouse,
            "pg_restore",
            [
                *("--single-transaction", "--exit-on-error", "--no-owner", "--no-password"),
                f"--dbname={warehouse.database}",
                str(dump),
            ],
        )


def _compare(warehouse: Warehouse, manifest: Manifest) -> None:
    with warehouse.connect() as connection:
        here = row_counts(connection)
    differing = [
        f"{table}: {here.get(table, 0)} of {rows}" for table, rows in manifest.rows.items() if here.get(table) != rows
    ]
    if differing:
        raise RestoreIncomplete(f"{warehouse.place} does not hold all rows of the backup: {', '.join(differing)}.")


@contextmanager
def _scratch_database(settings: Settings, warehouse: Warehouse) -> Iterator[Warehouse]:
    """An empty database beside the warehouse's, dropped at the end."""
    name = sql.Identifier(f"{warehouse.database}_rehearsal")
    with _administrator(settings, warehouse) as administrator:
        administrator.execute(sql.SQL("drop database if exists {} with (force)").format(name))
        try:
            administrator.execute(sql.SQL("create database {} owner {}").format(name, sql.Identifier(warehouse.user)))
        except psycopg.errors.InsufficientPrivilege as error:
            raise RestoreRefused(
                f"{warehouse.user} may not create a database to rehearse in. As an administrator: "
                f"alter role {warehouse.user} createdb"
            ) from error
        try:
            yield warehouse.beside(f"{warehouse.database}_rehearsal")
        finally:
            administrator.execute(sql.SQL("drop database if exists {} with (force)").format(name))


@contextmanager
def _administrator(settings: Settings, warehouse: Warehouse) -> Iterator[psycopg.Connection[Any]]:
    """Who may create databases: the embedded server's superuser, or the owner where the user's server allows it."""
    if settings.database_url is None:
        url = EmbeddedServer(settings.home).url(database="postgres", superuser=True)
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection
    else:
        with warehouse.connect(autocommit=True) as connection:
            yield connection
