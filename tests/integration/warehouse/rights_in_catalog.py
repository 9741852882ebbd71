"""Every right, policy and switch of row-level security that a warehouse has, to compare it with another."""

from __future__ import annotations

from typing import Any

import psycopg

from warehouse.rights import SCHEMAS
from warehouse.roles import Role

RIGHTS = """
    select 'schema', nspname, '', grantee::regrole::text, privilege_type
    from pg_namespace, lateral aclexplode(nspacl)
    where nspname = any(%(schemas)s) and grantee <> nspowner
    union all
    select 'relation', relnamespace::regnamespace || '.' || relname, '', grantee::regrole::text, privilege_type
    from pg_class, lateral aclexplode(relacl)
    where relnamespace::regnamespace::text = any(%(schemas)s) and grantee <> relowner
    union all
    select 'column', attrelid::regclass::text, attname, grantee::regrole::text, privilege_type
    from pg_attribute inner join pg_class on pg_class.oid = attrelid, lateral aclexplode(attacl)
    where relnamespace::regnamespace::text = any(%(schemas)s)
    union all
    select 'function', pg_proc.oid::regprocedure::text, '', grantee::regrole::text, privilege_type
    from pg_proc, lateral aclexplode(coalesce(proacl, acldefault('f', proowner)))
    where pronamespace::regnamespace::text = any(%(schemas)s) and grantee <> proowner
    union all
    select 'later', defaclnamespace::regnamespace::text, '', grantee::regrole::text, privilege_type
    from pg_default_acl, lateral aclexplode(defaclacl)
    union all
    select 'policy', polrelid::regclass::text, polname, polroles::regrole[]::text,
        concat_ws(' ', polcmd, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
    from pg_policy
    union all
    select 'security', oid::regclass::text, '', relrowsecurity::text, relforcerowsecurity::text
    from pg_class where relkind = 'r' and relnamespace::regnamespace::text = any(%(schemas)s)
"""


def rights(connection: psycopg.Connection[Any]) -> set[tuple[str, ...]]:
    """Every right, policy and switch of row-level security in the warehouse's schemas."""
    return set(connection.execute(RIGHTS, {"schemas": [*SCHEMAS[Role.operator]]}).fetchall())
