"""Columns that earlier loads filled and that a source no longer has: renamed or lost, and never simply null.

Without `cancelled_at` every customer who left would look returned. A table that lacks such a column stops the load. Of
records that leave empty fields out, as JSON may, and of one file among several, nobody can tell that a column is gone:
there it stops only where a column of nearly that name came instead.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from pipeline.connectors.contract import Entity, FieldKind, SeenColumns
from pipeline.connectors.errors import ConnectorError
from warehouse.companies.definition import Company
from warehouse.landing.expectations import ExpectedColumns

ATTRIBUTE = "attributes."
"""Before the name of an attribute that the company chose, in what is expected."""

FEWEST_EMPTIED = 5
"""Fewer records may well lose their last value in a column of themselves: the one customer who left came back."""

SIMILAR_NAME = 0.6
NEARLY_THE_SAME_NAME = 0.8


class ColumnGone(ConnectorError):
    """A column that earlier loads filled is no longer there."""


@dataclass(frozen=True)
class _Absence:
    """A column that some of the tables lack, under the source's name, and the likely new one."""

    source_name: str
    likely_name: str | None


def filled_columns(company: Company, entity: Entity, tables: Sequence[SeenColumns]) -> frozenset[str]:
    """What these tables filled: contract columns, and of customers the attributes that the company chose."""
    filled = frozenset[str]().union(*(table.filled for table in tables))
    unmapped = frozenset[str]().union(*(table.unmapped for table in tables))
    return filled | {ATTRIBUTE + name for name in _chosen(company, entity) if name in unmapped}


def refuse_gone_columns(
    company: Company, entity: Entity, tables: Sequence[SeenColumns], expected: ExpectedColumns
) -> None:
    """Raise ColumnGone where a column that is expected, and not accepted as missing, is no longer there."""
    gone: list[_Absence] = []
    for name in sorted(expected.filled):
        absence = _absence(company, entity, name, tables)
        if absence is not None and absence.source_name not in expected.accepted:
            gone.append(absence)
    if not gone:
        return
    names = " ".join(absence.source_name for absence in gone)
    likely = [absence for absence in gone if absence.likely_name]
    renamed = "".join(
        f" {absence.source_name} is likely called {absence.likely_name} now: map it under columns."
        for absence in likely
    )
    raise ColumnGone(
        company.slug,
        f"connector {company.connector}",
        f"{entity.name} no longer have {', '.join(absence.source_name for absence in gone)}, which earlier loads"
        f" filled.{renamed}",
        f"Mend the source or the mapping, or say that it is gone for good: churn company accept {company.slug}"
        f" {entity.name} {names}",
    )


def emptied_columns(entity: Entity, tables: Sequence[SeenColumns], expected: ExpectedColumns) -> list[str]:
    """Optional columns that earlier loads filled and in which no record of these tables has a value."""
    filled = frozenset[str]().union(*(table.filled for table in tables))
    sources = {name: source for table in tables for name, source in table.absent.items()}
    return [
        field.name
        for field in entity.fields
        if field.name in expected.filled - filled
        and not field.required
        and field.kind is not FieldKind.boolean
        and not {field.name, sources.get(field.name, field.name)} & expected.accepted
    ]


def refuse_emptied_columns(company: Company, entity: Entity, values: Mapping[str, int]) -> None:
    """Raise ColumnGone where records that had a value in a column come again and none of them has one.

    values: of the columns that are empty now, in how many records that come again the warehouse has a value.
    """
    emptied = [name for name, count in values.items() if count >= FEWEST_EMPTIED]
    if not emptied:
        return
    had = ", ".join(f"{name} ({values[name]:,} of those that came again had one)" for name in emptied)
    raise ColumnGone(
        company.slug,
        f"connector {company.connector}",
        f"no {entity.name} have a value any more in {had}.",
        f"Mend the source or the mapping, or say that it is gone for good: churn company accept {company.slug}"
        f" {entity.name} {' '.join(emptied)}",
    )


def _absence(company: Company, entity: Entity, name: str, tables: Sequence[SeenColumns]) -> _Absence | None:
    attribute = name.removeprefix(ATTRIBUTE) if name.startswith(ATTRIBUTE) else None
    if attribute is not None and attribute not in _chosen(company, entity):
        return None
    lacking = [table for table in tables if _lacks(table, name, attribute)]
    if not lacking:
        return None
    source_name = attribute or lacking[0].absent[name]
    elsewhere = frozenset[str]().union(*(table.unmapped for table in tables if table not in lacking))
    candidates = frozenset[str]().union(*(table.unmapped for table in lacking)) - elsewhere
    candidates -= _chosen(company, entity)
    is_gone = len(lacking) == len(tables) and all(
        table.has_attribute_header if attribute else table.has_header for table in tables
    )
    likely = likely_name(source_name, candidates, SIMILAR_NAME if is_gone else NEARLY_THE_SAME_NAME)
    return _Absence(source_name, likely) if is_gone or likely else None


def _lacks(table: SeenColumns, name: str, attribute: str | None) -> bool:
    return name in table.absent if attribute is None else attribute not in table.unmapped


def _chosen(company: Company, entity: Entity) -> frozenset[str]:
    if entity.name != "customers":
        return frozenset()
    return frozenset(attribute.name for attribute in company.custom_attributes)


def likely_name(name: str, candidates: Collection[str], cutoff: float = NEARLY_THE_SAME_NAME) -> str | None:
    """Which of the columns is likely this one under another name; cutoff: how alike both are at least, 0 to 1."""
    plain = {_plain(candidate): candidate for candidate in sorted(candidates)}
    closest = get_close_matches(_plain(name), plain, n=1, cutoff=cutoff)
    return plain[closest[0]] if closest else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
