"""dbt's plugins in this warehouse: its sessions rest on what ours do, and a build by hand is the one writer, too.

dbt loads every module whose name begins with dbt_ and makes its ``plugins``. A hook of the project could do neither:
dbt closes the session of its hooks before the first model is built, and each model has a session of its own.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import Any

import click
import psycopg
from dbt.flags import get_flags
from dbt.plugins.manager import dbtPlugin
from psycopg import sql

from foundation.errors import ChurnError
from foundation.parent import end_with_parent
from pipeline.data_files import PACKAGE, package_variables
from warehouse import sessions
from warehouse.dbt_targets import NOBODY, is_development
from warehouse.errors import WarehouseUnreachable
from warehouse.one_writer import LETS_THROUGH, LONGEST_WAIT, is_let_through, one_writer

WRITING = {"build", "clone", "retry", "run", "seed", "snapshot"}
READING = {"compile", "show", "test"}


_OPEN_WINDOWS = sql.SQL("select * from {}.open_windows()")


class NoPlace(ChurnError):
    """dbt was told to build in a developer's place, and nobody has one."""

    advice = "`churn dev start` makes one. Production is built by jobs; by hand, `--target prod` says that it is meant."


class Child(dbtPlugin):  # type: ignore[misc]  # dbt has no types
    """Ends a dbt that we started when we are gone; one that is run by hand goes on."""

    def initialize(self) -> None:
        """For as long as dbt's command runs."""
        end_with_parent()


class OurVariables(dbtPlugin):  # type: ignore[misc]  # dbt has no types
    """Gives a project that takes ours as a package the variables that ours has by default.

    dbt gives a package's variables to the package's own models only, and the macros that another project's mart calls
    read them as well. What that project sets itself goes before.
    """

    def initialize(self) -> None:
        """Before dbt reads the models; of our own project, which has them, nothing changes."""
        context = click.get_current_context(silent=True)
        project = None if context is None else (context.obj or {}).get("project")
        if project is None or project.project_name == PACKAGE:
            return
        project.vars.vars = {**package_variables(), **project.vars.vars}


class SessionSettings(dbtPlugin):  # type: ignore[misc]  # dbt has no types
    """Gives dbt's sessions the settings of ours, by the variable that libpq reads; a profile has no place for them."""

    def initialize(self) -> None:
        """For as long as dbt's command runs. What PGOPTIONS says already goes before."""
        context = click.get_current_context(silent=True)
        if context is None:
            return
        before = os.environ.get("PGOPTIONS")
        os.environ["PGOPTIONS"] = sessions.options(before or "")
        context.call_on_close(lambda: _restore("PGOPTIONS", before))


class Windows(dbtPlugin):  # type: ignore[misc]  # dbt has no types
    """Opens production's windows in a developer's place, before dbt looks which relations there are."""

    def initialize(self) -> None:
        """Once per command. Raises NoPlace where nobody has made one, and says what production's builds took along."""
        context, flags = click.get_current_context(silent=True), get_flags()
        if context is None or flags.WHICH not in WRITING | READING:
            return
        # What reads the project by dbt's library, as sqlfluff does, has a context of its own.
        profile = (context.obj or {}).get("profile")
        if profile is None or not is_development(profile.target_name):
            return
        login = _login(profile.credentials)
        if login["user"] == NOBODY:
            raise NoPlace("The target `dev` is a developer's own place, and there is none yet.")
        try:
            with psycopg.connect(**login) as session:
                lost = session.execute(_OPEN_WINDOWS.format(sql.Identifier(login["user"]))).fetchall()
        except psycopg.OperationalError:
            # dbt says so itself, with its own retries.
            return
        for (relation,) in lost:
            _say(
                f"Your {relation} is gone: production has rebuilt what it read. Build it again, or go back to "
                f"production's by `churn dev revert {relation.partition('.')[2]}`."
            )


class OneWriter(dbtPlugin):  # type: ignore[misc]  # dbt has no types
    """Holds the lock from before the first hook until dbt's command ends; who builds in a place crosses nobody."""

    def initialize(self) -> None:
        """Take the lock. Raises WarehouseBusy, whose message dbt shows, when somebody else writes for too long."""
        context, flags = click.get_current_context(silent=True), get_flags()
        if context is None or flags.WHICH not in WRITING or _is_beside(flags.VARS):
            return
        if is_development(context.obj["profile"].target_name):
            return
        login = _login(context.obj["profile"].credentials)
        if _is_let_through(login):
            return
        held = ExitStack()
        context.call_on_close(held.close)
        _take_the_lock(login, f"dbt {flags.WHICH}", held)


def _restore(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value


def _is_beside(variables: dict[str, Any]) -> bool:
    """Whether what is built stands in schemas of its own, as a proof's does, and crosses nobody's."""
    return bool(variables.get("schema_suffix"))


def _login(credentials: Any) -> dict[str, Any]:
    """dbt's credentials as libpq names them."""
    tls = {name: getattr(credentials, name, None) for name in ("sslmode", "sslcert", "sslkey", "sslrootcert")}
    return {
        "host": credentials.host,
        "port": int(credentials.port),
        "user": credentials.user,
        "password": credentials.password,
        "dbname": credentials.database,
        **{name: value for name, value in tls.items() if value},
    }


def _is_let_through(login: dict[str, Any]) -> bool:
    """Whether the holder started this dbt: asked first, and by itself, for all else takes a second to load."""
    if LETS_THROUGH not in os.environ:
        return False
    try:
        with psycopg.connect(**login) as session:
            return is_let_through(session)
    except psycopg.OperationalError:
        return False


def _take_the_lock(login: dict[str, Any], command: str, held: ExitStack) -> None:
    from sqlalchemy import URL

    from warehouse.connection import Warehouse

    address = URL.create(
        "postgresql",
        username=login["user"],
        password=login["password"],
        host=login["host"],
        port=login["port"],
        database=login["dbname"],
        query={name: value for name, value in login.items() if name.startswith("ssl")},
    )
    try:
        warehouse = Warehouse(address.render_as_string(hide_password=False))
        if warehouse.is_migrated():
            held.enter_context(one_writer(warehouse, command, wait=LONGEST_WAIT, say=_say))
    except WarehouseUnreachable:
        # dbt says so itself, with its own retries.
        return


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


plugins = [Child, OurVariables, SessionSettings, Windows, OneWriter]
