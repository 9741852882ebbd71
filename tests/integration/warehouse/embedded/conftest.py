"""An embedded server of a module's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from warehouse.embedded.server import EmbeddedServer


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home folder of this module's own; its server is stopped between tests."""
    home = tmp_path_factory.mktemp("server") / "home"
    yield home
    EmbeddedServer(home).stop(force=True)


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(home)
    yield server
    server.stop(force=True)
