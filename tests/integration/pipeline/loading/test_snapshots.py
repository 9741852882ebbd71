"""One state of the customers is no history: the check of a company says so, and so does every run, with the way out."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from orchestration.cli.company_report import print_check
from orchestration.cli.summary import print_summary
from pipeline.companies import parse_definition
from pipeline.loading.check import CompanyCheck, check_company
from pipeline.loading.snapshots import FEWEST_CUSTOMERS, YOUNG, Past, snapshots_among
from pipeline.loading.sync import sync_company
from tests.integration.company_folders import imports
from warehouse.clock import Clock
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.settings import Settings

NOW = datetime(2025, 1, 1, tzinfo=UTC)
CUSTOMERS = 120


def customers(*, left_on: Callable[[int], str], updated_at: Callable[[int], str] | None = None) -> str:
    """A file of customers who joined over three years, every fourth of whom left."""
    lines = ["customer_id,created_at,cancelled_at" + (",updated_at" if updated_at else "")]
    for number in range(CUSTOMERS):
        joined = datetime(2021, 6, 1, tzinfo=UTC) + timedelta(days=9 * number)
        left = left_on(number) if number % 4 == 0 else ""
        lines.append(f"c{number},{joined:%Y-%m-%d},{left}" + (f",{updated_at(number)}" if updated_at else ""))
    return "\n".join(lines)


SNAPSHOT = customers(left_on=lambda _: "2024-12-31")
NOBODY_LEFT = customers(left_on=lambda _: "")
HISTORY = customers(left_on=lambda number: f"2024-{1 + number // 4 % 12:02d}-15")
PAYMENTS = "payment_id,customer_id,kind,issued_at,amount,currency,status\n" + "\n".join(
    f"p{number},c{number},charge,2024-{1 + number % 12:02d}-01,10,EUR,succeeded" for number in range(CUSTOMERS)
)


def definition(entities: list[str]) -> Any:
    settings = {"files": {name: {"path": f"{name}.csv"} for name in entities}}
    return parse_definition(
        {
            "slug": "acme",
            "name": "Acme",
            "connector": "files",
            "entities": entities,
            "churn_kind": "cancellation",
            "currency": "EUR",
            "connector_settings": settings,
        }
    )


def checked(home: Path, files: dict[str, str]) -> CompanyCheck:
    for name, text in files.items():
        (imports(home, "acme") / f"{name}.csv").write_text(text)
    return check_company(definition(list(files)), Settings(home=home), Clock(NOW))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (SNAPSHOT, "all 30 customers who left did so within one month"),
        (NOBODY_LEFT, "each of 120 customers has one state"),
    ],
)
def test_the_check_calls_a_snapshot_by_its_name_and_says_the_way_out(text: str, told: str, tmp_path: Path) -> None:
    check = checked(tmp_path, {"customers": text})

    console = Console(width=1000, record=True, file=io.StringIO())
    print_check(check, console)
    printed = console.export_text()
    assert f"This is a snapshot: {told}" in printed
    assert "churn try FILE --outcome COLUMN" in printed


@pytest.mark.parametrize("files", [{"customers": HISTORY}, {"customers": NOBODY_LEFT, "payments": PAYMENTS}])
def test_a_history_is_no_snapshot(files: dict[str, str], tmp_path: Path) -> None:
    assert checked(tmp_path, files).snapshot is None


def test_a_run_says_of_a_company_that_its_loads_are_a_snapshot_until_they_change(
    warehouse: Warehouse, add_company: Callable[..., Any], tmp_path: Path
) -> None:
    settings = {"files": {"customers": {"path": "customers.csv"}}}
    company = add_company(
        "acme", connector="files", entities=["customers"], churn_kind="cancellation", connector_settings=settings
    )
    file = imports(tmp_path, "acme") / "customers.csv"

    def told_after(text: str, days: int) -> dict[str, str]:
        file.write_text(text)
        clock = Clock(NOW + timedelta(days=days))
        (loaded,) = sync_company(warehouse, company, clock, Settings(home=tmp_path), ["customers"])
        assert loaded.status == "succeeded", loaded
        with warehouse.connect() as connection:
            return snapshots_among(connection, list_companies(connection))

    assert told_after(SNAPSHOT, 0)["acme"].startswith("This is a snapshot: all 30 customers who left")
    console = Console(width=1000, record=True, file=io.StringIO())
    with warehouse.connect() as connection:
        print_summary(connection, console, "run")
    assert "acme: This is a snapshot" in console.export_text()
    later = SNAPSHOT.replace("c1,2021-06-10,", "c1,2021-06-10,2025-02-03")
    assert told_after(later, 40) == {}


@given(
    customers=st.integers(0, 1_000),
    left=st.integers(0, 1_000),
    months=st.integers(0, 24),
    days=st.integers(0, 2_000),
)
def test_who_left_in_several_months_or_is_young_has_no_snapshot(
    customers: int, left: int, months: int, days: int
) -> None:
    past = Past(
        customers, customers + 1, left, months, timedelta(days=days), timedelta(days=days), has_other_records=False
    )

    is_one_month = months == 1 and left >= FEWEST_CUSTOMERS and timedelta(days=days) > YOUNG
    assert (past.why_a_snapshot() is not None) == is_one_month
