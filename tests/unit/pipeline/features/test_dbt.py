"""When the dbt project is parsed again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.features import dbt, own_project
from pipeline.features.catalogue import manifest_path
from warehouse.settings import Settings

LONG_AGO = 1_000_000_000


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "a.sql").write_text("select 1")
    (folder / "target").mkdir()
    monkeypatch.setattr(own_project, "PACKAGE_DIRECTORY", folder)
    return folder


@pytest.fixture
def parses(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Prepares the manifest, and tells how many times it has been parsed by then."""
    settings = Settings(home=tmp_path / "home")
    parsed: list[str] = []

    def parse(_: Settings, arguments: list[str], **__: Any) -> None:
        parsed.append(arguments[0])
        manifest_path(settings).parent.mkdir(parents=True, exist_ok=True)
        manifest_path(settings).write_text("{}")

    monkeypatch.setattr(dbt, "run_dbt", parse)
    monkeypatch.setattr(dbt, "call_macro", lambda *_: None)

    def prepare() -> int:
        assert dbt.prepare_manifest(settings) == manifest_path(settings)
        return len(parsed)

    return prepare


def test_a_project_that_stays_as_it_is_is_parsed_once(parses: Callable[[], int], project: Path) -> None:
    assert parses() == 1
    (project / "target" / "graph.json").write_text("what dbt leaves behind")
    assert parses() == 1


def test_files_of_a_release_that_are_older_than_the_manifest_are_parsed(
    parses: Callable[[], int], project: Path
) -> None:
    assert parses() == 1
    changed = project / "models" / "a.sql"
    changed.write_text("select 2 as another")
    os.utime(changed, (LONG_AGO, LONG_AGO))
    assert parses() == 2


def test_a_file_that_was_removed_and_a_project_that_was_moved_are_noticed(
    parses: Callable[[], int], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "models" / "b.sql").write_text("select 1")
    assert parses() == 1
    (project / "models" / "b.sql").unlink()
    assert parses() == 2
    moved = project.rename(project.with_name("elsewhere"))
    monkeypatch.setattr(own_project, "PACKAGE_DIRECTORY", moved)
    assert parses() == 3


@pytest.mark.parametrize("left", ["", '{"nodes": {"mod', "\x00\x00"])
def test_a_manifest_that_was_cut_short_is_made_again(parses: Callable[[], int], tmp_path: Path, left: str) -> None:
    assert parses() == 1
    manifest_path(Settings(home=tmp_path / "home")).write_text(left)
    assert parses() == 2
    assert parses() == 2


def test_a_parse_that_did_not_end_is_begun_again(
    parses: Callable[[], int], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert parses() == 1
    (project / "models" / "b.sql").write_text("select 1")
    with monkeypatch.context() as killed:
        killed.setattr(dbt, "run_dbt", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            parses()
    (project / "models" / "b.sql").unlink()
    assert parses() == 2, "the files are those of the first parse, and the manifest may be of the second"


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
