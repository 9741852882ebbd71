"""A mart's key is kept by Postgres where it can be, and tested where it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.dbt_project.dbt_runs import PROJECT, DbtRuns
from warehouse.connection import Warehouse

pytestmark = pytest.mark.xdist_group("dbt_staging")

LAYERS = {"features", "tasks", "analytics"}
"""Their tables; a view's rows are those of the tables that it reads."""


def keys_of_indexes(model: dict[str, Any]) -> list[set[str]]:
    """The unique indexes of a table that no null gets past."""
    columns = model["columns"].items()
    never_null = {name for name, column in columns if any(each["type"] == "not_null" for each in column["constraints"])}
    indexes = model["config"].get("indexes") or []
    keys = [set(index["columns"]) for index in indexes if index.get("unique")]
    return [key for key in keys if key <= never_null]


def keys_of_tests(manifest: dict[str, Any], model: dict[str, Any]) -> list[set[str]]:
    tests = [
        node["test_metadata"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test" and node.get("attached_node") == model["unique_id"]
    ]
    return [set(test["kwargs"]["columns"]) for test in tests if test["name"] == "unique_combination"]


def test_each_key_of_a_mart_is_held_by_an_index_or_by_a_test_and_not_by_both(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    warehouse.write_dbt_profile(tmp_path)
    dbt = DbtRuns(PROJECT, tmp_path)
    dbt.parse()
    manifest = dbt.manifest()
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    held = {
        model["name"]: (keys_of_indexes(model), keys_of_tests(manifest, model))
        for model in models
        if model["fqn"][1] in LAYERS and model["config"]["materialized"] != "view"
    }
    assert len(held) > 40
    assert sorted(name for name, (indexes, tests) in held.items() if not indexes and not tests) == []
    assert sorted(name for name, (indexes, tests) in held.items() if any(key in indexes for key in tests)) == []
