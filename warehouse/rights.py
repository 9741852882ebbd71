"""What each role may do with what Python owns, declared once and made so at every migration.

Migrations grant what their tables need when they make them, and count as done ever after: a warehouse that was restored
without its rights, or lost one by hand, gets it back here. Rights on the contract's relations belong to
`warehouse.publication.contract`; those on dbt's tables, to dbt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg import sql

from warehouse import relations as tables
from warehouse.relations import Relation
from warehouse.roles import Role

_ALL_SCHEMAS = (
    *("ops", "raw", "staging", "intermediate", "features", "ml", "predictions", "analytics"),
    *(tables.MLFLOW_SCHEMA, tables.DAGSTER_SCHEMA),
)
_SCHEMAS_OF_DBT = ("staging", "intermediate", "features", "analytics")

SCHEMAS: Mapping[Role, tuple[str, ...]] = {
    Role.loader: ("ops", "raw"),
    Role.ml: ("ops", "raw", "intermediate", "features", "ml", "predictions"),
    Role.publisher: ("ops", "ml", "predictions"),
    Role.operator: _ALL_SCHEMAS,
    Role.collector: ("ops", "raw"),
    Role.company: ("predictions", "analytics"),
    Role.company_sync: ("predictions",),
    Role.api: ("ops",),
}
"""The schemas that a role may look into."""

READ_LATER: Mapping[Role, tuple[str, ...]] = {Role.operator: _ALL_SCHEMAS, Role.ml: ("features",)}
"""The schemas in which a role may read what the owner makes from now on: dbt's tables, the tools' own."""

CLOSED_TO_OPERATOR = (tables.ERASURE_KEY, tables.CANARIES)
"""What an operator may not read: with the key, hashes of erased customers could be told apart."""

TableRights = Mapping[str, Mapping[Relation, tuple[LiteralString, ...]]]

_READ: tuple[LiteralString, ...] = ("select",)
_ADD: tuple[LiteralString, ...] = ("select", "insert")
_KEEP: tuple[LiteralString, ...] = ("select", "insert", "update")
_REPLACE: tuple[LiteralString, ...] = ("select", "insert", "delete")
_OWN: tuple[LiteralString, ...] = ("select", "insert", "update", "delete")

_DECIDED = tables.DECISION_TABLES

TABLES: TableRights = {
    Role.loader: {
        **dict.fromkeys((tables.COMPANIES, tables.COMPANY_TASKS, tables.TASKS, tables.ERASURE_KEY), _READ),
        tables.COMPANY_ACTIONS: _READ,
        **dict.fromkeys((tables.LOAD_LOG, tables.RUN_LOG, tables.SYNC_CURSORS), _KEEP),
        **dict.fromkeys((*tables.ENTITY_RELATIONS.values(), tables.REJECTED_RECORDS, tables.WITHHELD_RECORDS), _ADD),
    },
    Role.ml: {
        **dict.fromkeys((tables.COMPANIES, tables.COMPANY_TASKS, tables.TASKS, tables.LOAD_LOG), _READ),
        tables.COMPANY_ACTIONS: _READ,
        **dict.fromkeys((tables.EVALUATIONS, tables.FEATURE_PROOFS, tables.PROMOTIONS), _ADD),
        **dict.fromkeys((tables.PUBLICATION_GATES, tables.TRAINING_RUNS), _ADD),
        tables.MISSING_FEATURES: _KEEP,
        **dict.fromkeys((tables.SCORE_MOVES, tables.SHADOW_SCORES, tables.STAGED_SCORES), _REPLACE),
        **dict.fromkeys((tables.DRIFT_REFERENCES, tables.EXPLAINED_PARTS, tables.FEATURE_DRIFT, tables.GRADES), _OWN),
        **dict.fromkeys((tables.HELD_FLIPS, tables.PUBLICATION_HOLDS, tables.SCORE_GRADES, tables.SHADOW_GRADES), _OWN),
        **dict.fromkeys((tables.CUSTOMER_VALUES, tables.VALUE_THRESHOLDS, tables.SEGMENT_MOVES), _REPLACE),
        tables.UPLIFT_LEDGER: _REPLACE,
        **dict.fromkeys((tables.PROGRAMMES, tables.CONTROL_GROUPS), _KEEP),
        **dict.fromkeys((tables.ENROLMENTS, tables.PROGRAMME_PLANS, *_DECIDED, *tables.DECISION_VIEWS), _READ),
        **dict.fromkeys((tables.TRACK_RECORD, tables.TRACK_RECORD_GRADES, tables.TRACK_RECORD_MONTHS), _OWN),
    },
    Role.publisher: {
        tables.RUN_LOG: _KEEP,
        tables.PUBLICATION_GATES: _READ,
        tables.PUBLICATION_HOLDS: ("select", "update"),
        tables.STAGED_SCORES: ("select", "delete", "truncate"),
        **dict.fromkeys((tables.ENROLMENTS, tables.PROGRAMME_PLANS), _REPLACE),
        **dict.fromkeys((*_DECIDED, *tables.DECISION_VIEWS), _READ) | dict.fromkeys(_DECIDED, _OWN),
    },
    Role.api: {tables.API_KEYS: _READ, tables.API_USE: _KEEP},
    Role.collector: {
        tables.TRACKED_EVENTS: ("insert",),
        tables.REJECTED_RECORDS: ("insert",),
        tables.COLLECTED_EVENTS: _KEEP,
    },
    **dict.fromkeys((Role.company, Role.company_sync), dict.fromkeys((*_DECIDED, *tables.DECISION_VIEWS), _READ)),
}
"""What a role may do with each table."""

COLUMNS: Mapping[Role, Mapping[Relation, tuple[str, ...]]] = {
    Role.loader: {tables.ERASURES: ("company_id", "customer_hash")},
    # Of the raw tables what tells how old a record is, and no word of a customer.
    Role.ml: {
        tables.RAW_CUSTOMERS: ("company_id", "customer_id", "known_at", "created_at"),
        tables.RAW_TICKETS: ("company_id", "ticket_id", "known_at", "opened_at"),
        tables.RAW_PAYMENTS: ("company_id", "payment_id", "known_at", "paid_at", "failed_at"),
        tables.RAW_EVENTS: ("company_id", "event_id", "known_at", "occurred_at"),
    },
    Role.api: {tables.COMPANIES: ("company_id", "slug")},
    # By these an event is seen to be there already.
    Role.collector: {tables.TRACKED_EVENTS: ("company_id", "message_id")},
}
"""The columns that a role may read where it may not read the whole table."""

FUNCTIONS: Mapping[Role, tuple[LiteralString, ...]] = {
    Role.collector: (
        "ops.find_write_key(text)",
        "ops.write_key_origins()",
        "ops.collecting_companies(int[])",
        "ops.forgotten(int[], text[], text[])",
    )
}
"""The functions that a role may call, with their owner's rights; nobody else may."""

Connection = psycopg.Connection[Any]


class _Right(NamedTuple):
    """A right of a role: on a schema, on a table, or on one of its columns."""

    role: str
    right: LiteralString
    schema: str
    table: str | None = None
    column: str | None = None

    def grant(self) -> sql.Composed:
        if self.table is None:
            place = sql.SQL("schema {}").format(sql.Identifier(self.schema))
        else:
            place = sql.SQL("{}").format(sql.Identifier(self.schema, self.table))
        column = sql.SQL("({})").format(sql.Identifier(self.column)) if self.column else sql.SQL("")
        return sql.SQL("grant {}{} on {} to {}").format(sql.SQL(self.right), column, place, sql.Identifier(self.role))


_MISSING: LiteralString = """
    select asked.number
    from
        unnest(%(role)s::text[], %(right)s::text[], %(schema)s::text[], %(table)s::text[], %(column)s::text[])
        with ordinality as asked (role, privilege, schema, relation, attribute, number)
    left join pg_namespace on pg_namespace.nspname = asked.schema
    left join pg_class on pg_class.relnamespace = pg_namespace.oid and pg_class.relname = asked.relation
    left join pg_attribute on pg_attribute.attrelid = pg_class.oid and pg_attribute.attname = asked.attribute
    where case
        when asked.relation is null then not has_schema_privilege(asked.role, pg_namespace.oid, asked.privilege)
        when asked.attribute is null then not has_table_privilege(asked.role, pg_class.oid, asked.privilege)
        else not has_column_privilege(asked.role, pg_class.oid, pg_attribute.attnum, asked.privilege)
    end
"""

_READABLE_BY_OPERATOR: LiteralString = """
    select nspname, relname from pg_class inner join pg_namespace on pg_namespace.oid = relnamespace
    where nspname = any(%s) and relkind in ('r', 'p', 'v') and pg_get_userbyid(relowner) = current_user
"""

_FUNCTIONS_OPEN_BY_DEFAULT: LiteralString = """
    select not exists (
        select from pg_default_acl
        where defaclrole = current_user::regrole and defaclnamespace = 0 and defaclobjtype = 'f'
            and not exists (select from aclexplode(defaclacl) where grantee = 0)
    )
"""


def ensure_rights(connection: Connection) -> None:
    """Grant what is declared and missing; what is there already is left alone. Needs the owner, in a transaction.

    A table that is not there is passed over: the schema may be at an older revision.
    """
    for right in _missing(connection, [*_declared(), *_for_operator(connection)]):
        connection.execute(right.grant())
    for role, schemas in READ_LATER.items():
        _ensure_later_reading(connection, role, schemas)
    _close_functions(connection)
    _open_functions(connection)


def ensure_table_rights(connection: Connection, rights: TableRights) -> None:
    """Grant these rights on tables and views where they are missing. Needs the owner."""
    for right in _missing(connection, [*_of_tables(rights)]):
        connection.execute(right.grant())


def _missing(connection: Connection, rights: Sequence[_Right]) -> list[_Right]:
    asked = {name: [getattr(right, name) for right in rights] for name in _Right._fields}
    return [rights[number - 1] for (number,) in connection.execute(_MISSING, asked).fetchall()]


def _declared() -> Iterator[_Right]:
    for role, schemas in SCHEMAS.items():
        for schema in schemas:
            yield _Right(role, "usage", schema)
    yield from _of_tables(TABLES)
    for role, columns_by_table in COLUMNS.items():
        for table, columns in columns_by_table.items():
            for column in columns:
                yield _Right(role, "select", table.schema, table.name, column)


def _of_tables(rights: TableRights) -> Iterator[_Right]:
    for role, rights_by_table in rights.items():
        for table, asked in rights_by_table.items():
            for right in asked:
                yield _Right(role, right, table.schema, table.name)


def _for_operator(connection: Connection) -> Iterator[_Right]:
    """The operator reads every table of Python and of the tools, but for those that are closed."""
    ours = [schema for schema in _ALL_SCHEMAS if schema not in _SCHEMAS_OF_DBT]
    for schema, name in connection.execute(_READABLE_BY_OPERATOR, [ours]).fetchall():
        if Relation(schema, name) not in CLOSED_TO_OPERATOR:
            yield _Right(Role.operator, "select", schema, name)


def _ensure_later_reading(connection: Connection, role: Role, schemas: Sequence[str]) -> None:
    rows = connection.execute(
        "select nspname from pg_namespace where nspname = any(%(schemas)s) and not exists ("
        " select from pg_default_acl, lateral aclexplode(defaclacl)"
        " where defaclnamespace = pg_namespace.oid and defaclobjtype = 'r' and privilege_type = 'SELECT'"
        " and pg_get_userbyid(grantee) = %(role)s and pg_get_userbyid(defaclrole) = current_user)",
        {"schemas": [*schemas], "role": role},
    ).fetchall()
    for (schema,) in rows:
        connection.execute(
            sql.SQL("alter default privileges in schema {} grant select on tables to {}").format(
                sql.Identifier(schema), sql.Identifier(role)
            )
        )


def _close_functions(connection: Connection) -> None:
    """No function of the owner's is everybody's to call: neither ours, which triggers call, nor the tools'.

    MLflow makes its own after this, in its schema; Postgres would let every login of the database call them. Default
    privileges of one schema can only add to those of the database, so the latter are what is taken.
    """
    if connection.execute(_FUNCTIONS_OPEN_BY_DEFAULT).fetchone() == (True,):
        connection.execute("alter default privileges revoke execute on routines from public")
    rows = connection.execute(
        "select pg_proc.oid::regprocedure::text from pg_proc where proowner = current_user::regrole"
        " and exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee = 0)"
    ).fetchall()
    for (routine,) in rows:
        connection.execute(sql.SQL("revoke execute on routine {} from public").format(sql.SQL(routine)))


def _open_functions(connection: Connection) -> None:
    for role, functions in FUNCTIONS.items():
        for function in functions:
            row = connection.execute(
                "select not has_function_privilege(%s, to_regprocedure(%s), 'execute')", [role, function]
            ).fetchone()
            if row is not None and row[0]:
                connection.execute(
                    sql.SQL("grant execute on function {} to {}").format(sql.SQL(function), sql.Identifier(role))
                )
