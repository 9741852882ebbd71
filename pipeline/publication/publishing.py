"""Gate and publication over companies, each as the role that may."""

import logging
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import psycopg

from foundation.counting import counted
from foundation.errors import ChurnError
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.companies.registry import companies_with, get_company
from warehouse.connection import Warehouse
from warehouse.lost_connection import resumed
from warehouse.prediction.task_relations import TaskRelations
from warehouse.publication.contract import Contract
from warehouse.publication.feed import Bands, compact_feed
from warehouse.publication.gate import GateCheck, run_gate
from warehouse.publication.holds import list_holds, release, ways_out
from warehouse.publication.publish import (
    Publication,
    is_publishable,
    newest_publication,
    publish_staged_scores,
    staged_date,
)
from warehouse.roles import Role
from warehouse.settings import Settings

log = logging.getLogger(__name__)


@dataclass
class Verdicts:
    """The gate's verdict on staged scores, by company's slug: what was looked at where all is well, and what is not."""

    passed: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def run_gates(warehouse: Warehouse, settings: Settings, task: TaskRelations) -> Verdicts:
    """Judge the staged scores of a task, of every active company that has some."""
    verdicts = Verdicts()
    clock = Clock.from_settings(settings)
    with warehouse.connect() as conn:
        companies = companies_with(conn, task.name)
    for company in companies:
        try:
            staged, checks = resumed(warehouse, partial(_judged, warehouse, task, company, clock), log.warning)
            if staged is None:
                continue
        except (ChurnError, psycopg.Error) as error:
            # Whoever cannot be judged is held back, and the next one is judged.
            told = error.told_of(company.slug) if isinstance(error, ChurnError) else error
            verdicts.failed[company.slug] = f"it cannot be judged: {told}"
            continue
        failed = [check.detail for check in checks if not check.passed]
        if failed:
            verdicts.failed[company.slug] = f"{'; '.join(failed)}. {ways_out(company.slug, task.name, staged)}"
        else:
            verdicts.passed[company.slug] = f"{counted(len(checks), 'check')} passed for {staged}: {checks[0].detail}"
    return verdicts


def _judged(
    warehouse: Warehouse, task: TaskRelations, company: Company, clock: Clock
) -> tuple[date | None, list[GateCheck]]:
    """The date that is staged, if one is, and the gate's verdict on it."""
    with warehouse.connect(Role.ml) as conn:
        staged = staged_date(conn, company.company_id, task.name)
        if staged is None:
            return None, []
        return staged, run_gate(conn, task, company, staged, clock.for_company(company))


def publish_company(
    warehouse: Warehouse, settings: Settings, contract: Contract, company: Company
) -> Publication | None:
    """Publish a company's staged scores of a task, and compact the feed; None where nothing is staged, or all held."""
    now = Clock.from_settings(settings).for_company(company)
    bands = Bands(settings.feed_probability_band, settings.feed_odds_band)
    published = None
    with warehouse.connect(Role.publisher, autocommit=True) as conn:
        staged = staged_date(conn, company.company_id, contract.task)
        if staged is not None and is_publishable(conn, company.company_id, contract.task, staged):
            published = publish_staged_scores(conn, contract, company.company_id, staged, now, bands=bands)
            release(conn, company.company_id, contract.task, staged, now, "published")
        compact_company(conn, settings, contract, company, now)
    return published


def what_stands(warehouse: Warehouse, contract: Contract, slug: str) -> dict[str, str | int]:
    """What readers see of a company that published nothing just now, and why nothing was, for its asset's metadata."""
    with warehouse.connect() as conn:
        company = get_company(conn, slug)
        held = list_holds(conn, company.company_id, contract.task, only_open=True)
        standing = newest_publication(conn, contract, company.company_id)
    status = held[0].sentence(slug, contract.task) if held else "nothing new since the last publication"
    if standing is None:
        return {"status": f"{status}; nothing is published yet"}
    return {
        "status": status,
        "published_as_of": str(standing.as_of_date),
        "published_scores": standing.scores,
        "published_by_model": standing.model_version,
    }


def compact_company(
    conn: psycopg.Connection[Any], settings: Settings, contract: Contract, company: Company, now: datetime
) -> int:
    """Compact what the company's feed of a task holds beyond its retention; returns how many changes were taken out."""
    return compact_feed(conn, contract, company.company_id, now - timedelta(days=settings.feed_retention_days))
