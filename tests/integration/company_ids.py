"""Ids of companies for tests of roles: databases are a test's own, but roles are the server's."""

import secrets
from typing import Any

import psycopg
from psycopg import sql


def take_ids_of_no_other_test(connection: psycopg.Connection[Any]) -> None:
    """Let the warehouse number its next companies from a place far from other tests'."""
    start = sql.Literal(1_000_000 + secrets.randbelow(900_000_000))
    connection.execute(sql.SQL("alter table ops.companies alter company_id restart with {}").format(start))
