"""Comparing what Metabase holds with what it should hold."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.integrations.metabase import desired
from pipeline.integrations.metabase.client import major_version, refuse_old_version, waiting_time
from pipeline.integrations.metabase.definition_files import load_definitions
from pipeline.integrations.metabase.definitions import ClickBehavior
from pipeline.integrations.metabase.errors import MetabaseNotReady
from pipeline.integrations.metabase.visualization import columns_named, settings_errors
from pipeline.integrations.notifications.channels import mail_addresses
from warehouse.settings import Settings

DEFINITIONS = load_definitions()
CARD = DEFINITIONS.dashboards[1].cards["customers_to_call"]
FIELDS = {column: number for number, column in enumerate(sorted(DEFINITIONS.columns_filtered()), start=50)}


def body() -> dict[str, Any]:
    return desired.card_body(CARD, 1, 2, FIELDS)


def as_legacy(query: dict[str, Any]) -> dict[str, Any]:
    """The same query in the format of before 0.57."""
    stage = query["stages"][0]
    tags = {
        name: tag | {"id": "another", "dimension": ["field", tag["dimension"][2], None]}
        for name, tag in stage["template-tags"].items()
    }
    return {"type": "native", "database": 1, "native": {"query": stage["native"], "template-tags": tags}}


def test_a_query_in_the_old_format_equals_the_same_in_the_new() -> None:
    wanted = body()
    assert desired.card_drift(wanted | {"dataset_query": as_legacy(wanted["dataset_query"])}, wanted) == []


@pytest.mark.parametrize("change", ["sql", "field", "widget", "missing"])
def test_a_changed_query_is_drift_in_either_format(change: str) -> None:
    wanted, existing = body(), body()
    stage = existing["dataset_query"]["stages"][0]
    if change == "sql":
        stage["native"] += " -- by hand"
    elif change == "field":
        stage["template-tags"]["plan"]["dimension"][2] += 1
    elif change == "widget":
        stage["template-tags"]["plan"]["widget-type"] = "string/contains"
    else:
        del stage["template-tags"]["plan"]
    assert desired.card_drift(existing, wanted) == ["query"]
    legacy = existing | {"dataset_query": as_legacy(existing["dataset_query"])}
    assert desired.card_drift(legacy, wanted) == ["query"]


def test_settings_are_compared_without_nulls_and_whatever_the_spelling_of_their_keys() -> None:
    wanted = body()
    settings = wanted["visualization_settings"]
    spelt = {key.replace('","', '", "'): value for key, value in settings["column_settings"].items()}
    existing = wanted | {"visualization_settings": settings | {"column_settings": spelt, "graph.x": None}}
    assert desired.card_drift(existing, wanted) == []
    existing["visualization_settings"]["table.pagination"] = False
    assert desired.card_drift(existing, wanted) == ["visualization_settings"]


def test_ids_of_template_tags_are_the_same_every_time_and_differ_between_cards() -> None:
    def ids() -> list[str]:
        return [
            tag["id"]
            for card in DEFINITIONS.cards()
            for tag in desired.dataset_query(card, 1, FIELDS)["stages"][0]["template-tags"].values()
        ]

    assert ids() == ids()
    assert len(set(ids())) == len(ids())


def test_known_dashcards_keep_their_ids_and_new_ones_get_unique_negative_ids() -> None:
    dashboard = DEFINITIONS.dashboards[0]
    card_ids = {card.entity_id: number for number, card in enumerate(DEFINITIONS.cards(), start=1)}
    dashboard_ids = {dashboard.key: number for number, dashboard in enumerate(DEFINITIONS.dashboards, start=9)}
    arguments: dict[str, Any] = {"reference": "churn/x", "card_ids": card_ids, "dashboard_ids": dashboard_ids}
    fresh = desired.dashboard_body(dashboard, existing={}, **arguments)
    ids = [dashcard["id"] for dashcard in fresh["dashcards"]]
    assert max(ids) < 0
    assert len(set(ids)) == len(ids)

    known = fresh["dashcards"][3] | {"id": 77, "row": 99}
    again = desired.dashboard_body(dashboard, existing={"dashcards": [known]}, **arguments)
    assert again["dashcards"][3]["id"] == 77
    assert [dashcard["id"] for dashcard in again["dashcards"] if dashcard["id"] > 0] == [77]


def test_a_click_names_dashboards_by_folder_and_sends_their_number() -> None:
    link = ClickBehavior.model_validate(
        {
            "type": "link",
            "linkType": "dashboard",
            "target": "customer",
            "parameterMapping": {"customer": "customer_id"},
        }
    )
    assert desired.click_body(link, {"customer": 7}) == {
        "type": "link",
        "linkType": "dashboard",
        "targetId": 7,
        "parameterMapping": {
            "customer": {
                "id": "customer",
                "source": {"type": "column", "id": "customer_id", "name": "customer_id"},
                "target": {"type": "parameter", "id": "customer"},
            }
        },
    }
    address = ClickBehavior.model_validate(
        {"type": "link", "linkType": "url", "linkTemplate": "https://crm/{{customer_id}}"}
    )
    assert desired.click_body(address, {}) == {
        "type": "link",
        "linkType": "url",
        "linkTemplate": "https://crm/{{customer_id}}",
    }


def test_a_smartscalars_comparisons_take_exactly_their_keys() -> None:
    def faults(*comparisons: dict[str, Any]) -> list[str]:
        return list(settings_errors("smartscalar", {"scalar.field": "x", "scalar.comparisons": list(comparisons)}))

    assert faults({"id": "a", "type": "previousPeriod"}) == []
    assert "takes exactly id, type, value" in faults({"id": "a", "type": "periodsAgo"})[0]
    assert "type 'previous' is not known" in faults({"id": "a", "type": "previous"})[0]
    assert "more than three" in faults(*[{"id": "a", "type": "previousPeriod"}] * 4)[0]


def test_every_column_that_settings_name_is_found() -> None:
    settings = {
        "graph.dimensions": ["a"],
        "graph.metrics": ["b"],
        "pie.dimension": "c",
        "table.columns": [{"name": "d", "enabled": True}],
        "table.column_formatting": [{"columns": ["e"], "type": "single"}],
        "scalar.field": "f",
        "scalar.comparisons": [{"id": "x", "type": "anotherColumn", "column": "g", "label": "G"}],
        "column_settings": {'["name","h"]': {}},
    }
    assert columns_named(settings) == set("abcdefgh")


def test_waiting_doubles_and_heeds_the_server_within_reason() -> None:
    assert [waiting_time(attempt) for attempt in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert waiting_time(1, "7") == 7.0
    assert waiting_time(1, "86400") == 20.0
    assert waiting_time(2, "Wed, 21 Oct 2026 07:28:00 GMT") == 1.0


@pytest.mark.parametrize(("tag", "version"), [("v0.58.34", 58), ("v1.60.1", 60), ("vUNKNOWN", None)])
def test_versions_of_the_free_and_the_paid_metabase_are_told(tag: str, version: int | None) -> None:
    assert major_version(tag) == version
    refuse_old_version(tag)


def test_a_version_that_is_too_old_is_refused() -> None:
    with pytest.raises(MetabaseNotReady, match=r"v0\.50\.1 is older than 0\.58"):
        refuse_old_version("v0.50.1")


def test_mail_goes_to_e_mail_addresses_and_never_to_another_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_SOURCE_ACME__BOSS", "boss@acme.test")
    monkeypatch.setenv("CHURN_SOURCE_ACME__WEBHOOK", "json://hooks.acme.test/a-secret")
    addresses = [
        "success@acme.test",
        "env:CHURN_SOURCE_ACME__BOSS",
        "env:CHURN_SOURCE_ACME__WEBHOOK",
        "env:CHURN_SOURCE_ACME__NOT_SET",
        "success@acme.test",
    ]

    assert mail_addresses(addresses, Settings(), "acme") == ("success@acme.test", "boss@acme.test")
