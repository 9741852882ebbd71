"""What a company is: what a person says about it, checked."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self, get_args
from zoneinfo import available_timezones

from pydantic import (
    AwareDatetime,
    BaseModel,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from warehouse.companies import limits
from warehouse.companies.actions import Action, Eligibility, SavedShare
from warehouse.companies.notifications import STRICT, TIME_OF_DAY, URL_WITH_PASSWORD, Notifications, Weekday
from warehouse.companies.task_settings import MOVED_TO_CHURN, Offer, checked_tasks, missing_entities, with_moved_fields
from warehouse.errors import CompanyDefinitionError
from warehouse.settings import SECRET_REFERENCES

EntityName = Literal["customers", "tickets", "payments", "events", "campaigns", "sends"]

AttributeKind = Literal["number", "category", "flag"]

_EMAIL = re.compile(r"[^@\s/:]+@[^@\s/:]+\.[^@\s/:]+")

_SECRET_SETTING = re.compile(
    r"(^|_)((api|access|secret|private)_?key|password|passwd|secret|token|credentials?)$", re.IGNORECASE
)


class CustomAttribute(BaseModel):
    """One of the company's own customer attributes that is to be a feature."""

    model_config = STRICT

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")] = Field(
        description="what the attribute is called in the customer's attributes: small letters, digits and "
        "underscores, a letter first"
    )
    kind: AttributeKind = Field(description="number, category or flag")
    is_fixed: bool = Field(
        default=False, description="true where it never changes, so that it counts from the customer's creation on"
    )
    label: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="what people read; from the name if left out"
    )
    unit: str = Field(description="what a number counts, such as seats; yes or no for a flag, name for a category")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {name: value for name, value in data.items() if value is not None}
        label = str(data.get("name", "")).replace("_", " ").strip()
        unit = {"flag": "yes or no", "category": "name"}.get(str(data.get("kind")), "")
        return {"label": label[:1].upper() + label[1:], "unit": unit} | given


class CompanyDefinition(BaseModel):
    """What a person says about a company, in YAML or on the command line.

    A field's description says what is allowed: it ends the message about a value that is not.
    """

    model_config = STRICT

    slug: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,40}$")] = Field(
        description="small letters, digits and underscores, 2 to 41 of them, a letter first"
    )
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="the name that people read"
    )
    connector: str = Field(description="the name of a connector: where its data comes from")
    connector_settings: dict[str, Any] = Field(
        default_factory=dict,
        description="what that connector asks for; secrets as references (env:NAME, file:PATH, encrypted:TOKEN)",
    )
    entities: tuple[EntityName, ...] = Field(
        default=("customers", "tickets", "payments"),
        description="customers, and those of tickets, payments, events, campaigns and sends that the source has",
    )
    tasks: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        validate_default=True,
        description="what is predicted, a task each with its settings, such as {churn: {kind: cancellation, "
        "horizon_days: 30}}",
    )
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = Field(
        description="three capital letters (ISO 4217), such as EUR"
    )
    time_zone: str = Field(
        default="UTC", description="an IANA name, such as Europe/London; source times without an offset are read in it"
    )
    business_hours: dict[Weekday, tuple[str, str]] | None = Field(
        default=None,
        description='weekday (monday to sunday): ["09:00", "17:00"], in the company\'s time zone; a day left out is '
        "closed, and without business_hours every hour counts",
    )
    custom_attributes: tuple[CustomAttribute, ...] = Field(
        default=(), description="a list of {name, kind, is_fixed, label, unit}"
    )
    segment_by: str = Field(
        default="country", description="country, signup_channel or a custom attribute that is declared is_fixed"
    )
    shares_training: bool = Field(
        default=False, description="true or false: may its data train the model of all companies?"
    )
    allows_small_pool: bool = Field(
        default=False, description="true or false: with only one other company, which could tell its figures, too?"
    )
    personal_data: Literal["keep", "hash", "drop"] = Field(
        default="keep", description="keep, hash or drop: what loading does with name, e-mail and phone"
    )
    notification_addresses: tuple[str, ...] = Field(
        default=(),
        description="a list of e-mail addresses, or of references (env:NAME, file:PATH, encrypted:TOKEN) to "
        "addresses that are secrets, as a webhook's is",
    )
    notifications: Notifications = Field(
        default_factory=Notifications,
        description=f"what is told to these addresses, and when: a mapping of {', '.join(Notifications.model_fields)}",
    )
    margin_share: float = Field(
        default=1.0, gt=0, le=1, description="a share above 0 to 1: how much of revenue stays with the company"
    )
    yearly_discount: float = Field(
        default=0.0, ge=0, le=1, description="a share of 0 to 1: what a year of waiting for money costs"
    )
    actions: tuple[Action, ...] = Field(
        default=(),
        max_length=20,
        description="a list of at most 20 actions, what the company can do for a customer (docs/decide.md)",
    )
    clock_at: AwareDatetime | None = Field(
        default=None,
        description="an ISO 8601 time with an offset: its own now, where its data ended in the past",
    )

    @model_validator(mode="before")
    @classmethod
    def _moved_fields(cls, data: Any) -> Any:
        return with_moved_fields(data) if isinstance(data, Mapping) else data

    @field_validator("connector")
    @classmethod
    def _connector_on_offer(cls, name: str, checked: ValidationInfo) -> str:
        offer: Offer | None = checked.context
        if offer is not None and name not in offer.connectors:
            close = difflib.get_close_matches(name, offer.connectors, n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise ValueError(f"must be one of {', '.join(offer.connectors)}{meant}")
        return name

    @field_validator("tasks")
    @classmethod
    def _tasks_on_offer(cls, tasks: dict[str, dict[str, Any]], checked: ValidationInfo) -> dict[str, dict[str, Any]]:
        """What stands in the registry was checked when it came; only a person's words come with an offer."""
        return tasks if checked.context is None else checked_tasks(tasks, checked.context)

    @field_validator("entities")
    @classmethod
    def _each_entity_once(cls, entities: tuple[EntityName, ...]) -> tuple[EntityName, ...]:
        if "customers" not in entities:
            raise ValueError("must hold customers")
        if len(set(entities)) != len(entities):
            raise ValueError("names an entity twice")
        return entities

    @field_validator("time_zone")
    @classmethod
    def _known_time_zone(cls, name: str) -> str:
        if name not in time_zones():
            raise ValueError("is no time zone we know")
        return name

    @field_validator("connector_settings")
    @classmethod
    def _no_secret_in_clear(cls, settings: dict[str, Any]) -> dict[str, Any]:
        _refuse_secrets(settings, path="")
        return settings

    @field_validator("business_hours")
    @classmethod
    def _hours_of_a_day(cls, hours: dict[Weekday, tuple[str, str]] | None) -> dict[Weekday, tuple[str, str]] | None:
        if hours is None:
            return None
        if not hours:
            raise ValueError("names no day")
        for day, (opens, closes) in hours.items():
            if not TIME_OF_DAY.fullmatch(opens) or not (TIME_OF_DAY.fullmatch(closes) or closes == "24:00"):
                raise ValueError(f"{day} must be two times of day as HH:MM, 00:00 to 24:00")
            if opens >= closes:
                raise ValueError(f"{day} must open before it closes")
        return {day: hours[day] for day in get_args(Weekday) if day in hours}

    @field_validator("custom_attributes")
    @classmethod
    def _each_attribute_once(cls, attributes: tuple[CustomAttribute, ...]) -> tuple[CustomAttribute, ...]:
        names = [attribute.name for attribute in attributes]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"names {', '.join(repeated)} twice")
        return attributes

    @field_validator("actions")
    @classmethod
    def _each_action_once(cls, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        """By name, as the registry has them: their order says nothing."""
        names = [action.name for action in actions]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"names {', '.join(repeated)} twice")
        return tuple(sorted(actions, key=lambda action: action.name))

    @field_validator("notification_addresses")
    @classmethod
    def _addresses_without_secrets(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for number, address in enumerate(addresses, 1):
            if not address.startswith(SECRET_REFERENCES) and not _EMAIL.fullmatch(address):
                raise ValueError(f"number {number} is neither an e-mail address nor a reference")
        return addresses

    @model_validator(mode="after")
    def _segment_is_fixed(self) -> Self:
        fixed = [attribute.name for attribute in self.custom_attributes if attribute.is_fixed]
        allowed = ["country", "signup_channel", *fixed]
        if self.segment_by not in allowed:
            raise ValueError(f"segment_by must be one of {', '.join(allowed)}; another attribute must be is_fixed")
        return self


class Company(CompanyDefinition):
    """A registered company.

    `unreadable` has the fields of its row that are not what they should be, with what is wrong: written by hand, or by
    a release of other rules. Such a field has its default here, and no run works on the company.
    """

    company_id: int
    is_active: bool
    unreadable: dict[str, str] = Field(default_factory=dict, exclude=True)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """A company as the registry has it. Raises CompanyDefinitionError where it cannot even be named."""
        unreadable: dict[str, str] = {}
        while True:
            readable = {field: value for field, value in row.items() if field not in unreadable}
            try:
                return cls.model_validate(readable | {"unreadable": unreadable})
            except ValidationError as error:
                problems = error.errors(include_input=False, include_url=False)
            # What no one field is to blame for is about the segment; it is looked at last.
            wrong = {str(each["loc"][0]) if each["loc"] else "segment_by": _problem(each) for each in problems}
            if wrong.keys() <= unreadable.keys():
                raise CompanyDefinitionError(f"Company {row.get('slug')}: {'; '.join(unreadable.values())}.")
            unreadable = wrong | unreadable


ParseDefinition = Callable[[Mapping[str, Any]], CompanyDefinition]
"""How plain data becomes a definition; raises CompanyDefinitionError."""


@functools.cache
def time_zones() -> set[str]:
    """Every time zone there is; Python walks through folders of files for it."""
    return available_timezones()


def parse_definition(data: Mapping[str, Any], offer: Offer) -> CompanyDefinition:
    """A definition from plain data, such as a YAML mapping, checked against what the application offers.

    Raises CompanyDefinitionError, which names the company and each field that is wrong, says what is
    allowed, and shows no value.
    """
    try:
        definition = CompanyDefinition.model_validate(dict(data), context=offer)
        problems = limits.problems(definition.model_dump())
        problems += missing_entities(definition.tasks, definition.entities, offer)
    except ValidationError as error:
        problems = [_problem(problem) for problem in error.errors(include_input=False, include_url=False)]
    if problems:
        raise CompanyDefinitionError(f"Company {data.get('slug', '(no slug)')}: {'; '.join(problems)}.")
    return definition


def _problem(problem: ErrorDetails) -> str:
    """Where, what, and what is allowed."""
    where = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    what = problem["msg"].removeprefix("Value error, ")
    model, name = _said_in(problem)
    if problem["type"] == "extra_forbidden":
        known = [*model.model_fields, *(MOVED_TO_CHURN if model is CompanyDefinition else ())]
        close = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        return f"{where}: there is no such field; {meant}fields are {', '.join(model.model_fields)}"
    if (name == "tasks" or name in _PARTS) and problem["type"] == "value_error":
        return f"{where}: {what}"
    field = model.model_fields.get(name)
    if problem["type"] == "missing":
        what = "is missing"
    elif problem["type"] == "string_pattern_mismatch":
        what = "is not of the form that is allowed"
    return ": ".join(part for part in (where, what) if part) + (f" (allowed: {field.description})" if field else "")


_PARTS: Mapping[str, type[BaseModel]] = {
    "custom_attributes": CustomAttribute,
    "notifications": Notifications,
    "actions": Action,
    "eligible": Eligibility,
    "saved_share": SavedShare,
}
"""The fields that have fields of their own."""


def _said_in(problem: ErrorDetails) -> tuple[type[BaseModel], str]:
    """The innermost field that a problem is about, and the model that has it."""
    model: type[BaseModel] = CompanyDefinition
    name, *inner = [step for step in problem["loc"] if isinstance(step, str)] or [""]
    for step in inner:
        if name not in _PARTS:
            break
        model, name = _PARTS[name], step
    return model, name


def _refuse_secrets(value: object, path: str) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            _refuse_secrets(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            _refuse_secrets(item, f"{path}.{position}")
    elif isinstance(value, str):
        is_reference = value.startswith(SECRET_REFERENCES)
        if _SECRET_SETTING.search(path.rsplit(".", 1)[-1]) and not is_reference:
            raise ValueError(
                f"{path} must be a reference (env:NAME, file:PATH or encrypted:TOKEN), not the secret itself"
            )
        if URL_WITH_PASSWORD.search(value):
            raise ValueError(f"{path} holds a password; give the whole URL as a reference")
