"""Settings of vendors that many have, one YAML each in pipeline/connectors/presets/."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_FOLDER = Path(__file__).parents[1] / "presets"
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
    return _laid_over(of_vendor, settings)


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
