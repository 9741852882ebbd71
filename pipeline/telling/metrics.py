"""What Prometheus reads: the age of scores and loads, what loads counted, which companies fail, room and backups.

Read from the warehouse with each scrape, as the operator, by few short statements. It writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import psycopg
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from foundation.errors import ChurnError
from pipeline.prediction.tasks import CONTRACTS
from warehouse.backup.keep import newest_backup
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.companies.quarantine import open_quarantines
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.disk_space import free_bytes
from warehouse.relations import compose
from warehouse.roles import Role
from warehouse.settings import Settings

Connection = psycopg.Connection[Any]

LONGEST_STATEMENT = "5s"
"""Prometheus waits for ten seconds."""
_RECENT_RUNS = 400
"""Rows of a company's run log in which the newest run of each of its stages is looked for: more than a week's."""
_NEWEST_LOADS = compose("""
    select company.company_id, entity.name, newest.*
    from {companies} as company
    cross join unnest(company.entities) as entity (name)
    cross join lateral (
        select known_at, received, loaded, unchanged, rejected from {load_log}
        where company_id = company.company_id and entity = entity.name and status = 'succeeded'
        order by load_id desc limit 1
    ) as newest
""")
_NEWEST_RUNS = compose("""
    select company.company_id, newest.stage, newest.status = 'failed'
    from {companies} as company
    cross join lateral (
        select distinct on (stage) stage, status from (
            select run_log_id, stage, status from {run_log}
            where company_id = company.company_id and status <> 'running'
            order by run_log_id desc limit %s
        ) as recent
        order by stage, run_log_id desc
    ) as newest
""")
_OPEN_HOLDS = compose(
    "select company_id, task, count(*) from {publication_holds} where released_at is null group by company_id, task"
)


class WarehouseMetrics(Collector):
    """The figures of one warehouse; while it is away `churn_warehouse_up` is 0 and those read from it are missing."""

    def __init__(self, warehouse: Warehouse, settings: Settings) -> None:
        self._warehouse = warehouse
        self._settings = settings

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that nothing is read when this is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """A family per figure; ages are in seconds, by the company's own clock where it has one."""
        families: list[Metric] = []
        try:
            with self._warehouse.connect(Role.operator) as conn:
                conn.execute(f"set statement_timeout = '{LONGEST_STATEMENT}'")
                companies = list_companies(conn, active_only=False)
                active = [company for company in companies if company.is_active and not company.unreadable]
                families = [*_of_companies(conn, companies), *self._of_active(conn, active)]
        except (ChurnError, psycopg.Error):
            families = []
        yield _gauge("churn_warehouse_up", "Whether the warehouse answered.", [((), bool(families))])
        yield from families
        yield from self._of_home()

    def _of_active(self, conn: Connection, companies: Sequence[Company]) -> Iterator[Metric]:
        clock = Clock.from_settings(self._settings)
        by_id = {company.company_id: company for company in companies}
        yield from _publications(conn, by_id, clock)
        yield from _loads(conn, by_id, clock)
        failing = [
            ((by_id[company_id].slug, stage), is_failed)
            for company_id, stage, is_failed in conn.execute(_NEWEST_RUNS, [_RECENT_RUNS])
            if company_id in by_id
        ]
        yield _gauge(
            "churn_stage_failing", "Whether a stage's newest run failed for the company.", failing, "company", "stage"
        )

    def _of_home(self) -> Iterator[Metric]:
        free = free_bytes(self._settings)
        yield _gauge("churn_disk_free_bytes", "Room where the home folder has least.", [((), free)])
        made_at = newest_backup(self._settings)
        age = [((), _age(Clock().now(), made_at))] if made_at else []
        yield _gauge("churn_backup_age_seconds", "Since the newest backup in CHURN_BACKUP_FOLDER.", age)


def _of_companies(conn: Connection, companies: Sequence[Company]) -> Iterator[Metric]:
    left_out = {quarantine.company_id for quarantine in open_quarantines(conn)}

    def state(company: Company) -> str:
        if not company.is_active:
            return "disabled"
        return "left_out" if company.company_id in left_out or company.unreadable else "active"

    states = [((company.slug, state(company)), 1) for company in companies]
    yield _gauge("churn_company", "1 for each company, by its state.", states, "company", "state")


def _publications(conn: Connection, companies: dict[int, Company], clock: Clock) -> Iterator[Metric]:
    ages, scores, holds = [], [], []
    for contract in CONTRACTS:
        query = contract.compose(
            "select distinct on (company_id) company_id, max(published_at) over (partition by company_id), scores"
            " from {publications_v1} order by company_id, as_of_date desc"
        )
        for company_id, published_at, count in conn.execute(query):
            if (company := companies.get(company_id)) and contract.task in company.tasks:
                labels = (company.slug, contract.task)
                ages.append((labels, _age(clock.for_company(company), published_at)))
                scores.append((labels, count))
    for company_id, task, count in conn.execute(_OPEN_HOLDS):
        if company_id in companies:
            holds.append(((companies[company_id].slug, task), count))
    names = ("company", "task")
    yield _gauge("churn_publication_age_seconds", "Since scores were last published.", ages, *names)
    yield _gauge("churn_published_scores", "Scores of the newest published set.", scores, *names)
    yield _gauge("churn_held_dates", "Dates that are held back from publication.", holds, *names)


def _loads(conn: Connection, companies: dict[int, Company], clock: Clock) -> Iterator[Metric]:
    ages, records = [], []
    for company_id, entity, known_at, *counts in conn.execute(_NEWEST_LOADS):
        company = companies.get(company_id)
        if company is None or entity not in company.entities:
            continue
        ages.append(((company.slug, entity), _age(clock.for_company(company), known_at)))
        for outcome, count in zip(("received", "new", "unchanged", "rejected"), counts, strict=True):
            records.append(((company.slug, entity, outcome), count))
    yield _gauge("churn_load_age_seconds", "Since the newest load that succeeded.", ages, "company", "entity")
    yield _gauge(
        "churn_load_records", "Records of that load, by what became of them.", records, "company", "entity", "outcome"
    )


def _age(now: datetime, then: datetime) -> float:
    return (now - then).total_seconds()


def _gauge(name: str, help_text: str, samples: Sequence[tuple[tuple[str, ...], float]], *labels: str) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for values, value in samples:
        family.add_metric(values, float(value))
    return family
