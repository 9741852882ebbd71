"""dbt's profile refers to the password of a Postgres of the user's own, and dbt finds it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from pipeline.features.dbt import PASSWORD_VARIABLE, profiles_directory, run_dbt, write_profile
from warehouse.connection import Warehouse
from warehouse.settings import Settings


def test_no_password_stands_in_the_profile_and_dbt_logs_in_by_it(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    settings = Settings(home=tmp_path, database_url=SecretStr(warehouse.url("postgresql")))
    path = write_profile(settings, warehouse)
    assert path.parent == profiles_directory(settings)
    password = str(make_url(warehouse.url()).password)
    assert password not in path.read_text()
    monkeypatch.delenv(PASSWORD_VARIABLE)
    run_dbt(settings, ["debug", "--connection"], target_path=tmp_path / "target")


def test_the_embedded_servers_password_needs_no_variable(tmp_path: Path) -> None:
    warehouse = Warehouse("postgresql://churn_owner:secret@127.0.0.1:1/churn")
    path = write_profile(Settings(home=tmp_path), warehouse)
    outputs = yaml.safe_load(path.read_text())["churn_warehouse"]["outputs"]
    assert outputs["prod"]["pass"] == "secret"
