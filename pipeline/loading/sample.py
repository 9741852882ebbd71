"""The sample that a check of a company reads from its source."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from pipeline.connectors.contract import ENTITIES, Chunk, Entity, Source, Totals
from pipeline.connectors.errors import AccessDenied, ConnectorError, SourceUnreachable
from pipeline.loading.personal_data import PersonalData
from warehouse.companies.definition import Company
from warehouse.errors import SecretNotFound
from warehouse.redaction import secrets_in, without_secrets
from warehouse.settings import Settings

PAGE = 1000


QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|\d{4}-\d\d-\d\d[T ][\d:.+Z-]*")


@dataclass
class Read:
    """What came of one entity, still as tables."""

    table: pa.Table
    received: int = 0
    rejected: list[str] = field(default_factory=list)
    is_complete: bool = False
    total: int | None = None
    until: datetime | None = None
    error: str | None = None
    is_away: bool = False
    """The source does not answer at all, or does not let us in."""


def told(error: Exception, company: Company, settings: Settings) -> str:
    words = error.message if isinstance(error, ConnectorError | SecretNotFound) else f"{type(error).__name__}: {error}"
    return without_secrets(words, secrets_in(company.connector_settings, settings))


def read_entity(source: Source, entity: Entity, company: Company, settings: Settings, records: int) -> Read:
    read = Read(entity.schema.empty_table())
    reads_all = company.connector == "files"  # They are read whole in any case.
    parts: list[pa.Table] = []
    try:
        totals = source.totals(entity)
        read.total = None if totals is None else _sum(totals)
        chunks = source.read(entity, None, 1_000_000_000 if reads_all else min(PAGE, records))
        read.is_complete = True
        for chunk in chunks:
            _add(read, parts, chunk, PersonalData(company, 0, settings), entity)
            if not reads_all and read.received >= records:
                read.is_complete = read.total is not None and read.received >= read.total
                break
    except Exception as error:  # noqa: BLE001  (a finding; told without secrets)
        read.is_complete = False
        read.error = told(error, company, settings)
        read.is_away = isinstance(error, SourceUnreachable | AccessDenied)
    if parts:
        read.table = pa.concat_tables(parts)
    return read


def _add(read: Read, parts: list[pa.Table], chunk: Chunk, personal_data: PersonalData, entity: Entity) -> None:
    kept = personal_data.applied_to(entity, chunk)
    parts.append(kept.accepted)
    read.received += kept.received
    read.rejected += [record.reason for record in kept.rejected]
    read.until = max(filter(None, (read.until, kept.cursor)), default=None)


def _sum(totals: Totals) -> int:
    return totals.live + totals.deleted


def also_there(source: Source, company: Company) -> list[str]:
    """Entities that the company leaves out though its CRM has records of them. Only a Habari CRM can be asked."""
    if company.connector != "habari_api":
        return []
    found = []
    for name in ENTITIES.keys() - set(company.entities):
        try:
            totals = source.totals(ENTITIES[name])
        except ConnectorError:
            continue
        if totals is not None and totals.live:
            found.append(name)
    return sorted(found)
