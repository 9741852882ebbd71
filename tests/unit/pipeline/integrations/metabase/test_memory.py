"""What was read of Metabase is remembered while nobody edited it, and no longer than a week."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.integrations.metabase import memory
from pipeline.integrations.metabase.memory import FILE, REMEMBERED_SECONDS, Memory

SOURCE = "http://metabase v0.58.34"
CARD = {"id": 7, "name": "Customers", "display": "table", "result_metadata": ["much"]}


def listed(edited: str | None = "2026-10-01T10:00:00Z") -> dict[str, Any]:
    info = {} if edited is None else {"last-edit-info": {"id": 1, "timestamp": edited}}
    return {"model": "card", "id": 7, **info}


def remembered(home: Path) -> None:
    first = Memory(home, SOURCE)
    first.keep(listed(), CARD)
    first.save()


def test_what_nobody_edited_is_remembered_and_only_what_is_compared_is_kept(tmp_path: Path) -> None:
    remembered(tmp_path)
    assert Memory(tmp_path, SOURCE).recall(listed()) == {"id": 7, "name": "Customers", "display": "table"}
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_an_edit_another_metabase_and_an_entry_without_a_date_are_not_taken_for_what_is_known(tmp_path: Path) -> None:
    remembered(tmp_path)
    assert Memory(tmp_path, SOURCE).recall(listed("2026-10-02T10:00:00Z")) is None
    assert Memory(tmp_path, "http://metabase v0.59.1").recall(listed()) is None
    assert Memory(tmp_path, SOURCE).recall(listed(None)) is None


def test_after_a_week_everything_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remembered(tmp_path)
    later = memory.time.time() + REMEMBERED_SECONDS + 1
    monkeypatch.setattr(memory.time, "time", lambda: later)
    assert Memory(tmp_path, SOURCE).recall(listed()) is None


def test_what_was_just_read_counts_though_metabase_does_not_say_when_it_was_edited(tmp_path: Path) -> None:
    now = Memory(tmp_path, SOURCE)
    now.keep(listed(None), CARD)
    assert now.recall(listed(None)) is not None


def test_a_broken_file_and_a_folder_that_cannot_be_written_cost_requests_only(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    assert Memory(tmp_path, SOURCE).recall(listed()) is None
    file = tmp_path / "file"
    file.touch()
    Memory(file, SOURCE).save()
