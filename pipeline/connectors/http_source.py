"""What sources over HTTP share: a session within bounds, and what goes wrong in our words, without secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NoReturn

import requests
from dlt.sources.helpers.requests import Client

from pipeline.connectors.errors import (
    AccessDenied,
    ConnectorError,
    SourceNotFound,
    SourceUnreachable,
    UnexpectedResponse,
)
from pipeline.connectors.http_bounds import AnswerTooLarge, BoundedAdapter
from pipeline.connectors.json_text import in_quotes
from pipeline.connectors.time_limit import TimeLimit
from pipeline.reach import OutOfReach, Reach
from warehouse.redaction import without_secrets


@dataclass(frozen=True)
class Patience:
    """How long to keep trying: attempts per request, growing pauses from `backoff_seconds` on.

    A Retry-After is respected up to `longest_pause_seconds`. Timeouts are for connecting, and from byte to byte; a
    `TimeLimit` counts in all.
    """

    attempts: int = 8
    backoff_seconds: float = 0.25
    longest_pause_seconds: float = 60
    connect_seconds: float = 10
    read_seconds: float = 60


USUAL_PATIENCE = Patience()


def bounded_session(reach: Reach, limit: TimeLimit, patience: Patience) -> requests.Session:
    """dlt's session, which tries again, within our reach, bounds and time."""
    client = Client(
        request_timeout=(patience.connect_seconds, patience.read_seconds),
        raise_for_status=False,
        request_max_attempts=patience.attempts,
        request_backoff_factor=patience.backoff_seconds,
        request_max_retry_delay=patience.longest_pause_seconds,
    )
    session: requests.Session = client.session
    session.send.retry.sleep = limit.sleep  # type: ignore[attr-defined]  # tenacity's own: dlt has no setting for it
    adapter = BoundedAdapter(reach, limit)
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session


@dataclass(frozen=True)
class Remedies:
    """What a person can do, a sentence each: about a key that is refused, an address that leads nowhere, and answers
    of a shape that nobody described."""

    key: str
    address: str
    shape: str


@dataclass
class HttpSource:
    """One company's source over HTTP, as its errors name it.

    company: the slug. name: of the source, with its address. words_of: what an error's body says, None where that
    cannot be told. secrets: what no message shows; more may come, as tokens are fetched.
    """

    company: str
    name: str
    remedies: Remedies
    words_of: Callable[[Any], object]
    secrets: list[str] = field(default_factory=list, repr=False)

    def hide(self, secrets: Sequence[str]) -> None:
        """Keep these out of messages too."""
        self.secrets += secrets

    def clean(self, text: str) -> str:
        """The text without secrets."""
        return without_secrets(text, self.secrets)

    def surprise(self, problem: str, *, hide_cause: bool = False) -> NoReturn:
        """Raise UnexpectedResponse. hide_cause: what is being handled may show a secret."""
        error = UnexpectedResponse(self.company, self.name, f"{problem}.", self.remedies.shape)
        if hide_cause:
            raise error from None
        raise error

    def refuse_redirect(self, response: requests.Response) -> None:
        """Followed, it would carry the key to wherever it leads."""
        if response.is_redirect or response.is_permanent_redirect:
            self.surprise(
                f"it redirects to {self.clean(response.headers['location'])}; "
                "set connector_settings.base_url to the final address"
            )

    @contextmanager
    def translated(self, address: str) -> Iterator[None]:
        """Turn a client's errors into ours, and keep secrets out of every message."""
        try:
            yield
        except requests.HTTPError as error:
            raise self._refused(address, error.response) from None
        except requests.exceptions.JSONDecodeError:
            self.surprise(f"{address} does not answer in JSON", hide_cause=True)
        except requests.exceptions.ChunkedEncodingError as error:
            raise SourceUnreachable(
                self.company,
                self.name,
                f"the line to {address} broke while it answered ({self.clean(_innermost(error))}).",
                "The next sync goes on from where this one stopped.",
            ) from None
        except (requests.ConnectionError, requests.Timeout) as error:
            raise SourceUnreachable(
                self.company,
                self.name,
                f"no answer from {address} ({self.clean(_innermost(error))}).",
                "Is the address right and the source running? The next sync goes on from where this one stopped.",
            ) from None
        except OutOfReach as error:
            raise AccessDenied(
                self.company,
                self.name,
                f"{error}.",
                "Where that is right, the operator allows it by CHURN_PRIVATE_SOURCES.",
            ) from None
        except AnswerTooLarge as error:
            self.surprise(f"{address} cannot be read: {error}", hide_cause=True)
        except requests.RequestException as error:
            self.surprise(f"{address} cannot be read ({self.clean(str(error))})", hide_cause=True)
        except RecursionError:
            self.surprise(f"{address} answers in JSON that is nested too deep", hide_cause=True)
        except ValueError as error:
            self.surprise(f"{address} answers in JSON that cannot be read ({self.clean(str(error))})", hide_cause=True)

    def _refused(self, address: str, response: requests.Response | None) -> ConnectorError:
        assert response is not None  # noqa: S101 requests raises HTTPError only for an answer
        status, said = response.status_code, self._said(response)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return AccessDenied(self.company, self.name, f"it refuses the API key ({status}{said}).", self.remedies.key)
        if status == HTTPStatus.NOT_FOUND:
            return SourceNotFound(self.company, self.name, f"there is no {address} (404{said}).", self.remedies.address)
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return SourceUnreachable(
                self.company,
                self.name,
                f"{address} kept answering {status}{said} after all retries.",
                "Wait and sync again; it goes on from where this one stopped.",
            )
        return UnexpectedResponse(self.company, self.name, f"{address} answers {status}{said}.", self.remedies.shape)

    def _said(self, response: requests.Response) -> str:
        """What the error says, without secrets and then shortened, to stand in a message."""
        try:
            message = self.words_of(response.json())
        except (requests.exceptions.JSONDecodeError, ValueError, KeyError, TypeError):
            return ""
        if message is None:
            return ""
        return f", {in_quotes(self.clean(message) if isinstance(message, str) else message)}"


def _innermost(error: BaseException) -> str:
    """The reason at the bottom of a chain: `Connection refused`, not the whole pool's history."""
    while True:
        inside = [*error.args[:1], getattr(error, "reason", None)]
        deeper = next((part for part in inside if isinstance(part, BaseException)), None)
        if deeper is None:
            return str(error) or type(error).__name__
        error = deeper
