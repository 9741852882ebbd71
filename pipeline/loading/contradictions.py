"""Records that say two things at once: who left before coming, pauses without sense, failed payments that were paid.

Which of the two is meant only the company knows: the check tells which one counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from foundation.counting import agreeing
from pipeline.loading.sample import EntitySample
from pipeline.prediction.tasks import churn_settings_of
from warehouse.companies.definition import Company


def contradictions(company: Company, samples: Mapping[str, EntitySample]) -> Iterator[str]:
    """What is contradictory in the newest version of each record, a sentence per kind."""
    if "customers" in samples:
        yield from _left_before_coming(samples["customers"].table)
    churn = churn_settings_of(company)
    if churn is not None and churn.kind == "inactivity" and not churn.counts_pauses and "customers" in samples:
        yield from _pauses(samples["customers"].table)
    if "payments" in samples:
        yield from _unpaid_payments(samples["payments"].table)


def _left_before_coming(customers: pa.Table) -> Iterator[str]:
    customers = _newest(customers, "customer_id")
    left_before = customers.filter(pc.fill_null(pc.less(customers["cancelled_at"], customers["created_at"]), False))
    if left_before.num_rows:
        moment = left_before["cancelled_at"][0].as_py()
        yield from _told(
            left_before,
            "customers: {count} {have} a cancelled_at before their created_at, such as {example} "
            f"({moment:%Y-%m-%d}): never there, and counted nowhere. If that date stands for no cancellation, "
            'translate it to "" by values.',
        )


def _pauses(customers: pa.Table) -> Iterator[str]:
    customers = _newest(customers, "customer_id")
    is_paused = _is_in(customers["status"], ["paused"])
    begins_at, resumes_at = customers["paused_at"], customers["resumes_at"]
    has_no_end = pc.and_(pc.is_valid(begins_at), pc.is_null(resumes_at))
    yield from _told(
        customers.filter(pc.and_(has_no_end, pc.invert(is_paused))),
        "customers: {count} {have} paused_at, no resumes_at and another status than paused, such as {example}: "
        "paused until a version says otherwise. Leave paused_at empty once a pause is over, or fill resumes_at.",
    )
    yield from _told(
        customers.filter(pc.fill_null(pc.less_equal(resumes_at, begins_at), False)),
        "customers: {count} {resume} before the pause begins (resumes_at, paused_at), such as {example}: no pause.",
    )
    ended = pc.fill_null(pc.less_equal(resumes_at, customers["updated_at"]), False)
    yield from _told(
        customers.filter(pc.and_(is_paused, ended)),
        "customers: {count} {have} the status paused and a resumes_at that had passed, such as {example}: the pause is "
        "over. Leave resumes_at empty where no end is known.",
    )


def _unpaid_payments(payments: pa.Table) -> Iterator[str]:
    payments = _newest(payments, "payment_id")
    is_unpaid = _is_in(payments["status"], ["failed", "pending"])
    yield from _told(
        payments.filter(pc.and_(is_unpaid, pc.is_valid(payments["paid_at"]))),
        "payments: {count} {have} a paid_at and the status failed or pending, such as {example}: paid, for paid_at "
        "decides. Leave it empty where no money came.",
    )


def _newest(table: pa.Table, key: str) -> pa.Table:
    """The last version of each record, without deleted ones."""
    in_order = table.take(pc.sort_indices(table["updated_at"]))
    numbered = in_order.append_column("place", pa.array(range(table.num_rows), pa.int64()))
    newest = in_order.take(numbered.group_by(key).aggregate([("place", "max")])["place_max"])
    return newest.filter(pc.invert(pc.fill_null(newest["is_deleted"], False)))


def _is_in(status: pa.ChunkedArray, words: list[str]) -> pa.ChunkedArray:
    return pc.is_in(pc.utf8_lower(status), value_set=pa.array(words))


def _told(records: pa.Table, sentence: str) -> Iterator[str]:
    count = records.num_rows
    if count:
        verbs = {verb: agreeing(count, verb) for verb in ("have", "resume")}
        yield sentence.format(count=f"{count:,}", example=f'"{records[0][0].as_py()}"', **verbs)
