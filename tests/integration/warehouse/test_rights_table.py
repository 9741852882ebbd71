"""Least privilege: the table in docs/rights.md and the catalog say the same, both ways."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.integration.conftest import DOORS, TwoCompanies, group_of, login_of
from warehouse.role_check import roles_out_of_order
from warehouse.roles import Role

pytestmark = pytest.mark.xdist_group("two_companies")

DOCS = Path(__file__).parents[3] / "docs"
LETTERS = {"select": "r", "insert": "i", "update": "u", "delete": "d", "truncate": "t"}
NEVER = ("references", "trigger")
OURS = "nspname not in ('pg_catalog', 'information_schema') and nspname not like 'pg\\_%%'"
Rights = dict[str, dict[str, str]]


def documented() -> Rights:
    """Relation (or pattern) to role to letters, as the page's table has them."""
    lines = (DOCS / "rights.md").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| relation |"))
    roles = [f"churn_{name}" for name in _cells(lines[start])[1:]]
    table: Rights = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        relation, *letters = _cells(line)
        table[relation.strip("`")] = {role: cell for role, cell in zip(roles, letters, strict=True) if cell}
    return table


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def granted(connection: psycopg.Connection[Any], role: str) -> dict[str, str]:
    """Relation to letters, as the catalog has them; `r(a, b)` where only some columns may be read."""
    columns = ", ".join(f"has_table_privilege(%(role)s, pg_class.oid, '{right}')" for right in (*LETTERS, *NEVER))
    rows = connection.execute(
        f"select nspname || '.' || relname, pg_class.oid, {columns} from pg_class"
        " join pg_namespace on pg_namespace.oid = relnamespace"
        f" where relkind in ('r', 'p', 'v', 'm', 'f', 'S') and {OURS}",
        {"role": role},
    ).fetchall()
    by_relation = {}
    for relation, oid, *rights in rows:
        names = [name for name, holds in zip((*LETTERS, *NEVER), rights, strict=True) if holds]
        letters = "".join(LETTERS.get(name, f" {name} ") for name in names)
        if "select" not in names:
            some = connection.execute(
                "select attname from pg_attribute where attrelid = %s and attnum > 0 and not attisdropped"
                " and has_column_privilege(%s, attrelid, attnum, 'select') order by attnum",
                [oid, role],
            ).fetchall()
            letters = (f"r({', '.join(name for (name,) in some)})" if some else "") + letters
        if letters:
            by_relation[relation] = letters
    return by_relation


def expected(table: Rights, relation: str, role: str) -> str:
    row = table.get(relation, table.get(f"{relation.split('.')[0]}.*", {}))
    return row.get(role, "")


def test_every_right_in_the_catalog_is_in_the_table_and_the_other_way_round(two_companies: TwoCompanies) -> None:
    table = documented()
    with two_companies.warehouse.connect() as connection:
        relations = {
            name
            for (name,) in connection.execute(
                "select nspname || '.' || relname from pg_class join pg_namespace on pg_namespace.oid = relnamespace"
                f" where relkind in ('r', 'p', 'v', 'm', 'f') and {OURS}"  # type: ignore[arg-type]
            )
        }
        wrong = []
        for role in Role:
            actual = granted(connection, role)
            for relation in sorted(relations | actual.keys()):
                held, said = actual.get(relation, ""), expected(table, relation, role)
                if held != said:
                    wrong.append(f"{relation}, {role}: the catalog says {held!r}, docs/rights.md {said!r}")
        wrong += [
            f"{name} stands in docs/rights.md and not in the catalog"
            for name in table
            if not name.endswith(".*") and name not in relations
        ]
    assert wrong == []


def test_a_companys_login_may_what_its_group_may_and_no_more(two_companies: TwoCompanies) -> None:
    with two_companies.warehouse.connect() as connection:
        for company_id in two_companies.company_ids:
            for door in DOORS:
                login, role = login_of(company_id, door), group_of(door)
                assert granted(connection, login) == granted(connection, role)
                groups = connection.execute(
                    "select roleid::regrole::text, inherit_option, set_option, admin_option from pg_auth_members"
                    " where member = %s::regrole",
                    [login],
                ).fetchall()
                assert groups == [(role, True, False, False)]


def test_no_role_is_more_than_a_role(two_companies: TwoCompanies) -> None:
    with two_companies.warehouse.connect() as connection:
        special = connection.execute(
            "select rolname from pg_roles where (rolname like 'churn\\_%' or rolname like 'company\\_%')"
            " and (rolsuper or rolbypassrls or rolreplication or rolcreatedb"
            " or (rolcreaterole and rolname <> current_user))"
        ).fetchall()
        able_to_log_in = connection.execute(
            "select rolname from pg_roles where rolcanlogin and rolname = any(%s)", [list(Role)]
        ).fetchall()
        out_of_order = roles_out_of_order(connection)
    assert (special, able_to_log_in, out_of_order) == ([], [], [])


def test_nothing_runs_with_its_owners_rights_but_what_the_page_names(two_companies: TwoCompanies) -> None:
    named = set(re.findall(r"`(ops\.\w+)`\s\(owner's\srights\)", (DOCS / "security.md").read_text()))
    with two_companies.warehouse.connect() as connection:
        functions = connection.execute(
            "select pg_proc.oid::regproc::text, prosecdef, has_function_privilege('public', pg_proc.oid, 'execute')"
            f" from pg_proc join pg_namespace on pg_namespace.oid = pronamespace where {OURS}"  # type: ignore[arg-type]
        ).fetchall()
        for login in [login_of(two_companies.company_ids[0], door) for door in DOORS]:
            callable_ = connection.execute(
                "select pg_proc.oid::regproc::text from pg_proc join pg_namespace on pg_namespace.oid = pronamespace"
                f" where {OURS} and has_function_privilege(%(login)s, pg_proc.oid, 'execute')"  # type: ignore[arg-type]
                " and has_schema_privilege(%(login)s, pronamespace, 'usage')",
                {"login": login},
            ).fetchall()
            assert callable_ == []
    assert {name for name, is_definer, _ in functions if is_definer} == named
    assert [name for name, _, is_public in functions if is_public] == []


def test_a_function_that_a_tool_makes_later_is_nobodys_to_call(two_companies: TwoCompanies) -> None:
    with two_companies.warehouse.connect() as connection:
        for schema in ("mlflow", "dagster", "analytics"):
            made = sql.Identifier(schema, "made_later")
            connection.execute(sql.SQL("create function {}() returns int language sql return 1").format(made))
        callers = connection.execute(
            "select proname, grantee::regrole::text from pg_proc, lateral aclexplode(proacl)"
            " where proname = 'made_later' and grantee <> proowner"
        ).fetchall()
        connection.rollback()
    assert callers == []


@pytest.mark.parametrize(
    ("what", "statement"),
    [
        ("a right too many", "grant update on ops.run_log to churn_ml"),
        ("a right to a column", "grant select (email) on raw.customers to churn_company"),
        ("a right that is missing", "revoke select on raw.customers from churn_operator"),
        ("a sequence", "grant update on sequence ops.companies_company_id_seq to churn_loader"),
    ],
)
def test_a_right_that_is_not_as_the_table_says_is_found(
    two_companies: TwoCompanies, monkeypatch: pytest.MonkeyPatch, what: str, statement: str
) -> None:
    check: Callable[[TwoCompanies], None] = test_every_right_in_the_catalog_is_in_the_table_and_the_other_way_round
    with two_companies.warehouse.connect() as connection:
        connection.execute(statement)  # type: ignore[call-overload]
        monkeypatch.setattr(two_companies.warehouse, "connect", lambda: _Lent(connection))
        with pytest.raises(AssertionError):
            check(two_companies)
        connection.rollback()


class _Lent:
    """A connection that is neither committed nor closed by who borrows it."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def __enter__(self) -> psycopg.Connection[Any]:
        return self._connection

    def __exit__(self, *_: object) -> None:
        pass
