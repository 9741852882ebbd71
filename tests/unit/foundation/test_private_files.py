"""A folder for what is unfinished: what killed processes left goes, what is in use or somebody else's stays."""

from __future__ import annotations

import os
from pathlib import Path

from foundation.private_files import scratch_folder

PREFIX = ".churn-test-"


def test_a_folder_that_was_left_is_removed_and_one_in_use_is_not(tmp_path: Path) -> None:
    left, file, link = (tmp_path / f"{PREFIX}{name}" for name in ("left", "file", "link"))
    (left / "deep").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    file.touch()
    link.symlink_to(tmp_path / "other")
    with scratch_folder(tmp_path, PREFIX) as in_use:
        (tmp_path / f"{PREFIX}young").mkdir()
        for path in (left, file, in_use):
            os.utime(path, (0, 0))
        with scratch_folder(tmp_path, PREFIX) as second:
            here = {path.name for path in tmp_path.iterdir()}
        assert here == {file.name, link.name, in_use.name, second.name, f"{PREFIX}young", "other"}
    assert not in_use.exists()
