"""The stand-in for Metabase, served over real HTTP, and what a first apply leaves there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.integrations.metabase.definition_files import load_definitions
from pipeline.integrations.metabase.definitions import DASHBOARDS_DIRECTORY, Definitions
from pipeline.integrations.metabase.memory import FILE as MEMORY
from tests.integration.pipeline.integrations.metabase.applying import WAREHOUSE_PASSWORD, FakeLogins, apply, tables_of
from tests.integration.pipeline.integrations.metabase.stand_in.server import Address, StandIn, served


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the apply remembers what it read."""
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))


@pytest.fixture(scope="session")
def definitions() -> Definitions:
    return load_definitions()


@pytest.fixture(autouse=True)
def read_once(definitions: Definitions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of applies of the same files; a test's own are read each time."""

    def load(directory: Path) -> Definitions:
        return definitions if directory == DASHBOARDS_DIRECTORY else load_definitions(directory)

    monkeypatch.setattr("pipeline.integrations.metabase.apply.load_definitions", load)


@pytest.fixture
def metabase(definitions: Definitions) -> StandIn:
    return StandIn(warehouse_tables=tables_of(definitions), warehouse_password=WAREHOUSE_PASSWORD)


@pytest.fixture
def logins() -> FakeLogins:
    return FakeLogins()


@pytest.fixture(scope="session")
def address(definitions: Definitions) -> Iterator[Address]:
    with served(StandIn(tables_of(definitions), WAREHOUSE_PASSWORD)) as address:
        yield address


@pytest.fixture
def url(address: Address, metabase: StandIn) -> str:
    address.metabase = metabase
    return address.url


@dataclass(frozen=True)
class FirstApply:
    """What it left behind."""

    metabase: StandIn
    logins: FakeLogins
    memory: bytes


@pytest.fixture(scope="session")
def first_apply(address: Address, definitions: Definitions, tmp_path_factory: pytest.TempPathFactory) -> FirstApply:
    home, logins = tmp_path_factory.mktemp("home"), FakeLogins()
    address.metabase = StandIn(tables_of(definitions), WAREHOUSE_PASSWORD)
    apply(address.url, logins=logins, home=home)
    return FirstApply(address.metabase, logins, (home / MEMORY).read_bytes())


@pytest.fixture
def applied(first_apply: FirstApply, url: str, metabase: StandIn, logins: FakeLogins, tmp_path: Path) -> None:
    """A Metabase, its logins and our memory of it as the first apply left them, for what comes after it."""
    metabase.become(first_apply.metabase)
    logins.opened |= first_apply.logins.opened
    (tmp_path / MEMORY).write_bytes(first_apply.memory)
