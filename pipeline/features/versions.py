"""Which SQL makes a feature model's rows: the version that features carry."""

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import yaml

from pipeline.features.catalogue import PROJECT_DIRECTORY, meta_of


def sql_version(manifest: Mapping[str, Any], unique_id: str) -> str:
    """Which SQL makes a feature model's rows: what the macro of this name writes before the dot of feature_version.

    Raises KeyError for a model that the manifest does not hold.
    """
    nodes, macros = manifest["nodes"], manifest["macros"]
    models = {name: nodes[name] for name in models_above(manifest, unique_id)}
    parts = [f"lookback_days {_variables()['lookback_days']}"]
    for name in sorted(models):
        parts.append(f"{name} {models[name]['checksum']['checksum']}")
        for column, meta in _declared(models[name]).items():
            parts.append(" ".join([column, *(str(meta.get(key, "")) for key in ("kind", "unit", "basis"))]))
    texts: dict[str, str] = {}
    waiting = [name for node in models.values() for name in node["depends_on"]["macros"]]
    while waiting:
        macro = macros[waiting.pop()]
        if macro["package_name"] == manifest["metadata"]["project_name"] and macro["name"] not in texts:
            texts[macro["name"]] = macro["macro_sql"]
            waiting.extend(macro["depends_on"]["macros"])
    parts += [f"{name} {_md5(texts[name])}" for name in sorted(texts)]
    return _md5("\n".join(parts))[:12]


def models_above(manifest: Mapping[str, Any], unique_id: str) -> set[str]:
    """A model and every model it is made from, by dbt's unique_id."""
    found = {unique_id}
    waiting = [unique_id]
    while waiting:
        above = {name for name in manifest["nodes"][waiting.pop()]["depends_on"]["nodes"] if name.startswith("model.")}
        waiting.extend(above - found)
        found |= above
    return found


def _declared(node: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {
        name: meta_of(column)["feature"] for name, column in node["columns"].items() if meta_of(column).get("feature")
    }


@functools.cache
def _variables() -> dict[str, Any]:
    """What dbt_project.yml sets; a Dagster that loads every table's version reads it once."""
    variables: dict[str, Any] = yaml.safe_load((PROJECT_DIRECTORY / "dbt_project.yml").read_text())["vars"]
    return variables


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
