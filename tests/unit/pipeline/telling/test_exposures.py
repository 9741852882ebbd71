"""Lineage in dbt ends at the dashboards, as the files define them."""

from __future__ import annotations

from pipeline.telling.exposures import EXPOSURES_FILE, exposures_text


def test_the_exposures_in_dbt_are_those_of_the_files() -> None:
    assert EXPOSURES_FILE.read_text() == exposures_text(), "run: churn dashboards exposures"
