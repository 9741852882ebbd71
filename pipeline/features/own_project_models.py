"""The models of a project of somebody's own, held against ours before anything is built: marts, names, and what an
upgrade of ours takes from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from foundation.counting import agreeing
from pipeline.data_files import PACKAGE
from pipeline.features.catalogue import meta_of, state_manifest_path
from pipeline.features.own_project import OwnProjectRefused, variables_of
from warehouse.settings import Settings

Node = Mapping[str, Any]
KEYS = {"company_id": "integer", "customer_id": "text", "as_of_date": "date", "feature_version": "text"}
"""What every mart of features has, with the types that the matrix joins it by."""
COMPANY_ID = "company_id"


@dataclass(frozen=True)
class ContractChange:
    """A column of ours that a model of theirs reads, and that this release takes away or gives another type."""

    model: str
    column: str
    reader: str
    before: str
    now: str | None

    @property
    def sentence(self) -> str:
        """What changed and who reads it, in a sentence."""
        what = "is gone" if self.now is None else f"was {self.before} and is {self.now}"
        return f"{self.model}.{self.column} {what}, and your {self.reader} reads it."


def refuse_faulty_models(settings: Settings, manifest: Mapping[str, Any]) -> None:
    """Raise OwnProjectRefused, with every fault, where models of a project of one's own cannot live beside ours."""
    if settings.project is None:
        return
    gone = [change.sentence for change in contract_changes(settings, manifest) if change.now is None]
    faults = [*_faults_of_marts(manifest), *_faults_of_reports(manifest), *gone]
    if faults:
        raise OwnProjectRefused("\n".join([f"{settings.project} cannot be built; nothing was.", *faults]))


def contract_changes(settings: Settings, manifest: Mapping[str, Any]) -> list[ContractChange]:
    """What a project's models read of ours that was otherwise in the release that production was last built by.

    Empty before the first build, and where nothing of it is read by a model of their own.
    """
    state = state_manifest_path(settings)
    if not state.exists():
        return []
    before = _described(orjson.loads(state.read_bytes()))
    now = _described(manifest)
    return [
        ContractChange(model, column, reader["name"], data_type, now.get(model, {}).get(column))
        for reader in own_models(manifest)
        for model in sorted(_read_by(reader, before))
        for column, data_type in before[model].items()
        if now.get(model, {}).get(column) != data_type and _mentions(reader, column)
    ]


def own_models(manifest: Mapping[str, Any]) -> list[Node]:
    """The models that are not ours, in the manifest's order."""
    return [
        node
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["package_name"] != PACKAGE
    ]


def _described(manifest: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Of each of our models its described columns and their types."""
    return {
        node["name"]: {name: column.get("data_type") or "" for name, column in node["columns"].items()}
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["package_name"] == PACKAGE
    }


def _read_by(reader: Node, ours: Mapping[str, Any]) -> set[str]:
    """Our models that a model names in a ref, gone ones too."""
    named = {str(ref["name"] if isinstance(ref, Mapping) else ref[-1]) for ref in reader.get("refs", [])}
    return named & ours.keys()


def _mentions(reader: Node, column: str) -> bool:
    return re.search(rf"\b{re.escape(column)}\b", str(reader.get("raw_code", ""))) is not None


def _faults_of_marts(manifest: Mapping[str, Any]) -> Iterator[str]:
    models = own_models(manifest)
    joined = variables_of(manifest)["feature_marts"]
    names = {str(node["name"]) for node in models}
    for mart in sorted(set(joined) - names):
        yield f"feature_marts: there is no model {mart} of yours."
    ours = {
        name: str(node["name"])
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["package_name"] == PACKAGE
        for name in _features_of(node)
    }
    for node in models:
        if not _features_of(node) and node["name"] not in joined:
            continue
        yield from _faults_of_mart(node, ours)
        if node["name"] not in joined and not _replaces_ours(manifest, node):
            yield (
                f"{node['name']} has features, and no model learns from them: add it to `feature_marts` under `vars` "
                "in dbt_project.yml."
            )
    yield from _features_of_two(models)


def _faults_of_mart(node: Node, ours: Mapping[str, str]) -> Iterator[str]:
    name = str(node["name"])
    for column, data_type in KEYS.items():
        given = node["columns"].get(column, {}).get("data_type")
        if given is None:
            yield f"{name}: its YAML has no column {column} ({data_type}); a mart has one row per customer and date."
        elif str(given).lower() not in (data_type, {"integer": "int"}.get(data_type)):
            yield f"{name}.{column}: its YAML says {given}; it is {data_type}."
    if not _features_of(node):
        yield f"{name}: no column of it carries meta.feature, so there is nothing to learn from."
    if node["config"].get("schema") != "features":
        yield f"{name}: it does not stand in models/features, whose settings keep its dates up."
    for feature in sorted(set(_features_of(node)) & ours.keys()):
        yield f"{name}.{feature}: {ours[feature]} of ours has a feature of this name; give yours another."


def _features_of_two(models: Sequence[Node]) -> Iterator[str]:
    makers: dict[str, list[str]] = {}
    for node in models:
        for feature in _features_of(node):
            makers.setdefault(feature, []).append(str(node["name"]))
    for feature, names in sorted(makers.items()):
        if len(names) > 1:
            yield f"{feature}: {' and '.join(sorted(names))} {agreeing(len(names), 'have')} a feature of this name."


def _faults_of_reports(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Row-level security goes by the company, so what companies read has one in every row."""
    for node in own_models(manifest):
        if node["config"].get("schema") == "analytics" and COMPANY_ID not in node["columns"]:
            yield (
                f"{node['name']}: its YAML has no column company_id (integer), by which a company sees its own rows."
            )


def _replaces_ours(manifest: Mapping[str, Any], node: Node) -> bool:
    disabled = [each for nodes in manifest.get("disabled", {}).values() for each in nodes]
    return any(each["package_name"] == PACKAGE and each["name"] == node["name"] for each in disabled)


def _features_of(node: Node) -> list[str]:
    return [name for name, column in node["columns"].items() if meta_of(column).get("feature")]
