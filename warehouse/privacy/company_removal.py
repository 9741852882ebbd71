"""Removing a company: its rows in every schema, its logins and its place in the registry, in one transaction.

Models and files outside Postgres do not belong here. The audit log stays, and with it who removed the company.
"""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
from psycopg import sql

from warehouse.companies.definition import Company
from warehouse.companies.registry import Connection, get_company
from warehouse.developers import BUILT_BY_DEVELOPERS
from warehouse.errors import CompanyStillActive
from warehouse.landing.tracked import ENTITY as TRACKED_EVENTS_ENTITY
from warehouse.landing.version_log import hold_off_loads
from warehouse.logs.operations import record_audit, say_who
from warehouse.publication.feed import hold_publications
from warehouse.relations import AUDIT_LOG, COMPANIES, ENTITY_RELATIONS, Relation
from warehouse.roles import clear_other_databases, drop_company_logins

_OF_COMPANIES: LiteralString = f"""
    select pg_namespace.nspname, pg_class.relname
    from pg_attribute
    inner join pg_class on pg_class.oid = pg_attribute.attrelid
    inner join pg_namespace on pg_namespace.oid = pg_class.relnamespace
    where pg_attribute.attname = 'company_id'
        and not pg_attribute.attisdropped
        and pg_class.relkind in ('r', 'p')
        and not pg_class.relispartition
        and pg_namespace.nspname not in ('pg_catalog', 'information_schema')
        and pg_namespace.nspname not like 'pg\\_%%'
        and not ({BUILT_BY_DEVELOPERS})
        and pg_class.oid not in (%(audit_log)s::regclass, %(companies)s::regclass)
    order by 1, 2
"""  # noqa: S608 - fixed text

_REFERENCES: LiteralString = """
    select distinct holder_schema.nspname, holder.relname, held_schema.nspname, held.relname
    from pg_constraint
    inner join pg_class as holder on holder.oid = pg_constraint.conrelid
    inner join pg_namespace as holder_schema on holder_schema.oid = holder.relnamespace
    inner join pg_class as held on held.oid = pg_constraint.confrelid
    inner join pg_namespace as held_schema on held_schema.oid = held.relnamespace
    where pg_constraint.contype = 'f' and holder.oid <> held.oid
"""


def company_rows(connection: Connection, company_id: int) -> dict[str, int]:
    """How many rows each table holds of a company, tables without any left out.

    The audit log does not count, nor what developers built: `drop_built_of_companies` drops it.
    """
    counts: dict[str, int] = {}
    for table in _tables(connection):
        query = sql.SQL("select count(*) from {} where company_id = %s").format(table.identifier)
        (count,) = connection.execute(query, (company_id,)).fetchone() or (0,)
        if count:
            counts[str(table)] = count
    return counts


def remove_company(connection: Connection, slug: str, actor: str) -> dict[str, int]:
    """Erase a disabled company; returns how many rows went, by table.

    One transaction: all or nothing, but for what its logins made in other databases, which goes first. A load that is
    under way is waited for half a minute, a publication as long as another publication would wait. The company's id is
    never given again. Raises CompanyNotFound, CompanyStillActive, LoadInProgress, PublisherBusy and CompanyLoginHeld.
    """
    company = get_company(connection, slug)
    if company.is_active:
        raise CompanyStillActive(
            f"{slug} is active: `churn company disable {slug}` first, so that no run begins with it."
        )
    clear_other_databases(connection, company.company_id)
    with connection.transaction():
        hold_off_loads(connection, company.company_id, [*ENTITY_RELATIONS, TRACKED_EVENTS_ENTITY])
        say_who(connection, actor)
        erased = erase_rows(connection, company.company_id)
        logins = drop_company_logins(connection, company.company_id)
        _record(connection, company, erased, logins, actor)
        connection.execute(
            sql.SQL("delete from {} where company_id = %s").format(COMPANIES.identifier), (company.company_id,)
        )
    return erased


def erase_rows(connection: Connection, company_id: int) -> dict[str, int]:
    """Delete a company's rows from every table but the registry and the audit log; returns how many, by table.

    Writers of these tables are waited for and kept waiting until the transaction ends. Raises PublisherBusy.
    """
    erased: dict[str, int] = {}
    with connection.transaction():
        # As publications do: the lock first, then the tables. The other way round the two could wait for each other.
        hold_publications(connection, company_id)
        for table in _in_deletion_order(connection, _tables(connection)):
            connection.execute(sql.SQL("lock table {} in share row exclusive mode").format(table.identifier))
            done = connection.execute(
                sql.SQL("delete from {} where company_id = %s").format(table.identifier), (company_id,)
            )
            if done.rowcount:
                erased[str(table)] = done.rowcount
    return erased


def _record(
    connection: psycopg.Connection[Any], company: Company, erased: dict[str, int], logins: list[str], actor: str
) -> None:
    record_audit(
        connection,
        actor=actor,
        action="company.erased",
        company_id=company.company_id,
        before={"slug": company.slug, "name": company.name, "logins": logins},
        after={"rows_erased": erased},
    )


def _tables(connection: Connection) -> list[Relation]:
    rows = connection.execute(_OF_COMPANIES, {"audit_log": str(AUDIT_LOG), "companies": str(COMPANIES)})
    return [Relation(schema, name) for schema, name in rows]


def _in_deletion_order(connection: Connection, tables: list[Relation]) -> list[Relation]:
    """Tables that point at others come before those."""
    references = {
        (Relation(holder_schema, holder), Relation(held_schema, held))
        for holder_schema, holder, held_schema, held in connection.execute(_REFERENCES)
    }
    ordered: list[Relation] = []
    waiting = list(tables)
    while waiting:
        free = [table for table in waiting if not any((other, table) in references for other in waiting)]
        ordered += free or waiting
        waiting = [table for table in waiting if table not in ordered]
    return ordered
