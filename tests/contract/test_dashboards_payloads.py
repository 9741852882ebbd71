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

from pipeline.integrations.metabase import deliveries, desired
from pipeline.integrations.metabase.definition_files import load_definitions
from pipeline.integrations.metabase.scopes import CompanyFacts, Scope, tailored_dashboards

PACKAGE = "@metabase/cli@0.3.1"
PATIENCE_SECONDS = 60
pytestmark = pytest.mark.xdist_group("metabase_cli")

DEFINITIONS = load_definitions()
ACME = Scope(CompanyFacts(3, "acme", "Acme", "KES"))
SCOPES = (Scope(), ACME)
DASHBOARDS = [(scope, dashboard) for scope in SCOPES for dashboard in tailored_dashboards(DEFINITIONS, scope)]
DASHBOARD_IDS = {dashboard.key: number for number, dashboard in enumerate(DEFINITIONS.dashboards, start=1)}
FACTS = desired.WarehouseConnection("postgres", 5432, "churn", "churn_metabase")
FIELDS = {column: number for number, column in enumerate(sorted(DEFINITIONS.columns_filtered()), start=1)}
CARD_IDS = {
    card.entity_id: number
    for number, card in enumerate((card for _, dashboard in DASHBOARDS for card in dashboard.cards.values()), start=1)
}


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
    for _, dashboard in DASHBOARDS:
        for card in dashboard.cards.values():
            yield desired.card_body(card, 1, 2, FIELDS)


def bodies_of_dashboards() -> Iterator[dict[str, Any]]:
    for _, dashboard in DASHBOARDS:
        yield desired.dashboard_body(
            dashboard, reference="churn/x", existing={}, card_ids=CARD_IDS, dashboard_ids=DASHBOARD_IDS
        )


def test_cards_are_what_metabase_takes(official: Callable[..., dict[str, Any]]) -> None:
    schema = official("card", "create", "--help", "--json")["inputSchema"]
    for body in bodies_of_cards():
        check(schema, body)
        with pytest.raises(jsonschema.ValidationError, match="visualization_settings"):
            check(schema, {key: body[key] for key in body if key != "visualization_settings"})


def test_queries_are_in_metabases_current_format(official: Callable[..., dict[str, Any]]) -> None:
    # A start of the tool takes a second: of each dashboard the longest query of any reader stands for the others.
    longest: dict[str, dict[str, Any]] = {}
    for _, dashboard in DASHBOARDS:
        of_dashboard = [longest.get(dashboard.key, {})]
        of_dashboard += [desired.card_body(card, 1, 2, FIELDS) for card in dashboard.cards.values()]
        longest[dashboard.key] = max(of_dashboard, key=lambda body: len(str(body)))
    bodies = list(longest.values())
    for body in bodies:
        assert dry_run(official, body["dataset_query"])["ok"] is True, body["name"]
    body = next(body for body in bodies if "template-tags" in body["dataset_query"]["stages"][0])
    tag = next(iter(body["dataset_query"]["stages"][0]["template-tags"].values()))
    tag["dimension"] = ["field", tag["dimension"][2], None]
    refused = dry_run(official, body["dataset_query"])
    assert refused["ok"] is False
    assert "dimension" in refused["errors"][0]["path"]


def test_dashboards_are_what_metabase_takes(official: Callable[..., dict[str, Any]]) -> None:
    update = official("dashboard", "update", "--help", "--json")["inputSchema"]
    create = official("dashboard", "create", "--help", "--json")["inputSchema"]
    for _, dashboard in DASHBOARDS:
        check(create, desired.shell_body(dashboard, 2, "churn/x"))
    for body in bodies_of_dashboards():
        check(update, body)
    body["parameters"][0]["type"] = "number"
    body["dashcards"][0].pop("card_id")
    with pytest.raises(jsonschema.ValidationError, match="card_id"):
        check(update, body)


def test_the_collection_is_what_metabase_takes(official: Callable[..., dict[str, Any]]) -> None:
    schema = official("collection", "create", "--help", "--json")["inputSchema"]
    for scope in SCOPES:
        check(schema, desired.collection_body(scope.collection(DEFINITIONS), "churn/x", 7))
    check(schema, desired.collection_body(DEFINITIONS.warehouse.collection, "churn", None))


def test_the_first_set_up_is_what_metabase_takes(official: Callable[..., dict[str, Any]]) -> None:
    from pipeline.integrations.metabase.client import set_up_body

    schema = official("setup", "--help", "--json")["inputSchema"]
    check(schema, set_up_body("token", "admin@churn.test", "a-long-password", "Churn Warehouse"))


def test_subscriptions_and_alerts_are_what_metabase_takes(official: Callable[..., dict[str, Any]]) -> None:
    mailed = [dashboard for _, dashboard in DASHBOARDS if dashboard.subscription is not None]
    watched = [card for _, dashboard in DASHBOARDS for card in dashboard.cards.values() if card.alert is not None]
    assert mailed
    assert watched
    schema = official("subscription", "create", "--help", "--json")["inputSchema"]
    for dashboard in mailed:
        stands = {"dashcards": [{"id": 70 + n, "card_id": n} for n in range(1, 4)] + [{"id": 99, "card_id": None}]}
        assert dashboard.subscription is not None
        body = deliveries.subscription_body(dashboard, dashboard.subscription, 7, stands, ["boss@acme.test"])
        check(schema, body)
        del body["channels"][0]["enabled"]
        with pytest.raises(jsonschema.ValidationError, match="enabled"):
            check(schema, body)
    schema = official("alert", "create", "--help", "--json")["inputSchema"]
    changed = official("alert", "update", "--help", "--json")["inputSchema"]
    for card in watched:
        assert card.alert is not None
        alert = deliveries.alert_body(card.alert, 7, [3, 4])
        check(schema, alert)
        check(changed, deliveries.merged_alert(alert | {"id": 5, "active": False}, alert))
        alert["payload"]["send_condition"] = "rows"
        with pytest.raises(jsonschema.ValidationError, match="rows"):
            check(schema, alert)


def test_every_mapping_and_click_names_a_card_and_a_filter_that_are_there() -> None:
    bodies = list(bodies_of_dashboards())
    everywhere = {parameter["id"]: parameter["type"] for body in bodies for parameter in body["parameters"]}
    for body in bodies:
        filters = {parameter["id"] for parameter in body["parameters"]}
        driven = set()
        for dashcard in body["dashcards"]:
            for mapping in dashcard["parameter_mappings"]:
                assert mapping["card_id"] == dashcard["card_id"]
                assert mapping["parameter_id"] in filters
                driven.add(mapping["parameter_id"])
            click = dashcard["visualization_settings"].get("click_behavior", {})
            for name, mapping in click.get("parameterMapping", {}).items():
                assert name == mapping["id"] == mapping["target"]["id"]
                assert name in everywhere
        assert driven == filters


def test_the_warehouse_password_stands_in_the_details_only() -> None:
    body = desired.database_body("Warehouse", ["analytics"], FACTS, SecretStr("a-secret"))
    assert body["details"].pop("password") == "a-secret"
    assert "a-secret" not in json.dumps(body)
    assert body["details"]["schema-filters-patterns"] == "analytics"
