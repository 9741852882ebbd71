"""Every relation of a warehouse, which of them a company may read, and whose rows a reader sees."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.integration.conftest import TwoCompanies
from warehouse.roles import Role

EVERY_RELATION = """
    select nspname || '.' || quote_ident(relname), nspname in ('pg_catalog', 'information_schema'),
        exists (select from pg_attribute where attrelid = pg_class.oid and attname = 'company_id')
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where relkind in ('r', 'p', 'v', 'm', 'f') and nspname not like 'pg\\_toast%' and nspname not like 'pg\\_temp%'
    order by 1
"""
READABLE = {Role.company: ("analytics", "predictions"), Role.company_sync: ("predictions",)}
# Errors of the installation's own runs are nothing for a company.
FOR_OPERATORS = {"analytics.run_history"}


def relations(companies: TwoCompanies, *, ours: bool) -> list[tuple[str, bool]]:
    """Every relation (of ours, or of Postgres), and whether it has a company_id."""
    with companies.warehouse.connect() as connection:
        rows = connection.execute(EVERY_RELATION).fetchall()
    return [(name, of_companies) for name, is_system, of_companies in rows if is_system != ours]


def counts(connection: psycopg.Connection[Any], relation: str) -> dict[int, int]:
    query = f"select company_id, count(*) from {relation} group by company_id"
    return dict(connection.execute(query).fetchall())  # type: ignore[call-overload]
