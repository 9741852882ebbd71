"""The demo CRM as the command line runs it: a program of its own, of which we know its commands and files only."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import yaml

from foundation.errors import ChurnError
from foundation.parent import adopt_children
from pipeline.companies import parse_definition
from warehouse.companies import registry
from warehouse.companies.definition import Company, CompanyDefinition
from warehouse.connection import Warehouse
from warehouse.settings import Settings

Connection = psycopg.Connection[Any]

_START_SECONDS = 60
_THIS_MACHINE = "127.0.0.1"


class DemoError(ChurnError):
    """The demo world could not be built, served or moved."""

    advice = "`churn demo run` builds the demo's world where there is none, and serves its CRM."


def directory(settings: Settings) -> Path:
    """Where the demo world lives."""
    return settings.home / "demo"


def is_built(settings: Settings) -> bool:
    """Whether this warehouse has a demo world."""
    return (directory(settings) / "companies.yaml").exists()


def build(settings: Settings, *options: str) -> str:
    """Build the world unless it stands already; returns what the demo says of it."""
    return _demo(settings, "build", *options)


def advance(settings: Settings, days: int) -> str:
    """Move the demo's clock forward; returns what the demo says of it."""
    _refuse_without_world(settings)
    return _demo(settings, "advance", "--days", str(days))


def companies(settings: Settings, conn: Connection) -> list[Company]:
    """The demo's companies as they are registered, those that are active."""
    slugs = {definition.slug for definition in definitions(settings)}
    return [company for company in registry.list_companies(conn) if company.slug in slugs]


def register(settings: Settings, conn: Connection) -> list[Company]:
    """Register those of the demo's companies that are not registered yet; returns those."""
    known = {company.slug for company in registry.list_companies(conn, active_only=False)}
    return [
        registry.add_company(conn, definition, actor="demo")
        for definition in definitions(settings)
        if definition.slug not in known
    ]


@contextmanager
def crm(settings: Settings, warehouse: Warehouse) -> Iterator[None]:
    """The demo CRM, served while the context lasts if there is a demo; its companies know its address."""
    if not is_built(settings):
        yield
        return
    with serving(settings) as address:
        with warehouse.connect() as conn:
            _match(settings, conn, address)
        yield


def _match(settings: Settings, conn: Connection, address: str) -> None:
    """Bring the registered demo companies in line with the demo; one that was disabled stays so."""
    active = {company.slug for company in registry.list_companies(conn)}
    for definition in definitions(settings, address):
        if definition.slug in active:
            registry.add_company(conn, definition, actor="demo")


def definitions(settings: Settings, base_url: str | None = None) -> list[CompanyDefinition]:
    """The demo's companies for the registry, their CRM at ``base_url`` where one is given."""
    _refuse_without_world(settings)
    listed = yaml.safe_load((directory(settings) / "companies.yaml").read_text())["companies"]
    for company in listed:
        company["connector_settings"]["base_url"] = base_url or company["connector_settings"]["base_url"]
    return [parse_definition(company) for company in listed]


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The demo CRM's address while the context lasts; one that already answers is used and left running.

    So is one that another machine or container serves: it is not ours to start.
    """
    _refuse_without_world(settings)
    served_at = _address(settings)
    if served_at is not None and (_is_elsewhere(settings) or _answers(served_at)):
        yield served_at
        return
    log = directory(settings) / "crm.log"
    adopt_children()
    with log.open("ab") as output:
        server = subprocess.Popen(  # noqa: S603 - our own module
            [
                sys.executable,
                "-m",
                "foundation.parent",
                "demo",
                "serve",
                "--home",
                str(directory(settings)),
                "--port",
                _port(settings),
            ],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield _wait_until_it_answers(settings, server, log)
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for_interrupt() -> None:
    """Return when the user presses Ctrl-C."""
    with suppress(KeyboardInterrupt):
        signal.pause()


def _refuse_without_world(settings: Settings) -> None:
    if not is_built(settings):
        raise DemoError(f"There is no demo world in {directory(settings)}.")


def _demo(settings: Settings, *arguments: str) -> str:
    command = [sys.executable, "-m", "demo", arguments[0], "--home", str(directory(settings)), *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode:
        raise DemoError(f"`python -m demo {arguments[0]}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()


def _port(settings: Settings) -> str:
    """The port of the last time if it is still free, so that the companies' address stays as it is."""
    remembered = directory(settings) / "port"
    if not remembered.exists():
        return "0"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_THIS_MACHINE, int(remembered.read_text())))
        except (OSError, ValueError):
            return "0"
    return remembered.read_text().strip()


def _address(settings: Settings) -> str | None:
    """Where the demo CRM was last served; None where it never was."""
    port = directory(settings) / "port"
    return f"http://{_host(settings)}:{port.read_text().strip()}" if port.exists() else None


def _host(settings: Settings) -> str:
    host = directory(settings) / "host"
    return host.read_text().strip() if host.exists() else _THIS_MACHINE


def _is_elsewhere(settings: Settings) -> bool:
    return _host(settings) != _THIS_MACHINE


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=2).is_success
    except httpx.HTTPError:
        return False


def _wait_until_it_answers(settings: Settings, server: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise DemoError(f"The demo CRM ended at once. Its log, {log}, ends: {log.read_text()[-500:]}")
        address = _address(settings)
        if address is not None and _answers(address):
            return address
        time.sleep(0.1)
    raise DemoError(f"The demo CRM did not answer within {_START_SECONDS} s; its log is {log}.")
