"""A dry run of a company's source: what would come of it, before anything is registered or written.

Reads by the company's own connector, a bounded number of records per entity from an API or a database and
everything from files. How the findings are shown does not belong here (company_report.py).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from foundation.counting import agreeing, counted
from ml_assets.task import LadderThresholds
from ml_assets.training.grounds import Grounds, announced
from ml_assets.training.ladder import FEWEST_COMPANIES, OutcomeCounts, RungDecision, decide_rung
from pipeline.connectors.contract import ENTITIES, Entity
from pipeline.connectors.errors import ConnectorError
from pipeline.connectors.source import source_for
from pipeline.loading.doubts import Links, links_of, understanding, without_customers
from pipeline.loading.outcomes import ChurnCheck, churn_check
from pipeline.loading.personal_data import PersonalData
from pipeline.loading.sample import EntitySample, entities_left_out, error_text, sample_entity
from pipeline.loading.snapshots import past_in_samples, snapshot_sentence
from pipeline.prediction.tasks import ChurnSettings, churn_settings_of, task_named
from warehouse.clock import Clock
from warehouse.companies.definition import Company, CompanyDefinition
from warehouse.companies.registry import companies_with
from warehouse.connection import Warehouse
from warehouse.errors import SecretNotFound
from warehouse.settings import Settings

TOP_REASONS = 3
STALE_AFTER = timedelta(days=60)
"""Data whose newest change is older than this looks like an export: the company needs a clock of its own."""

LITTLE_HISTORY = timedelta(days=365)
NOT_A_FEATURE = {"is_deleted", "updated_at", "is_test", "paused_at", "resumes_at"}

_VALUES = re.compile(r"\"[^\"]*\"|'[^']*'|\d{4}-\d\d-\d\d[T ][\d:.+Z-]*|(?<=^line )\d+")
"""Texts, moments and lines in the reason of a rejection: without them alike reasons are counted as one."""

_EVENT_TIMES = ("created_at", "opened_at", "issued_at", "occurred_at")


@dataclass(frozen=True)
class EntityCheck:
    """What was read of one entity. Without `is_complete` the figures are of the oldest changes, up to `read_until`.

    never_filled: contract columns that no record had. linked_share: share of the records whose customer came too, 0 to
    1; None where that cannot be told. is_linked_to_sample: there are more customers than came. total: the source's own
    count. error: why it could not be read; is_reached: it was there all the same.
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
    linked_share: float | None = None
    is_linked_to_sample: bool = False
    is_reached: bool = True
    error: str | None = None

    @property
    def accepted_share(self) -> float | None:
        """Share of the records that pass the contract, 0 to 1; None where none came."""
        return None if not self.received else 1 - self.rejected / self.received


@dataclass(frozen=True)
class CompanyCheck:
    """Everything that was found. `failures` keep the first load from succeeding; `advice` would help.

    understood: how the source was read and what is doubtful about it, in sentences. snapshot: what it means that the
    source has one state of its customers and no history; None where it has one.
    """

    company: CompanyDefinition
    entities: tuple[EntityCheck, ...]
    churn: ChurnCheck | None
    decision: RungDecision | None
    grounds: Grounds | None
    failures: tuple[str, ...]
    advice: tuple[str, ...]
    understood: tuple[str, ...] = ()
    snapshot: str | None = None

    @property
    def is_sample(self) -> bool:
        """Some figures rest on a part of the records."""
        return any(not entity.is_complete for entity in self.entities)


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
    samples: dict[str, EntitySample] = {}
    others: list[str] = []
    with _failures_before_reading(tried, settings) as failures:
        PersonalData(tried, 0, settings)
        source = source_for(tried, settings, clock)
        try:
            for name in (name for name in ENTITIES if name in company.entities):
                samples[name] = sample_entity(source, ENTITIES[name], tried, settings, records)
                if samples[name].is_away:
                    break  # What comes after it would wait as long, to say the same.
            if any(not sample.error for sample in samples.values()):
                others = entities_left_out(source, tried)
        finally:
            source.close()
    now = clock.for_company(tried)
    links = {name: links_of(samples, name) for name in samples}
    entities = tuple(_entity_check(ENTITIES[name], sample, links[name]) for name, sample in samples.items())
    churn_settings = churn_settings_of(tried)
    churn = churn_check(churn_settings, samples, now, tried.time_zone) if churn_settings else None
    decision, grounds, task = None, None, task_named("churn").with_ladder(settings).task
    if churn is not None:
        pooled = _pooled(tried, churn.outcomes, pool)
        decision = decide_rung(churn.outcomes, pooled, task)
        grounds = announced(decision, churn.split, task)
    failures += [f"{check.entity} cannot be read: {check.error}" for check in entities if check.error]
    failures += _too_many_rejected(entities, settings)
    failures += without_customers(samples)
    failures += [link.failure() for link in links.values() if link is not None and link.most_are_lost]
    advice = [
        *_on_the_source(tried, entities, others, samples, now),
        *_on_the_evidence(tried, entities, churn_settings, churn, decision, task.ladder),
    ]
    understood = tuple(understanding(tried, samples))
    past = past_in_samples(samples) if churn_settings and churn_settings.kind == "cancellation" else None
    snapshot = snapshot_sentence(past) if past else None
    return CompanyCheck(
        company, entities, churn, decision, grounds, tuple(failures), tuple(advice), understood, snapshot
    )


def pool_of(warehouse: Warehouse, company: CompanyDefinition) -> OutcomeCounts | None:
    """The outcomes of the other companies that it could learn with, or None where there is none."""
    churn, task = churn_settings_of(company), task_named("churn").relations
    if churn is None or not company.shares_training:
        return None
    query = sql.SQL(
        "select array_agg(distinct company_id), count(*), count(distinct (company_id, customer_id)),"
        " count(distinct (company_id, customer_id)) filter (where {label}) from {labels}"
        " where company_id = any(%s) and is_mature and {label} is not null and extract(day from as_of_date) = 1"
    ).format(labels=task.labels.identifier, label=sql.Identifier(task.label))
    with warehouse.connect() as connection:
        try:
            others = [
                other
                for other in companies_with(connection, task.name)
                if other.shares_training
                and other.slug != company.slug
                and (meant := churn_settings_of(other)) is not None
                and meant.meaning() == churn.meaning()
            ]
            ids = [other.company_id for other in others]
            with_rows, rows, entities, outcomes = connection.execute(query, [ids]).fetchone() or ([], 0, 0, 0)
        except psycopg.errors.UndefinedTable:
            return None
    together = [company, *(other for other in others if other.company_id in (with_rows or []))]
    if len(together) < FEWEST_COMPANIES and not all(each.allows_small_pool for each in together):
        return None
    return OutcomeCounts(rows, entities, outcomes, entities - outcomes) if entities else None


@contextmanager
def _failures_before_reading(company: Company, settings: Settings) -> Iterator[list[str]]:
    """Collects what goes wrong before any entity is read; what a driver says is kept without secrets."""
    failures: list[str] = []
    try:
        yield failures
    except (ConnectorError, SecretNotFound) as error:
        failures.append(error_text(error, company, settings))


def _entity_check(entity: Entity, sample: EntitySample, links: Links | None) -> EntityCheck:
    times = [pc.min_max(sample.table[name]) for name in _EVENT_TIMES if name in sample.table.column_names]
    moments = [moment for span in times for moment in span.as_py().values() if moment is not None]
    columns = [name for name in entity.field_names if name not in NOT_A_FEATURE]
    empty = [
        name for name in columns if sample.table.num_rows and sample.table[name].null_count == sample.table.num_rows
    ]
    return EntityCheck(
        entity.name,
        received=sample.received,
        rejected=len(sample.rejected),
        reasons=_top_reasons(sample.rejected),
        is_complete=sample.is_complete,
        total=sample.total,
        first_at=min(moments, default=None),
        last_at=max(moments, default=None),
        read_until=sample.until,
        never_filled=tuple(empty),
        linked_share=None if links is None else links.share,
        is_linked_to_sample=links is not None and links.is_sample,
        is_reached=sample.is_reached,
        error=sample.error,
    )


def _top_reasons(rejected: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """The reasons that most records were rejected for, each as the first of them has it, with their number."""
    counts = Counter[str]()
    examples: dict[str, str] = {}
    for reason in rejected:
        kind = _VALUES.sub("…", reason)
        counts[kind] += 1
        examples.setdefault(kind, reason)
    return tuple((examples[kind], count) for kind, count in counts.most_common(TOP_REASONS))


def _too_many_rejected(entities: Sequence[EntityCheck], settings: Settings) -> list[str]:
    return [
        f"{check.entity}: {check.rejected:,} of {counted(check.received, 'record')} "
        f"{agreeing(check.rejected, 'break')} the contract, more than "
        f"CHURN_REJECT_LIMIT ({settings.reject_limit:.0%}) allows: the first load would fail."
        for check in entities
        if check.rejected > max(1, settings.reject_limit * check.received)
    ]


def _pooled(company: Company, own: OutcomeCounts, others: OutcomeCounts | None) -> OutcomeCounts | None:
    if not company.shares_training or others is None:
        return None
    return OutcomeCounts(**{name: count + getattr(others, name) for name, count in vars(own).items()})


def _on_the_source(
    company: Company,
    entities: Sequence[EntityCheck],
    others: Sequence[str],
    samples: Mapping[str, EntitySample],
    now: datetime,
) -> Iterator[str]:
    if others:
        yield f"The source also has {', '.join(others)}: add them to entities, each brings features."
    for check in entities:
        if check.rejected:
            yield f"Mend what rejects {check.entity}, or map it differently: {check.reasons[0][0]}."
        if check.error is None and not check.received:
            yield f"No {check.entity} came: if the source has none, leave them out of entities."
        if check.never_filled:
            yield f"No record of {check.entity} fills {', '.join(check.never_filled)}: map them if the source has them."
    newest = max((sample.until for sample in samples.values() if sample.until), default=None)
    complete = all(sample.is_complete for sample in samples.values())
    if company.clock_at is None and complete and newest is not None and newest < now - STALE_AFTER:
        yield f"The newest change is of {newest:%Y-%m-%d}: an export that has ended needs a clock_at at its end."
    customers = samples.get("customers")
    if customers is None or not customers.table.num_rows:
        return
    yield from _on_plans(churn_settings_of(company), customers.table)
    present = _attribute_names(customers.table)
    for attribute in company.custom_attributes:
        if attribute.name not in present:
            there = ", ".join(sorted(present)) or "none"
            yield f"No customer has the attribute {attribute.name}; attributes there: {there}."
    if company.segment_by in customers.table.column_names and company.segment_by in next(
        check.never_filled for check in entities if check.entity == "customers"
    ):
        yield f"segment_by is {company.segment_by}, which no customer has: choose another, or map it."


def _on_plans(settings: ChurnSettings | None, customers: pa.Table) -> Iterator[str]:
    named = (settings.expected_every if settings else None) or {}
    plans = set(customers["plan"].drop_null().to_pylist())
    if unknown := [plan for plan in named if plan not in plans]:
        there = ", ".join(sorted(plans)) or "none"
        yield f"No customer has the plan {', '.join(unknown)} of expected_every; plans there: {there}."


def _on_the_evidence(
    company: Company,
    entities: Sequence[EntityCheck],
    settings: ChurnSettings | None,
    churn: ChurnCheck | None,
    decision: RungDecision | None,
    ladder: LadderThresholds,
) -> Iterator[str]:
    if settings is None:
        return
    if caution := settings.caution():
        yield caution
    if churn is None or decision is None:
        if not any(check.error for check in entities) and entities:
            yield f"Churn by {settings.kind} is read from {settings.needed_entity()}, and none could be used."
        return
    if not churn.by_month:
        yield {
            "cancellation": "Nobody has cancelled: map cancelled_at, or define churn by inactivity.",
            "inactivity": "Nobody has been silent for so long: is inactivity_days too many?",
            "downgrade": "No price has dropped that far in what the source remembers. A source that shows only today's "
            "price tells of downgrades from its first sync on.",
        }[settings.kind]
    elif settings.kind == "downgrade":
        yield (
            "Price drops count from the first sync on: those in the source's history say how often it happens, and the "
            "first models learn without them."
        )
    spans = [(check.first_at, check.last_at) for check in entities if check.first_at and check.last_at]
    if spans and max(last for _, last in spans) - min(first for first, _ in spans) < LITTLE_HISTORY:
        yield "Less than a year of history: older records make more dates to learn from and to be judged on."
    if decision.rung == "own_model":
        return
    missing = [
        f"{needed - have:,} more {group}"
        for needed, have, group in (
            (ladder.own_outcomes, churn.outcomes.outcomes, "customers who left"),
            (ladder.own_survivors, churn.outcomes.survivors, "who stayed"),
        )
        if needed > have
    ]
    yield f"For a model of its own it needs {' and '.join(missing)}: longer history, or time."
    if not company.shares_training:
        yield "With shares_training: true it may use a model of companies that mean the same by churn."
    elif decision.pool is None and not company.allows_small_pool:
        yield "Its pool would be of two companies or fewer, which takes allows_small_pool: true of each."


def _attribute_names(customers: pa.Table) -> set[str]:
    names: set[str] = set()
    for text in customers["attributes"].drop_null().unique().to_pylist():
        names |= orjson.loads(text).keys()
    return names
