"""What the files under `dashboards/` may say: a model per kind of file, and what they come to together.

Layout: `warehouse.yaml` (connections, collections, groups), `people.yaml`, `filters.yaml` (every filter, once), and
one folder per dashboard with `dashboard.yaml` and, per card, `<card>.yaml` and `<card>.sql`. The words are
Metabase's own; names and file stems stand where its API wants numbers. Here is what one file alone must keep to.
Reading files belongs in `definition_files.py`, what must fit together in `faults.py`, what differs between companies
in `scopes.py`. No HTTP here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, model_validator

from pipeline.data_files import data_directory
from pipeline.integrations.metabase.card_sql import tables_read

DASHBOARDS_DIRECTORY = data_directory("dashboards")
GRID_COLUMNS = 24

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
_OWN_ADDRESS = re.compile(r"https?://[^/{}\s]+(/|$)")
EntityId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{21}$")]
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


def strip_text(text: str) -> str:
    """Folded text without the line break that YAML leaves at its end; it must say something."""
    stripped = text.strip()
    if not stripped:
        raise ValueError("must not be empty")
    return stripped


Text = Annotated[str, AfterValidator(strip_text)]


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
        return tables_read(self.sql)


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
        filled = {name for name, value in given.items() if value}
        if filled != wanted[kind]:
            raise ValueError(f"a click behaviour of kind {kind} takes exactly {', '.join(sorted(wanted[kind]))}")
        if self.link_template and not _OWN_ADDRESS.match(self.link_template):
            raise ValueError("linkTemplate begins with an address of ours, such as https://crm.example.com/")
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

    def placed_cards(self) -> list[CardDefinition]:
        """Its cards as they stand, from the top left."""
        placed = sorted(self.dashcards, key=lambda dashcard: (dashcard.row, dashcard.col))
        return [self.cards[dashcard.card] for dashcard in placed if dashcard.card in self.cards]

    def own_cards(self) -> list[CardDefinition]:
        """The cards of its own folder, as they stand, from the top left."""
        own = {card.entity_id for key, card in self.cards.items() if not is_of_another_folder(key)}
        return [card for card in self.placed_cards() if card.entity_id in own]


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


def is_of_another_folder(key: str) -> bool:
    """Whether a dashcard names a card of another dashboard's folder."""
    return "/" in key
