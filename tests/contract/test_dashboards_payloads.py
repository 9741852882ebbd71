"""What we send, checked against the schemas in Metabase's own command line tool (npm `@metabase/cli`).

The tool is fetched by npx into npm's cache, never into this repository; where that is not possible the tests
are skipped, and say why.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import jsonschema
import pytest
from pydantic import SecretStr

from orchestration.integrations.metabase import desired
from orchestration.integrations.metabase.definitions import load_definitions

PACKAGE = "@metabase/cli@0.3.1"
PATIENCE_SECONDS = 60
pytestmark = pytest.mark.xdist_group("metabase_cli")

DEFINITIONS = load_definitions()
DASHBOARD = DEFINITIONS.dashboards[0]
FIELDS = {column: number for number, column in enumerate(sorted(DEFINITIONS.columns_filtered()), start=1)}
CARD_IDS = {card.entity_id: number for number, card in enumerate(DEFINITIONS.cards(), start=1)}


@pytest.fixture(scope="module")
def official() -> Callable[..., dict[str, Any]]:
    """Runs the tool with arguments and returns the JSON that it prints."""
    program = fetched_tool()

    @cache
    def run(*arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run


def fetched_tool() -> str:
    npx = shutil.which("npx")
    if npx is None:
        pytest.skip("npx is not installed, so payloads are not checked against Metabase's own schemas")
    patience = {"npm_config_fetch_retries": "0", "npm_config_fetch_timeout": "15000"}
    try:
        done = subprocess.run(
            [npx, "--yes", "--prefer-offline", f"--package={PACKAGE}", "-c", "command -v mb && mb --version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
            env={**os.environ, **patience},
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npx did not fetch {PACKAGE} within {PATIENCE_SECONDS} seconds")
    if done.returncode != 0:
        pytest.skip(f"npx cannot run {PACKAGE} here: {done.stderr.strip()[-200:]}")
    return done.stdout.splitlines()[0]


def check(schema: dict[str, Any], body: Any) -> None:
    jsonschema.Draft202012Validator(schema).validate(body)


def dry_run(official: Callable[..., dict[str, Any]], query: dict[str, Any]) -> dict[str, Any]:
    """The tool's verdict on a query, which it does not send."""
    return official("query", "--dry-run", "--json", "--body", json.dumps(query))


def bodies_of_cards() -> Iterator[dict[str, Any]]:
    for card in DEFINITIONS.cards():
        yield desired.card_body(card, 1, 2, FIELDS)


def body_of_dashboard() -> dict[str, Any]:
    return desired.dashboard_body(DASHBOARD, existing={}, card_ids=CARD_IDS, dashboard_ids={DASHBOARD.key: 1})


def test_cards_are_what_metabase_takes(official: Callable[..., dict[str, Any]]) -> None:
    schema = official("card", "create", "--help", "--json")["inputSchema"]
    for body in bodies_of_cards():
        check(schema, body)
        with pytest.raises(jsonschema.ValidationError, match="visualization_settings"):
            check(schema, {key: body[key] for key in body if key != "visualization_settings"})


def test_queries_are_in_metabases_current_format(official: Callable[..., dict[str, Any]]) -> None:
    for body in bodies_of_cards():
        assert dry_run(official, body["dataset_query"])["ok"] is True, body["name"]
    tag = next(iter(body["dataset_query"]["stages"][0]["template-tags"].values()))
    tag["dimension"] = ["field", tag["dimension"][2], None]
    refused = dry_run(official, body["dataset_query"])
    assert refused["ok"] is False
    assert "dimension" in refused["errors"][0]["path"]


def test_the_dashboard_is_what_metabase_takes(official: Callable[..., dict[str, Any]]) -> None:
    update = official("dashboard", "update", "--help", "--json")["inputSchema"]
    body = body_of_dashboard()
    check(update, body)
    check(official("dashboard", "create", "--help", "--json")["inputSchema"], desired.shell_body(DASHBOARD, 2))
    body["parameters"][0]["type"] = "number"
    body["dashcards"][0].pop("card_id")
    with pytest.raises(jsonschema.ValidationError, match="card_id"):
        check(update, body)


def test_the_collection_is_what_metabase_takes(official: Callable[..., dict[str, Any]]) -> None:
    schema = official("collection", "create", "--help", "--json")["inputSchema"]
    check(schema, desired.collection_body(DEFINITIONS))


def test_the_first_set_up_is_what_metabase_takes(official: Callable[..., dict[str, Any]]) -> None:
    from orchestration.integrations.metabase.client import set_up_body

    schema = official("setup", "--help", "--json")["inputSchema"]
    check(schema, set_up_body("token", "admin@churn.test", "a-long-password", "Churn Warehouse"))


def test_every_mapping_and_click_names_a_card_and_a_filter_that_are_there() -> None:
    body = body_of_dashboard()
    filters = {parameter["id"] for parameter in body["parameters"]}
    for dashcard in body["dashcards"]:
        for mapping in dashcard["parameter_mappings"]:
            assert mapping["card_id"] == dashcard["card_id"]
            assert mapping["parameter_id"] in filters
        click = dashcard["visualization_settings"].get("click_behavior", {})
        for name, mapping in click.get("parameterMapping", {}).items():
            assert name == mapping["id"] == mapping["target"]["id"]
            assert name in filters


def test_the_warehouse_password_stands_in_the_details_only() -> None:
    facts = desired.WarehouseConnection("postgres", 5432, "churn", "churn_metabase", SecretStr("a-secret"))
    body = desired.database_body(DEFINITIONS, facts)
    assert body["details"].pop("password") == "a-secret"
    assert "a-secret" not in repr(facts) + json.dumps(body)
    assert body["details"]["schema-filters-patterns"] == "analytics"
