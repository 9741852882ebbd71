"""A shell completes commands of every level and their options, though none is loaded until it is typed."""

import pytest
from typer.testing import CliRunner

from orchestration.cli.main import app


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("churn bac", {"backfill", "backup"}),
        ("churn company en", {"enable"}),
        ("churn train --se", {"--seconds"}),
        ("churn nothing", set()),
    ],
)
def test_bash_is_told_what_may_follow(typed: str, completed: set[str]) -> None:
    asked = {"_CHURN_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    told = CliRunner().invoke(app, prog_name="churn", env=asked)
    assert set(told.output.split()) == completed
