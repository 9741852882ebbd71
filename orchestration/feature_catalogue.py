"""The features as dbt's YAML describes them: the one list of their names, labels, units and families."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_assets.task import Feature
from warehouse.settings import Settings

PROJECT_DIRECTORY = Path(__file__).parent.parent / "dbt_project"


class FeatureCatalogueError(Exception):
    """The manifest is missing, or describes no feature."""


def target_directory(settings: Settings) -> Path:
    """Where dbt writes when Dagster calls it."""
    return settings.home / "dbt" / "target"


def manifest_path(settings: Settings) -> Path:
    """dbt's manifest of the last parse."""
    return target_directory(settings) / "manifest.json"


def read_features(manifest: Path) -> list[Feature]:
    """Every column of the feature marts that carries ``meta.feature``, in the marts' order.

    Raises FeatureCatalogueError if the manifest is missing, TaskError if a feature lacks a label, family or kind.
    """
    if not manifest.exists():
        raise FeatureCatalogueError(f"No dbt manifest at {manifest}: run `churn migrate` to parse the project.")
    nodes = json.loads(manifest.read_text())["nodes"]
    marts = sorted(
        (node for node in nodes.values() if node["resource_type"] == "model" and node["schema"] == "features"),
        key=lambda node: str(node["name"]),
    )
    found = [
        Feature.from_meta(name, _meta(column)["feature"])
        for node in marts
        for name, column in node["columns"].items()
        if "feature" in _meta(column)
    ]
    if not found:
        raise FeatureCatalogueError("No column in dbt_project/models/features carries meta.feature.")
    return list({feature.name: feature for feature in found}.values())


def _meta(column: Mapping[str, Any]) -> Mapping[str, Any]:
    meta: Mapping[str, Any] = column.get("config", {}).get("meta") or column.get("meta") or {}
    return meta
