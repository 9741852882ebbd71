"""Roles that somebody changed by hand: what they are and belong to, against what ``warehouse.roles`` makes them.

Postgres fires no trigger for a role, so this is looked at and not recorded. Rights on relations do not belong here:
docs/security.md has their table, and a test holds it against the catalog.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, LiteralString

import psycopg

from warehouse import relations
from warehouse.login_limits import LOGINS
from warehouse.roles import (
    COMPANY_ROLES,
    METABASE_LOGIN,
    Role,
    company_login,
    company_logins,
    relations_open_to_all_companies,
)

Connection = psycopg.Connection[Any]

_ATTRIBUTES: LiteralString = """
    select rolname, word
    from pg_roles
    cross join lateral (values
        (rolsuper, 'superuser'), (rolbypassrls, 'bypassrls'), (rolreplication, 'replication'),
        (rolcreaterole, 'createrole'), (rolcreatedb, 'createdb'), (rolcanlogin and rolname = any(%(groups)s), 'login')
    ) as attributes (has_it, word)
    where has_it and rolname = any(%(ours)s)
    order by rolname, word
"""

_MEMBERSHIPS: LiteralString = """
    select member::regrole::text, roleid::regrole::text, set_option, admin_option
    from pg_auth_members where member::regrole::text = any(%(ours)s)
    order by 1, 2
"""

# The warehouse's owner makes the logins and may take them on; `churn export` does.
_MEMBERS: LiteralString = """
    select member::regrole::text, roleid::regrole::text
    from pg_auth_members
    where (roleid::regrole::text = any(%(logins)s) or roleid::regrole::text = any(%(company_groups)s))
        and member::regrole::text !~ %(company_logins)s
        and member not in (select datdba from pg_database where datname = current_database())
        and member <> (select oid from pg_roles where rolname = current_user)
    order by 1, 2
"""

_OF_THEIR_OWN: LiteralString = """
    select refobjid::regrole::text, deptype = 'o', pg_describe_object(classid, objid, objsubid)
    from pg_shdepend
    where refclassid = 'pg_authid'::regclass and deptype in ('o', 'a')
        and refobjid::regrole::text = any(%(logins)s)
        and dbid in (0, (select oid from pg_database where datname = current_database()))
        -- Metabase's logins may connect before they are members of their group.
        and not (
            classid = 'pg_database'::regclass
            and deptype = 'a'
            and objid = (select oid from pg_database where datname = current_database())
            and not exists (
                select from pg_database, lateral aclexplode(datacl)
                where pg_database.oid = objid and grantee = refobjid
                    and (privilege_type <> 'CONNECT' or is_grantable)
            )
        )
    order by 1, 3
"""

_IN_OTHER_DATABASES: LiteralString = """
    select distinct refobjid::regrole::text, quote_ident(datname)
    from pg_shdepend
    inner join pg_database on pg_database.oid = pg_shdepend.dbid
    where refclassid = 'pg_authid'::regclass
        and refobjid::regrole::text = any(%(logins)s)
        and datname <> current_database()
    order by 1, 2
"""

# Databases of the owner's own are the owner's to open; the current one is where companies belong.
_OPEN_DATABASES: LiteralString = """
    select quote_ident(datname)
    from pg_database
    where datallowconn
        and datdba <> (select datdba from pg_database where datname = current_database())
        and exists (
            select from aclexplode(coalesce(datacl, acldefault('d', datdba)))
            where grantee = 0 and privilege_type = 'CONNECT'
        )
    order by 1
"""

# As migrations and dbt's hooks write it, with and without a `select` around; brackets and blanks are the catalog's.
_OWN_ROWS_ONLY = "company_id=split_partCURRENT_USER::text,'_'::text,2::integer"
_WIDE_POLICIES: LiteralString = """
    select quote_ident(policyname), quote_ident(schemaname) || '.' || quote_ident(tablename)
    from pg_policies
    where permissive = 'PERMISSIVE' and cmd in ('SELECT', 'ALL')
        and roles && (array['public'] || %(company_groups)s::text[] || %(logins)s::text[])::name[]
        and regexp_replace(qual, '[()\\s]|SELECT|AS split_part', '', 'g') <> %(own_rows_only)s
    order by 2, 1
"""


def roles_out_of_order(connection: Connection) -> list[str]:
    """One line for each role that is more than it should be, with the SQL that mends it; empty is well.

    The service roles, Metabase's login and every login of the registry's companies are looked at: attributes, groups,
    who else is a member of them, and what a login owns or may by itself. Relations that are open to all companies, and
    policies that show a company more than its own rows, are named too.
    """
    companies = [company for (company,) in connection.execute(relations.compose("select company_id from {companies}"))]
    groups_of = _groups_of(connection, companies)
    logins = [*groups_of]
    asked = {
        "groups": [*Role],
        "company_groups": [*COMPANY_ROLES],
        "logins": logins,
        "company_logins": LOGINS,
        "ours": [*Role, *logins],
        "own_rows_only": _OWN_ROWS_ONLY,
    }
    return [
        *_with_attributes(connection, asked),
        *_in_other_groups(connection, asked, groups_of),
        *_taken_on_by_others(connection, asked),
        *_with_rights_of_their_own(connection, asked),
        *_at_home_elsewhere(connection, asked),
        *_with_wide_policies(connection, asked),
        *(f"{name} is open to all companies" for name in relations_open_to_all_companies(connection)),
    ]


def _groups_of(connection: Connection, companies: list[int]) -> dict[str, Role]:
    """Each login's one group."""
    return {
        METABASE_LOGIN: Role.operator,
        **{login: Role.company for company in companies for login in company_logins(connection, company)},
        **{company_login(company, Role.company_sync): Role.company_sync for company in companies},
    }


def _with_attributes(connection: Connection, asked: Mapping[str, object]) -> Iterator[str]:
    for role, word in connection.execute(_ATTRIBUTES, asked):
        yield f"{role} has the attribute {word}: alter role {role} no{word}"


def _in_other_groups(connection: Connection, asked: Mapping[str, object], groups_of: dict[str, Role]) -> Iterator[str]:
    for role, group, may_set, may_grant in connection.execute(_MEMBERSHIPS, asked):
        if groups_of.get(role) != group:
            yield f"{role} is a member of {group}: revoke {group} from {role}"
        elif may_set or may_grant:
            yield f"{role} may take on or hand on {group}: grant {group} to {role} with set false, admin false"


def _taken_on_by_others(connection: Connection, asked: Mapping[str, object]) -> Iterator[str]:
    for member, role in connection.execute(_MEMBERS, asked):
        yield f"{member} is a member of {role}, which is for companies' logins: revoke {role} from {member}"


def _with_rights_of_their_own(connection: Connection, asked: Mapping[str, object]) -> Iterator[str]:
    for role, is_owner, thing in connection.execute(_OF_THEIR_OWN, asked):
        yield f"{role} {'owns' if is_owner else 'has rights of its own on'} {thing}, and should have its group's alone"


def _at_home_elsewhere(connection: Connection, asked: Mapping[str, object]) -> Iterator[str]:
    """What a login makes in another database keeps its company from being removed."""
    for role, database in connection.execute(_IN_OTHER_DATABASES, asked):
        yield f"{role} owns something, or has rights, in the database {database}: in it, drop owned by {role}"
    for (database,) in connection.execute(_OPEN_DATABASES):
        yield (
            f"every login may connect to the database {database}, companies' too: "
            f"revoke connect on database {database} from public"
        )


def _with_wide_policies(connection: Connection, asked: Mapping[str, object]) -> Iterator[str]:
    for policy, relation in connection.execute(_WIDE_POLICIES, asked):
        yield f"policy {policy} shows companies more than their own rows: drop policy {policy} on {relation}"
