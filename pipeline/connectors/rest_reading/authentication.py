"""How a REST API lets us in: dlt's authentications, with tokens kept to where they belong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests
from dlt.common.pendulum import pendulum
from dlt.sources.helpers.rest_client.auth import APIKeyAuth, BearerTokenAuth, HttpBasicAuth, OAuth2ClientCredentials

from pipeline.connectors.http_source import HttpSource
from pipeline.connectors.rest_reading.settings import Authentication, Basic, Bearer, HeaderKey, NoKey, OAuth2
from warehouse.redaction import forms_of
from warehouse.settings import SECRET_REFERENCES

Resolve = Callable[[str], str]
"""The secret that a reference stands for."""


def authentication(
    settings: Authentication, base_url: str, session: requests.Session, http: HttpSource, resolve: Resolve
) -> Any:
    """What puts the key on each request, as requests takes it; `http` hides every secret. Raises AccessDenied."""

    def secret(reference: str) -> str:
        value = resolve(reference)
        http.hide(forms_of(value))
        return value

    def plain_or_secret(value: str) -> str:
        return secret(value) if value.startswith(SECRET_REFERENCES) else value

    if isinstance(settings, NoKey):
        return _WithoutKey()
    if isinstance(settings, Bearer):
        return BearerTokenAuth(token=secret(settings.token))
    if isinstance(settings, Basic):
        return HttpBasicAuth(username=plain_or_secret(settings.username), password=secret(settings.password))
    if isinstance(settings, HeaderKey):
        return APIKeyAuth(name=settings.name, api_key=secret(settings.api_key), location="header")
    return FetchedToken(
        http,
        refresh_token=None if settings.refresh_token is None else secret(settings.refresh_token),
        access_token_url=base_url + settings.token_url if settings.token_url.startswith("/") else settings.token_url,
        client_id=plain_or_secret(settings.client_id),
        client_secret=secret(settings.client_secret),
        access_token_request_data={"scope": settings.scope} if settings.scope else {},
        session=session,
    )


def place_of_key(settings: Authentication) -> str:
    """Where a person puts the key, for messages."""
    names = {
        Bearer: ("token",),
        Basic: ("username", "password"),
        HeaderKey: ("api_key",),
        OAuth2: ("client_id", "client_secret"),
        NoKey: (),
    }[type(settings)]
    given = ", ".join(f"{name}: {getattr(settings, name)}" for name in names)
    return f"connector_settings.auth ({given or 'kind: none'})"


class _WithoutKey(requests.auth.AuthBase):
    """Says so: with no authentication at all requests would look in the operator's ~/.netrc for one."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class FetchedToken(OAuth2ClientCredentials):  # type: ignore[misc]
    """dlt's tokens by client credentials, or by a refresh token where there is one.

    The secrets go to the token's address and, where that redirects, nowhere.
    """

    def __init__(self, http: HttpSource, refresh_token: str | None, **settings: Any) -> None:
        super().__init__(**settings)
        self._http = http
        self._refresh_token = refresh_token

    def build_access_token_request(self) -> dict[str, Any]:
        """See `OAuth2ClientCredentials`."""
        request: dict[str, Any] = super().build_access_token_request()
        if self._refresh_token is not None:
            request["data"] |= {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
        return request

    def obtain_token(self) -> None:
        """See `OAuth2ClientCredentials`. Raises ConnectorError."""
        with self._http.translated(self.access_token_url):
            response = self.session.post(
                self.access_token_url, allow_redirects=False, auth=_WithoutKey(), **self.build_access_token_request()
            )
            self._http.refuse_redirect(response)
            response.raise_for_status()
            answer = response.json()
        if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
            self._http.surprise(f"{self.access_token_url} gives no access_token")
        self._http.hide(forms_of(answer["access_token"]))
        if self._refresh_token is not None and answer.get("refresh_token", self._refresh_token) != self._refresh_token:
            self._http.hide(forms_of(str(answer["refresh_token"])))
            self._http.surprise(
                "it gives another refresh token each time, which is not kept, so that the next sync would be refused;"
                " use a grant by client credentials, or a refresh token that stays"
            )
        self.access_token = answer["access_token"]
        self.token_expiry = self._expiry(answer)

    def forget_token(self) -> None:
        """Have the next request fetch a token."""
        self.access_token = None

    def _expiry(self, answer: dict[str, Any]) -> Any:
        try:
            seconds = self.parse_expiration_in_seconds(answer)
        except (TypeError, ValueError):
            seconds = self.default_token_expiration
        return pendulum.now().add(seconds=seconds)
