"""Settings of vendors that many have, one YAML each in pipeline/connectors/presets/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_FOLDER = Path(__file__).parents[1] / "presets"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}", re.ASCII)
PRESETS = tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def with_preset(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with what their preset and its variant say, where they themselves say nothing.

    Mappings are laid over each other, however deep; a list, such as endpoints, is the settings' own. Raises
    ValueError for a preset that there is not, and for a variant that it has not.
    """
    name = settings.get("preset")
    if name is None:
        return dict(settings)
    if name not in PRESETS:
        raise ValueError(f"there is no such preset; there are {', '.join(PRESETS)}")
    preset = _preset(name)
    variants: dict[str, Any] = preset.get("variants", {})
    variant = settings.get("variant")
    if variant is not None and variant not in variants:
        raise ValueError(f"preset {name} has no such variant; there are {', '.join(variants) or 'none'}")
    plain = {key: value for key, value in preset.items() if key != "variants"}
    of_vendor = _laid_over(plain, {} if variant is None else variants[variant])
    merged = _laid_over(of_vendor, settings)
    if isinstance(merged.get("entities"), Mapping):
        merged["entities"] = {entity: _with_own(described) for entity, described in merged["entities"].items()}
    return merged


def _with_own(described: Any) -> Any:
    """An entity of the preset with what the company adds to its first endpoint: fields, attributes, and what is to be
    asked for besides, which stands for {ask}."""
    if not isinstance(described, Mapping) or not isinstance(described.get("endpoints"), list):
        return described
    entity = dict(described)
    own = {part: entity.pop(part, None) or {} for part in ("fields", "attributes")}
    asked = entity.pop("ask", None) or []
    first, *others = entity["endpoints"]
    entity["endpoints"] = [_asking(_laid_over(first, own), [str(name) for name in asked]), *others]
    return entity


def _asking(value: Any, names: list[str]) -> Any:
    """In a list {ask} becomes the names; in a text they follow, with commas before them."""
    if isinstance(value, Mapping):
        return {key: _asking(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [filled for part in value for filled in (names if part == "{ask}" else [_asking(part, names)])]
    if isinstance(value, str) and "{ask}" in value:
        if not all(_NAME.fullmatch(name) for name in names):
            raise ValueError("ask holds names of fields: letters, digits, points and underscores")
        return value.replace("{ask}", "".join(f", {name}" for name in names))
    return value


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            merged[key] = _laid_over(under, value)
        else:
            merged[key] = value
    return merged


@cache
def _preset(name: str) -> dict[str, Any]:
    preset: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return preset
