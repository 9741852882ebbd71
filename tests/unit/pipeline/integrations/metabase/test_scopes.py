"""What a company gets of the dashboards differs from what those get who look after all."""

from __future__ import annotations

import re

from pipeline.integrations.metabase.definition_files import load_definitions
from pipeline.integrations.metabase.scopes import (
    CompanyFacts,
    Scope,
    derived_entity_id,
    distinct_cards,
    tailored_dashboards,
)

DEFINITIONS = load_definitions()
ACME = Scope(CompanyFacts(3, "acme", "Acme", "KES"))


def test_a_company_has_no_company_filter_in_sql_tags_parameters_words_or_clicks() -> None:
    for dashboard in tailored_dashboards(DEFINITIONS, ACME):
        assert "company" not in {parameter.id for parameter in dashboard.parameters}
        for card in dashboard.cards.values():
            assert "{{company}}" not in card.sql
            assert "company" not in card.template_tags
            assert not re.search(r"filters? company|company filter|different currencies", card.description), card.key
        for dashcard in dashboard.dashcards:
            assert all("company" not in click.parameter_mapping for click in dashcard.clicks())


def test_every_dashboard_of_a_company_has_the_data_date_and_says_what_its_words_mean() -> None:
    for dashboard in tailored_dashboards(DEFINITIONS, ACME):
        cards = {dashcard.card for dashcard in dashboard.dashcards}
        assert cards & {"data_date", "overview/data_date"}, dashboard.key
        assert any("What the words mean" in (dashcard.text or "") for dashcard in dashboard.dashcards), dashboard.key
    (card,) = [card for card in DEFINITIONS.cards() if card.key == "data_date"]
    boards = tailored_dashboards(DEFINITIONS, Scope())
    assert sum(card.entity_id in {placed.entity_id for placed in board.cards.values()} for board in boards) == 9


def test_operations_are_for_those_who_run_the_warehouse_only() -> None:
    assert "operations" not in {dashboard.key for dashboard in tailored_dashboards(DEFINITIONS, ACME)}
    assert "operations" in {dashboard.key for dashboard in tailored_dashboards(DEFINITIONS, Scope())}


def test_a_subscription_is_for_its_audience_and_an_alert_for_those_whose_roles_it_names() -> None:
    def mails(scope: Scope) -> set[str]:
        boards = tailored_dashboards(DEFINITIONS, scope)
        alerts = {card.key for board in boards for card in board.cards.values() if card.alert}
        return alerts | {board.key for board in boards if board.subscription}

    assert mails(Scope()) == {"needs_somebody"}
    assert mails(ACME) == {"overview"}


def test_money_is_in_the_companys_currency_and_a_plain_number_over_companies() -> None:
    def column(scope: Scope) -> dict[str, object]:
        settings = tailored_dashboards(DEFINITIONS, scope)[0].cards["revenue_at_risk"].visualization_settings
        column_settings: dict[str, object] = settings["column_settings"]['["name","revenue_at_risk"]']
        return column_settings

    assert column(ACME)["number_style"] == "currency"
    assert column(ACME)["currency"] == "KES"
    assert column(Scope())["number_style"] == "decimal"
    assert "currency" not in column(Scope())


def test_a_companys_name_is_hidden_where_it_says_nothing() -> None:
    def columns(scope: Scope) -> dict[str, bool]:
        settings = tailored_dashboards(DEFINITIONS, scope)[1].cards["customers_to_call"].visualization_settings
        return {column["name"]: column["enabled"] for column in settings["table.columns"]}

    assert columns(Scope())["company_name"] is True
    assert columns(ACME)["company_name"] is False
    assert columns(Scope())["company_name"] is True


def test_every_reader_has_cards_of_their_own_whose_ids_never_change() -> None:
    scopes = [Scope(), ACME, Scope(CompanyFacts(4, "other", "Acme", "KES"))]
    ids = [card.entity_id for scope in scopes for card in distinct_cards(tailored_dashboards(DEFINITIONS, scope))]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{21}", entity_id) for entity_id in ids)
    assert derived_entity_id("3QINl48bYaTzXS9tmPnpZ", "company/3") == derived_entity_id(
        "3QINl48bYaTzXS9tmPnpZ", ACME.key
    )
