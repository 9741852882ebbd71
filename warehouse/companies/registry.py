"""The registry of companies: what one is, and how it is added, changed and switched off."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self, get_args
from zoneinfo import available_timezones

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from warehouse.errors import CompanyDefinitionError, CompanyNotFound
from warehouse.logs.operations import record_audit, say_who
from warehouse.relations import COMPANIES
from warehouse.roles import Role, ensure_company_logins, set_company_password
from warehouse.settings import SECRET_REFERENCES

Connection = psycopg.Connection[Any]
EntityName = Literal["customers", "tickets", "payments", "events"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
AttributeKind = Literal["number", "category", "flag"]
AlertName = Literal["high_risk", "held_publication", "late_source", "shrinking_source", "failed_run", "model"]

_STRICT = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
_EMAIL = re.compile(r"[^@\s/:]+@[^@\s/:]+\.[^@\s/:]+")
_SECRET_SETTING = re.compile(
    r"(^|_)((api|access|secret|private)_?key|password|passwd|secret|token|credentials?)$", re.IGNORECASE
)
_URL_WITH_PASSWORD = re.compile(r"://[^/@\s:]*:[^/@\s]+@")


class CustomAttribute(BaseModel):
    """One of the company's own customer attributes that is to be a feature."""

    model_config = _STRICT

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
        words = str(data.get("name", "")).replace("_", " ").strip()
        unit = {"flag": "yes or no", "category": "name"}.get(str(data.get("kind")), "")
        return {"label": words[:1].upper() + words[1:], "unit": unit} | given


class Notifications(BaseModel):
    """What the people at a company's notification_addresses are told, and when."""

    model_config = _STRICT

    tell: tuple[AlertName, ...] = Field(
        default=get_args(AlertName),
        description=f"a list of {', '.join(get_args(AlertName))}: what is told; all of it if left out",
    )
    owner: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        default="", description="who acts on customers at risk, as people call them; named in each message"
    )
    customers_shown: int = Field(
        default=10,
        ge=1,
        le=100,
        description="a whole number, 1 to 100: customers listed in a message, the rest counted",
    )
    smallest_value: float = Field(
        default=0, ge=0, description="0 or more, in the company's currency: customers with less at stake are left out"
    )
    cooldown_days: int = Field(
        default=14, ge=0, description="a whole number, 0 or more: days before a customer is told of again"
    )
    shrink_share: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="a share above 0 to 1: a source that lost so much of its records is shrinking",
    )
    quiet_hours: tuple[str, str] | None = Field(
        default=None,
        description='["20:00", "07:00"], in the company\'s time zone: what happens then is told when they end',
    )
    weekly_report_on: Weekday | None = Field(
        default="monday", description="monday to sunday, or null for no weekly report"
    )
    customer_link: str | None = Field(
        default=None,
        description="an http(s) address with {customer_id} in it: the customer's page in the CRM or on a dashboard",
    )
    dashboard_link: str | None = Field(default=None, description="an http(s) address of the company's dashboards")

    @field_validator("tell")
    @classmethod
    def _each_alert_once(cls, tell: tuple[AlertName, ...]) -> tuple[AlertName, ...]:
        return tuple(name for name in get_args(AlertName) if name in tell)

    @field_validator("quiet_hours")
    @classmethod
    def _times_of_day(cls, hours: tuple[str, str] | None) -> tuple[str, str] | None:
        if hours is not None and (not all(map(_TIME_OF_DAY.fullmatch, hours)) or hours[0] == hours[1]):
            raise ValueError("must be two different times of day as HH:MM, 00:00 to 23:59")
        return hours

    @field_validator("customer_link", "dashboard_link")
    @classmethod
    def _web_address(cls, link: str | None) -> str | None:
        if link is None:
            return None
        if not link.startswith(("http://", "https://")) or _URL_WITH_PASSWORD.search(link) or set(link) & set(" <>\"'"):
            raise ValueError("must be an http or https address without a password, blanks or quotes")
        return link

    @field_validator("customer_link")
    @classmethod
    def _names_the_customer(cls, link: str | None) -> str | None:
        if link is not None and (link.count("{customer_id}") != 1 or "{" in link.replace("{customer_id}", "")):
            raise ValueError("must hold {customer_id} once, and no other braces")
        return link


class CompanyDefinition(BaseModel):
    """What a person says about a company, in YAML or on the command line.

    A field's description says what is allowed: it ends the message about a value that is not.
    """

    model_config = _STRICT

    slug: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,40}$")] = Field(
        description="small letters, digits and underscores, 2 to 41 of them, a letter first"
    )
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="the name that people read"
    )
    connector: Literal["habari_api", "sql_database", "files"] = Field(
        description="habari_api, sql_database or files: where its data comes from"
    )
    connector_settings: dict[str, Any] = Field(
        default_factory=dict,
        description="what that connector asks for; secrets as references (env:NAME, file:PATH, encrypted:TOKEN)",
    )
    entities: tuple[EntityName, ...] = Field(
        default=("customers", "tickets", "payments"),
        description="customers, and those of tickets, payments and events that the source has",
    )
    churn_kind: Literal["cancellation", "inactivity", "downgrade"] = Field(
        description="cancellation, inactivity (no payment for inactivity_days) or downgrade (downgrade_share of "
        "the monthly price lost)"
    )
    inactivity_days: int | None = Field(
        default=None, gt=0, description="a whole number above 0; with churn_kind inactivity, and only then"
    )
    downgrade_share: float | None = Field(
        default=None, gt=0, le=1, description="a share above 0 to 1; with churn_kind downgrade, and only then"
    )
    horizon_days: int = Field(
        default=30, gt=0, description="a whole number above 0: the days after as_of_date in which churn counts"
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
    clock_at: AwareDatetime | None = Field(
        default=None,
        description="an ISO 8601 time with an offset: its own now, where its data ended in the past",
    )

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
        if name not in _time_zones():
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
            if not _TIME_OF_DAY.fullmatch(opens) or not (_TIME_OF_DAY.fullmatch(closes) or closes == "24:00"):
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

    @field_validator("notification_addresses")
    @classmethod
    def _addresses_without_secrets(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for number, address in enumerate(addresses, 1):
            if not address.startswith(SECRET_REFERENCES) and not _EMAIL.fullmatch(address):
                raise ValueError(f"number {number} is neither an e-mail address nor a reference")
        return addresses

    @model_validator(mode="after")
    def _churn_has_its_measure(self) -> Self:
        for kind, field in (("inactivity", "inactivity_days"), ("downgrade", "downgrade_share")):
            value = getattr(self, field)
            if self.churn_kind == kind and value is None:
                raise ValueError(f"{field} is needed when churn_kind is {kind}")
            if self.churn_kind != kind and value is not None:
                raise ValueError(f"{field} must be left out when churn_kind is {self.churn_kind}")
        return self

    @model_validator(mode="after")
    def _segment_is_fixed(self) -> Self:
        fixed = [attribute.name for attribute in self.custom_attributes if attribute.is_fixed]
        allowed = ["country", "signup_channel", *fixed]
        if self.segment_by not in allowed:
            raise ValueError(f"segment_by must be one of {', '.join(allowed)}; another attribute must be is_fixed")
        return self


class Company(CompanyDefinition):
    """A registered company."""

    company_id: int
    is_active: bool


_DEFINED = tuple(CompanyDefinition.model_fields)
_JSON_COLUMNS = {"connector_settings", "business_hours", "custom_attributes", "notifications"}
_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, ("company_id", "is_active", *_DEFINED)))


@functools.cache
def _time_zones() -> set[str]:
    """Every time zone there is; Python walks through folders of files for it."""
    return available_timezones()


def parse_definition(data: Mapping[str, Any]) -> CompanyDefinition:
    """A definition from plain data, such as a YAML mapping.

    Raises CompanyDefinitionError, which names the company and each field that is wrong, says what is
    allowed, and shows no value.
    """
    try:
        return CompanyDefinition.model_validate(dict(data))
    except ValidationError as error:
        problems = "; ".join(map(_problem, error.errors(include_input=False, include_url=False)))
        raise CompanyDefinitionError(f"Company {data.get('slug', '(no slug)')}: {problems}.") from None


def _problem(problem: ErrorDetails) -> str:
    """Where, what, and what is allowed."""
    where = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    what = problem["msg"].removeprefix("Value error, ")
    model: type[BaseModel] = CompanyDefinition
    name = str(problem["loc"][0]) if problem["loc"] else ""
    if name == "custom_attributes" and len(problem["loc"]) > 2:
        model, name = CustomAttribute, str(problem["loc"][2])
    if name == "notifications" and len(problem["loc"]) > 1:
        model, name = Notifications, str(problem["loc"][1])
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, model.model_fields, n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        return f"{where}: there is no such field; {meant}fields are {', '.join(model.model_fields)}"
    field = model.model_fields.get(name)
    if problem["type"] == "missing":
        what = "is missing"
    elif problem["type"] == "string_pattern_mismatch":
        what = "is not of the form that is allowed"
    return ": ".join(part for part in (where, what) if part) + (f" (allowed: {field.description})" if field else "")


def list_companies(connection: Connection, *, active_only: bool = True) -> list[Company]:
    """The companies by id; those switched off only when asked for."""
    condition = sql.SQL("where is_active") if active_only else sql.SQL("")
    query = sql.SQL("select {} from {} {} order by company_id").format(_COLUMNS, COMPANIES.identifier, condition)
    with connection.cursor(row_factory=dict_row) as cursor:
        return [_company(row) for row in cursor.execute(query)]


def get_company(connection: Connection, slug: str) -> Company:
    """The company of this slug, active or not. Raises CompanyNotFound, which names those there are."""
    company = _find(connection, slug)
    if company is None:
        known = ", ".join(known.slug for known in list_companies(connection, active_only=False))
        raise CompanyNotFound(f"No company has the slug {slug!r}. Registered: {known or 'none'}.")
    return company


def add_company(
    connection: Connection, definition: CompanyDefinition, actor: str, *, is_active: bool | None = True
) -> Company:
    """Register a company, or bring a registered one (by slug) in line with its definition.

    is_active: whether it is active afterwards; None leaves a registered one as it is, and a new one active.
    The same definition again changes nothing and is not audited. A clock that the definition does not
    speak of stays as it is.
    """
    with connection.transaction():
        before = _find(connection, definition.slug, for_update=True)
        if before is None:
            return _insert(connection, definition, actor, is_active=is_active)
        return _change(connection, before, company_changes(before, definition, is_active=is_active), actor)


def change_company(connection: Connection, slug: str, changes: Mapping[str, Any], actor: str) -> Company:
    """Change fields of a registered company; the rest stays. A key may lead into connector_settings, with dots.

    Raises CompanyNotFound, and CompanyDefinitionError where the outcome is no definition.
    """
    with connection.transaction():
        before = get_company(connection, slug)
        return add_company(connection, changed_definition(before, changes), actor, is_active=None)


def changed_definition(company: Company, changes: Mapping[str, Any]) -> CompanyDefinition:
    """The definition of a registered company with some fields changed: {"connector_settings.page_size": 500}."""
    data = company.model_dump(mode="json", include=set(_DEFINED))
    for path, value in changes.items():
        *outer, last = path.split(".")
        place: Any = data
        for step in outer:
            place = place.get(step) if isinstance(place, dict) else None
            if not isinstance(place, dict):
                raise CompanyDefinitionError(f"Company {company.slug}: {path}: there is no {step} to set it in.")
        place[last] = value
    if data.get("slug") != company.slug:
        raise CompanyDefinitionError(f"Company {company.slug}: slug: cannot change; add the company under its new one.")
    return parse_definition(data)


def company_changes(before: Company, definition: CompanyDefinition, *, is_active: bool | None) -> dict[str, Any]:
    """The fields that `add_company` would change, with their new values."""
    wanted: dict[str, Any] = {
        field: getattr(definition, field)
        for field in _DEFINED
        if field != "clock_at" or "clock_at" in definition.model_fields_set
    }
    if is_active is not None:
        wanted["is_active"] = is_active
    return {field: value for field, value in wanted.items() if value != getattr(before, field)}


def disable_company(connection: Connection, slug: str, actor: str) -> Company:
    """Switch a company off: nothing is synced, scored or shown as current for it; its data stays.

    Raises CompanyNotFound.
    """
    with connection.transaction():
        return _change(connection, get_company(connection, slug), {"is_active": False}, actor)


def enable_company(connection: Connection, slug: str, actor: str) -> Company:
    """Switch a company on again; its next sync goes on from where the last one stopped. Raises CompanyNotFound."""
    with connection.transaction():
        return _change(connection, get_company(connection, slug), {"is_active": True}, actor)


def set_company_clock(connection: Connection, slug: str, at: datetime | None, actor: str = "clock") -> Company:
    """Set a company's own now (aware), or return it to the real clock with none. Raises CompanyNotFound."""
    if at is not None and at.tzinfo is None:
        raise ValueError(f"a company's clock needs an offset from UTC: {at.isoformat()} has none")
    with connection.transaction():
        return _change(connection, get_company(connection, slug), {"clock_at": at}, actor)


def issue_company_password(connection: Connection, slug: str, role: Role, actor: str) -> tuple[str, str]:
    """Give a company's login (Role.company or Role.company_sync) a new password: (login, password).

    The old one no longer opens. The password is kept nowhere; the audit log tells only
    that it changed. Raises CompanyNotFound.
    """
    with connection.transaction():
        company = get_company(connection, slug)
        login, password = set_company_password(connection, company.company_id, role)
        record_audit(
            connection,
            actor=actor,
            action="company.password_issued",
            company_id=company.company_id,
            after={"login": login},
        )
    return login, password


def _find(connection: Connection, slug: str, *, for_update: bool = False) -> Company | None:
    lock = sql.SQL("for update") if for_update else sql.SQL("")
    query = sql.SQL("select {} from {} where slug = %s {}").format(_COLUMNS, COMPANIES.identifier, lock)
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(query, (slug,)).fetchone()
    return None if row is None else _company(row)


def _insert(connection: Connection, definition: CompanyDefinition, actor: str, *, is_active: bool | None) -> Company:
    columns = ("is_active", *_DEFINED)
    query = sql.SQL("insert into {} ({}) values ({}) on conflict (slug) do nothing returning {}").format(
        COMPANIES.identifier,
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(map(sql.Placeholder, columns)),
        _COLUMNS,
    )
    values = {field: _adapt(definition, field) for field in _DEFINED} | {"is_active": is_active is not False}
    say_who(connection, actor)
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(query, values).fetchone()
    if row is None:  # Somebody else registered it just now: bring theirs in line.
        return add_company(connection, definition, actor, is_active=is_active)
    company = _company(row)
    ensure_company_logins(connection, company.company_id)
    return company


def _change(connection: Connection, before: Company, changes: Mapping[str, Any], actor: str) -> Company:
    after = before.model_copy(update=dict(changes))
    if after == before:
        return before
    query = sql.SQL("update {} set {}, updated_at = now() where company_id = %(company_id)s").format(
        COMPANIES.identifier,
        sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(field), sql.Placeholder(field)) for field in changes
        ),
    )
    values = {field: _adapt(after, field) for field in changes}
    say_who(connection, actor)
    connection.execute(query, values | {"company_id": before.company_id})
    return after


def _company(row: Mapping[str, Any]) -> Company:
    return Company.model_validate(dict(row))


def _adapt(definition: CompanyDefinition, field: str) -> object:
    """A field's value as psycopg writes it."""
    value = getattr(definition, field)
    if field in _JSON_COLUMNS:
        return None if value is None else Jsonb(definition.model_dump(mode="json", include={field})[field])
    return list(value) if isinstance(value, tuple) else value


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
        if _URL_WITH_PASSWORD.search(value):
            raise ValueError(f"{path} holds a password; give the whole URL as a reference")
