"""The features as dbt's YAML describes them: the one list of their names, labels, units and families."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_assets.task import Feature
from warehouse.companies.definition import CustomAttribute
from warehouse.connection import Warehouse
from warehouse.prediction.feature_store import attribute_feature, built_columns
from warehouse.settings import Settings

PROJECT_DIRECTORY = Path(__file__).parents[2] / "dbt_project"
MATRIX = "model.churn_warehouse.churn_feature_matrix"
"""dbt's name for what models learn from."""


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
        Feature.from_meta(name, meta_of(column)["feature"])
        for node in marts
        for name, column in node["columns"].items()
        if "feature" in meta_of(column)
    ]
    if not found:
        raise FeatureCatalogueError("No column in dbt_project/models/features carries meta.feature.")
    return list({feature.name: feature for feature in found}.values())


def built_features(warehouse: Warehouse, features: Sequence[Feature]) -> list[Feature]:
    """Those of the features that the matrix has; dbt may not yet have built one that was added."""
    with warehouse.connect() as conn:
        built = set(built_columns(conn))
    return [feature for feature in features if feature.name in built]


def place_of(manifest: Mapping[str, Any], model_name: str, feature: str, project: Path) -> str:
    """File and line of the SQL that makes a feature, from the project's folder; the file alone where none shows it."""
    if feature.startswith("attribute_"):
        return "the company's settings"
    node = manifest["nodes"][f"model.{manifest['metadata']['project_name']}.{model_name}"]
    path = str(node["original_file_path"])
    makes = re.compile(rf"(\bas |\.){feature}\b,?\s*$")
    lines = [number for number, line in enumerate((project / path).read_text().splitlines(), 1) if makes.search(line)]
    return f"{path}:{lines[-1]}" if lines else path


def features_of_attributes(attributes: Iterable[CustomAttribute]) -> list[Feature]:
    """A company's own attributes as features, in the family customer."""
    return [
        Feature(
            name=attribute_feature(attribute),
            label=attribute.label,
            unit=attribute.unit,
            family="customer",
            kind=attribute.kind,
        )
        for attribute in attributes
    ]


def meta_of(column: Mapping[str, Any]) -> Mapping[str, Any]:
    """A described column's meta, wherever dbt put it."""
    meta: Mapping[str, Any] = column.get("config", {}).get("meta") or column.get("meta") or {}
    return meta
