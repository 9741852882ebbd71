"""No file is longer than what a reader takes in at one sitting."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_LINES = 400
LONGER_FOR_A_REASON = {
    "requirements.lock": "written by uv",
    "requirements-dev.lock": "written by uv",
    "docs/data-dictionary.md": "written by `make docs`",
    "docs/decisions.md": "an entry per decision, looked up by its heading and never read from top to bottom",
    "tests/fixtures/cdnow.csv": "a customer per line",
    "warehouse/migrations/versions/0001_foundation.py": "history: a revision that ran somewhere is never edited",
}
MAY_GROW = {"CHANGELOG.md", "requirements-uv.lock"}
"""History and locks: today they are short enough."""


def lines_by_file() -> dict[str, int]:
    """Lines of every text file that git tracks, by its path in the project."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    lines = {}
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if not path.is_file():
            continue  # Deleted, and not committed yet.
        content = path.read_bytes()
        if b"\0" not in content:
            lines[name] = len(content.splitlines())
    return lines


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="git knows which files are ours, and this is no clone")
def test_no_file_is_above_four_hundred_lines_but_those_with_a_reason() -> None:
    above = {name: lines for name, lines in lines_by_file().items() if lines > MOST_LINES}

    assert {name: lines for name, lines in above.items() if name not in {*LONGER_FOR_A_REASON, *MAY_GROW}} == {}
    assert LONGER_FOR_A_REASON.keys() - above.keys() == set(), "these need no exception any longer"
