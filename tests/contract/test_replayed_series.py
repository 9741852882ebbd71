"""What is replayed is drawn in the colour of what was published, only lighter."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DASHBOARDS = ROOT / "dashboards"
FAMILY = re.compile(r"\bfamily: (\w+)")


def _series(card: Path) -> dict[str, Any]:
    settings = yaml.safe_load(card.read_text()).get("visualization_settings") or {}
    return settings.get("series_settings") or {}


def _light(color: str) -> float:
    """Relative luminance, roughly: 0 black, 1 white."""
    red, green, blue = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


PAIRS = [
    pytest.param(series, name, id=f"{card.stem}-{name}")
    for card in sorted(DASHBOARDS.rglob("*.yaml"))
    for series in [_series(card)]
    for name in series
    if re.search(r"[_ ]replayed$", name)
]


@pytest.mark.parametrize(("series", "name"), PAIRS)
def test_a_replayed_series_is_lighter_than_the_published_one(series: dict[str, Any], name: str) -> None:
    published = series[re.sub(r"(, |_)replayed$", "", name)]
    assert _light(series[name]["color"]) > _light(published["color"]) + 0.1
    assert series[name]["title"].endswith("replayed")


def test_there_are_replayed_series() -> None:
    assert len(PAIRS) > 10


def test_every_family_of_features_has_its_colour_where_leavers_are_shown_by_family() -> None:
    models = (ROOT / "dbt_project" / "models").rglob("*.yml")
    families = {family for file in models for family in FAMILY.findall(file.read_text())}
    series = _series(DASHBOARDS / "trends" / "churn_by_family.yaml")
    named = {family.capitalize() for family in families}
    assert {*series} == {*named, *(f"{name}, replayed" for name in named), "Not known"}
