"""Syncs a company: reads its source from where the last sync stopped and lands what came.

Knows connectors and the version log, and neither Dagster nor any source in particular.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import psycopg

from foundation.counting import counted
from pipeline.connectors.contract import ENTITIES, Chunk, Entity, IndexedSource, ListedSource, Source, Totals
from pipeline.connectors.errors import ConnectorError, OutOfOrder
from pipeline.connectors.source import SourceOnDemand
from pipeline.loading.comparison import is_compared, is_comparison_due, unaccounted, why_not_whole
from pipeline.loading.expected_columns import (
    emptied_columns,
    filled_columns,
    refuse_emptied_columns,
    refuse_gone_columns,
)
from pipeline.loading.personal_data import PersonalData
from pipeline.loading.refusals import RepeatedIds, refuse_disorder, refuse_repeated_ids
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.disk_space import full_disk
from warehouse.errors import WarehouseError
from warehouse.landing.expectations import ExpectedColumns, expect, read_expected
from warehouse.landing.listing import Listing, note_comparison, read_comparison
from warehouse.landing.records import RecordCounts
from warehouse.landing.version_log import Load, VersionLog, analyze
from warehouse.redaction import secrets_in, without_secrets
from warehouse.roles import Role
from warehouse.settings import Settings

OVERLAP = timedelta(minutes=5)
"""How far before its cursor a sync reads again: a CRM may stamp a record a moment before it shows it."""

CHUNK_ROWS = 25_000
"""Rows per transaction: enough to be quick, few enough that a kill costs little."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadResult:
    """What became of one entity's load; while it is running, how far it is.

    received is loaded, unchanged and rejected together. ahead: records newer than the company's own clock, left for
    later. late: of loaded, those that earlier loads had passed over. vanished: records that the source no longer
    lists, which got a tombstone. unaccounted: by how many records warehouse and source differ beyond what rejected
    records explain; None where the source cannot count, or the load failed. expected: how many are to come in all, as
    far as the source says. remarks: what is doubtful about how the source was read, such as records that stand in two
    files; as in ops.load_log.
    """

    company: str
    entity: str
    status: Literal["running", "succeeded", "failed"]
    load_id: int | None = None
    is_backfill: bool = False
    updated_since: datetime | None = None
    received: int = 0
    loaded: int = 0
    unchanged: int = 0
    rejected: int = 0
    ahead: int = 0
    late: int = 0
    vanished: int = 0
    expected: int | None = None
    source_live: int | None = None
    source_deleted: int | None = None
    warehouse_live: int | None = None
    warehouse_deleted: int | None = None
    unaccounted: int | None = None
    seconds: float = 0.0
    error: str | None = None
    remarks: str | None = None


Progress = Callable[[LoadResult], None]


def sync_company(
    warehouse: Warehouse,
    company: Company,
    clock: Clock,
    settings: Settings,
    entities: Sequence[str] | None = None,
    dagster_run_id: str | None = None,
    progress: Progress | None = None,
    *,
    chunk_rows: int = CHUNK_ROWS,
) -> list[LoadResult]:
    """Bring the company's version logs up to date with its source; one result per entity, in order.

    entities: those to sync, of those that the company has (default: all). progress is called after
    each chunk and at each end. An entity that fails does not stop the others: its result says
    `failed` and why, as does ops.load_log. Raises ValueError for an entity the company does not have,
    and WarehouseError or psycopg.Error where the warehouse itself fails.
    """
    chosen = _chosen(company, entities)
    report = progress or _ignore
    results = []
    with SourceOnDemand(company, settings, clock) as source:
        for entity in chosen:
            with warehouse.connect(Role.loader, autocommit=True) as connection:
                sync = _EntitySync(company, entity, source, connection, clock, settings, dagster_run_id, report)
                results.append(sync.run(chunk_rows))
    _analyze_first_loads(warehouse, results)
    return results


def _analyze_first_loads(warehouse: Warehouse, results: Sequence[LoadResult]) -> None:
    """What follows a first load would otherwise be planned for an empty table."""
    first = [result.entity for result in results if result.is_backfill and result.loaded]
    if first:
        with warehouse.connect() as connection:
            for entity in first:
                analyze(connection, entity)


def _ignore(_: LoadResult) -> None:
    """Nobody watches."""


def _chosen(company: Company, entities: Sequence[str] | None) -> list[Entity]:
    wanted: Sequence[str] = company.entities if entities is None else entities
    strangers = [name for name in wanted if name not in company.entities]
    if strangers:
        raise ValueError(f"company {company.slug} has no {', '.join(strangers)}; it has {', '.join(company.entities)}")
    return [entity for name, entity in ENTITIES.items() if name in wanted]


class _EntitySync:
    """One entity's sync, from opening its load to closing it."""

    def __init__(
        self,
        company: Company,
        entity: Entity,
        source: SourceOnDemand,
        connection: psycopg.Connection[Any],
        clock: Clock,
        settings: Settings,
        dagster_run_id: str | None,
        report: Progress,
    ) -> None:
        self._company = company
        self._entity = entity
        self._source = source
        self._connection = connection
        self._versions = VersionLog(connection, company.company_id, entity.name)
        self._clock = clock
        self._settings = settings
        self._dagster_run_id = dagster_run_id
        self._report = report
        self._started = time.monotonic()
        self._ahead = 0
        self._expected = ExpectedColumns(frozenset(), frozenset())
        self._result = LoadResult(company.slug, entity.name, "running")

    def run(self, chunk_rows: int) -> LoadResult:
        try:
            with self._versions.lock():
                self._load(chunk_rows)
        except WarehouseError as error:
            # Without the lock there is no load to close.
            self._finish("failed", error=error.told_of(self._company.slug))
        return self._result

    def _load(self, chunk_rows: int) -> None:
        cursor = self._versions.cursor().updated_at
        since = None if cursor is None else cursor - OVERLAP
        load = self._versions.open_load(
            updated_since=since,
            known_at=self._clock.known_from(self._company),
            dagster_run_id=self._dagster_run_id,
        )
        self._result = replace(self._result, load_id=load.load_id, is_backfill=load.is_backfill, updated_since=since)
        with self._failure_on_record(load), self._source.limit.one_load():
            personal_data = PersonalData(self._company, self._company.company_id, self._settings)
            source = self._source.get()
            listing = Listing(self._connection, *self._place)
            self._expected = read_expected(self._connection, *self._place)
            unnamed = self._land(source, personal_data, load, since, chunk_rows, listing)
            totals = source.totals(self._entity)
            counts = None if totals is None else self._versions.count_records()
            if isinstance(source, ListedSource) and is_compared(source, self._entity):
                difference = unaccounted(totals, counts)
                if self._compare(source, personal_data, load, chunk_rows, listing, totals, difference, unnamed):
                    counts = None if totals is None else self._versions.count_records()
                    self._note_comparison(load, unaccounted(totals, counts))
            self._versions.complete_load(
                load,
                source_live=totals.live if totals else None,
                source_deleted=totals.deleted if totals else None,
                warehouse=counts,
            )
            self._finish("succeeded", load, totals=totals, counts=counts)

    @property
    def _place(self) -> tuple[int, str]:
        return self._company.company_id, self._entity.name

    def _land(
        self,
        source: Source,
        personal_data: PersonalData,
        load: Load,
        since: datetime | None,
        chunk_rows: int,
        listing: Listing,
    ) -> int:
        """Land what the source gives, and note what it lists; returns how many records have no readable id."""
        newest: datetime | None = None
        unnamed = 0
        repeated = RepeatedIds(self._entity)
        for given in source.read(self._entity, since, chunk_rows):
            self._source.limit.check()
            repeated.see(given)
            refuse_disorder(self._company, self._entity, newest, given)
            self._remark(load, given.remarks)
            self._ahead += given.ahead
            self._result = replace(self._result, expected=given.expected or self._result.expected)
            if given.listed is not None:
                listing.add(given.listed)
            if given.listed is not None and isinstance(source, ListedSource) and source.reads_whole(self._entity):
                self._refuse_emptied(given, listing)
            self._land_chunk(personal_data, load, given, cursor=given.cursor)
            newest = given.cursor or newest
            unnamed += given.unnamed
            self._report(self._counted(load))
        self._remark(load, repeated.remarks())
        return unnamed

    def _remark(self, load: Load, remarks: Sequence[str]) -> None:
        if remarks:
            told = " ".join(filter(None, [self._result.remarks, *remarks]))
            self._result = replace(self._result, remarks=told)
            self._versions.keep_remarks(load, told)

    def _refuse_emptied(self, given: Chunk, listing: Listing) -> None:
        """Where the first chunk lists all records: none of them has what those that are known had."""
        columns = emptied_columns(self._entity, given.columns, self._expected) if given.columns else []
        refuse_emptied_columns(self._company, self._entity, listing.known_values(columns))

    def _land_chunk(
        self, personal_data: PersonalData, load: Load, given: Chunk, *, cursor: datetime | None = None
    ) -> None:
        refuse_repeated_ids(self._company, self._entity, given)
        refuse_gone_columns(self._company, self._entity, given.columns, self._expected)
        chunk = personal_data.applied_to(self._entity, given)
        self._versions.land_chunk(
            load,
            chunk.accepted,
            chunk.rejected,
            received=chunk.received,
            cursor=cursor,
            reject_limit=self._settings.reject_limit,
            is_stamped=chunk.is_stamped,
        )
        filled = filled_columns(self._company, self._entity, given.columns)
        if not filled <= self._expected.filled:
            expect(self._connection, *self._place, filled)
            self._expected = replace(self._expected, filled=self._expected.filled | filled)

    def _compare(
        self,
        source: ListedSource,
        personal_data: PersonalData,
        load: Load,
        chunk_rows: int,
        listing: Listing,
        totals: Totals | None,
        difference: int | None,
        unnamed: int,
    ) -> bool:
        """Lay the ids that the source lists beside ours: land what came late, bury what is gone. Whether it was due."""
        is_accounted_for = not difference if difference is not None else load.started_from is None
        has_given_all = source.reads_whole(self._entity) or (load.is_backfill and is_accounted_for)
        if not has_given_all:
            if not is_comparison_due(read_comparison(self._connection, *self._place), load.known_at, difference):
                return False
            unnamed = self._land_late(source, personal_data, load, chunk_rows, listing)
        if source.is_complete(self._entity):
            doubt = why_not_whole(listing.count(), unnamed, totals)
            if doubt:
                self._remark(load, [doubt])
            else:
                load.vanished = listing.bury_vanished(load_id=load.load_id, known_at=load.known_at)
        return True

    def _note_comparison(self, load: Load, remaining: int | None) -> None:
        note_comparison(self._connection, *self._place, compared_at=load.known_at, unaccounted=remaining)
        if load.late or load.vanished:
            log.warning(
                "%s of %s: fetched %s that earlier loads had passed over, and marked %d deleted that the source no"
                " longer lists",
                self._entity.name,
                self._company.slug,
                counted(load.late, "record"),
                load.vanished,
            )

    def _land_late(
        self, source: ListedSource, personal_data: PersonalData, load: Load, chunk_rows: int, listing: Listing
    ) -> int:
        """Land every version that is listed and not known; returns how many records have no readable id."""
        loaded, unnamed = load.loaded, 0
        if isinstance(source, IndexedSource):
            for records in source.listing(self._entity, chunk_rows):
                listing.add(records["record_id"], records["updated_at"])
                unnamed += records["record_id"].null_count
            chunks = source.fetch(self._entity, listing.unknown_ids())
        else:
            chunks = source.read(self._entity, None, chunk_rows)
        for given in chunks:
            self._source.limit.check()
            self._land_chunk(personal_data, load, given)
            if not isinstance(source, IndexedSource):
                unnamed += given.unnamed
                if given.listed is not None:
                    listing.add(given.listed)
        load.late = load.loaded - loaded
        return unnamed

    @contextmanager
    def _failure_on_record(self, load: Load) -> Iterator[None]:
        try:
            yield
        except (ConnectorError, WarehouseError) as error:
            self._fail(load, error.told_of(self._company.slug), rewind=isinstance(error, OutOfOrder))
        except Exception as error:  # noqa: BLE001  (logged below, without secrets)
            if told := full_disk(error, self._settings):
                self._fail(load, str(told))
                return
            # A defect of ours: on record too, and loud, and the other entities still get their turn.
            trace = "".join(traceback.format_exception(error)).rstrip()
            log.error("syncing %s of %s failed\n%s", self._entity.name, self._company.slug, self._told(trace))
            self._fail(load, f"{type(error).__name__}: {error}")
        except BaseException:
            with suppress(psycopg.Error):  # The connection may have been cut with it.
                self._fail(load, "The load was cancelled; the next one goes on from its cursor.")
            raise

    def _fail(self, load: Load, error: str, *, rewind: bool = False) -> None:
        told = self._told(error)
        self._versions.fail_load(load, told, rewind=rewind)
        self._finish("failed", load, error=told)

    def _told(self, text: str) -> str:
        """A text as people may read it: drivers and servers quote addresses and keys in their errors."""
        return without_secrets(text, secrets_in(self._company.connector_settings, self._settings, self._company.slug))

    def _counted(self, load: Load) -> LoadResult:
        return replace(
            self._result,
            received=load.received,
            loaded=load.loaded,
            unchanged=load.unchanged,
            rejected=load.rejected,
            ahead=self._ahead,
            late=load.late,
            vanished=load.vanished,
            seconds=time.monotonic() - self._started,
        )

    def _finish(
        self,
        status: Literal["succeeded", "failed"],
        load: Load | None = None,
        *,
        totals: Totals | None = None,
        counts: RecordCounts | None = None,
        error: str | None = None,
    ) -> None:
        result = self._result if load is None else self._counted(load)
        self._result = replace(
            result,
            status=status,
            seconds=time.monotonic() - self._started,
            source_live=totals.live if totals else None,
            source_deleted=totals.deleted if totals else None,
            warehouse_live=counts.live if counts else None,
            warehouse_deleted=counts.deleted if counts else None,
            unaccounted=unaccounted(totals, counts),
            error=error,
        )
        self._report(self._result)
