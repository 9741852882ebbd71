"""Make a backup: the whole database as of one moment, and the files that belong to it."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import IsolationLevel, sql

from foundation.errors import ChurnError
from foundation.private_files import scratch_folder
from warehouse.backup.archive import DUMP, FOLDERS, HOME, MANIFEST, Manifest, key_check
from warehouse.client_programs import run_client
from warehouse.clock import Clock
from warehouse.connection import Warehouse
from warehouse.developers import developers_schemas
from warehouse.migrate import current_revision
from warehouse.relations import COMPANIES, DEVELOPER_COMPANIES, DEVELOPERS, Relation
from warehouse.settings import Settings

LOCK_SECONDS = 300
"""How long pg_dump waits for a table that a build is replacing."""
_LISTS_OF_PLACES = (DEVELOPERS, DEVELOPER_COMPANIES)
"""Where places stand, which are not in a backup."""


class BackupRefused(ChurnError):
    """No backup was made; the message says why."""


# Where the owner does not see all rows, a dump would leave some out without a word.
_ROWS_HIDDEN_FROM_OWNER: LiteralString = """
    select pg_class.oid::regclass::text from pg_class
    where relrowsecurity and relforcerowsecurity and relnamespace::regnamespace::text <> all(%s) and not exists (
        select from pg_policy
        where polrelid = pg_class.oid and polpermissive and polcmd = '*' and pg_get_expr(polqual, polrelid) = 'true'
            and polroles && array[0::oid, (select oid from pg_roles where rolname = current_user)]
    )
    order by 1
"""
_ROLES: LiteralString = """
    select distinct pg_get_userbyid(refobjid) from pg_shdepend
    where refclassid = 'pg_authid'::regclass and refobjid::regrole::text <> current_user
        and refobjid::regrole::text <> all(%s)
        and dbid = (select oid from pg_database where datname = current_database())
    order by 1
"""
_TABLES: LiteralString = """
    select nspname, relname from pg_class inner join pg_namespace on pg_namespace.oid = relnamespace
    where relkind = 'r' and nspname <> 'information_schema' and nspname not like 'pg\\_%%' and nspname <> all(%s)
    order by 1, 2
"""


def make_backup(settings: Settings, warehouse: Warehouse, path: Path, version: str) -> Manifest:
    """Write everything into one new file (mode 0600), and return what it holds.

    A run may go on meanwhile: the database is dumped as of one moment. The key that opens companies' secrets is not
    in it, nor are developers' places. Raises BackupRefused where the file exists or rows are hidden from the owner,
    and ProgramFailed.
    """
    if path.exists():
        raise BackupRefused(f"{path} exists already. Name a file that is not there yet.")
    if not path.absolute().parent.is_dir():
        raise BackupRefused(f"There is no folder {path.absolute().parent}. Make it first.")
    revision = current_revision(warehouse)
    if revision is None:
        raise BackupRefused(f"The warehouse at {warehouse.place} is empty: there is nothing to back up.")
    with scratch_folder(path.absolute().parent, ".churn-backup-unfinished-") as folder:
        dump, unfinished = folder / DUMP, folder / path.name
        manifest = _dump(settings, warehouse, dump, version, revision)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            _write(file, manifest, dump, settings.home)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
    return manifest


def row_counts(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Rows by table, of every schema that is neither Postgres's own nor a developer's."""
    counts = {}
    beside = developers_schemas(connection)
    for schema, name in connection.execute(_TABLES, [beside]).fetchall():
        if Relation(schema, name) in _LISTS_OF_PLACES:
            continue
        query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, name))
        (counts[f"{schema}.{name}"],) = connection.execute(query).fetchone() or (0,)
    return counts


def _dump(settings: Settings, warehouse: Warehouse, path: Path, version: str, revision: str) -> Manifest:
    """The database as of one moment, which the counts are of too."""
    with warehouse.connect() as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        beside = developers_schemas(connection)
        hidden = [name for (name,) in connection.execute(_ROWS_HIDDEN_FROM_OWNER, [beside]).fetchall()]
        if hidden:
            raise BackupRefused(
                f"The warehouse's owner does not see all rows of {', '.join(hidden)}: a backup would leave some out. "
                "`churn migrate` mends the policies of ours; of other tables see to it yourself."
            )
        (snapshot,) = connection.execute("select pg_export_snapshot()").fetchone() or ("",)
        run_client(
            warehouse,
            "pg_dump",
            [
                *("--format=custom", f"--file={path}", f"--snapshot={snapshot}", "--enable-row-security"),
                # What the server's own functions may be used for is the new server's affair.
                *(f"--exclude-schema={schema}" for schema in beside),
                *(f"--exclude-table-data={table}" for table in _LISTS_OF_PLACES),
                *("--exclude-schema=pg_catalog", f"--lock-wait-timeout={LOCK_SECONDS}s", "--no-password"),
            ],
        )
        ids = sql.SQL("select company_id from {} order by 1").format(COMPANIES.identifier)
        return Manifest(
            version=version,
            revision=revision,
            # By the system's clock: a backup is as old as it is, whatever time the warehouse is set to.
            made_at=Clock().now().isoformat(timespec="seconds"),
            owner=connection.info.user,
            company_ids=[company_id for (company_id,) in connection.execute(ids).fetchall()],
            roles=[role for (role,) in connection.execute(_ROLES, [beside]).fetchall()],
            rows=row_counts(connection),
            key_check=key_check(settings),
        )


def _write(file: io.BufferedWriter, manifest: Manifest, dump: Path, home: Path) -> None:
    with tarfile.open(fileobj=file, mode="w:") as archive:
        text = manifest.model_dump_json(indent=2).encode()
        entry = tarfile.TarInfo(MANIFEST)
        entry.size, entry.mode = len(text), 0o600
        archive.addfile(entry, io.BytesIO(text))
        archive.add(dump, DUMP)
        for folder in FOLDERS:
            if (home / folder).is_dir():
                archive.add(home / folder, f"{HOME}/{folder}")
