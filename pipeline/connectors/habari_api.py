"""The Habari CRM API as a source. Paging, authentication and retries are dlt's REST client's.

What the API answers is described in docs/habari-crm-api.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import requests
from dlt.sources.helpers.requests import Client
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.auth import APIKeyAuth
from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator
from pydantic import Field, field_validator

from pipeline.connectors.contract import Chunk, Entity, Totals
from pipeline.connectors.errors import (
    AccessDenied,
    ConnectorError,
    SourceNotFound,
    SourceUnreachable,
    UnexpectedResponse,
)
from pipeline.connectors.http_bounds import AnswerTooLarge, BoundedAdapter
from pipeline.connectors.json_text import in_quotes
from pipeline.connectors.mapping import Zones
from pipeline.connectors.registry import Access, Connector
from pipeline.connectors.time_limit import TimeLimit
from pipeline.connectors.validation import Reading, validate_records
from pipeline.reach import OutOfReach, Reach
from warehouse.redaction import forms_of, without_secrets

if TYPE_CHECKING:
    from requests import Response

COLUMNS = {
    "customers": {"customer_id": "id", "is_deleted": "deleted"},
    "tickets": {"ticket_id": "id", "is_deleted": "deleted", "opened_at": "created_at"},
    "payments": {
        "payment_id": "id",
        "is_deleted": "deleted",
        "kind": "type",
        "discount_amount": "discount",
        "issued_at": "created_at",
    },
    "events": {"event_id": "id", "is_deleted": "deleted", "occurred_at": "created_at"},
}
"""What the API calls the contract's columns, where it has a name of its own."""

CUSTOM_FIELDS = "custom"
API_KEY_HEADER = "X-API-Key"


class HabariSettings(Zones):
    """Connector settings of a company whose CRM is a Habari CRM."""

    base_url: str = Field(description="Address of the CRM, such as https://crm.example.com.")
    api_key: str = Field(description="Reference to the API key: env:NAME, file:PATH or encrypted:TOKEN.")
    page_size: int = Field(default=1000, ge=1, le=1000, description="Records per request.")

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must look like https://crm.example.com")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must hold no user, password or parameters")
        return url.rstrip("/")


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


class HabariApi:
    """Reads one company's records from a Habari CRM."""

    def __init__(
        self,
        company: str,
        settings: HabariSettings,
        api_key: str,
        reading: Reading,
        reach: Reach,
        patience: Patience = Patience(),
        limit: TimeLimit | None = None,
    ) -> None:
        """`company` is the slug, for messages; `api_key` the key itself, never shown; `reach` where it may lead."""
        self._company = company
        self._settings = settings
        self._secrets = forms_of(api_key)
        self._reading = reading
        self._source = f"Habari CRM at {settings.base_url}"
        client = Client(
            request_timeout=(patience.connect_seconds, patience.read_seconds),
            raise_for_status=False,
            request_max_attempts=patience.attempts,
            request_backoff_factor=patience.backoff_seconds,
            request_max_retry_delay=patience.longest_pause_seconds,
        )
        limit = limit or TimeLimit(company, self._source)
        client.session.send.retry.sleep = limit.sleep  # tenacity's own, which dlt has no setting for
        adapter = BoundedAdapter(reach, limit)
        for scheme in ("http://", "https://"):
            client.session.mount(scheme, adapter)
        self._client = RESTClient(
            base_url=settings.base_url,
            auth=APIKeyAuth(name=API_KEY_HEADER, api_key=api_key, location="header"),
            session=client.session,
        )

    def read(self, entity: Entity, updated_since: datetime | None, chunk_rows: int) -> Iterator[Chunk]:
        """See `Source.read`. Pages are gathered until a chunk is full."""
        reading = _reading_of(entity, self._reading)
        gathered: list[object] = []
        for page in self._pages(entity, updated_since):
            gathered += page
            if len(gathered) >= chunk_rows:
                yield validate_records(entity, gathered, reading)
                gathered = []
        if gathered:
            yield validate_records(entity, gathered, reading)

    def totals(self, entity: Entity) -> Totals | None:
        """See `Source.totals`."""
        with self._translated(f"{self._settings.base_url}/api/v1/totals"):
            response = self._client.get("/api/v1/totals", allow_redirects=False)
            response.raise_for_status()
            self._refuse_redirect(response)
            counts = response.json()
        try:
            live, deleted = (counts[entity.name][key] for key in ("live", "deleted"))
        except (KeyError, TypeError):
            self._surprise(f"its totals say nothing about live and deleted {entity.name}")
        if not all(isinstance(count, int) and count >= 0 for count in (live, deleted)):
            self._surprise(f"its totals of {entity.name} are no counts")
        return Totals(live=live, deleted=deleted)

    def is_complete(self, _: Entity) -> bool:
        """See `ListedSource.is_complete`: a list of the CRM has every record, deleted ones too."""
        return True

    def reads_whole(self, _: Entity) -> bool:
        """See `ListedSource.reads_whole`."""
        return False

    def close(self) -> None:
        """Close the connections to the CRM."""
        self._client.session.close()

    def _pages(self, entity: Entity, updated_since: datetime | None) -> Iterator[list[Any]]:
        parameters: dict[str, Any] = {"page_size": self._settings.page_size}
        if updated_since is not None:
            parameters["updated_since"] = updated_since.isoformat()
        path = f"/api/v1/{entity.name}"
        with self._translated(f"{self._settings.base_url}{path}"):
            yield from self._client.paginate(
                path,
                params=parameters,
                data_selector="data",
                paginator=_CursorPaginator(self),
                allow_redirects=False,
            )

    @contextmanager
    def _translated(self, address: str) -> Iterator[None]:
        """Turn the client's errors into ours, and keep the key out of every message."""
        try:
            yield
        except requests.HTTPError as error:
            raise self._refused(address, error.response) from None
        except requests.exceptions.JSONDecodeError:
            self._surprise(f"{address} does not answer in JSON", hide_cause=True)
        except requests.exceptions.ChunkedEncodingError as error:
            raise SourceUnreachable(
                self._company,
                self._source,
                f"the line to {address} broke while it answered ({self._clean(_innermost(error))}).",
                "The next sync goes on from where this one stopped.",
            ) from None
        except (requests.ConnectionError, requests.Timeout) as error:
            raise SourceUnreachable(
                self._company,
                self._source,
                f"no answer from {address} ({self._clean(_innermost(error))}).",
                "Is the address right and the CRM running? The next sync goes on from where this one stopped.",
            ) from None
        except OutOfReach as error:
            raise AccessDenied(
                self._company,
                self._source,
                f"{error}.",
                "Where that is right, the operator allows it by CHURN_PRIVATE_SOURCES.",
            ) from None
        except AnswerTooLarge as error:
            self._surprise(f"{address} cannot be read: {error}", hide_cause=True)
        except requests.RequestException as error:
            self._surprise(f"{address} cannot be read ({self._clean(str(error))})", hide_cause=True)
        except RecursionError:
            self._surprise(f"{address} answers in JSON that is nested too deep", hide_cause=True)
        except ValueError as error:
            self._surprise(
                f"{address} answers in JSON that cannot be read ({self._clean(str(error))})", hide_cause=True
            )

    def _refused(self, address: str, response: Response | None) -> ConnectorError:
        assert response is not None  # noqa: S101 requests raises HTTPError only for an answer
        status, said = response.status_code, _said(response, self._clean)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return AccessDenied(
                self._company,
                self._source,
                f"it refuses the API key ({status}{said}).",
                f"Put a valid key where connector_settings.api_key points ({self._settings.api_key}).",
            )
        if status == HTTPStatus.NOT_FOUND:
            return SourceNotFound(
                self._company,
                self._source,
                f"there is no {address} (404{said}).",
                "Set connector_settings.base_url to the root of a Habari CRM, without /api/v1.",
            )
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return SourceUnreachable(
                self._company,
                self._source,
                f"{address} kept answering {status}{said} after all retries.",
                "Wait and sync again; it goes on from where this one stopped.",
            )
        return UnexpectedResponse(
            self._company,
            self._source,
            f"{address} answers {status}{said}.",
            "Compare the CRM's version with docs/habari-crm-api.md.",
        )

    def _refuse_redirect(self, response: Response) -> None:
        if response.is_redirect or response.is_permanent_redirect:
            # Followed, it would carry the key to wherever it leads.
            self._surprise(
                f"it redirects to {self._clean(response.headers['location'])}; "
                "set connector_settings.base_url to the final address"
            )

    def check_page(self, response: Response) -> dict[str, Any]:
        """The page's body where it has the shape that the API's description promises."""
        self._refuse_redirect(response)
        body = response.json()
        if not isinstance(body, dict) or not isinstance(body.get("data"), list):
            self._surprise("a page has no list named data")
        if not isinstance(body.get("next_cursor"), str | None):
            self._surprise("a page's next_cursor is not text")
        return body

    def refuse_repeated_cursor(self) -> NoReturn:
        """A cursor that leads back to a page of before would never end."""
        self._surprise("a page's next_cursor is one that was followed before")

    def _surprise(self, problem: str, *, hide_cause: bool = False) -> NoReturn:
        error = UnexpectedResponse(
            self._company, self._source, f"{problem}.", "Compare the CRM with docs/habari-crm-api.md."
        )
        if hide_cause:
            raise error from None
        raise error

    def _clean(self, text: str) -> str:
        return without_secrets(text, self._secrets)


class _CursorPaginator(JSONResponseCursorPaginator):  # type: ignore[misc]
    """dlt's cursor paging, which takes any answer for a last page, with the answer checked first."""

    def __init__(self, api: HabariApi) -> None:
        super().__init__(cursor_path="next_cursor", cursor_param="cursor")
        self._api = api
        self._followed: set[str] = set()

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        body = self._api.check_page(response)
        following = body.get("next_cursor")
        if following in self._followed:
            self._api.refuse_repeated_cursor()
        if following is not None:
            self._followed.add(following)
        super().update_state(response, data)


def _reading_of(entity: Entity, reading: Reading) -> Reading:
    return replace(reading, columns=COLUMNS[entity.name], spread=CUSTOM_FIELDS)


def _said(response: Response, clean: Callable[[str], str]) -> str:
    """What the API's error says, without secrets and then shortened, to stand in a message."""
    try:
        message = response.json()["error"]["message"]
    except (requests.exceptions.JSONDecodeError, KeyError, TypeError):
        return ""
    return f", {in_quotes(clean(message) if isinstance(message, str) else message)}"


def _innermost(error: BaseException) -> str:
    """The reason at the bottom of a chain: `Connection refused`, not the whole pool's history."""
    while True:
        inside = [*error.args[:1], getattr(error, "reason", None)]
        deeper = next((part for part in inside if isinstance(part, BaseException)), None)
        if deeper is None:
            return str(error) or type(error).__name__
        error = deeper


def _open(settings: HabariSettings, access: Access) -> HabariApi:
    return HabariApi(
        access.company,
        settings,
        access.secret(settings.api_key),
        settings.zoned(access.reading),
        Reach(access.settings),
        limit=access.limit,
    )


CONNECTOR = Connector(HabariSettings, _open)
