"""The features as dbt's YAML describes them: the one list of their names, labels, units and families."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from foundation.errors import ChurnError
from ml_assets.task import Feature
from pipeline.data_files import PACKAGE
from pipeline.features.own_project import PACKAGE_DIRECTORY
from warehouse.companies.definition import CustomAttribute
from warehouse.connection import Warehouse
from warehouse.prediction.feature_store import attribute_feature, built_columns
from warehouse.relations import Relation
from warehouse.settings import Settings

PROJECT_DIRECTORY = PACKAGE_DIRECTORY


class FeatureCatalogueError(ChurnError):
    """The manifest is missing, or describes no feature."""

    advice = "`churn migrate` parses the project again; docs/features.md says how a feature is described."


def target_directory(settings: Settings) -> Path:
    """Where dbt writes when Dagster calls it."""
    return settings.home / "dbt" / "target"


def manifest_path(settings: Settings) -> Path:
    """dbt's manifest of the last parse."""
    return target_directory(settings) / "manifest.json"


def state_manifest_path(settings: Settings) -> Path:
    """dbt's manifest of the last build of production that went well."""
    return settings.home / "dbt" / "state" / "manifest.json"


def read_features(manifest: Path, matrix: Relation) -> list[Feature]:
    """Every column that carries ``meta.feature`` in the marts that a matrix is put together from, in their order.

    Raises FeatureCatalogueError if the manifest is missing, TaskError if a feature lacks a label, family or kind.
    """
    if not manifest.exists():
        raise FeatureCatalogueError(f"There is no dbt manifest at {manifest}.")
    nodes = json.loads(manifest.read_text())["nodes"]
    models = {str(node["name"]): node for node in nodes.values() if node["resource_type"] == "model"}
    marts = [models[name] for name in sorted(_marts_of(models, matrix.name))]
    features_described = [
        Feature.from_meta(name, meta_of(column)["feature"])
        for node in marts
        for name, column in node["columns"].items()
        if "feature" in meta_of(column)
    ]
    if not features_described:
        raise FeatureCatalogueError(f"No column of the marts of {matrix} carries meta.feature.")
    return list({feature.name: feature for feature in features_described}.values())


def all_features(manifest: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What the YAML says of every feature of every mart, by name."""
    return {
        str(name): meta_of(column)["feature"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model"
        for name, column in node["columns"].items()
        if meta_of(column).get("feature")
    }


def deprecated_features(manifest: Mapping[str, Any]) -> dict[str, date]:
    """The features that are on their way out, and since when: built and watched, and left out of trainings."""
    return {
        name: date.fromisoformat(str(feature["deprecated_on"]))
        for name, feature in all_features(manifest).items()
        if feature.get("deprecated_on")
    }


def _marts_of(models: Mapping[str, Any], matrix: str) -> set[str]:
    """The marts behind a matrix: those that it names in ``meta.features_from``, or those of a matrix that it names."""
    if matrix not in models:
        raise FeatureCatalogueError(f"The dbt project has no model {matrix}: see docs/tasks.md.")
    named = (models[matrix]["config"].get("meta") or {}).get("features_from") or []
    return {mart for name in named for mart in _marts_of(models, name)} or {matrix}


def matrices_below(manifest: Mapping[str, Any], matrix: str) -> list[str]:
    """dbt's ids of the matrices that a task's matrix takes its features from, whose versions its rows carry."""
    models = {str(node["name"]): node for node in manifest["nodes"].values() if node["resource_type"] == "model"}
    named = (models[matrix]["config"].get("meta") or {}).get("features_from") or []
    return [str(models[name]["unique_id"]) for name in named]


def built_features(warehouse: Warehouse, matrix: Relation, features: Sequence[Feature]) -> list[Feature]:
    """Those of the features that a matrix has; dbt may not yet have built one that was added."""
    with warehouse.connect() as conn:
        built = set(built_columns(conn, matrix))
    return [feature for feature in features if feature.name in built]


def place_of(manifest: Mapping[str, Any], model_name: str, feature: str, project: Path) -> str:
    """File and line of the SQL that makes a feature, from its project's folder; the file alone where none shows it.

    ``project`` is the folder of the project that is built, which may take ours as a package.
    """
    if feature.startswith("attribute_"):
        return "the company's settings"
    node = next(
        node for node in manifest["nodes"].values() if node["resource_type"] == "model" and node["name"] == model_name
    )
    folder = PACKAGE_DIRECTORY if node["package_name"] == PACKAGE else project
    path = str(node["original_file_path"])
    makes = re.compile(rf"(\bas |\.){feature}\b,?\s*$")
    lines = [number for number, line in enumerate((folder / path).read_text().splitlines(), 1) if makes.search(line)]
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
