"""`--task`: commands about one task, for the companies that have it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.prediction.tasks import TASKS, UnknownTask
from tests.integration.conftest import Churn
from warehouse.companies.definition import Company

COMPANY_COMMANDS = (
    ("grade",),
    ("drift",),
    ("holds",),
    ("holds", "accept", "--date", "2026-01-01", "--because", "a sale"),
    ("replay",),
    ("model", "list"),
    ("model", "rollback"),
    ("features",),
    ("features", "prove"),
    ("export",),
    ("publication", "estimate"),
    ("score", "--customer", "c1"),
)


@pytest.fixture
def _manifest_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """dbt would parse its project before `features` looks for the company."""
    monkeypatch.setattr("pipeline.features.dbt.prepare_manifest", lambda _: _Manifest())


class _Manifest:
    def read_text(self) -> str:
        return "{}"


@pytest.mark.usefixtures("_manifest_is_not_needed")
def test_a_task_that_the_company_does_not_have_is_said_to_be_missing(
    churn: Churn, add_company: Callable[..., Company]
) -> None:
    add_company("acme")
    for command in COMPANY_COMMANDS:
        with pytest.raises(UnknownTask, match="acme does not have the task support"):
            churn(*command, "--company", "acme", "--task", "support")


def test_a_task_that_there_is_not_is_answered_with_those_there_are(churn: Churn) -> None:
    with pytest.raises(UnknownTask, match=f"there are {', '.join(binding.name for binding in TASKS)}"):
        churn("grade", "--task", "weather")


def test_without_a_company_those_with_the_task_are_taken(churn: Churn, add_company: Callable[..., Company]) -> None:
    add_company("acme")
    assert "acme: nothing is held" in churn("holds").output
    assert "acme" not in churn("holds", "--task", "support").output


def test_the_version_is_told(churn: Churn) -> None:
    assert churn("--version").output.startswith("churn-warehouse ")
