"""A dry run of a company's source: what would come of it, before anything is registered or written.

Reads by the company's own connector, a bounded number of records per entity from an API or a database and
everything from files. How the findings are shown does not belong here (company_report.py).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from ml_assets.task import CHURN, LadderThresholds
from ml_assets.training.ladder import OutcomeCounts, RungDecision, decide_rung
from pipeline.connectors.contract import ENTITIES, Chunk, Entity, Source, Totals
from pipeline.connectors.errors import ConnectorError
from pipeline.connectors.source import source_for
from pipeline.loading.personal_data import PersonalData
from pipeline.prediction.training import ladder_of, meaning_of_churn
from warehouse.clock import Clock
from warehouse.companies.registry import Company, CompanyDefinition, list_companies
from warehouse.connection import Warehouse
from warehouse.errors import SecretNotFound
from warehouse.redaction import secrets_in, without_secrets
from warehouse.relations import CHURN_LABELS
from warehouse.settings import Settings

PAGE = 1000
TOP_REASONS = 3
STALE_AFTER = timedelta(days=60)
"""Data whose newest change is older than this looks like an export: the company needs a clock of its own."""

LITTLE_HISTORY = timedelta(days=365)
NOT_A_FEATURE = {"is_deleted", "updated_at", "is_test"}

_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|\d{4}-\d\d-\d\d[T ][\d:.+Z-]*")
_EVENT_TIMES = ("created_at", "opened_at", "issued_at", "occurred_at")


@dataclass(frozen=True)
class EntityCheck:
    """What was read of one entity. Without `is_complete` the figures are of the oldest changes, up to `read_until`.

    never_filled: contract columns that no record had. total: the source's own count. error: why it
    could not be read.
    """

    entity: str
    received: int = 0
    rejected: int = 0
    reasons: tuple[tuple[str, int], ...] = ()
    is_complete: bool = True
    total: int | None = None
    first_at: datetime | None = None
    last_at: datetime | None = None
    read_until: datetime | None = None
    never_filled: tuple[str, ...] = ()
    error: str | None = None

    @property
    def accepted_share(self) -> float | None:
        """Share of the records that pass the contract, 0 to 1; None where none came."""
        return None if not self.received else 1 - self.rejected / self.received


@dataclass(frozen=True)
class ChurnCheck:
    """Churners by month ("2025-03") and the outcomes that models would learn from.

    scale: by what the outcomes were multiplied, from the records read to the source's own count; 1 where all was read.
    """

    by_month: tuple[tuple[str, int], ...]
    outcomes: OutcomeCounts
    scale: float


@dataclass(frozen=True)
class CompanyCheck:
    """Everything that was found. `failures` keep the first load from succeeding; `advice` would help."""

    company: CompanyDefinition
    entities: tuple[EntityCheck, ...]
    churn: ChurnCheck | None
    decision: RungDecision | None
    failures: tuple[str, ...]
    advice: tuple[str, ...]

    @property
    def is_sample(self) -> bool:
        """Some figures rest on a part of the records."""
        return any(not entity.is_complete for entity in self.entities)


@dataclass
class _Read:
    """What came of one entity, still as tables."""

    table: pa.Table
    received: int = 0
    rejected: list[str] = field(default_factory=list)
    is_complete: bool = False
    total: int | None = None
    until: datetime | None = None
    error: str | None = None


def check_company(
    company: CompanyDefinition,
    settings: Settings,
    clock: Clock,
    *,
    pool: OutcomeCounts | None = None,
    records: int = 10_000,
) -> CompanyCheck:
    """Read about `records` records per entity and tell what would come of them.

    pool: outcomes of the other companies that share training and mean the same by churn. Never raises for what a
    source does: it is part of the findings.
    """
    tried = Company(company_id=0, is_active=True, **company.model_dump(include=set(CompanyDefinition.model_fields)))
    read: dict[str, _Read] = {}
    others: list[str] = []
    with _found_out(tried, settings) as failures:
        PersonalData(tried, 0, settings)
        source = source_for(tried, settings, clock)
        try:
            for name in (name for name in ENTITIES if name in company.entities):
                read[name] = _read(source, ENTITIES[name], tried, settings, records)
            others = _also_there(source, tried) if any(not one.error for one in read.values()) else []
        finally:
            source.close()
    now = clock.for_company(tried)
    entities = tuple(_entity_check(ENTITIES[name], one) for name, one in read.items())
    churn = _churn(tried, read, now)
    decision, ladder = None, ladder_of(settings)
    if churn is not None:
        pooled = _pooled(tried, churn.outcomes, pool)
        decision = decide_rung(churn.outcomes, pooled, replace(CHURN, ladder=ladder))
    failures += [f"{one.entity} cannot be read: {one.error}" for one in entities if one.error]
    failures += _too_many_rejected(entities, settings)
    advice = [
        *_on_the_source(tried, entities, others, read, now),
        *_on_the_evidence(tried, entities, churn, decision, ladder),
    ]
    return CompanyCheck(company, entities, churn, decision, tuple(failures), tuple(advice))


def pool_of(warehouse: Warehouse, company: CompanyDefinition) -> OutcomeCounts | None:
    """The outcomes of the other companies that it could learn with, or None where there is none."""
    if not company.shares_training:
        return None
    query = sql.SQL(
        "select count(*), count(distinct (company_id, customer_id)),"
        " count(distinct (company_id, customer_id)) filter (where is_churned) from {}"
        " where company_id = any(%s) and is_mature and is_churned is not null and extract(day from as_of_date) = 1"
    ).format(CHURN_LABELS.identifier)
    with warehouse.connect() as connection:
        try:
            others = [
                other.company_id
                for other in list_companies(connection)
                if other.shares_training
                and other.slug != company.slug
                and meaning_of_churn(other) == meaning_of_churn(company)
            ]
            rows, entities, outcomes = connection.execute(query, [others]).fetchone() or (0, 0, 0)
        except psycopg.errors.UndefinedTable:
            return None
    return OutcomeCounts(rows, entities, outcomes, entities - outcomes) if entities else None


@contextmanager
def _found_out(company: Company, settings: Settings) -> Iterator[list[str]]:
    """Collects what goes wrong before any entity is read; what a driver says is told without secrets."""
    failures: list[str] = []
    try:
        yield failures
    except (ConnectorError, SecretNotFound) as error:
        failures.append(_told(error, company, settings))


def _told(error: Exception, company: Company, settings: Settings) -> str:
    words = str(error) if isinstance(error, ConnectorError | SecretNotFound) else f"{type(error).__name__}: {error}"
    return without_secrets(words, secrets_in(company.connector_settings, settings))


def _read(source: Source, entity: Entity, company: Company, settings: Settings, records: int) -> _Read:
    read = _Read(entity.schema.empty_table())
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
        read.error = _told(error, company, settings)
    if parts:
        read.table = pa.concat_tables(parts)
    return read


def _add(read: _Read, parts: list[pa.Table], chunk: Chunk, personal_data: PersonalData, entity: Entity) -> None:
    kept = personal_data.applied_to(entity, chunk)
    parts.append(kept.accepted)
    read.received += kept.received
    read.rejected += [record.reason for record in kept.rejected]
    read.until = max(filter(None, (read.until, kept.cursor)), default=None)


def _sum(totals: Totals) -> int:
    return totals.live + totals.deleted


def _also_there(source: Source, company: Company) -> list[str]:
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


def _entity_check(entity: Entity, read: _Read) -> EntityCheck:
    times = [pc.min_max(read.table[name]) for name in _EVENT_TIMES if name in read.table.column_names]
    moments = [moment for span in times for moment in span.as_py().values() if moment is not None]
    columns = [name for name in entity.field_names if name not in NOT_A_FEATURE]
    empty = [name for name in columns if read.table.num_rows and read.table[name].null_count == read.table.num_rows]
    return EntityCheck(
        entity.name,
        received=read.received,
        rejected=len(read.rejected),
        reasons=tuple(Counter(_QUOTED.sub("…", reason) for reason in read.rejected).most_common(TOP_REASONS)),
        is_complete=read.is_complete,
        total=read.total,
        first_at=min(moments, default=None),
        last_at=max(moments, default=None),
        read_until=read.until,
        never_filled=tuple(empty),
        error=read.error,
    )


def _too_many_rejected(entities: Sequence[EntityCheck], settings: Settings) -> list[str]:
    return [
        f"{one.entity}: {one.rejected:,} of {one.received:,} records break the contract, more than "
        f"CHURN_REJECT_LIMIT ({settings.reject_limit:.0%}) allows: the first load would fail."
        for one in entities
        if one.rejected > max(1, settings.reject_limit * one.received)
    ]


# Churn, by the company's definition


def _churn(company: Company, read: Mapping[str, _Read], now: datetime) -> ChurnCheck | None:
    """None where the records that tell of churn could not be read, or none came."""
    told_by = "payments" if company.churn_kind == "inactivity" else "customers"
    source = read.get(told_by)
    if source is None or not source.table.num_rows:
        return None
    # Of a part of the records, oldest changes first, nothing is known after the last of them.
    until = pd.Timestamp(now if source.is_complete else min(source.until or now, now))
    horizon = pd.Timedelta(days=company.horizon_days)
    if company.churn_kind == "inactivity":
        spells = _silences(source.table, pd.Timedelta(days=company.inactivity_days or 0), until)
    elif company.churn_kind == "downgrade":
        spells = _downgrades(source.table, company.downgrade_share or 1.0, until)
    else:
        spells = _cancellations(source.table, until)
    counted = _outcomes(spells, horizon, until)
    scale = 1.0
    if not source.is_complete and source.total and source.received:
        scale = source.total / source.received
        counted = OutcomeCounts(*(round(value * scale) for value in vars(counted).values()))
    months = spells["churned_at"].dropna().dt.strftime("%Y-%m").value_counts().sort_index()
    return ChurnCheck(tuple((str(month), int(count)) for month, count in months.items()), counted, scale)


def _newest(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas().sort_values("updated_at", kind="stable")
    frame = frame.drop_duplicates("customer_id", keep="last")
    return frame[~frame["is_deleted"].fillna(False) & ~frame["is_test"].fillna(False)]


def _cancellations(table: pa.Table, until: pd.Timestamp) -> pd.DataFrame:
    """One row per customer: active from `begins_at`, left at `churned_at` (NaT: not known to have left)."""
    newest = _newest(table)
    left = pd.to_datetime(newest["cancelled_at"], utc=True).where(lambda moments: moments < until)
    return pd.DataFrame(
        {
            "customer_id": newest["customer_id"],
            "begins_at": pd.to_datetime(newest["created_at"], utc=True),
            "ends_at": left,
            "quiet_from": left,
            "churned_at": left,
        }
    )


def _silences(table: pa.Table, inactivity: pd.Timedelta, until: pd.Timestamp) -> pd.DataFrame:
    """One row per successful charge: silent from it until the next; churned once silent for `inactivity`."""
    frame = table.to_pandas()
    paid = pd.to_datetime(frame["paid_at"], utc=True)
    charges = frame.assign(paid_at=paid)[(frame["kind"] == "charge") & paid.notna() & (paid < until)]
    charges = charges[~charges["is_deleted"].fillna(False)].sort_values(["customer_id", "paid_at"])
    following = charges.groupby("customer_id")["paid_at"].shift(-1)
    silent_at = charges["paid_at"] + inactivity
    return pd.DataFrame(
        {
            "customer_id": charges["customer_id"],
            "begins_at": charges["paid_at"],
            "ends_at": silent_at,
            "quiet_from": charges["paid_at"],
            "quiet_until": following,
            "churned_at": silent_at.where((following.isna() & (silent_at < until)) | (following > silent_at)),
        }
    )


def _downgrades(table: pa.Table, share: float, until: pd.Timestamp) -> pd.DataFrame:
    """One row per customer and price drop, or per customer without one. A price of before needs a version of before."""
    frame = table.to_pandas().sort_values(["customer_id", "updated_at"])
    price = pd.to_numeric(frame["monthly_price"])
    before = price.groupby(frame["customer_id"]).shift(1)
    dropped = pd.to_datetime(frame["updated_at"], utc=True).where((before > 0) & (price <= before * (1 - share)))
    first_drop = dropped.where(dropped < until).groupby(frame["customer_id"]).min()
    newest = _newest(table).set_index("customer_id")
    left = first_drop.reindex(newest.index)
    begins = pd.to_datetime(newest["created_at"], utc=True)
    return pd.DataFrame(
        {"begins_at": begins, "ends_at": left, "quiet_from": left, "churned_at": left}, index=newest.index
    ).reset_index()


def _outcomes(spells: pd.DataFrame, horizon: pd.Timedelta, until: pd.Timestamp) -> OutcomeCounts:
    """Customers with and without an outcome on the monthly grid, as training counts them.

    A customer counts with the first of a month on which it was active and whose horizon has passed; the outcome
    is there when it left within the horizon of such a day.
    """
    first_day = _month_start(spells["begins_at"], months_later=1)
    still_active = spells["ends_at"].isna() | (first_day <= spells["ends_at"])
    has_row = still_active & (first_day + horizon <= until)
    if "quiet_until" in spells:  # A day after a charge with nothing paid for one horizon.
        end = spells["quiet_until"].fillna(until)
        has_outcome = has_row & (first_day + horizon <= end)
    else:  # The last day before leaving.
        last_day = _month_start(spells["churned_at"])
        is_mature = last_day + horizon <= until
        has_outcome = is_mature & (last_day > spells["begins_at"]) & (spells["churned_at"] < last_day + horizon)
    by_customer = pd.DataFrame({"row": has_row | has_outcome, "outcome": has_outcome}).groupby(spells["customer_id"])
    seen = by_customer.max()
    entities, outcomes = int(seen["row"].sum()), int(seen["outcome"].sum())
    return OutcomeCounts(rows=int(has_row.sum()), entities=entities, outcomes=outcomes, survivors=entities - outcomes)


def _month_start(moments: pd.Series, months_later: int = 0) -> pd.Series:
    """00:00 UTC on the first of each moment's month, or of a later one."""
    plain: Any = pd.to_datetime(moments, utc=True).dt.tz_localize(None)
    months = plain.dt.to_period("M").dt.to_timestamp() + pd.DateOffset(months=months_later)
    starts: pd.Series = months.dt.tz_localize(UTC)
    return starts


def _pooled(company: Company, own: OutcomeCounts, others: OutcomeCounts | None) -> OutcomeCounts | None:
    if not company.shares_training or others is None:
        return None
    return OutcomeCounts(**{name: count + getattr(others, name) for name, count in vars(own).items()})


# What would help


def _on_the_source(
    company: Company,
    entities: Sequence[EntityCheck],
    others: Sequence[str],
    read: Mapping[str, _Read],
    now: datetime,
) -> Iterator[str]:
    if others:
        yield f"The CRM also has {', '.join(others)}: add them to entities, each brings features."
    for one in entities:
        if one.rejected:
            yield f"Mend what rejects {one.entity}, or map it differently: {one.reasons[0][0]}."
        if one.error is None and not one.received:
            yield f"No {one.entity} came: if the source has none, leave them out of entities."
        if one.never_filled:
            yield f"No record of {one.entity} fills {', '.join(one.never_filled)}: map them if the source has them."
    newest = max((one.until for one in read.values() if one.until), default=None)
    complete = all(one.is_complete for one in read.values())
    if company.clock_at is None and complete and newest is not None and newest < now - STALE_AFTER:
        yield f"The newest change is of {newest:%Y-%m-%d}: an export that has ended needs a clock_at at its end."
    customers = read.get("customers")
    if customers is None or not customers.table.num_rows:
        return
    present = _attribute_names(customers.table)
    for attribute in company.custom_attributes:
        if attribute.name not in present:
            there = ", ".join(sorted(present)) or "none"
            yield f"No customer has the attribute {attribute.name}; attributes there: {there}."
    if company.segment_by in customers.table.column_names and company.segment_by in next(
        one.never_filled for one in entities if one.entity == "customers"
    ):
        yield f"segment_by is {company.segment_by}, which no customer has: choose another, or map it."


def _on_the_evidence(
    company: Company,
    entities: Sequence[EntityCheck],
    churn: ChurnCheck | None,
    decision: RungDecision | None,
    ladder: LadderThresholds,
) -> Iterator[str]:
    if churn is None or decision is None:
        if not any(one.error for one in entities) and entities:
            needed = "payments" if company.churn_kind == "inactivity" else "customers"
            yield f"Churn by {company.churn_kind} is read from {needed}, and none could be used."
        return
    if not churn.by_month:
        yield {
            "cancellation": "Nobody has cancelled: map cancelled_at, or define churn by inactivity.",
            "inactivity": "Nobody has been silent for so long: is inactivity_days too many?",
            "downgrade": "No price has dropped that far in what the source remembers. A source that shows only today's "
            "price tells of downgrades from its first sync on.",
        }[company.churn_kind]
    spans = [(one.first_at, one.last_at) for one in entities if one.first_at and one.last_at]
    if spans and max(last for _, last in spans) - min(first for first, _ in spans) < LITTLE_HISTORY:
        yield "Less than a year of history: older records make more dates to learn from and to be judged on."
    if decision.rung == "own_model":
        return
    missing = [
        f"{needed - have:,} more {words}"
        for needed, have, words in (
            (ladder.own_outcomes, churn.outcomes.outcomes, "customers who left"),
            (ladder.own_survivors, churn.outcomes.survivors, "who stayed"),
        )
        if needed > have
    ]
    yield f"For a model of its own it needs {' and '.join(missing)}: longer history, or time."
    if not company.shares_training:
        yield "With shares_training: true it may use a model of companies that mean the same by churn."


def _attribute_names(customers: pa.Table) -> set[str]:
    names: set[str] = set()
    for text in customers["attributes"].drop_null().unique().to_pylist():
        names |= orjson.loads(text).keys()
    return names
