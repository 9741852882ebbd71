"""The registry of companies: what one is, and how it is added, changed and switched off."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self
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

from warehouse.errors import CompanyDefinitionError, CompanyNotFound
from warehouse.operations_log import record_audit
from warehouse.relations import COMPANIES
from warehouse.roles import Role, ensure_company_logins, set_company_password
from warehouse.settings import SECRET_REFERENCES

Connection = psycopg.Connection[Any]
EntityName = Literal["customers", "tickets", "payments", "events"]

_SECRET_SETTING = re.compile(
    r"(^|_)((api|access|secret|private)_?key|password|passwd|secret|token|credentials?)$", re.IGNORECASE
)
_URL_WITH_PASSWORD = re.compile(r"://[^/@\s:]*:[^/@\s]+@")


class CompanyDefinition(BaseModel):
    """What a person says about a company, in YAML or on the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    slug: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{1,40}$")] = Field(
        description="Short name: small letters, digits and underscores, 2 to 41 of them, a letter first."
    )
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="The name that people read."
    )
    connector: Literal["habari_api", "sql_database", "files"] = Field(description="Where its data comes from.")
    connector_settings: dict[str, Any] = Field(
        default_factory=dict,
        description="What that connector asks for; secrets as references (env:NAME, file:PATH).",
    )
    entities: tuple[EntityName, ...] = Field(
        default=("customers", "tickets", "payments"), description="Which tables the source has."
    )
    churn_kind: Literal["cancellation", "inactivity"] = Field(
        description="A customer churns by cancelling, or by not paying for inactivity_days."
    )
    inactivity_days: int | None = Field(default=None, gt=0, description="Only, and always, with inactivity.")
    horizon_days: int = Field(default=30, gt=0, description="Days after as_of_date in which churn counts.")
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = Field(
        description="ISO 4217 code that its figures are shown in."
    )
    time_zone: str = Field(default="UTC", description="IANA name; source times without an offset are read in it.")
    shares_training: bool = Field(default=False, description="May its data train the model of all companies?")
    clock_at: AwareDatetime | None = Field(
        default=None, description="Its own now, for data that ended in the past; none: the real clock."
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
        if name not in available_timezones():
            raise ValueError("must be an IANA time zone, such as Europe/London")
        return name

    @field_validator("connector_settings")
    @classmethod
    def _no_secret_in_clear(cls, settings: dict[str, Any]) -> dict[str, Any]:
        _refuse_secrets(settings, path="")
        return settings

    @model_validator(mode="after")
    def _inactivity_has_days(self) -> Self:
        if self.churn_kind == "inactivity" and self.inactivity_days is None:
            raise ValueError("inactivity_days is needed when churn_kind is inactivity")
        if self.churn_kind == "cancellation" and self.inactivity_days is not None:
            raise ValueError("inactivity_days must be left out when churn_kind is cancellation")
        return self


class Company(CompanyDefinition):
    """A registered company."""

    company_id: int
    is_active: bool


_DEFINED = tuple(CompanyDefinition.model_fields)
_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, ("company_id", "is_active", *_DEFINED)))


def parse_definition(data: Mapping[str, Any]) -> CompanyDefinition:
    """A definition from plain data, such as a YAML mapping.

    Raises CompanyDefinitionError, which names the company and each field that is wrong, and shows no value.
    """
    try:
        return CompanyDefinition.model_validate(dict(data))
    except ValidationError as error:
        problems = "; ".join(
            ": ".join(
                part
                for part in (
                    ".".join(map(str, problem["loc"])),
                    problem["msg"].removeprefix("Value error, "),
                )
                if part
            )
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise CompanyDefinitionError(f"Company {data.get('slug', '(no slug)')}: {problems}.") from None


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


def add_company(connection: Connection, definition: CompanyDefinition, actor: str) -> Company:
    """Register a company, or bring a registered one (by slug) in line with its definition.

    It is active afterwards. The same definition again changes nothing and is not
    audited. A clock that the definition does not speak of stays as it is.
    """
    with connection.transaction():
        before = _find(connection, definition.slug, for_update=True)
        if before is None:
            return _insert(connection, definition, actor)
        changes: dict[str, Any] = {"is_active": True} | {
            field: getattr(definition, field)
            for field in _DEFINED
            if field != "clock_at" or "clock_at" in definition.model_fields_set
        }
        return _change(connection, before, changes, actor, "company.changed")


def disable_company(connection: Connection, slug: str, actor: str) -> Company:
    """Switch a company off: nothing is synced, scored or shown as current for it; its data stays.

    Raises CompanyNotFound. Adding it again switches it on.
    """
    with connection.transaction():
        return _change(connection, get_company(connection, slug), {"is_active": False}, actor, "company.disabled")


def set_company_clock(connection: Connection, slug: str, at: datetime | None, actor: str = "clock") -> Company:
    """Set a company's own now (aware), or return it to the real clock with none. Raises CompanyNotFound."""
    if at is not None and at.tzinfo is None:
        raise ValueError(f"a company's clock needs an offset from UTC: {at.isoformat()} has none")
    with connection.transaction():
        return _change(connection, get_company(connection, slug), {"clock_at": at}, actor, "company.clock_set")


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


def _insert(connection: Connection, definition: CompanyDefinition, actor: str) -> Company:
    query = sql.SQL("insert into {} ({}) values ({}) on conflict (slug) do nothing returning {}").format(
        COMPANIES.identifier,
        sql.SQL(", ").join(map(sql.Identifier, _DEFINED)),
        sql.SQL(", ").join(sql.Placeholder(field) for field in _DEFINED),
        _COLUMNS,
    )
    values = {field: _adapt(getattr(definition, field)) for field in _DEFINED}
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(query, values).fetchone()
    if row is None:  # Somebody else registered it just now: bring theirs in line.
        return add_company(connection, definition, actor)
    company = _company(row)
    ensure_company_logins(connection, company.company_id)
    record_audit(
        connection,
        actor=actor,
        action="company.added",
        company_id=company.company_id,
        after=company.model_dump(mode="json"),
    )
    return company


def _change(connection: Connection, before: Company, changes: Mapping[str, Any], actor: str, action: str) -> Company:
    after = before.model_copy(update=dict(changes))
    if after == before:
        return before
    query = sql.SQL("update {} set {}, updated_at = now() where company_id = %(company_id)s").format(
        COMPANIES.identifier,
        sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(field), sql.Placeholder(field)) for field in changes
        ),
    )
    values = {field: _adapt(value) for field, value in changes.items()}
    connection.execute(query, values | {"company_id": before.company_id})
    was, now = before.model_dump(mode="json"), after.model_dump(mode="json")
    changed = [field for field in was if was[field] != now[field]]
    record_audit(
        connection,
        actor=actor,
        action=action,
        company_id=before.company_id,
        before={field: was[field] for field in changed},
        after={field: now[field] for field in changed},
    )
    return after


def _company(row: Mapping[str, Any]) -> Company:
    return Company.model_validate(dict(row))


def _adapt(value: object) -> object:
    if isinstance(value, dict):
        return Jsonb(value)
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
            raise ValueError(f"{path} must be a reference (env:NAME or file:PATH), not the secret itself")
        if _URL_WITH_PASSWORD.search(value):
            raise ValueError(f"{path} holds a password; give the whole URL as a reference (env:NAME or file:PATH)")
