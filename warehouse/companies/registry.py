"""The registry of companies: what one is, and how it is added, changed and switched off."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from warehouse import relations
from warehouse.companies.action_versions import write_actions
from warehouse.companies.definition import Company, CompanyDefinition, ParseDefinition
from warehouse.companies.secret_hosts import refuse_moved_secrets
from warehouse.companies.server_limits import refuse_time_zone_unknown_to_server
from warehouse.companies.task_settings import MOVED_TO_CHURN
from warehouse.errors import CompanyDefinitionError, CompanyNotFound
from warehouse.logs.operations import record_audit, say_who
from warehouse.relations import COMPANIES
from warehouse.roles import Role, ensure_company_logins, set_company_password

Connection = psycopg.Connection[Any]


_DEFINED = tuple(CompanyDefinition.model_fields)
_ELSEWHERE = ("tasks", "actions")
"""Fields that stand in tables of their own."""
_STORED = tuple(field for field in _DEFINED if field not in _ELSEWHERE)
_JSON_COLUMNS = {"connector_settings", "business_hours", "custom_attributes", "notifications"}
_COLUMNS = sql.SQL(", ").join(
    [
        *map(sql.Identifier, ("company_id", "is_active", *_STORED)),
        relations.compose("""
        coalesce((
            select jsonb_object_agg(company_tasks.task, company_tasks.settings) from {company_tasks} as company_tasks
            where company_tasks.company_id = companies.company_id and company_tasks.is_active
        ), '{{}}') as tasks,
        coalesce((
            select jsonb_agg(company_actions.settings order by company_actions.action)
            from {company_actions} as company_actions
            where company_actions.company_id = companies.company_id and company_actions.valid_to is null
        ), '[]') as actions
        """),
    ]
)


def list_companies(connection: Connection, *, active_only: bool = True) -> list[Company]:
    """The companies by id; those switched off, and those whose row cannot be read, only when asked for."""
    condition = sql.SQL("where is_active") if active_only else sql.SQL("")
    query = sql.SQL("select {} from {} {} order by company_id").format(_COLUMNS, COMPANIES.identifier, condition)
    with connection.cursor(row_factory=dict_row) as cursor:
        companies = [Company.from_row(row) for row in cursor.execute(query)]
    return [company for company in companies if not (active_only and company.unreadable)]


def refuse_unreadable(company: Company) -> None:
    """Raises CompanyDefinitionError where the company's row in the registry is not what a definition may be."""
    if company.unreadable:
        raise CompanyDefinitionError(
            f"Company {company.slug}: {'; '.join(company.unreadable.values())}. `churn company change {company.slug}`"
            f" mends {', '.join(company.unreadable)}."
        )


def companies_with(connection: Connection, task: str) -> list[Company]:
    """The active companies that have a task, by id."""
    return [company for company in list_companies(connection) if task in company.tasks]


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
    speak of stays as it is. Raises CompanyDefinitionError where the server cannot work with its time zone, and
    SecretMoved where a registered secret would go to another host.
    """
    with connection.transaction():
        before = _find(connection, definition.slug, for_update=True)
        if before is None or before.time_zone != definition.time_zone:
            refuse_time_zone_unknown_to_server(connection, definition.slug, definition.time_zone)
        if before is None:
            return _insert(connection, definition, actor, is_active=is_active)
        refuse_moved_secrets(before, definition)
        return _change(connection, before, company_changes(before, definition, is_active=is_active), actor)


def change_company(
    connection: Connection, slug: str, changes: Mapping[str, Any], actor: str, parse: ParseDefinition
) -> Company:
    """Change fields of a registered company; the rest stays. A key may lead into connector_settings, with dots.

    Raises CompanyNotFound, and CompanyDefinitionError where the outcome is no definition.
    """
    with connection.transaction():
        # Read once nobody else is changing it: what has not changed is written back as it was read.
        _find(connection, slug, for_update=True)
        before = get_company(connection, slug)
        return add_company(connection, changed_definition(before, changes, parse), actor, is_active=None)


def changed_definition(company: Company, changes: Mapping[str, Any], parse: ParseDefinition) -> CompanyDefinition:
    """The definition of a registered company with some fields changed: {"connector_settings.page_size": 500}."""
    data = company.model_dump(mode="json", include=set(_DEFINED))
    for given, value in changes.items():
        path = f"tasks.churn.{MOVED_TO_CHURN[given]}" if given in MOVED_TO_CHURN else given
        *outer, last = path.split(".")
        place: Any = data
        for step in outer:
            place = place.get(step) if isinstance(place, dict) else None
            if not isinstance(place, dict):
                raise CompanyDefinitionError(f"Company {company.slug}: {path}: there is no {step} to set it in.")
        place[last] = value
    if data.get("slug") != company.slug:
        raise CompanyDefinitionError(f"Company {company.slug}: slug: cannot change; add the company under its new one.")
    return parse(data)


def company_changes(before: Company, definition: CompanyDefinition, *, is_active: bool | None) -> dict[str, Any]:
    """The fields that `add_company` would change, with their new values."""
    wanted: dict[str, Any] = {
        field: getattr(definition, field)
        for field in _DEFINED
        if field != "clock_at" or "clock_at" in definition.model_fields_set
    }
    if is_active is not None:
        wanted["is_active"] = is_active
    return {
        field: value for field, value in wanted.items() if value != getattr(before, field) or field in before.unreadable
    }


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
    return None if row is None else Company.from_row(row)


def _insert(connection: Connection, definition: CompanyDefinition, actor: str, *, is_active: bool | None) -> Company:
    columns = ("is_active", *_STORED)
    query = sql.SQL("insert into {} ({}) values ({}) on conflict (slug) do nothing returning {}").format(
        COMPANIES.identifier,
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(map(sql.Placeholder, columns)),
        _COLUMNS,
    )
    values = {field: _adapt(definition, field) for field in _STORED} | {"is_active": is_active is not False}
    say_who(connection, actor)
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(query, values).fetchone()
    if row is None:  # Somebody else registered it just now: bring theirs in line.
        return add_company(connection, definition, actor, is_active=is_active)
    company = Company.from_row(row).model_copy(update={"tasks": definition.tasks, "actions": definition.actions})
    _write_tasks(connection, company)
    write_actions(connection, company.company_id, company.actions)
    ensure_company_logins(connection, company.company_id)
    return company


def _change(connection: Connection, before: Company, changes: Mapping[str, Any], actor: str) -> Company:
    unreadable = {field: problem for field, problem in before.unreadable.items() if field not in changes}
    after = before.model_copy(update={**changes, "unreadable": unreadable})
    if after == before:
        return before
    say_who(connection, actor)
    fields = [field for field in changes if field not in _ELSEWHERE]
    if fields:
        query = sql.SQL("update {} set {}, updated_at = now() where company_id = %(company_id)s").format(
            COMPANIES.identifier,
            sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(field), sql.Placeholder(field)) for field in fields
            ),
        )
        values = {field: _adapt(after, field) for field in fields}
        connection.execute(query, values | {"company_id": before.company_id})
    if "tasks" in changes:
        _write_tasks(connection, after)
    if "actions" in changes:
        write_actions(connection, after.company_id, after.actions)
    return after


def _write_tasks(connection: Connection, company: Company) -> None:
    """Switch on the company's tasks with their settings, and off those that it no longer names; these are kept."""
    connection.execute(
        relations.compose("""
        insert into {company_tasks} as company_tasks (company_id, task, settings)
        select %(company)s, wanted.key, wanted.value from jsonb_each(%(tasks)s) as wanted
        on conflict (company_id, task) do update set settings = excluded.settings, is_active = true, updated_at = now()
        where (company_tasks.settings, company_tasks.is_active) is distinct from (excluded.settings, true)
        """),
        {"company": company.company_id, "tasks": Jsonb(company.tasks)},
    )
    connection.execute(
        relations.compose(
            "update {company_tasks} set is_active = false, updated_at = now()"
            " where company_id = %s and is_active and task <> all (%s)"
        ),
        [company.company_id, list(company.tasks)],
    )


def _adapt(definition: CompanyDefinition, field: str) -> object:
    """A field's value as psycopg writes it."""
    value = getattr(definition, field)
    if field in _JSON_COLUMNS:
        return None if value is None else Jsonb(definition.model_dump(mode="json", include={field})[field])
    return list(value) if isinstance(value, tuple) else value
