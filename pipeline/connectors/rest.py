"""Any REST API as a source, described in YAML: by a company itself, or by a preset for a vendor.

Sessions, authentication and paging are dlt's; which requests are made, and how answers become records, is that of
rest_reading/. What is said of each vendor stands in presets/ and docs/sources/.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pipeline.connectors.contract import Chunk, Entity, Totals
from pipeline.connectors.errors import MappingError, Unreadable
from pipeline.connectors.http_source import USUAL_PATIENCE, HttpSource, Patience, Remedies, bounded_session
from pipeline.connectors.mapping import in_order
from pipeline.connectors.registry import Access, Connector
from pipeline.connectors.rest_reading.asking import RestApi
from pipeline.connectors.rest_reading.authentication import Resolve, authentication, place_of_key
from pipeline.connectors.rest_reading.expressions import Getter, getter
from pipeline.connectors.rest_reading.filling import filled_path
from pipeline.connectors.rest_reading.looking_up import looked_up
from pipeline.connectors.rest_reading.records import RecordMaker
from pipeline.connectors.rest_reading.settings import Changes, Endpoint, RestEntity, RestSettings
from pipeline.connectors.time_limit import TimeLimit
from pipeline.connectors.validation import Reading
from pipeline.reach import Reach

__all__ = ["CONNECTOR", "RestSettings", "RestSource"]


class RestSource:
    """Reads one company's records from a REST API."""

    def __init__(
        self,
        company: str,
        settings: RestSettings,
        resolve: Resolve,
        reading: Reading,
        reach: Reach,
        patience: Patience = USUAL_PATIENCE,
        limit: TimeLimit | None = None,
    ) -> None:
        """`company` is the slug; `resolve` gives the secret of a reference; `reach` is where it may lead."""
        self._company = company
        self._settings = settings
        self._reading = settings.zoned(reading)
        self._name = f"{settings.preset or 'REST API'} at {settings.base_url}"
        words = getter(settings.error)
        self._http = HttpSource(
            company,
            self._name,
            Remedies(
                key=f"Put a valid key, with the right to read this, where {place_of_key(settings.auth)} points.",
                address="Compare connector_settings.base_url and the endpoint's path with the API's description.",
                shape=f"Compare connector_settings with {_page(settings.preset)} and the API's description.",
            ),
            words,
        )
        limit = limit or TimeLimit(company, self._name)
        session = bounded_session(reach, limit, patience)
        auth = authentication(settings.auth, settings.base_url, session, self._http, resolve)
        self._api = RestApi(settings, session, auth, self._http, limit)
        self._expected: int | None = None

    def read(self, entity: Entity, updated_since: datetime | None, chunk_rows: int) -> Iterator[Chunk]:
        """See `Source.read`.

        A list in order of change moves the cursor as it comes. Others are read to their end before it moves: a load
        that is interrupted begins again, and takes what it had as unchanged.
        """
        described = self._entity(entity)
        self._expected = None
        if self.reads_whole(entity):
            parts = [chunk for endpoint in described.endpoints for chunk in self._chunks(entity, endpoint, None, 0)]
            yield from in_order(entity, parts, chunk_rows)
            return
        endpoint = described.endpoints[0]
        if endpoint.in_order and len(described.endpoints) == 1:
            yield from self._chunks(entity, endpoint, updated_since, chunk_rows)
            return
        yield from self._in_any_order(entity, described.endpoints, updated_since, chunk_rows)

    def totals(self, entity: Entity) -> Totals | None:
        """See `Source.totals`: no two APIs count alike, so that none is asked to."""
        self._entity(entity)
        return None

    def is_complete(self, entity: Entity) -> bool:
        """See `ListedSource.is_complete`: as the settings say."""
        return self._entity(entity).complete

    def reads_whole(self, entity: Entity) -> bool:
        """See `ListedSource.reads_whole`: where no endpoint can be asked for what has changed."""
        return not any(endpoint.is_incremental() for endpoint in self._entity(entity).endpoints)

    def is_reread(self, entity: Entity) -> bool:
        """See `SparingSource.is_reread`."""
        return self._entity(entity).reread

    def close(self) -> None:
        """Close the connections to the API."""
        self._api.close()

    def _entity(self, entity: Entity) -> RestEntity:
        described = self._settings.entities.get(entity.name)  # type: ignore[call-overload]
        if described is None:
            raise MappingError(
                self._company,
                self._name,
                f"connector_settings.entities says nothing about {entity.name}.",
                "Describe it, or leave the entity out of the company's entities.",
            )
        return described  # type: ignore[no-any-return]

    def _in_any_order(
        self, entity: Entity, endpoints: Sequence[Endpoint], since: datetime | None, chunk_rows: int
    ) -> Iterator[Chunk]:
        newest: datetime | None = None
        for endpoint in endpoints:
            for chunk in self._chunks(entity, endpoint, since, chunk_rows):
                newest = max(filter(None, (newest, chunk.cursor)), default=None)
                if not chunk.is_stamped:
                    newest = self._reading.now
                yield replace(chunk, cursor=None)
        if newest is not None:
            # What changed while pages were read may have been passed over: the next load asks from before it.
            cursor = min(newest, self._reading.now)
            yield Chunk(entity.schema.empty_table(), (), 0, cursor)

    def _chunks(self, entity: Entity, endpoint: Endpoint, since: datetime | None, chunk_rows: int) -> Iterator[Chunk]:
        """The endpoint's records, about chunk_rows at a time."""
        described = {name for each in self._entity(entity).endpoints for name in each.fields}
        maker = RecordMaker(entity, endpoint, self._reading, self._settings.exponents, described)
        gathered: list[Any] = []
        is_first = True
        try:
            for records in self._pages(endpoint, since, maker.key_of):
                gathered += maker.wanted(records)
                if len(gathered) >= max(chunk_rows, 1):
                    yield self._told(maker.chunk(gathered), endpoint, is_first=is_first)
                    gathered, is_first = [], False
        except Unreadable as error:
            self._http.surprise(f"{endpoint.path}: {error}")
        if gathered or is_first:
            yield self._told(maker.chunk(gathered), endpoint, is_first=is_first)

    def _told(self, chunk: Chunk, endpoint: Endpoint, *, is_first: bool) -> Chunk:
        chunk = replace(chunk, expected=self._expected)
        if not is_first or endpoint.where is None:
            return chunk
        return replace(chunk, understood=(f"of {endpoint.path} only records where {endpoint.where} are taken.",))

    def _pages(self, endpoint: Endpoint, since: datetime | None, key_of: Getter) -> Iterator[list[Any]]:
        """The endpoint's records page by page, with what stands elsewhere about them; and what else has changed."""
        changes = endpoint.changes
        if changes is not None and since is not None and self._reading.now - since > timedelta(days=changes.reach_days):
            since = None
        listed: set[str] = set()
        for body, records in self._listed(endpoint, since):
            if changes is not None and since is not None:
                listed |= {str(key_of(record)) for record in records}
            yield looked_up(self._api, self._http, endpoint.lookups, body, records)
        if changes is not None and since is not None:
            for records in self._changed(changes, since, listed):
                yield looked_up(self._api, self._http, endpoint.lookups, None, records)

    def _listed(self, endpoint: Endpoint, since: datetime | None) -> Iterator[tuple[Any, list[Any]]]:
        if endpoint.parent is None:
            for number, (body, records) in enumerate(self._api.pages(endpoint, since)):
                if number == 0 and endpoint.total is not None:
                    self._expect(getter(endpoint.total)(body))
                yield body, records
            return
        id_of = getter(endpoint.parent.id)
        for _, parents in self._api.pages(endpoint.parent, since):
            for parent in parents:
                path = filled_path(endpoint.path, self._required(id_of(parent), endpoint.parent.path))
                for body, records in self._api.pages(endpoint, since, path):
                    yield (
                        body,
                        [{**record, "parent": parent} if isinstance(record, dict) else record for record in records],
                    )

    def _expect(self, total: Any) -> None:
        """Take note of a list's own count, which only the telling of progress rests on."""
        if isinstance(total, int) and not isinstance(total, bool) and total >= 0:
            self._expected = (self._expected or 0) + total

    def _changed(self, changes: Changes, since: datetime, listed: set[str]) -> Iterator[list[Any]]:
        """The records that a list of changes names and that were not listed already, each once and as it is now."""
        id_of = getter(changes.id)
        named: dict[str, None] = {}
        for _, entries in self._api.pages(changes, since):
            named |= dict.fromkeys(str(self._required(id_of(entry), changes.path)) for entry in entries)
        for record_id in [name for name in named if name not in listed]:
            yield [self._api.ask("GET", filled_path(changes.record, record_id), changes.record_params, None)]

    def _required(self, record_id: object, path: str) -> object:
        if record_id is None or record_id == "":
            self._http.surprise(f"an entry of {path} names no record")
        return record_id


def _page(preset: str | None) -> str:
    return "docs/sources/rest.md" if preset is None else f"docs/sources/{preset}.md"


def _open(settings: RestSettings, access: Access) -> RestSource:
    return RestSource(
        access.company, settings, access.secret, access.reading, Reach(access.settings), limit=access.limit
    )


CONNECTOR = Connector(RestSettings, _open)
