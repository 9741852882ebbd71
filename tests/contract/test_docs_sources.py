"""docs/sources/: every company that a page prints is one that can be registered, and pages and presets agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.companies import parse_definition
from pipeline.connectors.registry import load_connector
from pipeline.connectors.rest_reading.presets import PRESETS
from pipeline.connectors.rest_reading.settings import Pages

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "sources").glob("*.md"))
CONNECT = (ROOT / "docs" / "connect-a-crm.md").read_text()
VERSION = {
    "hubspot": r"/crm/objects/([\d-]+)/",
    "salesforce": r"/services/data/(v[\d.]+)/",
    "shopify": r"/admin/api/([\d-]+)/",
    "stripe": r"Stripe-Version: ([\w.-]+)",
    "zendesk": r"/api/(v2)/",
}


def companies(page: Path) -> list[dict[str, Any]]:
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_company_of_a_page_can_be_registered(page: Path) -> None:
    for company in companies(page):
        definition = parse_definition(company)
        load_connector(definition.connector).settings.model_validate(definition.connector_settings)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_presets_page_says_which_version_it_reads_and_what_only_a_live_account_shows(preset: str) -> None:
    page = (ROOT / "docs" / "sources" / f"{preset}.md").read_text()
    text = (ROOT / "pipeline" / "connectors" / "presets" / f"{preset}.yaml").read_text()
    (version,) = set(re.findall(VERSION[preset], text))
    assert f"`{version}`" in page or f"API {version}" in page
    for section in ("## What is read", "## What is not read, and why", "## What only a live account can show"):
        assert section in page


def test_the_table_of_what_you_have_names_every_page() -> None:
    for page in PAGES:
        assert f"(sources/{page.name}" in CONNECT


def test_the_page_of_rest_names_every_way_of_paging() -> None:
    page = (ROOT / "docs" / "sources" / "rest.md").read_text()
    for kind in Pages.model_fields["kind"].annotation.__args__:  # type: ignore[union-attr]
        assert f"| `{kind}` |" in page
