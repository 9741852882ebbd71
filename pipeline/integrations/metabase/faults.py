"""What is wrong with definitions that are each well formed: repeated names, loose filters, SQL that reads too much.

What one file alone must keep to belongs in `definitions.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from pipeline.integrations.metabase.card_sql import reads, reads_without_alias, tables_read, tags_used
from pipeline.integrations.metabase.definitions import (
    CardDefinition,
    DashboardDefinition,
    Definitions,
    TemplateTag,
    is_of_another_folder,
)
from pipeline.integrations.metabase.visualization import ANY_CARD, column_settings_errors, settings_errors


def faults_of(definitions: Definitions) -> Iterator[str]:
    """Everything that is wrong, a line each; what concerns one dashboard begins with its folder."""
    yield from _names_used_twice(definitions)
    for dashboard in definitions.dashboards:
        yield from (f"{dashboard.key}/{fault}" for fault in _dashboard_faults(dashboard, definitions))


def _names_used_twice(definitions: Definitions) -> Iterator[str]:
    """What must be unique: in one collection names are how we find our things again."""
    cards = definitions.cards()
    yield from _repeated("card name", [card.name for card in cards])
    yield from _repeated("entity_id", [card.entity_id for card in cards])
    yield from _repeated("dashboard name", [dashboard.name for dashboard in definitions.dashboards])
    yield from _repeated("position", [str(dashboard.position) for dashboard in definitions.dashboards])
    yield from _repeated("person", [person.email.lower() for person in definitions.people])


def _dashboard_faults(dashboard: DashboardDefinition, definitions: Definitions) -> Iterator[str]:
    """What is wrong with one dashboard and its cards; each line begins with the file."""
    schemas = set(definitions.warehouse.company.database.schemas)
    for card in dashboard.cards.values():
        yield from (f"{card.key}.yaml: {fault}" for fault in settings_errors(card.display, card.visualization_settings))
        yield from (f"{card.key}.sql: {fault}" for fault in _sql_faults(card, schemas))
        yield from (f"{card.key}.yaml: {fault}" for fault in _alert_faults(card, dashboard))
    folders = {other.key: other for other in definitions.dashboards}
    for fault in (
        *_subscription_faults(dashboard),
        *_placement_faults(dashboard),
        *_filter_faults(dashboard),
        *_click_faults(dashboard, folders),
    ):
        yield f"dashboard.yaml: {fault}"


def _alert_faults(card: CardDefinition, dashboard: DashboardDefinition) -> Iterator[str]:
    """Alerts that would never go off, or that nobody could follow to their card."""
    if card.alert is None:
        return
    goal = card.visualization_settings.get("graph.goal_value")
    if card.alert.send_condition != "has_result" and goal is None:
        yield f"alert: {card.alert.send_condition} needs graph.goal_value in visualization_settings"
    audience = "internal" if "admin" in card.alert.roles else "company"
    if audience not in dashboard.audience:
        yield f"alert: roles: the dashboard is not made for {audience}"


def _sql_faults(card: CardDefinition, schemas: set[str]) -> Iterator[str]:
    """Tags that do not match, tables without their schema, and filtered tables that carry an alias."""
    used = tags_used(card.sql)
    for name in sorted(used - card.template_tags.keys()):
        yield f"{{{{{name}}}}} has no entry under template-tags"
    for name in sorted(card.template_tags.keys() - used):
        yield f"template-tags.{name} is not used in the SQL"
    for table in sorted(tables_read(card.sql)):
        if table.partition(".")[0] not in schemas or "." not in table:
            yield f"{table} is not a table of {', '.join(sorted(schemas))}, written with its schema"
    for name, tag in card.template_tags.items():
        yield from (f"template-tags.{name}: {fault}" for fault in _tag_faults(tag, card.sql, schemas))


def _tag_faults(tag: TemplateTag, sql: str, schemas: set[str]) -> Iterator[str]:
    """A field filter becomes `schema.table.column`, so its table must be read, and under its own name."""
    schema, table, _ = tag.dimension
    if schema not in schemas:
        yield f"schema {schema} is not one of {', '.join(sorted(schemas))}"
    if not reads(sql, f"{schema}.{table}"):
        yield f"the SQL does not read {schema}.{table}"
    elif not reads_without_alias(sql, f"{schema}.{table}"):
        yield f"{schema}.{table} has an alias in the SQL, under which Metabase's filter does not find it"


def _subscription_faults(dashboard: DashboardDefinition) -> Iterator[str]:
    """A mail to those who do not have the dashboard."""
    if dashboard.subscription is not None:
        for audience in sorted(set(dashboard.subscription.audience) - set(dashboard.audience)):
            yield f"subscription.audience: the dashboard is not made for {audience}"


def _placement_faults(dashboard: DashboardDefinition) -> Iterator[str]:
    """Cards that are not there or shown nowhere, tabs, overlaps."""
    placed = [dashcard.card for dashcard in dashboard.dashcards if dashcard.card is not None]
    for name in sorted(set(placed) - dashboard.cards.keys()):
        yield f"dashcards: there is no {name}.yaml {'in dashboards/' if is_of_another_folder(name) else 'beside it'}"
    for name, card in dashboard.cards.items():
        if is_of_another_folder(name) and card.alert is not None:
            yield f"dashcards.{name}: a card with an alert stands on its own dashboard only"
    for name in sorted(dashboard.cards.keys() - set(placed)):
        yield f"the card {name} stands nowhere on the dashboard"
    yield from _repeated("the card", placed)
    for tab in sorted({dashcard.tab or "" for dashcard in dashboard.dashcards} - set(dashboard.tabs)):
        if tab or dashboard.tabs:
            yield f"dashcards: tab {tab!r} is none of the tabs {dashboard.tabs}"
    cells = Counter(cell for dashcard in dashboard.dashcards for cell in dashcard.cells())
    overlaps = sorted({(tab or "", row) for (tab, row, _), count in cells.items() if count > 1})
    if overlaps:
        yield f"dashcards: two of them overlap in row {overlaps[0][1]}"
    for dashcard in dashboard.dashcards:
        allowed = ANY_CARD | {"column_settings", "dashcard.background"}
        for key in sorted(dashcard.visualization_settings.keys() - allowed):
            yield f"dashcards: visualization_settings.{key} does not belong on a dashcard"
        yield from column_settings_errors(dashcard.visualization_settings)


def _filter_faults(dashboard: DashboardDefinition) -> Iterator[str]:
    """Filters that drive nothing, and tags that nothing drives."""
    parameters = {parameter.id for parameter in dashboard.parameters}
    yield from _repeated("parameter id", [parameter.id for parameter in dashboard.parameters])
    for card in dashboard.cards.values():
        for name in sorted(card.template_tags.keys() - parameters):
            yield f"dashcards.{card.key}: no filter is mapped to its template tag {name}"
    driven = {name for card in dashboard.cards.values() for name in card.template_tags}
    for name in sorted(parameters - driven):
        yield f"parameters.{name}: the filter is mapped to no card, so it would do nothing"


def _click_faults(dashboard: DashboardDefinition, folders: Mapping[str, DashboardDefinition]) -> Iterator[str]:
    """Clicks that lead nowhere."""
    for dashcard in dashboard.dashcards:
        for behavior in dashcard.clicks():
            target = dashboard if behavior.type == "crossfilter" else folders.get(behavior.target or "")
            if behavior.link_type == "url":
                continue
            if target is None:
                yield f"dashcards.{dashcard.card}: click_behavior leads to {behavior.target}, no such folder"
                continue
            known = {parameter.id for parameter in target.parameters}
            for name in sorted(behavior.parameter_mapping.keys() - known):
                yield f"dashcards.{dashcard.card}: click_behavior fills the filter {name}, which is not there"


def _repeated(what: str, values: list[str]) -> Iterator[str]:
    """A fault per value that occurs more than once."""
    for value, count in Counter(values).items():
        if count > 1:
            yield f"{what} {value!r} is used {count} times"
