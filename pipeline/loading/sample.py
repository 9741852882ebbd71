"""The sample that a check of a company reads from its source, one entity at a time. Nothing is written.

What the sample says of the company belongs in `check.py` and `outcomes.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from pipeline.connectors.contract import ENTITIES, Chunk, Entity, ListedSource, SeenColumns, Source, TimeExample
from pipeline.connectors.errors import (
    AccessDenied,
    ConnectorError,
    IdsRepeat,
    MappingError,
    SourceUnreachable,
    UnexpectedResponse,
)
from pipeline.connectors.source import connector_of
from pipeline.loading.comparison import why_not_whole
from pipeline.loading.personal_data import PersonalData
from pipeline.loading.refusals import RepeatedIds, refuse_repeated_ids
from warehouse.companies.definition import Company
from warehouse.errors import SecretNotFound
from warehouse.redaction import secrets_in, without_secrets
from warehouse.settings import Settings

PAGE = 1000
EXAMPLES = 3


@dataclass
class EntitySample:
    """The records that came of one entity, as tables; `rejected` holds why each of the others was refused.

    is_complete: all that the source has. total: the source's own count. until: the newest change that came. error: why
    it could not be read further, without secrets.
    """

    table: pa.Table
    received: int = 0
    rejected: list[str] = field(default_factory=list)
    is_complete: bool = False
    total: int | None = None
    until: datetime | None = None
    error: str | None = None
    unnamed: int = 0
    """Records whose id cannot be read."""
    columns: list[SeenColumns] = field(default_factory=list)
    understood: list[str] = field(default_factory=list)
    """How the source was read."""
    remarks: list[str] = field(default_factory=list)
    """What is doubtful about that."""
    examples: list[TimeExample] = field(default_factory=list)
    """Some times, as the source gave them and as they were read."""
    is_reached: bool = True
    """False where the source was not there; one that is there may still not read as declared."""
    is_away: bool = False
    """The source does not answer at all, or does not let us in."""


def error_text(error: Exception, company: Company, settings: Settings) -> str:
    """What went wrong, without the company's secrets; of a driver's error its kind as well."""
    text = error.message if isinstance(error, ConnectorError | SecretNotFound) else f"{type(error).__name__}: {error}"
    return without_secrets(text, secrets_in(company.connector_settings, settings, company.slug))


def sample_entity(source: Source, entity: Entity, company: Company, settings: Settings, records: int) -> EntitySample:
    """About `records` of the oldest changes, or all of a file. What a source does wrong is part of the sample."""
    sample = EntitySample(entity.schema.empty_table())
    reads_whole = connector_of(company).reads_whole
    parts: list[pa.Table] = []
    try:
        if not reads_whole:
            sample.total = _total(source, entity)
        chunks = source.read(entity, None, 1_000_000_000 if reads_whole else min(PAGE, records))
        sample.is_complete = True
        repeated = RepeatedIds(entity)
        for chunk in chunks:
            refuse_repeated_ids(company, entity, chunk)
            repeated.see(chunk)
            _add(sample, parts, chunk, PersonalData(company, 0, settings), entity)
            if not reads_whole and sample.received >= records:
                sample.is_complete = sample.total is not None and sample.received >= sample.total
                break
        sample.remarks += repeated.remarks()
        if sample.unnamed and isinstance(source, ListedSource) and source.is_complete(entity):
            sample.remarks += [doubt for doubt in [why_not_whole(sample.received, sample.unnamed, None)] if doubt]
        if reads_whole:  # It knows its totals from having been read, and would be read once more for them.
            sample.total = _total(source, entity)
    except Exception as error:  # noqa: BLE001  (a finding; kept without secrets)
        sample.is_complete = False
        sample.error = error_text(error, company, settings)
        sample.is_reached = isinstance(error, MappingError | UnexpectedResponse | IdsRepeat)
        sample.is_away = isinstance(error, SourceUnreachable | AccessDenied)
    if parts:
        sample.table = pa.concat_tables(parts)
    return sample


def _add(
    sample: EntitySample, parts: list[pa.Table], chunk: Chunk, personal_data: PersonalData, entity: Entity
) -> None:
    kept = personal_data.applied_to(entity, chunk)
    parts.append(kept.accepted)
    sample.received += kept.received
    sample.unnamed += kept.unnamed
    sample.rejected += [record.reason for record in kept.rejected]
    sample.columns += kept.columns
    sample.understood += kept.understood
    sample.remarks += kept.remarks
    sample.examples += kept.examples[: EXAMPLES - len(sample.examples)]
    sample.until = max(filter(None, (sample.until, kept.cursor)), default=None)


def _total(source: Source, entity: Entity) -> int | None:
    totals = source.totals(entity)
    return None if totals is None else totals.live + totals.deleted


def entities_left_out(source: Source, company: Company) -> list[str]:
    """Entities that the company leaves out though its source has records of them, as far as the source can tell."""
    names = []
    for name in ENTITIES.keys() - set(company.entities):
        try:
            totals = source.totals(ENTITIES[name])
        except ConnectorError:
            continue
        if totals is not None and totals.live:
            names.append(name)
    return sorted(names)
