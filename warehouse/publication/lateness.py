"""Which companies have had no new scores lately, for whatever reason: a line that stands still has no failed run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.publication.contract import Contract

LATE_AFTER = timedelta(hours=50)
"""Two nights, and two hours for a run that takes long."""


@dataclass(frozen=True)
class LatePublication:
    """A company's task whose newest scores were published too long ago, by the company's own clock."""

    company: str
    task: str
    published_at: datetime

    def __str__(self) -> str:
        return f"{self.company}: no scores of {self.task} since {self.published_at:%Y-%m-%d %H:%M} UTC"


def late_publications(
    connection: psycopg.Connection[Any], contracts: Sequence[Contract], companies: Sequence[Company], clock: Clock
) -> Iterator[LatePublication]:
    """Of these companies the tasks that are late; one that never published is just being added, or failed runs tell."""
    for contract in contracts:
        query = contract.compose("select company_id, max(published_at) from {publications_v1} group by company_id")
        newest = dict(connection.execute(query).fetchall())
        for company in companies:
            published_at = newest.get(company.company_id)
            has_task = contract.task in company.tasks
            if has_task and published_at is not None and published_at < clock.for_company(company) - LATE_AFTER:
                yield LatePublication(company.slug, contract.task, published_at.astimezone(UTC))
