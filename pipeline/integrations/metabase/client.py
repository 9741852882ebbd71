"""Metabase's HTTP API: timeouts, bounded retries of what may be repeated, typed errors, no secrets in them.

What a dashboard is belongs in `definitions.py`; what must happen in which order belongs in `apply.py`.
"""

from __future__ import annotations

import functools
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import SecretStr

from pipeline.integrations.metabase.errors import MetabaseNotReady, MetabaseRefused, MetabaseUnreachable
from warehouse.redaction import forms_of, without_secrets
from warehouse.settings import Settings

REPEATABLE = frozenset({"GET", "PUT"})
PASSING_STATUSES = frozenset({429, 502, 503, 504})
ATTEMPTS = 4
LONGEST_WAIT_SECONDS = 20.0
LONGEST_BODY_IN_ERROR = 600
OLDEST_VERSION = 58
NEWEST_TRIED_VERSION = 63


@dataclass(frozen=True)
class MetabaseAccess:
    """Where Metabase is and who we are there: an API key, or a user name and a password."""

    url: str
    api_key: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None


def access_of(settings: Settings) -> MetabaseAccess:
    """The access that the settings name. CHURN_METABASE_URL must be set."""
    assert settings.metabase_url is not None  # noqa: S101  (callers look first)
    return MetabaseAccess(
        settings.metabase_url,
        settings.metabase_api_key,
        settings.metabase_username,
        settings.metabase_password,
    )


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Those that httpx trusts; to read them takes longer than a dozen requests."""
    return httpx.create_ssl_context()


class MetabaseClient:
    """One Metabase, as an administrator. Use as a context manager; call `sign_in` before anything else."""

    def __init__(
        self,
        access: MetabaseAccess,
        *,
        timeout_seconds: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._access = access
        self._sleep = sleep
        self._secrets: set[str] = set()
        self._http = httpx.Client(
            base_url=access.url.rstrip("/"),
            timeout=httpx.Timeout(timeout_seconds, connect=5.0),
            headers={"Accept": "application/json"},
            verify=_certificates(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def hide(self, secret: SecretStr | None) -> None:
        """Take this secret out of every later error message."""
        if secret is not None and secret.get_secret_value():
            self._secrets.add(secret.get_secret_value())

    def get(self, path: str, **params: str | int) -> Any:
        """GET `path` and return the parsed body."""
        return self._request("GET", path, params=params)

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        """PUT `body` and return the parsed body of the answer."""
        return self._request("PUT", path, body=body)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """POST `body` once, without retries, and return the parsed body of the answer."""
        return self._request("POST", path, body=body or {})

    def sign_in(self, *, site_name: str) -> str:
        """Set a fresh Metabase up, or sign in, and return its version tag.

        Raises MetabaseNotReady when it is fresh and no user name and password were given, or too old.
        """
        properties = self._properties()
        tag = tag_of(properties)
        if not properties.get("has-user-setup"):
            self._set_up(str(properties.get("setup-token") or ""), site_name)
        elif self._access.api_key is not None:
            self._http.headers["x-api-key"] = self._access.api_key.get_secret_value()
        else:
            self._log_in()
        return tag

    def version(self) -> tuple[str, bool]:
        """The version tag, and whether it is set up; needs no sign-in. Raises MetabaseNotReady when it is too old."""
        properties = self._properties()
        return tag_of(properties), bool(properties.get("has-user-setup"))

    def public_url(self) -> str:
        """Metabase's address as people's browsers know it: what it says itself, else the one that we use."""
        return str(self._properties().get("site-url") or self._access.url).rstrip("/")

    def has_mail(self) -> bool:
        """Whether a mail server is set up. Without one Metabase takes subscriptions, and never sends them."""
        return bool(self._properties().get("email-configured?"))

    def _properties(self) -> dict[str, Any]:
        for secret in (self._access.api_key, self._access.password):
            self.hide(secret)
        properties: dict[str, Any] = self.get("/api/session/properties")
        refuse_old_version(tag_of(properties))
        return properties

    def credentials(self) -> dict[str, str]:
        """How another client of the same Metabase signs in: arguments of dbt-metabase."""
        credentials = {"metabase_url": self._access.url}
        if self._access.api_key is not None:
            return credentials | {"metabase_api_key": self._access.api_key.get_secret_value()}
        return credentials | dict(
            zip(("metabase_username", "metabase_password"), self._account("it wants a sign-in"), strict=True)
        )

    def delete(self, path: str) -> Any:
        """DELETE `path`."""
        return self._request("DELETE", path)

    def run_card(self, card_id: int) -> str | None:
        """Run a saved card without filters; None when it worked, else what Metabase says went wrong.

        Metabase answers 202 for a query that failed, too: only the body tells.
        """
        answer = self.post(f"/api/card/{card_id}/query")
        if answer.get("status") == "completed":
            return None
        return self.without_secrets(str(answer.get("error") or f"status {answer.get('status')!r}"))

    def _set_up(self, token: str, site_name: str) -> None:
        username, password = self._account("it is fresh and has no administrator yet")
        body = set_up_body(token, username, password, site_name)
        self._use_session(self.post("/api/setup", body))

    def _log_in(self) -> None:
        username, password = self._account("it wants a sign-in")
        self._use_session(self.post("/api/session", {"username": username, "password": password}))

    def _account(self, why: str) -> tuple[str, str]:
        if not self._access.username or self._access.password is None:
            raise MetabaseNotReady(
                f"Metabase at {self._access.url} cannot be used: {why}. "
                "Set CHURN_METABASE_USERNAME (an e-mail address) and CHURN_METABASE_PASSWORD."
            )
        return self._access.username, self._access.password.get_secret_value()

    def _use_session(self, answer: Mapping[str, Any]) -> None:
        session = str(answer["id"])
        self._secrets.add(session)
        self._http.headers["X-Metabase-Session"] = session

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        attempts = ATTEMPTS if method in REPEATABLE else 1
        for attempt in range(1, attempts + 1):
            is_last = attempt == attempts
            try:
                response = self._http.request(method, path, params=params, json=body)
            except httpx.TransportError as error:
                if is_last:
                    raise self._unreachable(method, path, error) from None
                self._sleep(waiting_time(attempt))
                continue
            if response.status_code in PASSING_STATUSES and not is_last:
                self._sleep(waiting_time(attempt, response.headers.get("Retry-After")))
                continue
            return self._parsed(response, method, path)
        raise AssertionError("the last attempt returns or raises")

    def _parsed(self, response: httpx.Response, method: str, path: str) -> Any:
        if not response.is_success:
            text = self.without_secrets(response.text, LONGEST_BODY_IN_ERROR) or "(no body)"
            raise MetabaseRefused(response.status_code, method, path, text)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError:
            text = self.without_secrets(response.text, 80)
            raise MetabaseRefused(
                response.status_code, method, path, f"not JSON, so no Metabase answers there: {text!r}"
            ) from None

    def _unreachable(self, method: str, path: str, error: httpx.TransportError) -> MetabaseUnreachable:
        reason = self.without_secrets(str(error)) or type(error).__name__
        return MetabaseUnreachable(f"No answer from Metabase at {self._access.url} to {method} {path}: {reason}.")

    def without_secrets(self, text: str, longest: int | None = None) -> str:
        """What Metabase said, with secrets struck out of it, and cut after so many characters."""
        forms = {form for secret in self._secrets for form in forms_of(secret)}
        return without_secrets(text, sorted(forms, key=len, reverse=True), longest)


def tag_of(properties: Mapping[str, Any]) -> str:
    """The version tag in what /api/session/properties says."""
    return str((properties.get("version") or {}).get("tag") or "unknown")


def set_up_body(token: str, username: str, password: str, site_name: str) -> dict[str, Any]:
    """Body of POST /api/setup: the first administrator of a fresh Metabase."""
    return {
        "token": token,
        "user": {
            "email": username,
            "password": password,
            "first_name": "Churn",
            "last_name": "Warehouse",
        },
        "prefs": {"site_name": site_name, "site_locale": "en"},
    }


def waiting_time(attempt: int, retry_after: str | None = None) -> float:
    """Seconds before the attempt after number `attempt` (1 based): what the server asks, else doubling."""
    if retry_after is not None and retry_after.isdigit():
        return min(float(retry_after), LONGEST_WAIT_SECONDS)
    return min(0.5 * 2.0 ** (attempt - 1), LONGEST_WAIT_SECONDS)


def major_version(tag: str) -> int | None:
    """58 of `v0.58.3` (free) or `v1.58.3` (paid); None for a build without a number."""
    match = re.match(r"v[01]\.(\d+)", tag)
    return int(match.group(1)) if match else None


def refuse_old_version(tag: str) -> None:
    """Raise MetabaseNotReady for a Metabase that does not know the query format we write."""
    version = major_version(tag)
    if version is not None and version < OLDEST_VERSION:
        raise MetabaseNotReady(
            f"Metabase {tag} is older than 0.{OLDEST_VERSION}, the oldest that these dashboards were written "
            "for. Upgrade it."
        )
