"""Which of the records that a source gave are new versions, and where each stands among those of its record.

Content decides. Versions of a record stand in order of updated_at, and those that share one in the order in which they
became known (`revision`). `made_at` is set where updated_at cannot be when a version was made, since an earlier one has
the same or a later moment: marts that read `coalesce(made_at, updated_at)` see the versions in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from warehouse.frames import copy_arrow
from warehouse.relations import Relation

_INCOMING = "incoming_versions"

_IS_KNOWN = """
select exists (
    select from {incoming} as given
    -- A limit, so that each record is looked up in the index, whatever the planner thinks of a table that grows.
    cross join lateral (
        select from {raw} as known where known.company_id = %(company_id)s and known.{key} = given.{key} limit 1
    ) as known
)
"""

_INSERT_FIRST = """
insert into {raw} (company_id, {key}, updated_at, revision, known_at, is_backfill, load_id, {content})
select
    %(company_id)s,
    {key},
    {first_at},
    0,
    case when %(is_backfill)s then least({first_at}, %(known_at)s) else %(known_at)s end,
    %(is_backfill)s,
    %(load_id)s,
    {content}
from {incoming}
"""
"""As _INSERT, of records that are given once and of which nothing is known: there is nothing to compare."""

_INSERT = """
with given as (
    select
        *,
        lead(true, 1, false) over (partition by {same} order by given_order) as is_followed,
        not lead(true, 1, false) over (partition by {key} order by updated_at, given_order) as is_last
    from {incoming} as incoming
    where not ({is_unchanged})
),
compared as (
    select
        given.*,
        front.updated_at as front_updated_at,
        front.revision as front_revision,
        front.load_id as front_load_id,
        newest.updated_at as newest_updated_at,
        newest.revision as newest_revision,
        -- Listed again after it had vanished: it stands in front of its tombstone, whatever its updated_at.
        coalesce(given.is_last and newest.is_vanished, false) as is_returned,
        case
            when given.is_last and newest.is_vanished then true
            when given.is_last and newest.updated_at >= given.updated_at
                and ({newest_content}) is not distinct from ({given_content}) then false
            when front.updated_at is null then true
            -- Only the last one given stands; one before it is new where nobody has ever seen its like.
            when given.is_followed then not exists (
                select from {raw} as known
                where known.company_id = %(company_id)s and known.{key} = given.{key} and {same_moment}
                    and ({known_content}) is not distinct from ({given_content})
            )
            else ({front_content}) is distinct from ({given_content})
        end as is_unknown
    from given
    left join lateral (
        select * from {raw} as known
        where known.company_id = %(company_id)s and known.{key} = given.{key}
        order by known.updated_at desc, known.revision desc
        limit 1
    ) as newest on true
    left join lateral (
        select * from {raw} as known
        where known.company_id = %(company_id)s and known.{key} = given.{key} and {same_moment}
        order by known.updated_at desc, known.revision desc
        limit 1
    ) as front on true
),
placed as (
    select
        *,
        {placed_at} as placed_at,
        row_number() over (partition by {same} order by given_order) - 1 as nth
    from (select *, bool_or(is_unknown) over (partition by {same}) as has_news from compared) as judged
    where is_unknown or (has_news and not is_followed)
),
neighbours as (
    select
        placed.*,
        placed.nth + case
            when placed.is_returned and placed.newest_updated_at = placed.placed_at then placed.newest_revision + 1
            when placed.front_updated_at = placed.placed_at then placed.front_revision + 1 else 0
        end as revision,
        least(placed.placed_at, %(known_at)s) as first_known_at,
        (
            select coalesce(known.made_at, known.updated_at) from {raw} as known
            where known.company_id = %(company_id)s and known.{key} = placed.{key}
                and known.updated_at <= placed.placed_at
            order by known.updated_at desc, known.revision desc
            limit 1
        ) as previous_at,
        placed.placed_at < max(placed.placed_at) over (partition by placed.{key})
        or exists (
            select from {raw} as known
            where known.company_id = %(company_id)s and known.{key} = placed.{key}
                and known.updated_at > placed.placed_at
        ) as is_passed
    from placed
),
timed as (
    select
        *,
        case
            when %(is_backfill)s and (front_load_id is null or front_load_id = %(load_id)s) then first_known_at
            else %(known_at)s
        end as known_at
    from neighbours
)
insert into {raw} (company_id, {key}, updated_at, revision, made_at, known_at, is_backfill, load_id, {content})
select
    %(company_id)s,
    {key},
    placed_at,
    revision,
    case
        when revision = 0 and (previous_at is null or previous_at < placed_at) then null
        when is_passed then placed_at + revision * interval '1 microsecond'
        else greatest(known_at, coalesce(previous_at + interval '1 microsecond', placed_at))
            + nth * interval '1 microsecond'
    end,
    known_at,
    %(is_backfill)s,
    %(load_id)s,
    {content}
from timed
"""

_IS_UNCHANGED = """
exists (
    select from (
        select * from {raw} as known
        where known.company_id = %(company_id)s and known.{key} = incoming.{key}
        order by known.updated_at desc, known.revision desc
        limit 1
    ) as newest
    where not newest.is_vanished and {is_in_front} and ({newest_content}) is not distinct from ({incoming_content})
)
"""
"""What most records of a chunk are, where each is given once: it need not be laid beside all the others."""


def insert_new_versions(
    database: psycopg.Cursor[Any],
    relation: Relation,
    key: str,
    accepted: pa.Table,
    *,
    company_id: int,
    load_id: int,
    known_at: datetime,
    is_backfill: bool,
    is_stamped: bool,
) -> int:
    """Insert what is new of a chunk, and return how many rows that were; call within a transaction.

    accepted: a table of the entity's schema, in the order in which the source gave its rows. is_stamped: updated_at is
    the source's own, and a version is compared with those of the same updated_at. Without it each is compared with the
    newest version of its record, and was made when the load knew it.
    """
    if accepted.num_rows == 0:
        return 0
    content = [name for name in accepted.column_names if name not in (key, "updated_at")]
    names: dict[str, sql.Composable] = {
        "raw": relation.identifier,
        "incoming": sql.Identifier(_INCOMING),
        "key": sql.Identifier(key),
        "content": sql.SQL(", ").join(map(sql.Identifier, content)),
        "given_content": _qualified("given", content),
        "known_content": _qualified("known", content),
        "front_content": _qualified("front", content),
        "newest_content": _qualified("newest", content),
        "incoming_content": _qualified("incoming", content),
    }
    if is_stamped:
        names["same"] = sql.SQL("{}, updated_at").format(names["key"])
        names["same_moment"] = sql.SQL("known.updated_at = given.updated_at")
        names["placed_at"] = sql.SQL(
            "case when is_returned then greatest(updated_at, newest_updated_at) else updated_at end"
        )
        names["first_at"] = sql.SQL("updated_at")
        names["is_in_front"] = sql.SQL("newest.updated_at >= incoming.updated_at")
    else:
        names["same"] = names["key"]
        names["same_moment"] = sql.SQL("true")
        names["placed_at"] = sql.SQL("greatest(%(known_at)s, front_updated_at)")
        names["first_at"] = sql.SQL("%(known_at)s")
        names["is_in_front"] = sql.SQL("true")
    are_single = _is_each_given_once(accepted, key)
    names["is_unchanged"] = sql.SQL(_IS_UNCHANGED).format(**names) if are_single else sql.SQL("false")
    database.execute(
        sql.SQL(
            "create temporary table {} on commit drop as select {}, 0::bigint as given_order from {} with no data"
        ).format(names["incoming"], sql.SQL(", ").join(map(sql.Identifier, accepted.column_names)), names["raw"])
    )
    numbered = accepted.append_column("given_order", pa.array(range(accepted.num_rows), pa.int64()))
    copy_arrow(database, numbered, _INCOMING, json_columns=("attributes",))
    values = {"company_id": company_id, "load_id": load_id, "known_at": known_at, "is_backfill": is_backfill}
    is_known = not are_single or _holds(database, sql.SQL(_IS_KNOWN).format(**names), values)
    database.execute(sql.SQL(_INSERT if is_known else _INSERT_FIRST).format(**names), values)
    return database.rowcount


def _is_each_given_once(accepted: pa.Table, key: str) -> bool:
    return bool(pc.count_distinct(accepted[key]).as_py() == accepted.num_rows)


def _holds(database: psycopg.Cursor[Any], question: sql.Composed, values: dict[str, Any]) -> bool:
    (answer,) = database.execute(question, values).fetchone() or (False,)
    return bool(answer)


def _qualified(relation: str, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(relation, column) for column in columns)
