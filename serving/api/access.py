"""Who asks: the key of a request, what it may do, and how much of its allowance is left."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import psycopg
from fastapi import Depends, Request, Response
from fastapi.security import HTTPBearer

from serving.api.problems import Refused
from warehouse.companies.api_keys import Access, Allowance, Scope, access_by, spend
from warehouse.connection import Warehouse
from warehouse.roles import Role
from warehouse.session_pool import CompanyReader, SessionPool

BEARER = HTTPBearer(auto_error=False, scheme_name="key", description="A key by `churn key create`.")
_LONGEST_KEY = 200


class KeyDesk:
    """Looks keys up and counts their requests, as `churn_api`, who may do nothing else."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._pool = SessionPool(most=8, most_of_a_login=8)

    def admit(self, text: str) -> tuple[Access, Allowance] | None:
        """What the key may do, and what is left to it after this request; None where there is no such key."""
        with self._session() as connection:
            access = access_by(connection, text)
            return (access, spend(connection, access)) if access else None

    def still_holds(self, access: Access, text: str) -> bool:
        """Whether a key that was admitted is neither revoked nor over."""
        with self._session() as connection:
            return access_by(connection, text) == access

    def knock(self) -> None:
        """Raises where the warehouse does not answer."""
        with self._session() as connection:
            connection.execute("select")

    def close(self) -> None:
        """Close all sessions."""
        self._pool.close()

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection[Any]]:
        with self._pool.session(Role.api, self._connect) as connection:
            yield connection

    def _connect(self) -> psycopg.Connection[Any]:
        connection = self._warehouse.connect(Role.api, autocommit=True)
        # What a crash loses of it is a second of counting.
        connection.execute("set synchronous_commit to off")
        connection.execute("set statement_timeout to '5s'")
        return connection


class Recovery:
    """Starts an embedded server again that died in use; of another server it waits for whoever runs that."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._running = threading.Lock()

    def begin(self) -> None:
        """In a thread of its own, one at a time."""
        if self._running.acquire(blocking=False):
            threading.Thread(target=self._recover, name="recovery", daemon=True).start()

    def _recover(self) -> None:
        try:
            self._warehouse.revive()
        finally:
            self._running.release()


def key_of(request: Request) -> str:
    """The key that a request shows; an empty text where it shows none. No key is as long as the longest."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    return text.strip()[:_LONGEST_KEY] if scheme.lower() == "bearer" else ""


def admitted(scope: Scope) -> Callable[..., Access]:
    """A dependency: the request's access, where its key has the scope and requests left. Raises Refused."""

    def admit(request: Request, response: Response, _: Annotated[object, Depends(BEARER)]) -> Access:
        desk: KeyDesk = request.app.state.desk
        admission = desk.admit(key_of(request))
        if admission is None:
            raise unauthorized()
        access, allowance = admission
        request.state.key_prefix = access.key_prefix
        headers = limit_headers(allowance)
        request.state.limit_headers = headers
        if allowance.retry_after:
            after = str(math.ceil(allowance.retry_after))
            title = "Too many requests"
            raise Refused(429, "too-many-requests", title, f"Wait {after} s.", headers | {"Retry-After": after})
        if scope not in access.scopes:
            raise Refused(403, "no-scope", "The key may not do this", f"It needs the scope {scope}.", headers)
        response.headers.update(headers)
        return access

    return admit


def unauthorized() -> Refused:
    """The one answer to no key, a wrong one, and one that is over."""
    return Refused(401, "unauthorized", "A valid key is needed", headers={"WWW-Authenticate": "Bearer"})


def limit_headers(allowance: Allowance) -> dict[str, str]:
    """As the draft of the IETF has them: requests left, and seconds until all are there again."""
    return {
        "RateLimit-Policy": f'"key";q={allowance.limit};w=60',
        "RateLimit": f'"key";r={allowance.remaining};t={math.ceil(allowance.full_after)}',
    }


def reader_of(request: Request) -> CompanyReader:
    """What reads for the holder of a key."""
    reader: CompanyReader = request.app.state.reader
    return reader


Reading = Annotated[Access, Depends(admitted("read"))]
Scoring = Annotated[Access, Depends(admitted("score"))]
Reader = Annotated[CompanyReader, Depends(reader_of)]
