"""The default world, built once."""

from pathlib import Path

import pytest

from demo.world.build import build_world
from demo.world.companies import SIZES
from tests.unit.demo.records import SEED


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default world."""
    folder = tmp_path_factory.mktemp("world")
    build_world(folder, customers=SIZES["default"], seed=SEED, progress=lambda _: None)
    return folder
