"""The files of the docs' examples, with a change on the second day: what the pages promise is what happens."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from pipeline.loading.sync import LoadResult, sync_company
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.roles import Role
from warehouse.settings import Settings

DOCS = Path(__file__).parents[4] / "docs"
DAY = datetime(2025, 6, 1, tzinfo=UTC)


def example(page: str, heading: str) -> Any:
    """The first YAML block under a heading."""
    (text,) = re.findall(rf"^## {heading}\n.*?```yaml\n(.*?)```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    return yaml.safe_load(text)


def sync(warehouse: Warehouse, company: Company, home: Path, day: int) -> dict[str, LoadResult]:
    settings = Settings(home=home)
    results = sync_company(warehouse, company, Clock(DAY + timedelta(days=day)), settings)
    assert all(result.received == result.loaded + result.unchanged + result.rejected for result in results)
    return {result.entity: result for result in results}


def ask(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connect(Role.operator) as connection:
        return connection.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]


def test_cancellations_arrive_by_the_files_of_the_page_on_connecting(
    warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path
) -> None:
    written = example("connect-a-crm.md", "Files")
    resellers = [{"name": "is_reseller", "kind": "flag"}]
    company = add_company("acme", entities=["customers"], custom_attributes=resellers, **written)
    folder = tmp_path / written["connector_settings"]["directory"]
    folder.mkdir(parents=True)
    lines = [
        "Number;Since;Seats;Price;is_reseller;cancelled_at",
        *(f"{number};01.0{number}.2023;3;1.234,50;nein;" for number in range(1, 7)),
    ]
    (folder / "customers-1.csv").write_text("\n".join(lines))
    assert sync(warehouse, company, tmp_path, 0)["customers"].loaded == 6
    cancelled = [line + "01.06.2025" if number in range(1, 6) else line for number, line in enumerate(lines)]
    (folder / "customers-1.csv").write_text("\n".join(cancelled[:-1]))
    result = sync(warehouse, company, tmp_path, 1)["customers"]
    assert (result.loaded, result.vanished) == (5, 1)
    assert ask(
        warehouse,
        "select count(*) from raw.customers where cancelled_at is not null and known_at > updated_at - '1 s'::interval",
    ) == [(5,)]


def test_the_shop_of_the_page_on_companies_sees_a_payment_succeed_and_a_customer_go(
    warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path
) -> None:
    (shop,) = [
        each for each in example("companies.md", "All companies in one file")["companies"] if each["slug"] == "shop"
    ]
    shop = {name: value for name, value in shop.items() if name not in ("slug", "is_active")}
    company = add_company("shop", **shop)
    folder = tmp_path / shop["connector_settings"]["directory"]
    folder.mkdir(parents=True)
    people = "customer_id,created_at\nc1,2025-01-01\nc2,2025-01-02\n"
    bills = "payment_id,customer_id,kind,amount,status,issued_at\np1,c1,charge,9.5,{},2025-02-01\n"
    (folder / "customers.csv").write_text(people)
    (folder / "payments.csv").write_text(bills.format("pending"))
    assert [result.loaded for result in sync(warehouse, company, tmp_path, 0).values()] == [2, 1]
    (folder / "customers.csv").write_text(people[: people.index("c2")])
    (folder / "payments.csv").write_text(bills.format("succeeded"))
    # Its clock stands still between the loads, as that of an export does.
    second = sync(warehouse, company, tmp_path, 1)
    assert (second["customers"].vanished, second["payments"].loaded) == (1, 1)
    assert ask(warehouse, "select status from raw.payments order by coalesce(made_at, updated_at) desc limit 1") == [
        ("succeeded",)
    ]
