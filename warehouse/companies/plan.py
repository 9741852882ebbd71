"""The companies of a file, laid beside the registry: what would change, and changing just that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from psycopg import sql

from warehouse.companies.definition import Company, CompanyDefinition, ParseDefinition
from warehouse.companies.registry import Connection, add_company, company_changes, list_companies
from warehouse.companies.secret_hosts import refuse_moved_secrets
from warehouse.errors import CompaniesMoved, CompanyDefinitionError
from warehouse.redaction import masked
from warehouse.relations import COMPANIES

Action = Literal["add", "change", "enable", "disable", "unchanged"]


@dataclass(frozen=True)
class WantedCompany:
    """A company as a file has it; `is_active` None leaves a registered one as it is, and a new one active."""

    definition: CompanyDefinition
    is_active: bool | None


@dataclass(frozen=True)
class FieldChange:
    """One field from what to what, as people may see it: encrypted secrets as fingerprints."""

    field: str
    before: object
    after: object


@dataclass(frozen=True)
class CompanyChange:
    """What would become of one company. Of a new one, `fields` are those that the file speaks of."""

    slug: str
    action: Action
    fields: tuple[FieldChange, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What applying a file would do, in its order. `absent`: registered companies that it does not name, which stay."""

    changes: tuple[CompanyChange, ...]
    absent: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Nothing would change."""
        return all(change.action == "unchanged" for change in self.changes)


def parse_companies(content: object, parse: ParseDefinition) -> list[WantedCompany]:
    """The companies of a file's content: one mapping, or a list of them under `companies`.

    Besides the fields of a definition, which `parse` reads, each may say `is_active`. Raises CompanyDefinitionError
    with every problem of every company.
    """
    items = content.get("companies", [content]) if isinstance(content, Mapping) else None
    if not isinstance(items, list) or not items or not all(isinstance(item, Mapping) for item in items):
        raise CompanyDefinitionError(
            "The file must hold one company's fields, or a list of such companies under `companies`."
        )
    wanted: list[WantedCompany] = []
    problems: list[str] = []
    for item in items:
        fields = dict(item)
        is_active = fields.pop("is_active", None)
        if not isinstance(is_active, bool | None):
            problems.append(f"Company {fields.get('slug', '(no slug)')}: is_active: must be true or false.")
            continue
        try:
            wanted.append(WantedCompany(parse(fields), is_active))
        except CompanyDefinitionError as error:
            problems.append(str(error))
    slugs = [company.definition.slug for company in wanted]
    for slug in sorted({slug for slug in slugs if slugs.count(slug) > 1}):
        problems.append(f"Company {slug}: the file has it {slugs.count(slug)} times.")
    if problems:
        raise CompanyDefinitionError("\n".join(problems))
    return wanted


def plan(connection: Connection, wanted: Sequence[WantedCompany]) -> Plan:
    """What applying these companies would change; it writes nothing. Raises SecretMoved, as applying would."""
    registered = {company.slug: company for company in list_companies(connection, active_only=False)}
    named = {company.definition.slug for company in wanted}
    return Plan(
        changes=tuple(_planned(company, registered.get(company.definition.slug)) for company in wanted),
        absent=tuple(slug for slug in registered if slug not in named),
    )


def apply(connection: Connection, wanted: Sequence[WantedCompany], agreed_plan: Plan, actor: str) -> None:
    """Bring the registry in line, all companies or none.

    Raises CompaniesMoved where somebody changed a company since `agreed_plan` was made, so that it is no longer what
    would happen.
    """
    with connection.transaction():
        connection.execute(sql.SQL("lock table {} in share row exclusive mode").format(COMPANIES.identifier))
        if plan(connection, wanted) != agreed_plan:
            raise CompaniesMoved("Somebody changed a company since this plan was made: nothing is applied. Plan again.")
        for company in wanted:
            add_company(connection, company.definition, actor, is_active=company.is_active)


def field_changes(before: Company, definition: CompanyDefinition, *, is_active: bool | None) -> tuple[FieldChange, ...]:
    """What bringing a company in line would change, leaf by leaf."""
    changes = company_changes(before, definition, is_active=is_active)
    after = before.model_copy(update=changes)
    was, becomes = _leaves(before, changes), _leaves(after, changes)
    return tuple(
        FieldChange(leaf, was.get(leaf), becomes.get(leaf))
        for leaf in dict.fromkeys([*was, *becomes])
        if was.get(leaf) != becomes.get(leaf)
    )


def _planned(wanted: WantedCompany, registered: Company | None) -> CompanyChange:
    slug = wanted.definition.slug
    if registered is None:
        leaves = _leaves(wanted.definition, wanted.definition.model_fields_set - {"slug"})
        if wanted.is_active is False:
            leaves["is_active"] = False
        return CompanyChange(slug, "add", tuple(FieldChange(leaf, None, value) for leaf, value in leaves.items()))
    refuse_moved_secrets(registered, wanted.definition)
    fields = field_changes(registered, wanted.definition, is_active=wanted.is_active)
    names = [change.field for change in fields]
    if not names:
        return CompanyChange(slug, "unchanged")
    if names == ["is_active"]:
        return CompanyChange(slug, "enable" if wanted.is_active else "disable", fields)
    return CompanyChange(slug, "change", fields)


def _leaves(definition: CompanyDefinition, fields: Mapping[str, object] | set[str]) -> dict[str, object]:
    """The single values below these fields, by dotted path, in the order of the definition's fields."""
    described = masked(definition.model_dump(mode="json", include=set(fields)))
    return dict(_walk(described, ""))


def _walk(value: Any, path: str) -> list[tuple[str, object]]:
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        value = {item["name"]: item for item in value}
    if isinstance(value, dict) and value:
        return [leaf for name, item in value.items() for leaf in _walk(item, f"{path}.{name}" if path else str(name))]
    return [(path, value)]
