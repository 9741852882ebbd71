"""What a change does to rows: each model that a developer built, beside production's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import sql

from pipeline.features.impact import find_impact
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.developers import Developer
from warehouse.relations import Relation
from warehouse.row_differences import Comparison, Connection, Example, Rows, Side, Values, types_of, values

EXAMPLES = 10
_SAY_WHAT_MADE_A_ROW = ("feature_version", "rates_version", "matrix_version", "labelled_on", "examined_on")
"""Columns that differ with every change of SQL, whatever it does."""
_DATED_SCHEMAS = ("intermediate", "features")
"""Where a place shows the newest dates alone."""


@dataclass(frozen=True)
class ColumnDifference:
    """Of the rows on both sides how many have another value in a column; and its values before and after."""

    name: str
    changed: int
    before: Values
    after: Values


@dataclass(frozen=True)
class Readers:
    """Who reads what changed: models below, features, dashboards and other exposures, published fields."""

    models: Sequence[str]
    features: Sequence[str]
    exposures: Sequence[str]
    published: Sequence[str]


@dataclass(frozen=True)
class Difference:
    """A developer's model beside production's. Without a key rows are compared whole, and none is `changed`."""

    model: str
    key: Sequence[str]
    is_new: bool
    rows: Mapping[str, Rows]
    columns: Sequence[ColumnDifference]
    added_columns: Sequence[str]
    removed_columns: Sequence[str]
    retyped_columns: Mapping[str, tuple[str, str]]
    examples: Sequence[Example]
    readers: Readers

    def total(self, kind: str) -> int:
        """Rows of all companies: kind is added, removed, changed or same."""
        return sum(int(getattr(rows, kind)) for rows in self.rows.values())

    @property
    def breaks_contract(self) -> bool:
        """Whether who reads the model by its contract must change with it."""
        return bool(self.removed_columns or self.retyped_columns)

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        columns = self.added_columns or self.removed_columns or self.retyped_columns
        return not (self.is_new or columns or self.total("added") or self.total("removed") or self.total("changed"))


def find_differences(
    warehouse: Warehouse, place: Developer, models: Sequence[str], manifest: Mapping[str, Any], compiled: Path
) -> list[Difference]:
    """Compare models of a place with production's, over the companies and dates that the place shows.

    `models` are `schema.name` of production. `manifest` and `compiled` are dbt's of the place, which say a model's key
    and who reads it.
    """
    with warehouse.connect() as conn:
        slugs = {company.company_id: company.slug for company in list_companies(conn, active_only=False)}
        return [_compare(conn, place, Relation(*model.split(".", 1)), slugs, manifest, compiled) for model in models]


def key_of(manifest: Mapping[str, Any], model: str) -> tuple[str, ...]:
    """What tells a model's rows apart: its unique index, or its test of that; empty where neither is there."""
    nodes = list(manifest["nodes"].values())
    indexes = [
        index
        for node in nodes
        if node["resource_type"] == "model" and node["name"] == model
        for index in node["config"].get("indexes") or []
    ]
    tests = [
        node["test_metadata"]["kwargs"]
        for node in nodes
        if (node.get("test_metadata") or {}).get("name") in ("unique_combination", "unique")
        and str(node.get("attached_node")).rpartition(".")[2] == model
    ]
    keys = [index["columns"] for index in indexes if index.get("unique")]
    keys += [test.get("columns") or [test["column_name"]] for test in tests]
    return tuple(keys[0]) if keys else ()


def _compare(
    conn: Connection,
    place: Developer,
    relation: Relation,
    slugs: Mapping[int, str],
    manifest: Mapping[str, Any],
    compiled: Path,
) -> Difference:
    own = Relation(f"{place.login}_{relation.schema}", relation.name)
    types = types_of(conn, own)
    is_new = not types_of(conn, relation)
    before = Side(own, types, sql.SQL("false")) if is_new else _production(conn, place, relation)
    after = Side(own, types)
    both = [name for name in after.types if name in before.types]
    same_type = [name for name in both if before.types[name] == after.types[name]]
    key = key_of(manifest, relation.name)
    whole = [name for name in same_type if name not in _SAY_WHAT_MADE_A_ROW]
    values_of = [name for name in whole if name not in key]
    has_key = bool(key) and bool(values_of) and set(key) <= set(same_type)
    comparison = Comparison(before, after, key, values_of) if has_key else Comparison(before, after, whole, ())
    rows, changed = comparison.count(conn)
    altered = [name for name in changed if changed[name]]
    removed = [name for name in before.types if name not in after.types]
    return Difference(
        model=str(relation),
        key=key if set(key) <= set(same_type) else (),
        is_new=is_new,
        rows={"all" if row.company_id is None else slugs.get(row.company_id, str(row.company_id)): row for row in rows},
        columns=[
            ColumnDifference(name, changed[name], values(conn, before, name), values(conn, after, name))
            for name in altered
        ],
        added_columns=[name for name in after.types if name not in before.types],
        removed_columns=removed,
        retyped_columns={
            name: (before.types[name], after.types[name]) for name in both if before.types[name] != after.types[name]
        },
        examples=comparison.examples(conn, altered, EXAMPLES),
        readers=_readers(place, manifest, compiled, relation, altered),
    )


def _production(conn: Connection, place: Developer, relation: Relation) -> Side:
    """Production's rows of the companies and dates that the place shows."""
    types = types_of(conn, relation)
    conditions: list[sql.Composable] = [sql.SQL("true")]
    if place.companies is not None and "company_id" in types:
        conditions.append(
            sql.SQL("company_id in (select company_id from ops.developer_companies where developer = {})").format(
                sql.Literal(place.name)
            )
        )
    if relation.schema in _DATED_SCHEMAS and {"company_id", "as_of_date"} <= set(types):
        dates = Relation(f"{place.login}_intermediate", "int_as_of_dates").identifier
        conditions.append(sql.SQL("(company_id, as_of_date) in (select company_id, as_of_date from {})").format(dates))
    return Side(relation, types, sql.SQL(" and ").join(conditions))


def _readers(
    place: Developer, manifest: Mapping[str, Any], compiled: Path, relation: Relation, altered: Sequence[str]
) -> Readers:
    """Of the columns that changed, where the model's YAML describes them; of the whole model otherwise."""
    described = {
        name
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["name"] == relation.name
        for name in node["columns"]
    }
    names = [f"{relation.name}.{name}" for name in altered if name in described] or [relation.name]
    impacts = [find_impact(manifest, name, compiled) for name in names]
    return Readers(
        *(
            sorted({each.replace(f"{place.login}_", "") for impact in impacts for each in getattr(impact, kind)})
            for kind in ("models", "features", "exposures", "published")
        )
    )
