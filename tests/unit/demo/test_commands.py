"""The demo's program: what it says before it does anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import demo.__main__ as program


def test_without_its_extra_the_demo_names_what_brings_it_before_it_builds_a_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "WEB_MODULES", ("fastapi", "not_installed_here"))
    done = CliRunner().invoke(program.app, ["build", "--home", str(tmp_path / "world")])
    assert done.exit_code == 1
    assert "not_installed_here is not installed: pip install 'churn-warehouse[demo]'" in done.output
    assert not (tmp_path / "world").exists()
