"""Two relations of one shape beside each other, row by row and column by column.

Postgres compares, by hashes of the keys, and counts; no row but a few examples leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from warehouse.relations import Relation

Connection = psycopg.Connection[Any]

_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
_ORDERED = ("smallint", "integer", "bigint", "numeric", "real", "double precision", "date", "timestamp with time zone")
_COMMONEST = 5
_COLUMNS_OF_AN_EXAMPLE = 40


@dataclass(frozen=True)
class Rows:
    """How many rows of a company were added, removed, changed, and are the same. None is the company of no company."""

    company_id: int | None
    added: int
    removed: int
    changed: int
    same: int


@dataclass(frozen=True)
class Values:
    """A column's values: the share of nulls; least, quartiles and greatest, or the commonest with their counts."""

    null_share: float
    quantiles: tuple[str, ...] = ()
    commonest: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Example:
    """A changed row: its key, and of each column that changed the value before and after."""

    key: Mapping[str, Any]
    changes: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Side:
    """A relation, or the part of it that a condition keeps, with its columns' types by name."""

    relation: Relation
    types: Mapping[str, str]
    condition: sql.Composable = field(default_factory=lambda: sql.SQL("true"))

    @property
    def rows(self) -> sql.Composed:
        """A sub-query."""
        return sql.SQL("(select * from {} where {})").format(self.relation.identifier, self.condition)


def types_of(connection: Connection, relation: Relation) -> dict[str, str]:
    """A relation's columns and their types, in order; empty where there is none of the name."""
    return dict(
        connection.execute(
            "select attname, format_type(atttypid, null) from pg_attribute"
            " where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum",
            [str(relation)],
        ).fetchall()
    )


_COUNTS: LiteralString = """
    select
        {company},
        count(*) filter (where before.hash_1 is null),
        count(*) filter (where after.hash_1 is null),
        count(*) filter (where {differs}),
        count(*) filter (where before.hash_1 is not null and after.hash_1 is not null and not {differs})
        {columns}
    from {pairs}
    group by 1 order by 1
"""
_COUNTS_WITHOUT_KEY: LiteralString = """
    select company_id, sum(greatest(after - before, 0)), sum(greatest(before - after, 0)), 0,
        sum(least(before, after))
    from (
        select {company} as company_id, hash, sum(is_before) as before, sum(1 - is_before) as after
        from (
            select *, hash_record_extended(row({key}), 0) as hash, 1 as is_before
            from (select {key} from {before}) as sides
            union all
            select *, hash_record_extended(row({key}), 0), 0
            from (select {key} from {after}) as sides
        ) as versions
        group by 1, 2
    ) as hashes
    group by 1 order by 1
"""


@dataclass(frozen=True)
class Comparison:
    """Two sides, the columns by which their rows are told apart, and those whose values are compared.

    Without compared columns the key is the whole row: it is there or it is not, as often as it is.
    """

    before: Side
    after: Side
    key: Sequence[str]
    compared: Sequence[str]

    def count(self, connection: Connection) -> tuple[list[Rows], dict[str, int]]:
        """Rows by company; and of each compared column, in how many rows of both sides its value differs."""
        if not self.compared:
            query = sql.SQL(_COUNTS_WITHOUT_KEY).format(
                company=self._company("versions"),
                key=_names(self.key),
                before=self.before.rows,
                after=self.after.rows,
            )
        else:
            query = sql.SQL(_COUNTS).format(
                company=sql.SQL("coalesce(before.company_id, after.company_id)")
                if "company_id" in self.after.types
                else sql.SQL("null::integer"),
                differs=self._differs,
                columns=sql.SQL("").join(
                    sql.SQL(", count(*) filter (where {})").format(self._has_changed(name)) for name in self.compared
                ),
                pairs=self._pairs,
            )
        rows = connection.execute(query).fetchall()
        counts = {name: sum(row[5 + place] for row in rows) for place, name in enumerate(self.compared)}
        return [Rows(row[0], *map(int, row[1:5])) for row in rows], counts

    def examples(self, connection: Connection, columns: Sequence[str], most: int) -> list[Example]:
        """Changed rows, with what changed of some of the columns; always the same ones."""
        chosen = list(columns)[:_COLUMNS_OF_AN_EXAMPLE]
        if not chosen:
            return []
        changes = sql.SQL(" || ").join(
            sql.SQL(
                "case when {} then jsonb_build_object({}, jsonb_build_array(before.{}, after.{})) else '{{}}' end"
            ).format(self._has_changed(name), sql.Literal(name), sql.Identifier(name), sql.Identifier(name))
            for name in chosen
        )
        key = sql.SQL(", ").join(sql.SQL("after.{}").format(sql.Identifier(name)) for name in self.key)
        query = sql.SQL("select {}, {} from {} where {} order by after.hash_1 limit {}").format(
            key, changes, self._pairs, self._differs, sql.Literal(most)
        )
        return [
            Example(dict(zip(self.key, row, strict=False)), {name: (old, new) for name, (old, new) in row[-1].items()})
            for row in connection.execute(query).fetchall()
        ]

    @cached_property
    def _pairs(self) -> sql.Composed:
        """Both sides joined by their keys; by two hashes, since a key may have nulls."""
        side = sql.SQL(
            "(select *, hash_record_extended(row({key}), 1) as hash_1, hash_record_extended(row({key}), 2) as hash_2"
            " from {rows} as side)"
        )
        return sql.SQL("{} as before full join {} as after using (hash_1, hash_2)").format(
            *(side.format(key=_names(self.key), rows=each.rows) for each in (self.before, self.after))
        )

    @cached_property
    def _differs(self) -> sql.Composed:
        changed = sql.SQL(" or ").join(self._has_changed(name) for name in self.compared)
        return sql.SQL("({})").format(changed)

    def _has_changed(self, name: str) -> sql.Composed:
        # json has no equality.
        cast = sql.SQL("::text" if self.after.types[name] == "json" else "")
        return sql.SQL(
            "(before.hash_1 is not null and after.hash_1 is not null and before.{0}{1} is distinct from after.{0}{1})"
        ).format(sql.Identifier(name), cast)

    def _company(self, source: LiteralString) -> sql.Composable:
        has_company = "company_id" in self.after.types
        return sql.SQL(f"{source}.company_id") if has_company else sql.SQL("null::integer")


def values(connection: Connection, side: Side, column: str) -> Values:
    """A column's values on one side, at a glance."""
    name = sql.Identifier(column)
    null_share = sql.SQL("coalesce(avg(({} is null)::integer), 0)::double precision").format(name)
    if side.types[column] in _ORDERED:
        query = sql.SQL(
            "select {}, percentile_disc(%s::double precision[]) within group (order by {})::text[] from {} as side"
        ).format(null_share, name, side.rows)
        share, quantiles = connection.execute(query, [[*_QUANTILES]]).fetchone() or (0, None)
        return Values(share, quantiles=tuple(quantiles or ()))
    query = sql.SQL("select {} from {} as side").format(null_share, side.rows)
    (share,) = connection.execute(query).fetchone() or (0,)
    commonest = sql.SQL(
        "select left({0}::text, 60), count(*) from {1} as side where {0} is not null"
        " group by 1 order by 2 desc, 1 limit {2}"
    ).format(name, side.rows, sql.Literal(_COMMONEST))
    return Values(share, commonest=tuple((text, number) for text, number in connection.execute(commonest).fetchall()))


def _names(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
