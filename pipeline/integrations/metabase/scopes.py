"""One set of files, many readers: what all companies together and what each company gets of it. Pure.

A company's copy has no company filter, its own currency, and cards with an identity of their own.
"""

from __future__ import annotations

import hashlib
import json
import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.integrations.metabase.definitions import (
    COMPANY,
    CardDefinition,
    CollectionDefinition,
    DashboardDefinition,
    DashcardDefinition,
    Definitions,
    Role,
    ScopeDefinition,
)
from pipeline.integrations.metabase.visualization import column_of_key, columns_named
from pipeline.integrations.plain_text import plain

ROOT = "churn"
"""The reference of the collection that holds all of ours; every other reference begins with it."""
COMPANY_FILTER = "company"
SAME_FOR_A_COMPANY = {"company_name", "currency"}
COMPANY_CURRENCY = "company"
LETTERS_AND_DIGITS = string.ascii_letters + string.digits


@dataclass(frozen=True)
class CompanyFacts:
    """What dashboards need to know of a company; `addresses` are those who get its subscriptions by mail.

    `has_weekly_report`: they get a weekly report of ours already.
    """

    company_id: int
    slug: str
    name: str
    currency: str
    addresses: tuple[str, ...] = ()
    has_weekly_report: bool = False

    @property
    def plain_name(self) -> str:
        """The name as text: Metabase takes descriptions for Markdown, and who writes a company's file chose it."""
        return plain(self.name) or self.slug


@dataclass(frozen=True)
class Scope:
    """A reader of the dashboards: one company, or (company None) those who look after all.

    `has_namesake`: another company bears the same name, so the slug stands behind it wherever names tell apart.
    """

    company: CompanyFacts | None = None
    has_namesake: bool = False

    @property
    def key(self) -> str:
        """`internal`, or `company/3`: by this word we know again what we made for whom."""
        return "internal" if self.company is None else f"company/{self.company.company_id}"

    @property
    def reader(self) -> str:
        """Who reads: the company's name, or `all companies`."""
        return "all companies" if self.company is None else self.company.plain_name

    @property
    def distinct_name(self) -> str:
        """The reader, told apart from a namesake."""
        return self.reader + self._slug_of_a_namesake

    def labelled(self, name: str) -> str:
        """The name of a thing, with the company that it is of before it."""
        return name if self.company is None else f"{self.company.plain_name}: {name}"

    def worded(self, text: str) -> str:
        """The text with the company's name in place of {company}."""
        return text if self.company is None else text.replace(COMPANY, self.company.plain_name)

    def collection(self, definitions: Definitions) -> CollectionDefinition:
        """The collection of its dashboards."""
        return self._worded_collection(self._definition(definitions).collection)

    def own_collection(self, definitions: Definitions) -> CollectionDefinition | None:
        """Where its managers save what they make, if it has such a place."""
        wanted = self._definition(definitions).own_collection
        return None if wanted is None else self._worded_collection(wanted)

    def database_name(self, definitions: Definitions) -> str:
        """What its connection is called."""
        return self.worded(self._definition(definitions).database.name) + self._slug_of_a_namesake

    def schemas(self, definitions: Definitions) -> list[str]:
        """The schemas that its connection sees."""
        return self._definition(definitions).database.schemas

    def groups(self, definitions: Definitions) -> dict[Role, str]:
        """The names of its groups, by role."""
        return {
            role: self.worded(group.name) + self._slug_of_a_namesake
            for role, group in definitions.warehouse.groups.items()
            if (role == "admin") == (self.company is None)
        }

    def collection_references(self) -> dict[str, str]:
        """The references that its collections are known by, by part: dashboards, cards, own."""
        outer = f"{ROOT}/{self.key}"
        return {"dashboards": outer, "cards": f"{outer}/questions", "own": f"{outer}/own"}

    def dashboard_reference(self, dashboard: DashboardDefinition) -> str:
        """The word by which we know its copy of a dashboard again."""
        return f"{ROOT}/{self.key}/dashboards/{dashboard.key}"

    @property
    def _slug_of_a_namesake(self) -> str:
        return f" [{self.company.slug}]" if self.company is not None and self.has_namesake else ""

    def _definition(self, definitions: Definitions) -> ScopeDefinition:
        return definitions.warehouse.internal if self.company is None else definitions.warehouse.company

    def _worded_collection(self, wanted: CollectionDefinition) -> CollectionDefinition:
        return CollectionDefinition(name=self.worded(wanted.name), description=self.worded(wanted.description))


def scopes_of(companies: Sequence[CompanyFacts]) -> list[Scope]:
    """All scopes: those who look after all companies first."""
    uses = Counter(company.plain_name for company in companies)
    return [Scope(), *(Scope(company, has_namesake=uses[company.plain_name] > 1) for company in companies)]


def tailored_dashboards(definitions: Definitions, scope: Scope) -> list[DashboardDefinition]:
    """The dashboards that the scope gets, as it gets them."""
    audience = "internal" if scope.company is None else "company"
    return [tailored(dashboard, scope) for dashboard in definitions.dashboards if audience in dashboard.audience]


def distinct_cards(dashboards: Sequence[DashboardDefinition]) -> list[CardDefinition]:
    """All cards of these dashboards, each once, though it may stand on several."""
    return list({card.entity_id: card for dashboard in dashboards for card in dashboard.cards.values()}.values())


def tailored(dashboard: DashboardDefinition, scope: Scope) -> DashboardDefinition:
    """One dashboard as the scope gets it."""
    cards = {key: tailored_card(card, scope) for key, card in dashboard.cards.items()}
    audience = "internal" if scope.company is None else "company"
    if dashboard.subscription is not None and audience not in dashboard.subscription.audience:
        dashboard = dashboard.model_copy(update={"subscription": None})
    if scope.company is None:
        return dashboard.model_copy(update={"cards": cards})
    parameters = [parameter for parameter in dashboard.parameters if parameter.id != COMPANY_FILTER]
    dashcards = [without_company_in_clicks(dashcard) for dashcard in dashboard.dashcards]
    return dashboard.model_copy(update={"cards": cards, "parameters": parameters, "dashcards": dashcards})


def tailored_card(card: CardDefinition, scope: Scope) -> CardDefinition:
    """One card as the scope gets it."""
    settings = with_currency(card.visualization_settings, scope.company.currency if scope.company else None)
    settings = with_text_as_text(settings)
    if card.alert is not None and ("admin" in card.alert.roles) != (scope.company is None):
        card = card.model_copy(update={"alert": None})
    if scope.company is None:
        return card.model_copy(update={"visualization_settings": settings})
    for column in settings.get("table.columns", []):
        if column["name"] in SAME_FOR_A_COMPANY:
            column["enabled"] = False
    return card.model_copy(
        update={
            "entity_id": derived_entity_id(card.entity_id, scope.key),
            "description": without_company_filter(card.description),
            "sql": without_tag(card.sql, COMPANY_FILTER),
            "template_tags": {name: tag for name, tag in card.template_tags.items() if name != COMPANY_FILTER},
            "visualization_settings": settings,
        }
    )


def without_tag(sql: str, name: str) -> str:
    """The SQL without the optional clause of that filter."""
    return re.sub(rf"\s*\[\[\s*and\s+\{{\{{\s*{name}\s*\}}\}}\s*\]\]", "", sql)


def without_company_filter(description: str) -> str:
    """A description that does not speak of the filter which a company does not have."""
    text = re.sub(r" Follows the company filter( only)?\.", "", description)
    text = re.sub(r"the filters company and (\w+)", r"the filter \1", text)
    text = re.sub(r"the filters company, (\w+) and (\w+)", r"the filters \1 and \2", text)
    return re.sub(r" Empty while companies with different currencies are shown together\.", "", text)


def without_company_in_clicks(dashcard: DashcardDefinition) -> DashcardDefinition:
    """A dashcard whose clicks hand on no company."""

    def kept(mapping: dict[str, str]) -> dict[str, str]:
        return {name: column for name, column in mapping.items() if name != COMPANY_FILTER}

    whole = dashcard.click_behavior
    columns = {
        name: click.model_copy(update={"parameter_mapping": kept(click.parameter_mapping)})
        for name, click in dashcard.column_click_behavior.items()
    }
    if whole is not None:
        whole = whole.model_copy(update={"parameter_mapping": kept(whole.parameter_mapping)})
    return dashcard.model_copy(update={"click_behavior": whole, "column_click_behavior": columns})


def with_currency(settings: dict[str, Any], currency: str | None) -> dict[str, Any]:
    """Settings with the company's currency where they say `currency: company`; without one a plain number."""
    changed = {key: list(map(dict, value)) if key == "table.columns" else value for key, value in settings.items()}
    columns = {}
    for key, column in settings.get("column_settings", {}).items():
        if column.get("currency") != COMPANY_CURRENCY:
            columns[key] = column
        elif currency is None:
            columns[key] = {name: value for name, value in column.items() if name != "currency"} | {
                "number_style": "decimal"
            }
        else:
            columns[key] = column | {"currency": currency, "currency_in_header": False}
    return changed | ({"column_settings": columns} if columns else {})


def with_text_as_text(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings by which no column shows a link: left to itself, Metabase makes one of each text that is an address.

    Customers choose such texts, and their names stand among them.
    """
    columns = dict(settings.get("column_settings", {}))
    named = {column_of_key(key): key for key in columns}
    for column in columns_named(settings):
        key = named.get(column) or json.dumps(["name", column], separators=(",", ":"))
        columns[key] = columns.get(key, {}) | {"view_as": None}
    return settings | ({"column_settings": columns} if columns else {})


def subscribers(scope: Scope, dashboard: DashboardDefinition, operators: Sequence[str]) -> Sequence[str]:
    """Who gets the dashboard by mail: nobody gets a weekly mail from Metabase beside a weekly report of ours."""
    if scope.company is None:
        return operators
    is_weekly = dashboard.subscription is not None and dashboard.subscription.schedule_type == "weekly"
    return () if is_weekly and scope.company.has_weekly_report else scope.company.addresses


def derived_entity_id(entity_id: str, scope_key: str) -> str:
    """An entity id (21 letters and digits) of the same card's copy for another reader, the same every time."""
    number = int.from_bytes(hashlib.sha256(f"{entity_id}/{scope_key}".encode()).digest(), "big")
    letters = []
    for _ in range(21):
        number, rest = divmod(number, len(LETTERS_AND_DIGITS))
        letters.append(LETTERS_AND_DIGITS[rest])
    return "".join(letters)
