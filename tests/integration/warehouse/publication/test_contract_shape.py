"""What any task publishes has the shape of what churn publishes, whose relations the migrations made.

Read from the catalog, and compared after names of the task, the entity and the outcome were taken out.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import permutations
from typing import Any

import psycopg
import pytest

from pipeline.prediction.tasks import CONTRACTS, task_named
from warehouse.connection import Warehouse
from warehouse.migrate import migrate
from warehouse.publication.contract import Contract

CHURN = task_named("churn").relations.contract
RENEWAL = Contract("renewal", "subscription", outcome="the subscription is not renewed within the company's horizon")
"""A task of another entity, which no company has."""
OTHERS = [*(contract for contract in CONTRACTS if contract != CHURN), RENEWAL]

RELATIONS = ("scores", "current", "publications", "changes", "snapshot", "cursors", "sent")
OURS = (
    "relnamespace = 'predictions'::regnamespace and relname ~ ('^' || %(task)s || '_') and relkind in ('r', 'p', 'v')"
)
ASPECTS = {
    "relations": f"""
        select relname, relkind, relpersistence, relowner::regrole::text, relrowsecurity, relforcerowsecurity,
            relreplident, reloptions::text
        from pg_class where {OURS}
    """,
    "columns": f"""
        select relname, row_number() over (partition by attrelid order by attnum), attname,
            format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, attstorage, attcompression,
            attcollation::regcollation::text, attstattarget, pg_get_expr(adbin, adrelid)
        from pg_class
        join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
        left join pg_attrdef on adrelid = attrelid and adnum = attnum
        where {OURS}
    """,
    "sequences": f"""
        select relname, attname, seqtypid::regtype::text, seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle
        from pg_class
        join pg_depend on refobjid = pg_class.oid and deptype in ('i', 'a')
        join pg_sequence on seqrelid = objid
        join pg_attribute on attrelid = pg_class.oid and attnum = refobjsubid
        where {OURS}
    """,
    "constraints": f"""
        select relname, contype, convalidated, pg_get_constraintdef(pg_constraint.oid)
        from pg_class join pg_constraint on conrelid = pg_class.oid
        where {OURS}
    """,
    "indexes": f"""
        select relname, indisprimary, indisunique, indisclustered, indisvalid, indnullsnotdistinct,
            regexp_replace(pg_get_indexdef(indexrelid), '^CREATE (UNIQUE )?INDEX \\S+ ', '')
        from pg_class join pg_index on indrelid = pg_class.oid
        where {OURS}
    """,
    "triggers": f"""
        select relname, regexp_replace(pg_get_triggerdef(pg_trigger.oid), '^CREATE TRIGGER \\S+ ', '')
        from pg_class join pg_trigger on tgrelid = pg_class.oid and not tgisinternal
        where {OURS}
    """,
    "policies": f"""
        select relname, policyname, permissive, roles::text[], cmd, qual, with_check
        from pg_class join pg_policies on schemaname = 'predictions' and tablename = relname
        where {OURS}
    """,
    "grants": f"""
        select relname, null, grantee::regrole::text, privilege_type, is_grantable
        from pg_class cross join aclexplode(relacl) where {OURS}
        union all
        select relname, attname, grantee::regrole::text, privilege_type, is_grantable
        from pg_class join pg_attribute on attrelid = pg_class.oid cross join aclexplode(attacl) where {OURS}
    """,
    "comments": f"""
        select relname, attname, description
        from pg_class
        join pg_description on objoid = pg_class.oid and classoid = 'pg_class'::regclass
        left join pg_attribute on attrelid = pg_class.oid and attnum = objsubid and objsubid > 0
        where {OURS}
    """,
    "view definitions": f"select relname, pg_get_viewdef(oid) from pg_class where relkind = 'v' and {OURS}",
}
LEAST = {"sequences": 1, "constraints": 10, "indexes": 5, "policies": 20, "grants": 70, "comments": 100}
"""So many rows there are at least of an aspect, lest a query that finds nothing compares nothing."""


def shape(conn: psycopg.Connection[Any], contract: Contract, aspect: str) -> list[str]:
    """What the catalog says of the contract's relations in one respect, without the task's own names."""
    rows = conn.execute(ASPECTS[aspect].encode(), {"task": contract.task}).fetchall()
    return sorted(_without_names(contract, repr(row)) for row in rows)


def _without_names(contract: Contract, text: str) -> str:
    for name, placeholder in (
        (contract.outcome, "(outcome)"),
        (contract.outcome.replace("'", "\\'"), "(outcome)"),
        ("how many of them churned", "(outcomes)"),
        ("of how many of them the outcome came true", "(outcomes)"),
        (contract.probability, "(probability)"),
        (contract.entity_id, "(entity_id)"),
    ):
        text = text.replace(name, placeholder)
    text = re.sub(rf"\b{contract.task}(?=_(?:{'|'.join(RELATIONS)})| scores)", "(task)", text)
    return re.sub(rf"\b{contract.entity}(?=s?\b)", "(entity)", text, flags=re.IGNORECASE)


@pytest.mark.parametrize("contract", OTHERS, ids=lambda contract: contract.task)
def test_what_a_task_publishes_differs_from_churns_in_names_only(warehouse: Warehouse, contract: Contract) -> None:
    migrate(warehouse, [*CONTRACTS, RENEWAL])
    with warehouse.connect() as conn:
        churns = {aspect: shape(conn, CHURN, aspect) for aspect in ASPECTS}
        its_own = {aspect: shape(conn, contract, aspect) for aspect in ASPECTS}
        registered = conn.execute("select entity from ops.tasks where task = %s", [contract.task]).fetchall()
    assert [aspect for aspect, least in LEAST.items() if len(churns[aspect]) < least] == []
    for aspect, expected in churns.items():
        missing, added = (
            list((Counter(a) - Counter(b)).elements()) for a, b in permutations((expected, its_own[aspect]))
        )
        assert (missing, added) == ([], []), aspect
    assert registered == [(contract.entity,)]


def test_relations_that_are_there_stay_as_they_are(warehouse: Warehouse) -> None:
    with warehouse.connect() as conn:
        conn.execute("insert into predictions.support_cursors_v1 (company_id, newest_cursor) values (1, 7)")
        conn.execute("comment on table predictions.support_cursors_v1 is 'as it was'")
    migrate(warehouse, CONTRACTS)
    with warehouse.connect() as conn:
        assert conn.execute("select newest_cursor from predictions.support_cursors_v1").fetchall() == [(7,)]
        comment = conn.execute("select obj_description('predictions.support_cursors_v1'::regclass)").fetchone()
    assert comment == ("as it was",)
