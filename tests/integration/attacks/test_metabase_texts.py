"""Texts that customers and companies choose, in what Metabase is given: none becomes a link, markup or a variable.

What a browser and a mail program make of it only a real Metabase shows; here is what it is told to show.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.integrations.metabase.card_sql import tables_read
from pipeline.integrations.metabase.definition_files import load_definitions
from pipeline.integrations.metabase.definitions import ClickBehavior, Definitions
from pipeline.integrations.metabase.scopes import CompanyFacts, Scope, tailored_dashboards, with_text_as_text
from pipeline.integrations.metabase.visualization import columns_named, settings_errors
from tests.integration.pipeline.integrations.metabase.applying import FakeLogins, apply
from tests.integration.pipeline.integrations.metabase.conftest import *  # noqa: F403
from tests.integration.pipeline.integrations.metabase.stand_in.server import StandIn

NAMES = [
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "[Sign in again](https://evil.example/login)",
    "[x](javascript:alert(1)) ![](https://evil.example/pixel.png)",
    "<https://evil.example> www.evil.example",
    "{{segment}} {{#42}} [[and true]]",
    '=HYPERLINK("https://evil.example";"Invoice")',
    "Acme\u202egnp.exe\u0000\u001b[31m\r\nBcc: all@example.com",
    "\u2066\u200b\u2069",
]
LINK = re.compile(r"\w+://|\]\(|javascript:|\bwww\.", re.IGNORECASE)
HIDDEN = re.compile("[\u0000-\u001f\u007f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def column_settings(settings: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, values in settings.get("column_settings", {}).items():
        yield json.loads(key)[1], values


@pytest.mark.parametrize("name", NAMES)
def test_a_companys_name_is_text_wherever_metabase_shows_it(name: str, metabase: StandIn, url: str) -> None:
    apply(url, companies=[CompanyFacts(1, "acme", name, "KES", ("boss@acme.test",))], run_cards=False)
    stores = (metabase.collections, metabase.databases, metabase.groups_by_id, metabase.cards, metabase.dashboards)
    items = [item for store in stores for item in store.values()]
    shown = [str(item.get(part) or "") for item in items for part in ("name", "description")]
    shown += [str(mail.get("name")) for mail in (*metabase.pulses.values(), *metabase.alerts.values())]
    shown += [
        str(dashcard["visualization_settings"].get("text") or "")
        for dashboard in metabase.dashboards.values()
        for dashcard in dashboard["dashcards"]
    ]
    assert [text for text in shown if LINK.search(text)] == []
    assert [text for text in shown if HIDDEN.search(text.replace("\n", " "))] == []
    assert not any("\n" in str(item["name"]) for item in items)


@pytest.mark.usefixtures("applied")
def test_every_column_of_every_card_is_shown_as_text(metabase: StandIn, definitions: Definitions) -> None:
    assert metabase.cards
    for card in metabase.cards.values():
        named = dict(column_settings(card["visualization_settings"]))
        for column in columns_named(card["visualization_settings"]):
            assert "view_as" in named[column], (card["name"], column)
            assert named[column]["view_as"] is None, (card["name"], column)
            assert not {"link_text", "link_url", "markdown_template"} & named[column].keys()
    outputs = [card for dashboard in definitions.dashboards for card in dashboard.cards.values()]
    assert all(tables_read(card.sql) for card in outputs)


@pytest.mark.usefixtures("applied")
def test_a_link_that_somebody_made_of_a_column_is_taken_back(metabase: StandIn, url: str, logins: FakeLogins) -> None:
    card = next(card for card in metabase.cards.values() if card["name"] == "Whom should we call first?")
    wanted = json.dumps(card["visualization_settings"])
    for choice in ("link", "image", "auto"):
        card["visualization_settings"]["column_settings"]['["name","customer_name"]']["view_as"] = choice
        apply(url, logins=logins, run_cards=False)
        assert json.dumps(card["visualization_settings"]) == wanted
    del card["visualization_settings"]["column_settings"]['["name","customer_name"]']["view_as"]
    apply(url, logins=logins, run_cards=False)
    assert json.dumps(card["visualization_settings"]) == wanted


@pytest.mark.usefixtures("applied")
def test_no_mail_carries_a_file_that_a_spreadsheet_would_calculate(metabase: StandIn) -> None:
    assert metabase.pulses
    for mail in metabase.pulses.values():
        assert not any(card["include_csv"] or card["include_xls"] for card in mail["cards"]), mail["name"]
        assert not mail.get("attachments")


@pytest.mark.parametrize("key", ["view_as", "link_url", "link_text", "markdown_template"])
def test_no_file_of_a_dashboard_makes_a_link_of_a_columns_text(key: str) -> None:
    settings = {"column_settings": {'["name","customer_name"]': {key: "link"}}}
    assert [error for error in settings_errors("table", settings) if key in error]


@pytest.mark.parametrize(
    "template",
    ["{{customer_id}}", "https://{{customer_id}}", "https://crm.example.com{{x}}/", "javascript:{{x}}", "//x/{{y}}"],
)
def test_no_click_leads_where_a_customers_text_says(template: str) -> None:
    with pytest.raises(ValueError, match="linkTemplate begins with an address of ours"):
        ClickBehavior.model_validate({"type": "link", "linkType": "url", "linkTemplate": template})
    ClickBehavior.model_validate({"type": "link", "linkType": "url", "linkTemplate": "https://crm.example.com/{{x}}"})


@given(st.text())
def test_a_name_is_one_line_without_a_link_or_the_slug(name: str) -> None:
    told = Scope(CompanyFacts(1, "acme", name, "EUR")).reader
    assert told.strip() == told
    assert told
    assert not LINK.search(told)
    assert not HIDDEN.search(told)


def test_what_a_card_says_of_its_columns_stays() -> None:
    """Titles and number formats are not lost, and a column that nothing was said of is text too."""
    settings = {
        "table.columns": [{"name": "plan_name", "enabled": True}, {"name": "paid", "enabled": True}],
        "column_settings": {'["name", "paid"]': {"column_title": "Paid", "number_style": "decimal"}},
    }
    assert dict(column_settings(with_text_as_text(settings))) == {
        "paid": {"column_title": "Paid", "number_style": "decimal", "view_as": None},
        "plan_name": {"view_as": None},
    }
    assert tailored_dashboards(load_definitions(), Scope())
