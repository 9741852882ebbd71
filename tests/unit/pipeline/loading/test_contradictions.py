"""What says two things at once is told of by the check, with which of the two counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from pipeline.companies import parse_definition
from pipeline.connectors.contract import ENTITIES
from pipeline.loading.contradictions import contradictions
from pipeline.loading.sample import EntitySample
from warehouse.companies.definition import Company

SILENCE = {"kind": "inactivity", "inactivity_days": 90}
PAID = datetime(2024, 3, 1, tzinfo=UTC)
LATER = datetime(2024, 6, 1, tzinfo=UTC)


def _told(entity: str, *records: dict[str, Any], churn: dict[str, Any] = SILENCE) -> list[str]:
    said = {"slug": "acme", "name": "Acme", "connector": "files", "currency": "EUR", "tasks": {"churn": churn}}
    company = Company(company_id=1, is_active=True, **parse_definition(said).model_dump())
    schema, usual = ENTITIES[entity].schema, {ENTITIES[entity].key: "x1", "updated_at": LATER, "is_deleted": False}
    rows = [{name: (usual | record).get(name) for name in schema.names} for record in records]
    sample = EntitySample(pa.Table.from_pylist(rows, schema), received=len(rows), is_complete=True)
    return list(contradictions(company, {entity: sample}))


@pytest.mark.parametrize(
    ("customer", "said"),
    [
        ({"paused_at": PAID, "status": "active"}, "1 has paused_at, no resumes_at and another status than paused"),
        ({"paused_at": PAID}, "paused until a version says otherwise"),
        (
            {"paused_at": LATER, "resumes_at": PAID},
            '1 resumes before the pause begins (resumes_at, paused_at), such as "x1"',
        ),
        ({"status": "Paused", "resumes_at": PAID}, "the status paused and a resumes_at that had passed"),
    ],
)
def test_a_pause_without_sense_is_told_of(customer: dict[str, Any], said: str) -> None:
    assert said in " ".join(_told("customers", customer))
    assert _told("customers", customer, churn=SILENCE | {"counts_pauses": True}) == []
    assert _told("customers", customer, churn={"kind": "cancellation"}) == []
    # What was so once is not so now, and who was deleted is nobody's doubt.
    assert _told("customers", customer | {"updated_at": PAID}, {"status": "active"}) == []
    assert _told("customers", customer | {"is_deleted": True}) == []


@pytest.mark.parametrize(
    "customer",
    [
        {"status": "paused"},
        {"status": "paused", "paused_at": PAID},
        {"status": "active", "paused_at": PAID, "resumes_at": LATER},
        {"status": "active"},
    ],
)
def test_a_pause_that_makes_sense_is_not(customer: dict[str, Any]) -> None:
    assert _told("customers", customer) == []


def test_a_payment_that_failed_and_was_paid_is_told_of() -> None:
    failed = [{"payment_id": f"p{number}", "status": "Failed", "paid_at": PAID} for number in range(2)]
    paid = {"payment_id": "p3", "status": "succeeded", "paid_at": PAID}
    for churn in (SILENCE, {"kind": "cancellation"}):
        (sentence,) = _told("payments", *failed, paid, {"payment_id": "p4", "status": "failed"}, churn=churn)
        assert sentence.startswith('payments: 2 have a paid_at and the status failed or pending, such as "p')
        assert "paid_at decides" in sentence
