"""What dbt warns of is a rule that data_rules has, of the entity that it is said to be of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

MODELS = Path(__file__).parents[2] / "dbt_project" / "models"
RULES = (MODELS / "intermediate" / "int_rules_touched.sql").read_text()
WATCHED = [
    test["rule_touches_nothing"]["arguments"]
    for model in yaml.safe_load((MODELS / "analytics" / "_operations__models.yml").read_text())["models"]
    for test in model.get("data_tests", [])
    if isinstance(test, dict) and "rule_touches_nothing" in test
]


@pytest.mark.parametrize("watched", WATCHED, ids=lambda watched: watched["rule"])
def test_a_watched_rule_stands_among_those_of_its_entity(watched: dict[str, str]) -> None:
    blocks = re.findall(r"'entity': '(\w+)', 'rules': \{(.*?)\n    \}\}", RULES, flags=re.S)
    assert any(entity == watched["entity"] and f"'{watched['rule']}':" in rules for entity, rules in blocks)


def test_some_rules_are_watched() -> None:
    assert len(WATCHED) >= 3
