"""Syncs a company: reads its source from where the last sync stopped and lands what came.

Knows connectors and the version log, and neither Dagster nor any source in particular.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from pipeline.connectors.contract import ENTITIES, Entity, Source, Totals
from pipeline.connectors.errors import ConnectorError, OutOfOrder
from pipeline.connectors.source import source_for
from pipeline.loading.personal_data import PersonalData
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.errors import WarehouseError
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

    ahead: records newer than the company's own clock, left for later. unaccounted: by how many
    records warehouse and source differ beyond what rejected records explain; None where the source
    cannot count, or the load failed.
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
    source_live: int | None = None
    source_deleted: int | None = None
    warehouse_live: int | None = None
    warehouse_deleted: int | None = None
    unaccounted: int | None = None
    seconds: float = 0.0
    error: str | None = None


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
    with _OneSource(company, settings, clock) as source:
        for entity in chosen:
            with warehouse.connect(Role.loader, autocommit=True) as connection:
                versions = VersionLog(connection, company.company_id, entity.name)
                sync = _EntitySync(company, entity, source, versions, clock, settings, dagster_run_id, report)
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


class _OneSource:
    """The company's source, opened when first asked for, so that a failure is a load's failure."""

    def __init__(self, company: Company, settings: Settings, clock: Clock) -> None:
        self._company = company
        self._settings = settings
        self._clock = clock
        self._source: Source | None = None

    def __enter__(self) -> _OneSource:
        return self

    def __exit__(self, *_: object) -> None:
        if self._source is not None:
            self._source.close()

    def get(self) -> Source:
        if self._source is None:
            self._source = source_for(self._company, self._settings, self._clock)
        return self._source


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
        source: _OneSource,
        versions: VersionLog,
        clock: Clock,
        settings: Settings,
        dagster_run_id: str | None,
        report: Progress,
    ) -> None:
        self._company = company
        self._entity = entity
        self._source = source
        self._versions = versions
        self._clock = clock
        self._settings = settings
        self._dagster_run_id = dagster_run_id
        self._report = report
        self._started = time.monotonic()
        self._ahead = 0
        self._result = LoadResult(company.slug, entity.name, "running")

    def run(self, chunk_rows: int) -> LoadResult:
        try:
            with self._versions.lock():
                self._load(chunk_rows)
        except WarehouseError as error:
            # Without the lock there is no load to close.
            self._finish("failed", error=str(error))
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
        with self._failure_on_record(load):
            personal_data = PersonalData(self._company, self._company.company_id, self._settings)
            source = self._source.get()
            self._land(source, personal_data, load, since, chunk_rows)
            totals = source.totals(self._entity)
            counts = None if totals is None else self._versions.count_records()
            self._versions.complete_load(
                load,
                source_live=totals.live if totals else None,
                source_deleted=totals.deleted if totals else None,
                warehouse=counts,
            )
            self._finish("succeeded", load, totals=totals, counts=counts)

    def _land(
        self, source: Source, personal_data: PersonalData, load: Load, since: datetime | None, chunk_rows: int
    ) -> None:
        newest: datetime | None = None
        for given in source.read(self._entity, since, chunk_rows):
            chunk = personal_data.applied_to(self._entity, given)
            self._refuse_disorder(newest, chunk.accepted["updated_at"])
            self._ahead += chunk.ahead
            self._versions.land_chunk(
                load,
                chunk.accepted,
                chunk.rejected,
                received=chunk.received,
                cursor=chunk.cursor,
                reject_limit=self._settings.reject_limit,
            )
            newest = chunk.cursor or newest
            self._report(self._counted(load))

    def _refuse_disorder(self, newest: datetime | None, updated_at: object) -> None:
        """A source out of order would let the cursor pass records that a kill then loses."""
        import pyarrow.compute as pc

        oldest = pc.min(updated_at).as_py()
        if newest is not None and oldest is not None and oldest < newest:
            raise OutOfOrder(
                self._company.slug,
                f"connector {self._company.connector}",
                f"{self._entity.name} do not come in order of updated_at ({oldest} after {newest}).",
                "The source must order by updated_at, oldest first.",
            )

    @contextmanager
    def _failure_on_record(self, load: Load) -> Iterator[None]:
        try:
            yield
        except (ConnectorError, WarehouseError) as error:
            self._fail(load, str(error), rewind=isinstance(error, OutOfOrder))
        except Exception as error:  # noqa: BLE001  (logged below, without secrets)
            # A defect of ours: on record too, and loud, and the other entities still get their turn.
            trace = "".join(traceback.format_exception(error)).rstrip()
            log.error("syncing %s of %s failed\n%s", self._entity.name, self._company.slug, self._told(trace))
            self._fail(load, f"{type(error).__name__}: {error}")

    def _fail(self, load: Load, error: str, *, rewind: bool = False) -> None:
        told = self._told(error)
        self._versions.fail_load(load, told, rewind=rewind)
        self._finish("failed", load, error=told)

    def _told(self, text: str) -> str:
        """A text as people may read it: drivers and servers quote addresses and keys in their errors."""
        return without_secrets(text, secrets_in(self._company.connector_settings, self._settings))

    def _counted(self, load: Load) -> LoadResult:
        return replace(
            self._result,
            received=load.received,
            loaded=load.loaded,
            unchanged=load.unchanged,
            rejected=load.rejected,
            ahead=self._ahead,
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


def unaccounted(totals: Totals | None, counts: RecordCounts | None) -> int | None:
    """By how many records source and warehouse differ beyond what rejected and withheld records can explain."""
    if totals is None or counts is None:
        return None
    difference = abs(totals.live - counts.live) + abs(totals.deleted - counts.deleted)
    return max(0, difference - counts.rejected - counts.withheld)
