"""Real exports through the file connector, by the example companies of docs/examples."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.connectors.contract import PAYMENTS
from pipeline.connectors.files import Files, FileSettings
from pipeline.connectors.validation import Reading
from pipeline.loading.sync import LoadResult, sync_company
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.settings import Settings

ROOT = Path(__file__).parents[4]
DATA = ROOT.parent / "shared" / "data"

Take = Callable[[str], dict[str, LoadResult]]


def definition(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "examples" / f"{name}.yaml").read_text())
    return loaded


@pytest.fixture
def take(warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path) -> Take:
    """Registers an example company and syncs it from the shared data, or skips where that is absent."""

    def run(name: str) -> dict[str, LoadResult]:
        if not (DATA / name).is_dir():
            pytest.skip(f"the {name} data is not on this machine (it lies outside the repository)")
        fields = definition(name)
        fields["connector_settings"].pop("directory")
        (tmp_path / "imports").mkdir()
        (tmp_path / "imports" / name).symlink_to(DATA / name)
        company = add_company(fields.pop("slug"), **fields)
        results = sync_company(warehouse, company, Clock(), Settings(home=tmp_path))
        return {result.entity: result for result in results}

    return run


def query(warehouse: Warehouse, text: str) -> list[tuple[Any, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(text).fetchall()


@pytest.mark.parametrize("name", ["online_retail", "ravenstack"])
def test_the_examples_are_companies_that_can_be_registered(add_company: Callable[..., Company], name: str) -> None:
    fields = definition(name)
    assert add_company(fields.pop("slug"), **fields).clock_at is not None


def test_invoice_lines_become_customers_and_payments(warehouse: Warehouse, take: Take) -> None:
    results = take("online_retail")
    lines = pq.read_table(DATA / "online_retail" / "year_2009_2010.parquet")
    known = lines.filter(pc.field("CustomerID").is_valid())
    invoices = known.group_by("InvoiceNo").aggregate([])
    people = known.group_by("CustomerID").aggregate([])
    assert {
        name: (result.status, result.loaded, result.rejected, result.unaccounted) for name, result in results.items()
    } == {
        "customers": ("succeeded", people.num_rows, 0, 0),
        "payments": ("succeeded", invoices.num_rows, 0, 0),
    }
    net = pc.sum(pc.multiply(pc.cast(known["Quantity"], "double"), known["UnitPrice"])).as_py()
    ((charged_less_refunded, refunds),) = query(
        warehouse,
        "select sum(case kind when 'charge' then amount else -amount end)::float,"
        " count(*) filter (where kind = 'refund') from raw.payments",
    )
    assert charged_less_refunded == pytest.approx(net, abs=0.01)
    assert refunds == pc.sum(pc.starts_with(invoices["InvoiceNo"], "C")).as_py()
    assert query(warehouse, "select min(created_at), max(updated_at) < '2010-12-10' from raw.customers") == [
        (datetime(2009, 12, 1, 7, 45, tzinfo=UTC), True)
    ]
    assert query(warehouse, "select country from raw.customers where customer_id = '13085'") == [("United Kingdom",)]


def test_every_table_of_ravenstack_is_taken_in(warehouse: Warehouse, take: Take) -> None:
    results = take("ravenstack")
    assert {
        name: (result.status, result.loaded, result.rejected, result.unaccounted) for name, result in results.items()
    } == {
        "customers": ("succeeded", 500, 0, 0),
        "tickets": ("succeeded", 2000, 0, 0),
        "payments": ("succeeded", 5000, 0, 0),
        "events": ("succeeded", 25_000, 0, 0),
    }
    ((older,),) = query(
        warehouse,
        "select round(avg((tickets.opened_at < customers.created_at)::int), 2)::float from raw.tickets"
        " join raw.customers using (company_id, customer_id)",
    )
    assert older == pytest.approx(0.54, abs=0.01)
    assert query(warehouse, "select distinct priority from raw.tickets order by 1") == [
        ("high",),
        ("low",),
        ("normal",),
        ("urgent",),
    ]


def test_a_year_in_two_exports_that_overlap_is_the_same_money(tmp_path: Path) -> None:
    if not (DATA / "online_retail").is_dir():
        pytest.skip("the online_retail data is not on this machine (it lies outside the repository)")
    lines = pq.read_table(DATA / "online_retail" / "year_2009_2010.parquet")
    days = lines["InvoiceDate"]
    halves = (pc.less(days, datetime(2010, 7, 1)), pc.greater_equal(days, datetime(2010, 6, 20)))  # noqa: DTZ001
    for number, half in enumerate(halves):
        pq.write_table(lines.filter(half), tmp_path / f"year_{number}.parquet")
    settings = definition("online_retail")["connector_settings"]
    reading = Reading(ZoneInfo("Europe/London"), datetime(2026, 1, 1, tzinfo=UTC))
    money = []
    (tmp_path / "imports").mkdir()
    (tmp_path / "imports" / "whole").symlink_to(DATA / "online_retail")
    (tmp_path / "imports" / "halves").symlink_to(tmp_path)
    for company in ("whole", "halves"):
        files = FileSettings.model_validate(settings | {"directory": None})
        source = Files(company, files, Settings(home=tmp_path), reading)
        (chunk,) = source.read(PAYMENTS, None, 1_000_000)
        money.append((chunk.accepted.num_rows, pc.sum(chunk.accepted["amount"]).as_py()))
    assert money[0] == money[1]
    assert any(
        "742 records stand in two files with the same lines and count once" in remark for remark in chunk.remarks
    )
