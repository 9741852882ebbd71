"""A wrong dashboard file is refused with the file and the key; nothing of it reaches Metabase."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.integrations.metabase.definition_files import load_definitions
from pipeline.integrations.metabase.definitions import Definitions
from pipeline.integrations.metabase.errors import DefinitionError

SCOPE = {
    "collection": {"name": "All", "description": "All companies."},
    "database": {"name": "Warehouse", "schemas": ["analytics"]},
}
WAREHOUSE: dict[str, Any] = {
    "site_name": "Churn Warehouse",
    "collection": {"name": "Churn", "description": "Who leaves."},
    "internal": SCOPE,
    "company": {
        "collection": {"name": "{company}", "description": "Of {company}."},
        "database": {"name": "Warehouse of {company}", "schemas": ["analytics"]},
    },
    "groups": {"admin": {"name": "Admins"}, "viewer": {"name": "Viewers of {company}"}},
}
FILTERS: dict[str, Any] = {
    "plan": {"name": "Plan", "type": "string/=", "sectionId": "string"},
    "country": {"name": "Country", "type": "string/=", "sectionId": "string"},
}
CARD: dict[str, Any] = {
    "entity_id": "abcdefghijklmnopqrstu",
    "name": "Customers at risk",
    "description": "How many.",
    "display": "bar",
    "template-tags": {"plan": ["analytics", "customers", "plan"]},
    "alert": {"roles": ["admin"], "send_condition": "has_result", "cron_schedule": "0 0 7 * * ? *"},
    "visualization_settings": {"graph.dimensions": ["plan"], "graph.metrics": ["customers"]},
}
SQL = "select plan, count(*) as customers from analytics.customers where true [[and {{plan}}]] group by plan"
DASHBOARD: dict[str, Any] = {
    "name": "Overview",
    "description": "Who leaves.",
    "position": 1,
    "parameters": ["plan"],
    "subscription": {"audience": ["company"], "schedule_type": "weekly", "schedule_day": "mon", "schedule_hour": 7},
    "dashcards": [
        {
            "card": "at_risk",
            "row": 0,
            "col": 0,
            "size_x": 12,
            "size_y": 6,
        },
        {"text": "What the words mean.", "row": 0, "col": 12, "size_x": 12, "size_y": 3},
    ],
}


def changed(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of `base` with the value at a dotted path replaced; None takes it away."""
    copy: dict[str, Any] = yaml.safe_load(yaml.safe_dump(base))
    *parents, last = path.split("/")
    inner: Any = copy
    for step in parents:
        inner = inner[int(step)] if step.isdigit() else inner[step]
    if value is None:
        inner.pop(last)
    else:
        inner[last] = value
    return copy


def load(
    folder: Path,
    *,
    warehouse: dict[str, Any] = WAREHOUSE,
    card: dict[str, Any] = CARD,
    sql: str | None = SQL,
    dashboard: dict[str, Any] = DASHBOARD,
    filters: dict[str, Any] | None = None,
    people: list[dict[str, Any]] | None = None,
) -> Definitions:
    """Write one small dashboard as files and load it."""
    overview = folder / "overview"
    overview.mkdir(exist_ok=True)
    (folder / "warehouse.yaml").write_text(yaml.safe_dump(warehouse))
    (folder / "filters.yaml").write_text(yaml.safe_dump(filters or FILTERS))
    (folder / "people.yaml").write_text(yaml.safe_dump({"people": people or []}))
    (overview / "at_risk.yaml").write_text(yaml.safe_dump(card))
    if sql is not None:
        (overview / "at_risk.sql").write_text(sql)
    (overview / "dashboard.yaml").write_text(yaml.safe_dump(dashboard))
    return load_definitions(folder)


def test_well_formed_files_become_a_dashboard_with_its_cards(tmp_path: Path) -> None:
    definitions = load(tmp_path)

    assert [dashboard.key for dashboard in definitions.dashboards] == ["overview"]
    assert [card.key for card in definitions.cards()] == ["at_risk"]
    assert definitions.columns_filtered() == {("analytics", "customers", "plan")}
    assert definitions.dashboards[0].subscription is not None
    assert definitions.cards()[0].alert is not None


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("displey", "bar", r"overview/at_risk\.yaml: displey: is not a known key"),
        ("entity_id", "short", r"overview/at_risk\.yaml: entity_id: .*pattern"),
        ("description", "  ", r"overview/at_risk\.yaml: description: .*must not be empty"),
        ("name", None, r"overview/at_risk\.yaml: name: Field required"),
        ("display", "bargraph", r"overview/at_risk\.yaml: display 'bargraph' is none of"),
        ("template-tags/plan", ["analytics", "customers"], r"template-tags\.plan"),
        ("template-tags/plan", ["raw", "customers", "plan"], r"schema raw is not one of analytics"),
        ("template-tags/plan", ["analytics", "other", "plan"], r"does not read analytics\.other"),
        ("template-tags/country", CARD["template-tags"]["plan"], r"template-tags\.country is not used in the SQL"),
        ("template-tags/more", CARD["template-tags"]["plan"], r"template-tags\.more: is not in filters\.yaml"),
        ("template-tags", {}, r"at_risk\.sql: \{\{plan\}\} has no entry under template-tags"),
        ("visualization_settings/graph.metrics", None, r"graph\.metrics is missing"),
        ("visualization_settings/graph.metric", ["x"], r"graph\.metric means nothing to a bar"),
        (
            "visualization_settings/column_settings",
            {'["name","plan"]': {"column_titel": "Plan"}},
            r"column_titel is not known",
        ),
        (
            "visualization_settings/column_settings",
            {"plan": {"column_title": "Plan"}},
            r"'plan' is not of the form",
        ),
        (
            "visualization_settings/series_settings",
            {"customers": {"colour": "#fff"}},
            r"series_settings\.customers\.colour is not known",
        ),
        ("alert/cron_schedule", "0 7 * * *", r"at_risk\.yaml: alert: .*cron_schedule: seven fields"),
        ("alert/cron_schedule", "0 0 7 * * * *", r"cron_schedule: seven fields"),
        ("alert/roles", ["admin", "viewer"], r"alert: .*roles: admins have cards of their own"),
        ("alert/send_condition", "goal_above", r"at_risk\.yaml: alert: goal_above needs graph\.goal_value"),
    ],
)
def test_a_fault_in_a_card_names_file_and_key(tmp_path: Path, path: str, value: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        load(tmp_path, card=changed(CARD, path, value))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("dashcards/0/size_x", 20, None),
        ("dashcards/0/col", 13, r"overview/dashboard\.yaml: dashcards\.0: .*leaves the grid of 24"),
        ("dashcards/1/col", 11, r"two of them overlap in row 0"),
        ("dashcards/0/card", "gone", r"there is no gone\.yaml beside it"),
        ("dashcards/0/card", "gone/card", r"there is no gone/card\.yaml in dashboards/"),
        (
            "dashcards/0/card",
            "overview/at_risk",
            r"overview/at_risk: a card with an alert stands on its own",
        ),
        ("dashcards/0/tab", "First", r"tab 'First' is none of the tabs"),
        ("tabs", ["First"], r"tab '' is none of the tabs \['First'\]"),
        ("dashcards/1/heading", "Both", r"exactly one of card, text and heading"),
        ("parameters", [], r"no filter is mapped to its template tag plan"),
        ("parameters", ["plan", "country"], r"parameters\.country: the filter is mapped to no card"),
        ("parameters", ["plan", "plan"], r"parameter id 'plan' is used 2 times"),
        ("parameters", ["plan", "pla"], r"parameters: pla is not in filters\.yaml"),
        ("dashcards/0/parameter_mappings", [], r"dashcards\.0\.parameter_mappings: is not a known key"),
        ("dashcards/0/visualization_settings", {"graph.x": 1}, r"graph\.x does not belong on a dashcard"),
        ("audience", ["everybody"], r"audience\.0"),
        ("audience", ["internal"], r"subscription\.audience: the dashboard is not made for company"),
        ("audience", ["company"], r"at_risk\.yaml: alert: roles: the dashboard is not made for internal"),
        ("subscription/schedule_day", None, r"subscription: .*schedule_day belongs to a weekly"),
        ("subscription/schedule_type", "daily", r"schedule_day belongs to a weekly"),
        ("subscription/schedule_type", "monthly", r"schedule_frame \(first, mid, last\) belongs to a monthly"),
        ("subscription/schedule_frame", "mid", r"schedule_frame \(first, mid, last\) belongs to a monthly"),
        ("subscription/recipients", ["a@b.c"], r"subscription\.recipients: is not a known key"),
        (
            "dashcards/0/click_behavior",
            {"type": "crossfilter", "parameterMapping": {"country": "country"}},
            r"click_behavior fills the filter country, which is not there",
        ),
        (
            "dashcards/0/click_behavior",
            {"type": "link", "linkType": "dashboard", "target": "gone", "parameterMapping": {"plan": "plan"}},
            r"click_behavior leads to gone, no such folder",
        ),
        (
            "dashcards/0/click_behavior",
            {"type": "link", "linkType": "url", "target": "overview"},
            r"a click behaviour of kind url takes exactly linkTemplate",
        ),
    ],
)
def test_a_fault_in_a_dashboard_names_file_and_key(tmp_path: Path, path: str, value: Any, message: str | None) -> None:
    with pytest.raises(DefinitionError, match=message or "overlap"):
        load(tmp_path, dashboard=changed(DASHBOARD, path, value))


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (SQL.replace("analytics.customers", "customers"), r"customers is not a table of analytics"),
        (SQL.replace("analytics.customers", "raw.customers"), r"raw\.customers is not a table of analytics"),
        (SQL.replace("analytics.customers where", "analytics.customers c where"), r"has an alias"),
        (SQL.replace("analytics.customers where", "analytics.customers as c where"), r"has an alias"),
    ],
)
def test_sql_reads_only_schema_qualified_tables_without_alias_under_a_filter(
    tmp_path: Path, sql: str, message: str
) -> None:
    with pytest.raises(DefinitionError, match=message):
        load(tmp_path, sql=sql)


def test_sql_may_use_common_table_expressions_and_comments(tmp_path: Path) -> None:
    sql = (
        "-- from nowhere\nwith named as (select * from analytics.customers where true [[and {{plan}}]]), "
        "more as (select plan from named) select plan, count(*) as customers from more group by plan"
    )

    assert load(tmp_path, sql=sql).cards()[0].sql == sql


def test_a_card_without_its_sql_and_sql_without_its_card_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"its SQL file at_risk\.sql is missing"):
        load(tmp_path, sql=None)
    (tmp_path / "overview" / "orphan.sql").write_text("select 1")
    with pytest.raises(DefinitionError, match=r"orphan\.sql: there is no orphan\.yaml"):
        load(tmp_path)


def test_a_card_that_stands_on_no_dashboard_is_refused(tmp_path: Path) -> None:
    load(tmp_path)
    (tmp_path / "overview" / "spare.yaml").write_text(yaml.safe_dump(CARD | {"entity_id": "u" * 21, "name": "Spare"}))
    (tmp_path / "overview" / "spare.sql").write_text(SQL)

    with pytest.raises(DefinitionError, match="the card spare stands nowhere"):
        load_definitions(tmp_path)


def test_names_and_entity_ids_that_stand_twice_are_refused(tmp_path: Path) -> None:
    load(tmp_path)
    second = tmp_path / "second"
    (tmp_path / "overview").rename(second)
    with pytest.raises(DefinitionError, match=r"entity_id 'abcdefghijklmnopqrstu' is used 2 times"):
        load(tmp_path)


def test_a_missing_file_and_unreadable_yaml_are_named(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"warehouse\.yaml: the file is missing"):
        load_definitions(tmp_path)
    (tmp_path / "warehouse.yaml").write_text("a: [")
    with pytest.raises(DefinitionError, match=r"warehouse\.yaml: not readable as YAML"):
        load_definitions(tmp_path)


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    card = changed(changed(CARD, "name", None), "extra", 1)
    with pytest.raises(DefinitionError) as caught:
        load(tmp_path, card=card)
    assert "name: Field required" in str(caught.value)
    assert "extra: is not a known key" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("company/database/name", "Warehouse", r"the name 'Warehouse' must hold \{company\}"),
        ("groups/viewer/name", "Viewers", r"groups\.viewer: \{company\} belongs in the names"),
        ("groups/admin/name", "Admins of {company}", r"groups\.admin: \{company\} belongs in the names"),
    ],
)
def test_what_companies_would_share_by_mistake_is_refused(tmp_path: Path, path: str, value: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        load(tmp_path, warehouse=changed(WAREHOUSE, path, value))


def test_a_person_without_a_company_or_an_admin_with_one_is_refused(tmp_path: Path) -> None:
    person = {"email": "ada@churn.test", "first_name": "Ada", "last_name": "Lovelace", "role": "viewer"}
    with pytest.raises(DefinitionError, match=r"people\.0: .*a manager or viewer needs a company"):
        load(tmp_path, people=[person])
    with pytest.raises(DefinitionError, match=r"an admin has none"):
        load(tmp_path, people=[person | {"role": "admin", "company": "acme"}])
    with pytest.raises(DefinitionError, match=r"person 'ada@churn\.test' is used 2 times"):
        load(tmp_path, people=[person | {"role": "admin"}, person | {"role": "admin", "email": "Ada@churn.test"}])
