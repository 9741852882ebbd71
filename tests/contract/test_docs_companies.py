"""docs/companies.md: its example is a file that `churn company apply` takes, and it names every field."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from pipeline.companies import parse_definition
from pipeline.prediction.tasks import TASKS, churn_settings_of
from warehouse.companies.definition import CompanyDefinition, CustomAttribute
from warehouse.companies.plan import parse_companies

PAGE = (Path(__file__).parents[2] / "docs" / "companies.md").read_text()


def example() -> str:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    return str(block)


def test_the_example_is_a_file_of_companies() -> None:
    acme, shop = parse_companies(yaml.safe_load(example()), parse_definition)
    assert (acme.definition.segment_by, acme.is_active) == ("industry", True)
    churn = churn_settings_of(shop.definition)
    assert churn is not None
    assert (churn.inactivity_days, shop.is_active) == (90, False)
    assert churn.expected_every == {"Club": "12 months"}
    assert churn.caution() is None


def test_every_field_is_in_the_example_or_beside_it() -> None:
    unsaid = [name for name in CompanyDefinition.model_fields if name not in example()]
    assert unsaid == []
    assert [name for name in CustomAttribute.model_fields if name not in example()] == []
    for binding in TASKS:
        assert f"{binding.name}:" in example()
        assert [name for name in binding.settings.model_fields if name not in example()] == []
