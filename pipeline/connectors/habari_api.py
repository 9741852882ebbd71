"""The Habari CRM API as a source. Paging, authentication and retries are dlt's REST client's.

What the API answers is described in docs/habari-crm-api.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.auth import APIKeyAuth
from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator
from pydantic import Field, field_validator

from pipeline.connectors.contract import Chunk, Entity, Totals
from pipeline.connectors.http_source import USUAL_PATIENCE, HttpSource, Patience, Remedies, bounded_session
from pipeline.connectors.mapping import Zones
from pipeline.connectors.registry import Access, Connector
from pipeline.connectors.time_limit import TimeLimit
from pipeline.connectors.validation import Reading, validate_records
from pipeline.reach import Reach
from warehouse.redaction import forms_of

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
    "campaigns": {"campaign_id": "id", "is_deleted": "deleted"},
    "sends": {"send_id": "id", "is_deleted": "deleted"},
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


class HabariApi:
    """Reads one company's records from a Habari CRM."""

    def __init__(
        self,
        company: str,
        settings: HabariSettings,
        api_key: str,
        reading: Reading,
        reach: Reach,
        patience: Patience = USUAL_PATIENCE,
        limit: TimeLimit | None = None,
    ) -> None:
        """`company` is the slug, for messages; `api_key` the key itself, never shown; `reach` where it may lead."""
        self._settings = settings
        self._reading = reading
        source = f"Habari CRM at {settings.base_url}"
        self._http = HttpSource(
            company,
            source,
            Remedies(
                key=f"Put a valid key where connector_settings.api_key points ({settings.api_key}).",
                address="Set connector_settings.base_url to the root of a Habari CRM, without /api/v1.",
                shape="Compare the CRM's version with docs/habari-crm-api.md.",
            ),
            lambda body: body["error"]["message"],
            forms_of(api_key),
        )
        self._client = RESTClient(
            base_url=settings.base_url,
            auth=APIKeyAuth(name=API_KEY_HEADER, api_key=api_key, location="header"),
            session=bounded_session(reach, limit or TimeLimit(company, source), patience),
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
        with self._http.translated(f"{self._settings.base_url}/api/v1/totals"):
            response = self._client.get("/api/v1/totals", allow_redirects=False)
            response.raise_for_status()
            self._http.refuse_redirect(response)
            counts = response.json()
        try:
            live, deleted = (counts[entity.name][key] for key in ("live", "deleted"))
        except (KeyError, TypeError):
            self._http.surprise(f"its totals say nothing about live and deleted {entity.name}")
        if not all(isinstance(count, int) and count >= 0 for count in (live, deleted)):
            self._http.surprise(f"its totals of {entity.name} are no counts")
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
        with self._http.translated(f"{self._settings.base_url}{path}"):
            yield from self._client.paginate(
                path,
                params=parameters,
                data_selector="data",
                paginator=_CursorPaginator(self),
                allow_redirects=False,
            )

    def check_page(self, response: Response) -> dict[str, Any]:
        """The page's body where it has the shape that the API's description promises."""
        self._http.refuse_redirect(response)
        body = response.json()
        if not isinstance(body, dict) or not isinstance(body.get("data"), list):
            self._http.surprise("a page has no list named data")
        if not isinstance(body.get("next_cursor"), str | None):
            self._http.surprise("a page's next_cursor is not text")
        return body

    def refuse_repeated_cursor(self) -> NoReturn:
        """A cursor that leads back to a page of before would never end."""
        self._http.surprise("a page's next_cursor is one that was followed before")


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
