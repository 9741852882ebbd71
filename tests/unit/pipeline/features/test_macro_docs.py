"""A macro's text begins with what it is for and an example of its use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.features.catalogue import PROJECT_DIRECTORY

CALLED_BY_DBT = re.compile("postgres__|get_incremental_|get_where_subquery|generate_schema_name")
"""By names that dbt gives."""


@pytest.mark.parametrize("path", sorted((PROJECT_DIRECTORY / "macros").rglob("*.sql")), ids=lambda path: path.stem)
def test_every_macro_is_described_with_an_example(path: Path) -> None:
    text = path.read_text()
    for macro in re.finditer(r"\{%-? macro (\w+)\(", text):
        before = text[: macro.start()].rstrip()
        description = before[before.rfind("{#") :] if before.endswith("#}") else ""
        assert description, f"{macro[1]} has no description"
        assert CALLED_BY_DBT.match(macro[1]) or f"{macro[1]}(" in description, f"{macro[1]} has no example"
