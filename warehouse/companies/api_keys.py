"""Keys of the HTTP API. Each is a login of its own in Postgres, whose password only the key's holder can work out.

So nothing that we keep opens a company's rows: the table holds a digest, the server a SCRAM verifier, and the process
that answers requests reads as the login of the key that it is shown, which row-level security keeps to one company.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from foundation.keys import Key, digest, prefix_of
from warehouse.companies.registry import get_company
from warehouse.errors import WarehouseError
from warehouse.login_limits import ensure_unliftable
from warehouse.logs.operations import record_audit
from warehouse.relations import compose
from warehouse.roles import Role, company_key_login, drop_owned, make_role

KIND = "churn"
CONNECTIONS = 8
"""Sessions of a key's login at a time, over all processes that serve."""
Scope = Literal["read", "score"]
SCOPES: tuple[Scope, ...] = ("read", "score")
REQUESTS_PER_MINUTE = 600

_SETTINGS = {
    "default_transaction_read_only": "on",
    "statement_timeout": "10s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "15s",
}

Connection = psycopg.Connection[Any]


class KeyNotFound(WarehouseError):
    """No key has this prefix, or it was revoked already."""

    advice = "`churn key list` shows every key."


@dataclass(frozen=True)
class KeptKey:
    """What the warehouse keeps of a key. ``used_at`` is None before its first request."""

    key_prefix: str
    company_id: int
    slug: str
    note: str
    scopes: list[str]
    requests_per_minute: int
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    used_at: datetime | None


@dataclass(frozen=True)
class Access:
    """What a request may do: its company, and the login that reads for it."""

    key_prefix: str
    company_id: int
    slug: str
    scopes: frozenset[str]
    requests_per_minute: int
    login: str
    password: str

    def __repr__(self) -> str:
        return f"Access({self.key_prefix}, {self.slug})"


def create_key(
    connection: Connection,
    slug: str,
    *,
    scopes: Sequence[Scope],
    expires_at: datetime,
    requests_per_minute: int,
    note: str,
    actor: str,
) -> Key:
    """A new key of the company and its login, told to the audit log; its text is in what is returned alone.

    Needs the owner, in a transaction. Raises CompanyNotFound.
    """
    company = get_company(connection, slug)
    key = Key.draw(KIND)
    connection.execute(
        compose(
            "insert into {api_keys} (key_prefix, company_id, digest, note, scopes, requests_per_minute, created_by,"
            " expires_at) values (%s, %s, %s, %s, %s, %s, %s, %s)"
        ),
        (key.prefix, company.company_id, key.digest, note, [*scopes], requests_per_minute, actor, expires_at),
    )
    _make_login(connection, company.company_id, key, expires_at)
    after = {"key": key.prefix, "scopes": [*scopes], "expires_at": expires_at.isoformat(), "note": note}
    record_audit(connection, actor=actor, action="key.created", company_id=company.company_id, after=after)
    return key


def list_keys(connection: Connection, slug: str | None = None) -> list[KeptKey]:
    """Every key, of one company or of all, the newest last. Raises CompanyNotFound."""
    company_id = None if slug is None else get_company(connection, slug).company_id
    with connection.cursor(row_factory=class_row(KeptKey)) as cursor:
        return cursor.execute(compose(_LISTED), {"company": company_id}).fetchall()


_LISTED: LiteralString = """
    select api_keys.key_prefix, company_id, slug, note, scopes, requests_per_minute, created_by, api_keys.created_at,
        expires_at, revoked_at, api_use.used_at
    from {api_keys} as api_keys
    inner join {companies} as companies using (company_id)
    left join {api_use} as api_use using (key_prefix, company_id)
    where %(company)s::int is null or company_id = %(company)s
    order by slug, api_keys.created_at, api_keys.key_prefix
"""


def revoke_key(connection: Connection, key_prefix: str, actor: str) -> KeptKey:
    """End a key and its sessions, and tell the audit log. Needs the owner, in a transaction. Raises KeyNotFound."""
    revoked = connection.execute(
        compose(
            "update {api_keys} set revoked_at = now(), revoked_by = %s"
            " where key_prefix = %s and revoked_at is null returning company_id"
        ),
        [actor, key_prefix],
    ).fetchone()
    if revoked is None:
        raise KeyNotFound(f"There is no key {key_prefix} that could be revoked.")
    (company_id,) = revoked
    login = company_key_login(company_id, key_prefix)
    if connection.execute("select from pg_roles where rolname = %s", [login]).fetchone() is not None:
        drop_owned(connection, login)
        connection.execute(sql.SQL("drop role {}").format(sql.Identifier(login)))
    record_audit(
        connection, actor=actor, action="key.revoked", company_id=company_id, before={"key": key_prefix, "login": login}
    )
    return next(key for key in list_keys(connection) if key.key_prefix == key_prefix)


_KEY: LiteralString = """
    select digest, company_id, slug, scopes, requests_per_minute
    from {api_keys} inner join {companies} as companies using (company_id)
    where key_prefix = %s and revoked_at is null and expires_at > clock_timestamp()
"""
_NOBODY: tuple[bytes, int, str, list[str], int] = (b"\0" * 32, 0, "", [], 0)


def access_by(connection: Connection, text: str) -> Access | None:
    """What the key of this text may do; None where there is no such key, or it is over.

    The work is the same whether the key is missing, wrong, expired or revoked. As `churn_api`.
    """
    prefix = prefix_of(text)
    row = connection.execute(compose(_KEY), [prefix]).fetchone()
    kept, company_id, slug, scopes, requests_per_minute = row or _NOBODY
    is_right = hmac.compare_digest(bytes(kept), digest(text))
    password = _password(text)
    if row is None or not is_right:
        return None
    login = company_key_login(company_id, prefix)
    return Access(prefix, company_id, slug, frozenset(scopes), requests_per_minute, login, password)


@dataclass(frozen=True)
class Allowance:
    """What is left to a key: ``remaining`` requests now, and all of them again after ``full_after`` seconds.

    ``retry_after`` is 0 where the request was let through, else the seconds until the next one may be.
    """

    limit: int
    remaining: int
    full_after: float
    retry_after: float


_SPEND: LiteralString = """
    insert into {api_use} as api_use (key_prefix, company_id, spent_until, used_at)
    values (%(key)s, %(company)s, clock_timestamp() + %(step)s, clock_timestamp())
    on conflict (key_prefix) do update set
        spent_until = greatest(api_use.spent_until, clock_timestamp()) + %(step)s, used_at = clock_timestamp()
    where greatest(api_use.spent_until, clock_timestamp()) + %(step)s <= clock_timestamp() + interval '1 minute'
    returning extract(epoch from spent_until - clock_timestamp())
"""
_SPENT: LiteralString = (
    "select extract(epoch from spent_until - clock_timestamp()) from {api_use} where key_prefix = %s"
)


def spend(connection: Connection, access: Access) -> Allowance:
    """Take one request off the key's allowance, unless there is none left. As `churn_api`, committing by itself.

    A key that was quiet for a minute has all of its requests at once; then they come back evenly.
    """
    limit = access.requests_per_minute
    step = 60 / limit
    asked = {"key": access.key_prefix, "company": access.company_id, "step": timedelta(seconds=step)}
    row = connection.execute(compose(_SPEND), asked).fetchone()
    if row is not None:
        ahead = max(0.0, float(row[0]))
        return Allowance(limit, max(0, int((60 - ahead) / step + 1e-6)), ahead, 0.0)
    row = connection.execute(compose(_SPENT), [access.key_prefix]).fetchone()
    ahead = max(0.0, float(row[0])) if row else 0.0
    return Allowance(limit, 0, ahead, max(0.001, ahead + step - 60))


def _make_login(connection: Connection, company_id: int, key: Key, expires_at: datetime) -> None:
    login = company_key_login(company_id, key.prefix)
    make_role(connection, login)
    name = sql.Identifier(login)
    # Only its SCRAM verifier travels to the server, so no log holds it.
    verifier = connection.pgconn.encrypt_password(_password(key.text).encode(), login.encode(), b"scram-sha-256")
    connection.execute(
        sql.SQL("alter role {} with login inherit connection limit {} valid until {} password {}").format(
            name, sql.Literal(CONNECTIONS), sql.Literal(expires_at.isoformat()), sql.Literal(verifier.decode())
        )
    )
    for setting, value in _SETTINGS.items():
        connection.execute(
            sql.SQL("alter role {} set {} = {}").format(name, sql.Identifier(setting), sql.Literal(value))
        )
    connection.execute(
        sql.SQL("grant {} to {} with inherit true, set false").format(sql.Identifier(Role.company), name)
    )
    ensure_unliftable(connection, login)


def _password(text: str) -> str:
    """The password of a key's login. It cannot be worked out from the digest that is kept."""
    return hmac.new(text.encode(), b"churn warehouse: login of a key", "sha256").hexdigest()
