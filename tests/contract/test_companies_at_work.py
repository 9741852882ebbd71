"""No model below staging sees a company that is left out, and none that is rebuilt forgets it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from pipeline.features.catalogue import PROJECT_DIRECTORY

MODELS = PROJECT_DIRECTORY / "models"
OF_ALL_COMPANIES = {
    "stg_crm__rejected_records": "what was rejected is told of whoever is left out, too",
    "stg_ops__registered_companies": "it says who is at work",
    "stg_ops__loads": "loads go on",
    "stg_ops__runs": "runs tell of failures",
    "stg_ops__sync_cursors": "it is read together with the companies at work",
    "stg_ops__exchange_rates": "rates are of no company",
}
STAGING = {path.stem: path.read_text() for path in sorted((MODELS / "staging").rglob("*.sql"))}


@pytest.mark.parametrize("name", [name for name, text in STAGING.items() if "source(" in text])
def test_staging_leaves_out_who_is_not_at_work(name: str) -> None:
    assert ("where {{ is_at_work() }}" in STAGING[name]) != (name in OF_ALL_COMPANIES)


def test_a_source_is_read_in_staging_alone() -> None:
    below = [path.stem for path in MODELS.rglob("*.sql") if path.stem not in STAGING and "source(" in path.read_text()]
    assert below == []


def test_every_folder_of_tables_keeps_what_was_built_of_who_is_left_out() -> None:
    project: dict[str, Any] = yaml.safe_load((PROJECT_DIRECTORY / "dbt_project.yml").read_text())
    folders = project["models"]["churn_warehouse"]
    for folder in ("features", "tasks", "analytics"):
        assert any("keep_rows_of_companies_left_out" in hook for hook in folders[folder]["+post-hook"]), folder


def test_no_sum_of_money_can_overflow_its_type() -> None:
    """Of amounts below 10^14, of which there may be any number."""
    texts = [path.read_text() for path in PROJECT_DIRECTORY.rglob("*") if path.suffix in {".sql", ".yml"}]
    precisions = {int(digits) for text in texts for digits in re.findall(r"numeric\((\d+), ?\d+\)", text)}
    assert precisions == {38}
