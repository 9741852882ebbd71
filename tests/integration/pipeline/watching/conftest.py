"""A company with published scores to watch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest

from tests.integration.published import Score, publish
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse

FIRST, SECOND = date(2026, 1, 5), date(2026, 2, 5)
NOW = datetime(2026, 4, 1, 6, tzinfo=UTC)


@pytest.fixture
def company(warehouse: Warehouse, add_company: Callable[..., Company]) -> Company:
    """A company whose customers c0 to c9 have scores of two dates; its labels come one by one."""
    company = add_company("acme", clock_at=NOW)
    with warehouse.connect() as conn:
        conn.execute(
            "create table features.churn_label_versions (company_id int, customer_id text, as_of_date date,"
            " label_status text, label_version int, is_churned boolean, known_at timestamptz);"
            "create table intermediate.int_customers__segments (company_id int, customer_id text, segment text);"
            "insert into intermediate.int_customers__segments"
            " select 1, 'c' || number, case number % 2 when 0 then 'shops' end from generate_series(0, 9) as number;"
            "grant select on all tables in schema features, intermediate to churn_ml"
        )
    for day in (FIRST, SECOND):
        publish(warehouse, company.company_id, day, {f"c{number}": Score(0.05 + number / 12) for number in range(10)})
    return company
