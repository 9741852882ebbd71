"""The files under `dashboards/`, parsed and checked before anything is sent.

Layout: `warehouse.yaml` (connections, collections, groups), `people.yaml`, `filters.yaml` (every filter, once), and
one folder per dashboard with `dashboard.yaml` and, per card, `<card>.yaml` and `<card>.sql`. The words are
Metabase's own; names and file stems stand where its API wants numbers. No HTTP here; what differs between companies
belongs in `scopes.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, ValidationError, model_validator

from pipeline.integrations.metabase.errors import DefinitionError
from pipeline.integrations.metabase.visualization import ANY_CARD, column_settings_errors, settings_errors

DASHBOARDS_DIRECTORY = Path(__file__).resolve().parents[3] / "dashboards"
GRID_COLUMNS = 24
TAG = re.compile(r"\{\{\s*([^}\s]+)\s*\}\}")
TABLE_AFTER = re.compile(r"\b(?:from|join)\s+(?!lateral\b|\()([a-z_][\w.]*)", re.IGNORECASE)
CTE = re.compile(r"(?:\bwith\b|,)\s*([a-z_]\w*)\s+as\s*(?:not\s+)?(?:materialized\s*)?\(", re.IGNORECASE)
AFTER_A_TABLE = (
    *("where", "join", "inner", "left", "right", "full", "cross", "on", "using"),
    *("group", "having", "window", "order", "limit", "offset", "fetch", "union", "except", "intersect"),
)
COMMENT = re.compile(r"--[^\n]*")
# The parser in C where PyYAML has it: a hundred files are read in a tenth of the time.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

FilterType = Literal[
    "string/=",
    "string/!=",
    "string/contains",
    "string/starts-with",
    "number/=",
    "number/between",
    "number/>=",
    "number/<=",
    "date/all-options",
    "date/range",
    "date/relative",
    "date/month-year",
    "category",
    "id",
    "boolean/=",
]
Role = Literal["admin", "manager", "viewer"]
Audience = Literal["company", "internal"]
COMPANY = "{company}"
EntityId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{21}$")]
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


def one_paragraph(text: str) -> str:
    """Folded text without the line break that YAML leaves at its end; it must say something."""
    stripped = text.strip()
    if not stripped:
        raise ValueError("must not be empty")
    return stripped


Text = Annotated[str, AfterValidator(one_paragraph)]


class Definition(BaseModel):
    """Base of all: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class DatabaseDefinition(Definition):
    """The connection as Metabase shows it, and the schemas that it may see."""

    name: Text
    schemas: list[Identifier] = Field(min_length=1)


class CollectionDefinition(Definition):
    """A collection that holds what we make. Its description tells readers, and us, whose it is."""

    name: Text
    description: Text


class ScopeDefinition(Definition):
    """What all companies together, or each company, get: a collection and a connection."""

    collection: CollectionDefinition
    database: DatabaseDefinition
    own_collection: CollectionDefinition | None = None


class GroupDefinition(Definition):
    """A group of people; `{company}` in its name makes it one per company."""

    name: Text


class WarehouseDefinition(Definition):
    """`warehouse.yaml`."""

    site_name: Text
    collection: CollectionDefinition
    internal: ScopeDefinition
    company: ScopeDefinition
    groups: dict[Role, GroupDefinition]

    @model_validator(mode="after")
    def _check_names(self) -> WarehouseDefinition:
        for name in (self.company.collection.name, self.company.database.name):
            if COMPANY not in name:
                raise ValueError(f"company: the name {name!r} must hold {COMPANY}, or all companies would share one")
        for role, group in self.groups.items():
            if (COMPANY in group.name) != (role != "admin"):
                raise ValueError(
                    f"groups.{role}: {COMPANY} belongs in the names of managers and viewers, and only there"
                )
        return self


class Person(Definition):
    """Somebody with an account in Metabase; `company` is a slug."""

    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]
    first_name: Text
    last_name: Text
    role: Role
    company: str | None = None

    @model_validator(mode="after")
    def _check_company(self) -> Person:
        if (self.company is None) != (self.role == "admin"):
            raise ValueError("a manager or viewer needs a company, an admin has none")
        return self


class PeopleFile(Definition):
    """`people.yaml`."""

    people: list[Person]


class Filter(Definition):
    """An entry of `filters.yaml`: one widget, the same on every dashboard that has it."""

    name: Text
    type: FilterType
    section_id: Literal["string", "number", "date", "id", "boolean", "location"] = Field(alias="sectionId")


class FiltersFile(RootModel[dict[Identifier, Filter]]):
    """`filters.yaml`: filters by id."""


class TemplateTag(Definition):
    """A field filter: written bare in the SQL, `[[and {{plan}}]]`, bound to a physical column by name."""

    type: Literal["dimension"] = "dimension"
    dimension: tuple[Identifier, Identifier, Identifier]
    widget_type: FilterType = Field(alias="widget-type")
    display_name: Text = Field(alias="display-name")


class SubscriptionDefinition(Definition):
    """A dashboard as mail, at set times, to the addresses of those it is for. One per dashboard and reader."""

    audience: list[Audience] = Field(min_length=1)
    schedule_type: Literal["daily", "weekly", "monthly"]
    schedule_hour: int = Field(ge=0, le=23)
    schedule_day: Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"] | None = None
    schedule_frame: Literal["first", "mid", "last"] | None = None
    skip_if_empty: bool = True

    @model_validator(mode="after")
    def _check_schedule(self) -> SubscriptionDefinition:
        if (self.schedule_type == "monthly") != (self.schedule_frame is not None):
            raise ValueError("schedule_frame (first, mid, last) belongs to a monthly schedule, and only there")
        if self.schedule_type != "monthly" and (self.schedule_type == "weekly") != (self.schedule_day is not None):
            raise ValueError("schedule_day belongs to a weekly schedule, and not to a daily one")
        if self.schedule_frame == "mid" and self.schedule_day is not None:
            raise ValueError("schedule_day goes with the frames first and last, not with mid")
        return self


class AlertDefinition(Definition):
    """A card that is mailed when it has something to say: to the groups of those roles, whoever is in them."""

    roles: list[Role] = Field(min_length=1)
    send_condition: Literal["has_result", "goal_above", "goal_below"]
    send_once: bool = False
    cron_schedule: str

    @model_validator(mode="after")
    def _check(self) -> AlertDefinition:
        if len({role == "admin" for role in self.roles}) > 1:
            raise ValueError("roles: admins have cards of their own, so an alert is for them or for a company's people")
        fields = self.cron_schedule.split()
        if len(fields) != 7 or (fields[3] == "?") == (fields[5] == "?"):
            raise ValueError(
                "cron_schedule: seven fields as Quartz has them (second minute hour day month weekday year), with ? "
                "for the day or the weekday: 0 0 8 * * ? * is every day at eight"
            )
        return self


class CardFile(Definition):
    """`<card>.yaml`; a template tag is a filter's id and the [schema, table, column] that it narrows."""

    entity_id: EntityId
    name: Text
    description: Text
    display: str
    template_tags: dict[Identifier, tuple[Identifier, Identifier, Identifier]] = Field(
        default_factory=dict, alias="template-tags"
    )
    visualization_settings: dict[str, Any]
    alert: AlertDefinition | None = None


class CardDefinition(Definition):
    """A card with its SQL; `key` is the stem of its files, by which dashboards refer to it."""

    entity_id: EntityId
    name: str
    description: str
    display: str
    template_tags: dict[str, TemplateTag]
    visualization_settings: dict[str, Any]
    alert: AlertDefinition | None
    key: str
    sql: str

    def tables(self) -> set[str]:
        """The `schema.table`s that the SQL reads."""
        sql = COMMENT.sub("", self.sql)
        return set(TABLE_AFTER.findall(sql)) - set(CTE.findall(sql))


class ParameterChoice(Definition):
    """A filter that a dashboard has, with what it starts with there."""

    id: Identifier
    default: list[str] | None = None


class Parameter(Definition):
    """A filter widget of a dashboard."""

    id: Identifier
    name: Text
    slug: Identifier
    type: FilterType
    section_id: Literal["string", "number", "date", "id", "boolean", "location"] = Field(alias="sectionId")
    default: list[str] | None = None


class ClickBehavior(Definition):
    """What a click does. A dashboard is named by its folder, a link may name any address."""

    type: Literal["link", "crossfilter"]
    link_type: Literal["dashboard", "url"] | None = Field(default=None, alias="linkType")
    target: str | None = None
    link_template: str | None = Field(default=None, alias="linkTemplate")
    parameter_mapping: dict[Identifier, str] = Field(default_factory=dict, alias="parameterMapping")

    @model_validator(mode="after")
    def _check_shape(self) -> ClickBehavior:
        wanted = {
            "crossfilter": {"parameterMapping"},
            "dashboard": {"target", "parameterMapping"},
            "url": {"linkTemplate"},
        }
        kind = self.type if self.type == "crossfilter" else self.link_type
        if kind is None:
            raise ValueError("a link needs linkType")
        given = {
            "target": self.target,
            "linkTemplate": self.link_template,
            "parameterMapping": self.parameter_mapping,
        }
        found = {name for name, value in given.items() if value}
        if found != wanted[kind]:
            raise ValueError(f"a click behaviour of kind {kind} takes exactly {', '.join(sorted(wanted[kind]))}")
        return self


class DashcardDefinition(Definition):
    """A card, a text or a heading at its place on the grid. `overview/data_date` is a card of another folder."""

    card: str | None = None
    text: Text | None = None
    heading: Text | None = None
    tab: str | None = None
    row: int = Field(ge=0)
    col: int = Field(ge=0, lt=GRID_COLUMNS)
    size_x: int = Field(ge=1, le=GRID_COLUMNS)
    size_y: int = Field(ge=1)
    click_behavior: ClickBehavior | None = None
    column_click_behavior: dict[str, ClickBehavior] = Field(default_factory=dict)
    visualization_settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_place(self) -> DashcardDefinition:
        if sum(kind is not None for kind in (self.card, self.text, self.heading)) != 1:
            raise ValueError("exactly one of card, text and heading must be given")
        if self.col + self.size_x > GRID_COLUMNS:
            raise ValueError(f"col {self.col} plus size_x {self.size_x} leaves the grid of {GRID_COLUMNS}")
        if self.card is None and self.clicks():
            raise ValueError("only a card takes click_behavior")
        return self

    def clicks(self) -> list[ClickBehavior]:
        """Every click behaviour on it, of the whole card and of single columns."""
        whole = [] if self.click_behavior is None else [self.click_behavior]
        return [*whole, *self.column_click_behavior.values()]

    def cells(self) -> Iterator[tuple[str | None, int, int]]:
        """Every grid cell it covers."""
        for row in range(self.row, self.row + self.size_y):
            for col in range(self.col, self.col + self.size_x):
                yield self.tab, row, col


class DashboardFile(Definition):
    """`dashboard.yaml`."""

    name: Text
    description: Text
    position: int = Field(ge=1)
    audience: list[Audience] = Field(default=["company", "internal"], min_length=1)
    width: Literal["fixed", "full"] = "full"
    auto_apply_filters: bool = True
    parameters: list[Identifier | ParameterChoice] = Field(default_factory=list)
    tabs: list[Text] = Field(default_factory=list)
    subscription: SubscriptionDefinition | None = None
    dashcards: list[DashcardDefinition] = Field(min_length=1)


class DashboardDefinition(Definition):
    """A dashboard with its cards and filters; `key` is its folder's name.

    `cards` are keyed by what its dashcards call them: `churn_rate`, or `overview/data_date` for one of another folder.
    """

    key: str
    name: str
    description: str
    position: int
    audience: list[Audience]
    width: Literal["fixed", "full"]
    auto_apply_filters: bool
    parameters: list[Parameter]
    tabs: list[str]
    subscription: SubscriptionDefinition | None
    dashcards: list[DashcardDefinition]
    cards: dict[str, CardDefinition]

    def shown_cards(self) -> list[CardDefinition]:
        """Its cards as they stand, from the top left."""
        placed = sorted(self.dashcards, key=lambda dashcard: (dashcard.row, dashcard.col))
        return [self.cards[dashcard.card] for dashcard in placed if dashcard.card in self.cards]

    def own_cards(self) -> list[CardDefinition]:
        """The cards of its own folder, as they stand, from the top left."""
        own = {card.entity_id for key, card in self.cards.items() if not is_of_another_folder(key)}
        return [card for card in self.shown_cards() if card.entity_id in own]


class Definitions(Definition):
    """Everything under `dashboards/`, the dashboards by their position."""

    warehouse: WarehouseDefinition
    people: list[Person]
    dashboards: list[DashboardDefinition]

    def cards(self) -> list[CardDefinition]:
        """All cards of all dashboards, each once."""
        return [
            card
            for dashboard in self.dashboards
            for key, card in dashboard.cards.items()
            if not is_of_another_folder(key)
        ]

    def columns_filtered(self) -> set[tuple[str, str, str]]:
        """(schema, table, column) of every field filter."""
        return {tag.dimension for card in self.cards() for tag in card.template_tags.values()}


def load_definitions(directory: Path = DASHBOARDS_DIRECTORY) -> Definitions:
    """Read and check the whole folder.

    Raises DefinitionError that names every file and key that is wrong, not only the first.
    """
    warehouse = parse(directory / "warehouse.yaml", WarehouseDefinition)
    people = parse(directory / "people.yaml", PeopleFile).people
    filters = load_filters(directory / "filters.yaml")
    folders = sorted(path.parent for path in directory.glob("*/dashboard.yaml"))
    if not folders:
        raise DefinitionError(f"{directory}: no folder with a dashboard.yaml")
    dashboards = sorted((load_dashboard(folder, filters) for folder in folders), key=lambda one: one.position)
    definitions = Definitions(warehouse=warehouse, people=people, dashboards=with_shared_cards(dashboards))
    faults = list(faults_across(definitions))
    for dashboard in definitions.dashboards:
        faults.extend(f"{dashboard.key}/{fault}" for fault in dashboard_faults(dashboard, definitions))
    if faults:
        raise DefinitionError("\n".join(faults))
    return definitions


def is_of_another_folder(key: str) -> bool:
    """Whether a dashcard names a card of another dashboard's folder."""
    return "/" in key


def with_shared_cards(dashboards: list[DashboardDefinition]) -> list[DashboardDefinition]:
    """The dashboards, each with the cards that it borrows from other folders; a name that leads nowhere is left out."""
    known = {f"{dashboard.key}/{key}": card for dashboard in dashboards for key, card in dashboard.cards.items()}
    return [
        dashboard.model_copy(
            update={
                "cards": dashboard.cards
                | {
                    dashcard.card: known[dashcard.card]
                    for dashcard in dashboard.dashcards
                    if dashcard.card is not None and dashcard.card in known
                }
            }
        )
        for dashboard in dashboards
    ]


def marts_read(directory: Path = DASHBOARDS_DIRECTORY) -> list[str]:
    """Names of the marts that the cards' SQL reads, whatever state the rest of the files is in."""
    found: set[str] = set()
    for path in directory.glob("*/*.sql"):
        found.update(TABLE_AFTER.findall(COMMENT.sub("", path.read_text(encoding="utf-8"))))
    return sorted(table.removeprefix("analytics.") for table in found if table.startswith("analytics."))


def load_filters(path: Path) -> dict[str, Filter]:
    """`filters.yaml`, by id."""
    return parse(path, FiltersFile).root


def load_dashboard(folder: Path, filters: Mapping[str, Filter]) -> DashboardDefinition:
    """One folder: `dashboard.yaml` and its cards, each with its SQL."""
    stems = {path.stem for path in folder.glob("*.yaml")} - {"dashboard"}
    orphans = sorted({path.stem for path in folder.glob("*.sql")} - stems)
    if orphans:
        raise DefinitionError(f"{folder.name}/{orphans[0]}.sql: there is no {orphans[0]}.yaml for it")
    cards = {stem: load_card(folder, stem, filters) for stem in sorted(stems)}
    file = parse(folder / "dashboard.yaml", DashboardFile)
    chosen = [ParameterChoice(id=entry) if isinstance(entry, str) else entry for entry in file.parameters]
    for unknown in sorted({choice.id for choice in chosen} - filters.keys()):
        raise DefinitionError(f"{folder.name}/dashboard.yaml: parameters: {unknown} is not in filters.yaml")
    parameters = [
        Parameter(
            id=choice.id,
            slug=choice.id,
            name=filters[choice.id].name,
            type=filters[choice.id].type,
            section_id=filters[choice.id].section_id,
            default=choice.default,
        )
        for choice in chosen
    ]
    return DashboardDefinition(**dict(file) | {"parameters": parameters}, key=folder.name, cards=cards)


def load_card(folder: Path, stem: str, filters: Mapping[str, Filter]) -> CardDefinition:
    """One card: `<stem>.yaml` and `<stem>.sql`."""
    file = parse(folder / f"{stem}.yaml", CardFile)
    sql_file = folder / f"{stem}.sql"
    if not sql_file.is_file():
        raise DefinitionError(f"{folder.name}/{stem}.yaml: its SQL file {stem}.sql is missing")
    for unknown in sorted(file.template_tags.keys() - filters.keys()):
        raise DefinitionError(f"{folder.name}/{stem}.yaml: template-tags.{unknown}: is not in filters.yaml")
    tags = {
        name: TemplateTag.model_validate(
            {"dimension": column, "widget-type": filters[name].type, "display-name": filters[name].name}
        )
        for name, column in file.template_tags.items()
    }
    sql = sql_file.read_text(encoding="utf-8").strip()
    return CardDefinition(**dict(file) | {"template_tags": tags}, key=stem, sql=sql)


Model = TypeVar("Model", bound=BaseModel)


def parse(path: Path, model: type[Model]) -> Model:
    """Read one YAML file into `model`, or raise DefinitionError naming the file and each faulty key."""
    name = f"{path.parent.name}/{path.name}"
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)  # noqa: S506 - a safe one
    except FileNotFoundError:
        raise DefinitionError(f"{name}: the file is missing") from None
    except yaml.YAMLError as error:
        raise DefinitionError(f"{name}: not readable as YAML: {error}") from None
    if not isinstance(content, dict):
        raise DefinitionError(f"{name}: a mapping of keys was expected")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise DefinitionError("\n".join(f"{name}: {fault}" for fault in readable(error))) from None


def readable(error: ValidationError) -> Iterator[str]:
    """Pydantic's findings as `key.path: what is wrong`."""
    for finding in error.errors():
        where = ".".join(str(part) for part in finding["loc"])
        message = "is not a known key" if finding["type"] == "extra_forbidden" else finding["msg"]
        yield f"{where}: {message}" if where else message


def faults_across(definitions: Definitions) -> Iterator[str]:
    """What must be unique: in one collection names are how we find our things again."""
    cards = definitions.cards()
    yield from repeated("card name", [card.name for card in cards])
    yield from repeated("entity_id", [card.entity_id for card in cards])
    yield from repeated("dashboard name", [dashboard.name for dashboard in definitions.dashboards])
    yield from repeated("position", [str(dashboard.position) for dashboard in definitions.dashboards])
    yield from repeated("person", [person.email.lower() for person in definitions.people])


def repeated(what: str, values: list[str]) -> Iterator[str]:
    """A fault per value that occurs more than once."""
    for value, count in Counter(values).items():
        if count > 1:
            yield f"{what} {value!r} is used {count} times"


def dashboard_faults(dashboard: DashboardDefinition, definitions: Definitions) -> Iterator[str]:
    """Everything that concerns one dashboard and its cards."""
    schemas = set(definitions.warehouse.company.database.schemas)
    for card in dashboard.cards.values():
        yield from (f"{card.key}.yaml: {fault}" for fault in settings_errors(card.display, card.visualization_settings))
        yield from (f"{card.key}.sql: {fault}" for fault in sql_faults(card, schemas))
        yield from (f"{card.key}.yaml: {fault}" for fault in alert_faults(card, dashboard))
    folders = {other.key: other for other in definitions.dashboards}
    if dashboard.subscription is not None:
        for audience in sorted(set(dashboard.subscription.audience) - set(dashboard.audience)):
            yield f"dashboard.yaml: subscription.audience: the dashboard is not made for {audience}"
    for fault in (*placement_faults(dashboard), *filter_faults(dashboard), *click_faults(dashboard, folders)):
        yield f"dashboard.yaml: {fault}"


def alert_faults(card: CardDefinition, dashboard: DashboardDefinition) -> Iterator[str]:
    """Alerts that would never go off, or that nobody could follow to their card."""
    if card.alert is None:
        return
    goal = card.visualization_settings.get("graph.goal_value")
    if card.alert.send_condition != "has_result" and goal is None:
        yield f"alert: {card.alert.send_condition} needs graph.goal_value in visualization_settings"
    audience = "internal" if "admin" in card.alert.roles else "company"
    if audience not in dashboard.audience:
        yield f"alert: roles: the dashboard is not made for {audience}"


def sql_faults(card: CardDefinition, schemas: set[str]) -> Iterator[str]:
    """Tags that do not match, tables without their schema, and filtered tables that carry an alias."""
    sql = COMMENT.sub("", card.sql)
    used = set(TAG.findall(sql))
    for name in sorted(used - card.template_tags.keys()):
        yield f"{{{{{name}}}}} has no entry under template-tags"
    for name in sorted(card.template_tags.keys() - used):
        yield f"template-tags.{name} is not used in the SQL"
    for table in sorted(set(TABLE_AFTER.findall(sql)) - set(CTE.findall(sql))):
        if table.partition(".")[0] not in schemas or "." not in table:
            yield f"{table} is not a table of {', '.join(sorted(schemas))}, written with its schema"
    for name, tag in card.template_tags.items():
        yield from (f"template-tags.{name}: {fault}" for fault in tag_faults(tag, sql, schemas))


def tag_faults(tag: TemplateTag, sql: str, schemas: set[str]) -> Iterator[str]:
    """A field filter becomes `schema.table.column`, so its table must be read, and under its own name."""
    schema, table, _ = tag.dimension
    if schema not in schemas:
        yield f"schema {schema} is not one of {', '.join(sorted(schemas))}"
    name = re.escape(f"{schema}.{table}")
    alias = rf"\s+(?!(?:{'|'.join(AFTER_A_TABLE)})\b)(?:as\s+)?\w"
    reads = re.findall(rf"\b{name}\b(?!\.)", sql)
    if not reads:
        yield f"the SQL does not read {schema}.{table}"
    elif not re.search(rf"\b{name}\b(?!\.)(?!{alias})", sql):
        yield f"{schema}.{table} has an alias in the SQL, under which Metabase's filter does not find it"


def placement_faults(dashboard: DashboardDefinition) -> Iterator[str]:
    """Cards that are not there or shown nowhere, tabs, overlaps."""
    shown = [dashcard.card for dashcard in dashboard.dashcards if dashcard.card is not None]
    for name in sorted(set(shown) - dashboard.cards.keys()):
        yield f"dashcards: there is no {name}.yaml {'in dashboards/' if is_of_another_folder(name) else 'beside it'}"
    for name, card in dashboard.cards.items():
        if is_of_another_folder(name) and card.alert is not None:
            yield f"dashcards.{name}: a card with an alert stands on its own dashboard only"
    for name in sorted(dashboard.cards.keys() - set(shown)):
        yield f"the card {name} stands nowhere on the dashboard"
    yield from repeated("the card", shown)
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


def filter_faults(dashboard: DashboardDefinition) -> Iterator[str]:
    """Filters that drive nothing, and tags that nothing drives."""
    parameters = {parameter.id for parameter in dashboard.parameters}
    yield from repeated("parameter id", [parameter.id for parameter in dashboard.parameters])
    for card in dashboard.cards.values():
        for name in sorted(card.template_tags.keys() - parameters):
            yield f"dashcards.{card.key}: no filter is mapped to its template tag {name}"
    driven = {name for card in dashboard.cards.values() for name in card.template_tags}
    for name in sorted(parameters - driven):
        yield f"parameters.{name}: the filter is mapped to no card, so it would do nothing"


def click_faults(dashboard: DashboardDefinition, folders: Mapping[str, DashboardDefinition]) -> Iterator[str]:
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
