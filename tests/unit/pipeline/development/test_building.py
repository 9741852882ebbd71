"""Whether the project still says what dbt read of it for a place."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.development.building import checksum_of, development_manifest, edited_since, to_build
from pipeline.features import own_project
from warehouse.developers import Developer
from warehouse.settings import Settings

FILES = {
    "models/a.sql": "select 1\n",
    "models/_a.yml": "models: []\n",
    "macros/m.sql": "{% macro m() %}{% endmacro %}\n",
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    project = tmp_path / "project"
    for file, text in FILES.items():
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        (project / file).write_text(text)
        os.utime(project / file, (1_000, 1_000))
    monkeypatch.setattr(own_project, "PACKAGE_DIRECTORY", project)
    made = Settings(home=tmp_path / "home")
    development_manifest(made).parent.mkdir(parents=True)
    development_manifest(made).write_bytes(orjson.dumps({}))
    os.utime(development_manifest(made), (2_000, 2_000))
    return made


def manifest() -> dict[str, Any]:
    """As dbt writes it where it read the project in part: the time in it is of the first time, long ago."""
    return {
        "metadata": {"generated_at": "1970-01-01T00:00:01Z"},
        "nodes": {
            "model.x.a": {
                "resource_type": "model",
                "package_name": "churn_warehouse",
                "original_file_path": "models/a.sql",
                "patch_path": "churn_warehouse://models/_a.yml",
                "checksum": {"checksum": checksum_of(own_project.PACKAGE_DIRECTORY / "models/a.sql")},
            }
        },
        "macros": {"macro.x.m": {"package_name": "churn_warehouse", "original_file_path": "macros/m.sql"}},
    }


def test_what_was_read_before_it_was_built_is_not_edited_however_often_dbt_read_the_project(settings: Settings) -> None:
    assert edited_since(settings, manifest()) == []


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_says_otherwise_is_named(settings: Settings, file: str) -> None:
    read = manifest()
    (own_project.PACKAGE_DIRECTORY / file).write_text("something else")
    assert edited_since(settings, read) == [file]


def test_a_model_that_is_gone_or_was_edited_while_dbt_ran_is_named(settings: Settings) -> None:
    read = manifest()
    model = own_project.PACKAGE_DIRECTORY / "models/a.sql"
    model.write_text("select 2")
    os.utime(model, (1_500, 1_500))
    assert edited_since(settings, read) == ["models/a.sql"]
    model.unlink()
    assert edited_since(settings, read) == ["models/a.sql"]


def test_what_was_built_of_an_edit_that_was_taken_back_is_built_again() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    place = Developer("anna", None, None, ("features.ticket_features", "analytics.score_moves"), now, now)
    assert to_build(place) == ["state:modified+", "ticket_features", "score_moves"]
