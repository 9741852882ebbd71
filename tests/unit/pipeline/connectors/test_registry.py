"""Each row of the registry leads to a connector whose settings explain themselves."""

from __future__ import annotations

import pytest

from pipeline.connectors.registry import CONNECTORS, load_connector


@pytest.mark.parametrize("name", CONNECTORS)
def test_a_connectors_settings_are_strict_and_each_has_help(name: str) -> None:
    settings = load_connector(name).settings
    assert settings.model_config.get("extra") == "forbid"
    assert settings.model_config.get("hide_input_in_errors"), "an error must not show a secret"
    for field, info in settings.model_fields.items():
        assert info.description, f"{name}: {field} has no description"
