"""Canaries: marked customers of each company, and where their marks stand outside it.

A canary is a real customer, so that it goes wherever customers go: into features, scores, marts and reasons. Its marks
are its id, name, e-mail and phone, as the warehouse keeps them and as far as no other company has the same; short ones,
such as c42, would be found everywhere and are no marks. Files are looked through in ``canary_files``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from warehouse import relations
from warehouse.developers import BUILT_BY_DEVELOPERS
from warehouse.relations import Relation

Connection = psycopg.Connection[Any]

CANARIES_PER_COMPANY = 3
SHORTEST_MARK = 8
_CANDIDATES = 200
_LONGEST_LIST = 10_000


@dataclass(frozen=True)
class Canary:
    """A marked customer: whose it is, and the words that may stand nowhere else."""

    company_id: int
    slug: str
    customer_id: str
    marks: tuple[str, ...]


@dataclass(frozen=True)
class Sighting:
    """Where a company's canary was seen outside the company: a relation or a file, and how often."""

    slug: str
    place: str
    times: int

    def __str__(self) -> str:
        return f"{self.slug}: {self.times} in {self.place}"


def mark_customers(conn: Connection) -> list[str]:
    """Give every company its canaries where it has too few; returns the slugs of those that cannot have any.

    A company whose customers have short ids and no name, e-mail or phone of their own has nothing to be known by.
    """
    companies = conn.execute(relations.compose("select company_id, slug from {companies} order by company_id"))
    unmarked = []
    for company_id, slug in companies.fetchall():
        (has,) = conn.execute(
            relations.compose("select count(*) from {canaries} where company_id = %s"), [company_id]
        ).fetchone() or (0,)
        if has < CANARIES_PER_COMPANY:
            has += _mark(conn, company_id, CANARIES_PER_COMPANY - has)
        if not has:
            unmarked.append(slug)
    return unmarked


def _mark(conn: Connection, company_id: int, wanted: int) -> int:
    return conn.execute(
        relations.compose("""
        with newest as (
            select distinct on (customer_id) customer_id, array[customer_id, name, email, phone] as words
            from {customers} where company_id = %(company)s
            order by customer_id, updated_at desc, revision desc
        ),
        candidates as (
            select customer_id, word from (
                select customer_id, words from newest
                where customer_id not in (select customer_id from {canaries} where company_id = %(company)s)
                order by md5(customer_id) limit %(candidates)s
            ) as chosen, unnest(words) as words (word)
            where length(word) >= %(shortest)s
        ),
        others as (
            select word from {customers}, unnest(array[customer_id, name, email, phone]) as words (word)
            where company_id <> %(company)s and word in (select word from candidates)
        )
        insert into {canaries} (company_id, customer_id, marks)
        select %(company)s, customer_id, array_agg(distinct word) from candidates
        where word not in (select word from others)
        group by customer_id order by md5(customer_id) limit %(wanted)s
        """),
        {"company": company_id, "candidates": _CANDIDATES, "shortest": SHORTEST_MARK, "wanted": wanted},
    ).rowcount


def read_canaries(conn: Connection) -> list[Canary]:
    """Every company's canaries."""
    rows = conn.execute(
        relations.compose(
            "select company_id, slug, customer_id, marks from {canaries} join {companies}"
            " using (company_id) order by company_id, customer_id"
        )
    )
    return [Canary(company_id, slug, customer, tuple(marks)) for company_id, slug, customer, marks in rows]


def pattern(canaries: Sequence[Canary]) -> str:
    """A regular expression, for Postgres and Python alike, of all marks as whole words."""
    marks = sorted({mark for canary in canaries for mark in canary.marks}, key=lambda mark: (-len(mark), mark))
    return f"(^|[^A-Za-z0-9])({'|'.join(re.escape(mark) for mark in marks)})($|[^A-Za-z0-9])"


_TABLES: LiteralString = f"""
    select pg_namespace.nspname, pg_class.relname, bool_or(pg_attribute.attname = 'company_id'),
        array_agg(pg_attribute.attname::text) filter (
            where format_type(pg_attribute.atttypid, null)
                in ('text', 'character varying', 'character', 'json', 'jsonb', 'text[]', 'character varying[]')
        )
    from pg_class
    inner join pg_namespace on pg_namespace.oid = pg_class.relnamespace
    inner join pg_attribute on pg_attribute.attrelid = pg_class.oid
    where pg_class.relkind in ('r', 'p', 'm')
        and not pg_class.relispartition
        and pg_attribute.attnum > 0
        and not pg_attribute.attisdropped
        and pg_namespace.nspname not in ('pg_catalog', 'information_schema')
        and pg_namespace.nspname not like 'pg\\_%%'
        and not ({BUILT_BY_DEVELOPERS})
    group by 1, 2
    order by 1, 2
"""  # noqa: S608 - fixed text


def look_in_tables(conn: Connection, canaries: Sequence[Canary]) -> list[Sighting]:
    """Rows with a canary's mark that are not its company's: every table of every schema, the tools' own included.

    What developers built is left out. A table without company_id belongs to no company, so that any mark in it is one
    too many.
    """
    if not canaries:
        return []
    seen: dict[tuple[str, str], int] = {}
    for schema, name, has_company, columns in conn.execute(_TABLES).fetchall():
        if not columns:
            continue
        relation = Relation(schema, name)
        for company_id, text in _rows(conn, relation, has_company, columns, pattern(canaries)):
            for canary in canaries:
                if canary.company_id != company_id and any(mark in text for mark in canary.marks):
                    place = (canary.slug, str(relation))
                    seen[place] = seen.get(place, 0) + 1
    return [Sighting(slug, place, times) for (slug, place), times in sorted(seen.items())]


def _rows(
    conn: Connection, relation: Relation, has_company: bool, columns: Sequence[str], marks: str
) -> list[tuple[int | None, str]]:
    text = sql.SQL("concat_ws(chr(10), {})").format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in columns)
    )
    query = sql.SQL("select {company}, {text} from {relation} where {text} ~ %s limit {limit}").format(
        company=sql.SQL("company_id") if has_company else sql.SQL("null"),
        text=text,
        relation=relation.identifier,
        limit=_LONGEST_LIST,
    )
    return conn.execute(query, [marks]).fetchall()
