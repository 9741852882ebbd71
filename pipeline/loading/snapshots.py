"""A source that holds one state of its customers and no history: told before anybody trusts its scores.

From such a source every past date looks as if nobody had left, and the day of the file as if all had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pyarrow.compute as pc

from foundation.counting import counted
from pipeline.loading.outcomes import versions_of
from pipeline.loading.sample import EntitySample
from pipeline.prediction.tasks import churn_settings_of
from warehouse.companies.definition import Company

FEWEST_CUSTOMERS = 20
"""Of fewer customers, or leavings, a month or a day says nothing."""

YOUNG = timedelta(days=92)
"""Customers who joined within so short a time may well have left in one month."""

ONE_DAY = timedelta(days=1)

_WAY_OUT = (
    "When anybody leaves cannot be learned from it. `churn try FILE --outcome COLUMN` learns from the file as it is; "
    "for scores of the warehouse give the day on which each customer left, or let it sync daily from now on."
)


@dataclass(frozen=True)
class Past:
    """What a company's customers tell of the past. Times between the first and the last; None where there is none.

    customers, versions, left: how many there are. leaving_months: different months in which somebody left.
    has_other_records: tickets, payments, events or sends tell of the past, too.
    """

    customers: int
    versions: int
    left: int
    leaving_months: int
    joined_within: timedelta | None
    changed_within: timedelta | None
    has_other_records: bool

    def why_a_snapshot(self) -> str | None:
        """Why this is one state of the customers and no history, in a sentence; None where it may be a history."""
        if self.left >= FEWEST_CUSTOMERS and self.leaving_months == 1 and (self.joined_within or ONE_DAY) > YOUNG:
            return (
                f"all {self.left:,} customers who left did so within one month, though customers joined over "
                f"{counted((self.joined_within or ONE_DAY).days, 'day')}"
            )
        never_changes = self.versions == self.customers and (self.changed_within or timedelta()) <= ONE_DAY
        if (
            self.customers >= FEWEST_CUSTOMERS
            and never_changes
            and not self.has_other_records
            and self.leaving_months < 2
        ):
            return f"each of {self.customers:,} customers has one state, all of the same day, and nothing ever changes"
        return None


def snapshot_sentence(past: Past) -> str | None:
    """What a person should know of a company whose source is a snapshot, and the ways out; None where it is none."""
    reason = past.why_a_snapshot()
    return None if reason is None else f"This is a snapshot: {reason}. {_WAY_OUT}"


def past_in_samples(samples: Mapping[str, EntitySample]) -> Past | None:
    """What all of the source's customers tell; None where only a part of them came, or none."""
    sample = samples.get("customers")
    if sample is None or not sample.is_complete or not sample.table.num_rows:
        return None
    versions = versions_of(sample.table)
    newest = versions.drop_duplicates("customer_id", keep="last")
    newest = newest[~newest["is_deleted"] & ~newest["is_test"]]
    left = newest["cancelled_at"].dropna()
    return Past(
        customers=versions["customer_id"].nunique(),
        versions=len(versions),
        left=len(left),
        leaving_months=left.dt.strftime("%Y-%m").nunique(),
        joined_within=_within(sample, "created_at"),
        changed_within=_within(sample, "updated_at"),
        has_other_records=any(other.table.num_rows for name, other in samples.items() if name != "customers"),
    )


def _within(sample: EntitySample, column: str) -> timedelta | None:
    span = pc.min_max(sample.table[column]).as_py()
    return None if span["min"] is None else span["max"] - span["min"]


def snapshots_among(conn: psycopg.Connection[Any], companies: Sequence[Company]) -> dict[str, str]:
    """By slug, the sentence on each company that has churn by cancellation and whose loads so far are a snapshot."""
    sentences = {}
    for company in companies:
        churn = churn_settings_of(company)
        past = _past_in_warehouse(conn, company) if churn is not None and churn.kind == "cancellation" else None
        sentence = None if past is None else snapshot_sentence(past)
        if sentence is not None:
            sentences[company.slug] = sentence
    return sentences


def _past_in_warehouse(conn: psycopg.Connection[Any], company: Company) -> Past:
    row = conn.execute(
        """
        with newest as (
            select distinct on (customer_id) customer_id, cancelled_at, is_deleted, is_test
            from raw.customers where company_id = %(company)s
            order by customer_id, updated_at desc, known_at desc
        ),

        leavings as (
            select count(cancelled_at) as customers, count(distinct date_trunc('month', cancelled_at, 'UTC')) as months
            from newest where not is_deleted and is_test is not true
        ),

        versions as (
            select count(distinct customer_id) as customers, count(*) as versions,
                max(created_at) - min(created_at) as joined_within, max(updated_at) - min(updated_at) as changed_within
            from raw.customers where company_id = %(company)s
        )

        select versions.customers, versions.versions, leavings.customers, leavings.months,
            versions.joined_within, versions.changed_within,
            exists (select from raw.tickets where company_id = %(company)s)
            or exists (select from raw.payments where company_id = %(company)s)
            or exists (select from raw.events where company_id = %(company)s)
            or exists (select from raw.sends where company_id = %(company)s)
        from versions cross join leavings
        """,
        {"company": company.company_id},
    ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always has a row
    return Past(*row)
