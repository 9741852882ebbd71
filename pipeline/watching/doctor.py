"""What an operator looks at first: is everything in place, and if not, what helps. It reads; it never writes."""

from __future__ import annotations

import platform
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import psycopg

from foundation.counting import counted
from foundation.errors import ChurnError
from pipeline.prediction.tasks import TASKS
from warehouse.clock import Clock
from warehouse.companies.quarantine import open_quarantines
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.disk_space import in_words, is_scarce
from warehouse.embedded.server import EmbeddedServer
from warehouse.landing.freshness import LATE_AFTER, late_loads
from warehouse.login_limits import left_open_by_server
from warehouse.logs.operations import companies_without_scores, last_finished_run
from warehouse.migrate import current_revision, newest_revision
from warehouse.redaction import references_in
from warehouse.role_check import roles_out_of_order
from warehouse.secrets import resolve_secret
from warehouse.settings import Settings

UI_PORT = 3000
LARGEST_SKEW = timedelta(seconds=5)
"""By how much this machine's clock may differ from Postgres's before loads are dated wrongly for people."""

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: how it stands, and the command or step that helps where it is not in order."""

    subject: str
    is_well: bool
    says: str
    helps: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything, in the order in which one thing rests on another; what cannot be reached ends it."""
    yield _versions()
    yield _disk(settings)
    yield _clock_setting(settings)
    yield _ui_port()
    embedded = None if settings.database_url else EmbeddedServer(settings.home).status()
    if embedded is not None and embedded.state != "running":
        yield Finding("server", False, f"the embedded Postgres in {settings.home} is {embedded.state}", "churn up")
        return
    try:
        with Warehouse.open(settings) as warehouse:
            yield from _of_warehouse(settings, warehouse)
    except ChurnError as error:
        yield Finding("server", False, error.message, error.advice)


def _versions() -> Finding:
    packages = ("churn-warehouse", "dagster", "dbt-core", "scikit-learn", "lightgbm")
    told = [f"{package} {version(package)}" for package in packages]
    return Finding("versions", True, ", ".join([*told, f"Python {platform.python_version()}"]))


def _disk(settings: Settings) -> Finding:
    scarce = is_scarce(settings, "sync_and_score")
    helps = f"make room: runs stop below {settings.disk_reserve_mb} MiB; docs/runbook.md says what grows"
    return Finding("disk", not scarce, in_words(settings, "sync_and_score"), helps if scarce else "")


def _clock_setting(settings: Settings) -> Finding:
    if settings.now is None:
        return Finding("clock", True, f"the system's: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    return Finding("clock", True, f"CHURN_NOW fixes it at {settings.now.isoformat()}")


def _ui_port() -> Finding:
    with socket.socket() as probe:
        is_taken = probe.connect_ex(("127.0.0.1", UI_PORT)) == 0
    says = f"something answers at port {UI_PORT}: Dagster's UI, or a program in its way" if is_taken else "free"
    return Finding("port of the UI", True, says)


def _of_warehouse(settings: Settings, warehouse: Warehouse) -> Iterator[Finding]:
    with warehouse.connect(autocommit=True) as conn:
        yield Finding("server", True, f"Postgres {conn.info.server_version // 10_000} at {warehouse.place}")
        yield _skew(conn)
        revision = current_revision(warehouse)
        if revision != newest_revision():
            says = f"the schema is at revision {revision or 'none'}, this release's is {newest_revision()}"
            yield Finding("schema", False, says, "churn migrate")
            return
        yield Finding("schema", True, f"revision {revision}")
        for look in (_logins, _keys):
            yield look(settings, conn)
        companies = list_companies(conn)
        if not companies:
            yield Finding("companies", False, "none is active", "churn company add FILE, or churn demo run")
            return
        yield Finding("companies", True, ", ".join(company.slug for company in companies))
        for look in (_quarantines, _loads, _last_run, _scores):
            yield look(settings, conn)


def _skew(conn: Connection) -> Finding:
    asked_at = datetime.now(UTC)
    ((answered_at,),) = conn.execute("select clock_timestamp()").fetchall()
    skew = answered_at - asked_at
    is_well = abs(skew) <= LARGEST_SKEW
    says = f"{abs(skew).total_seconds():.1f} s apart from this machine's"
    return Finding("server's clock", is_well, says, "" if is_well else "set both by one time server")


def _logins(_: Settings, conn: Connection) -> Finding:
    lines = [*roles_out_of_order(conn), *left_open_by_server(conn)]
    return _finding("logins", "in order", lines, "docs/security.md says what each may do")


def _keys(settings: Settings, conn: Connection) -> Finding:
    opened, closed = 0, []
    for company in list_companies(conn, active_only=False):
        for path, reference in references_in(company.connector_settings):
            try:
                resolve_secret(reference, settings, company.slug)
                opened += 1
            except ChurnError as error:
                closed.append(f"{company.slug}, {path}: {error.message}")
    return _finding("secrets", f"{counted(opened, 'reference')} opened", closed, "docs/companies.md, on secrets")


def _quarantines(_: Settings, conn: Connection) -> Finding:
    left_out = open_quarantines(conn)
    helps = f"churn company release {left_out[0].slug}" if left_out else ""
    return _finding("quarantine", "empty", list(map(str, left_out)), helps)


def _loads(settings: Settings, conn: Connection) -> Finding:
    late = late_loads(conn, Clock.from_settings(settings))
    helps = f"churn sync; churn company check {late[0].company} tries a source" if late else ""
    return _finding("loads", "none is late", list(map(str, late)), helps)


def _last_run(settings: Settings, conn: Connection) -> Finding:
    finished_at = last_finished_run(conn)
    if finished_at is None:
        return Finding("last run", False, "nothing ever ran", "churn run")
    says = f"a step ended at {finished_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    is_well = datetime.now(UTC) - finished_at <= LATE_AFTER or settings.now is not None
    return Finding("last run", is_well, says, "" if is_well else "churn run, or switch the schedule on in `churn ui`")


def _scores(_: Settings, conn: Connection) -> Finding:
    contracts = [binding.relations.contract for binding in TASKS]
    without = [f"{slug} has none" for _, slug in companies_without_scores(conn, contracts)]
    return _finding("scores", "every company has some", without, "churn status says what holds them")


def _finding(subject: str, well: str, faults: Sequence[str], helps: str) -> Finding:
    return Finding(subject, not faults, "; ".join(faults) or well, helps if faults else "")
