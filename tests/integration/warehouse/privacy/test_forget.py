"""A person who was forgotten does not come back by a later sync, and the source's totals still explain themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from typer.testing import CliRunner

from orchestration.cli import main as cli
from orchestration.cli import terminal
from orchestration.cli.forget import next_training
from pipeline.loading.sync import LoadResult, sync_company
from pipeline.prediction.tasks import CUSTOMER_TASKS
from tests.integration.company_folders import put_secret
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY, StandIn, crm, payment
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.landing.erased import Hashes
from warehouse.landing.version_log import VersionLog
from warehouse.privacy.erasure import (
    CustomerUnknown,
    Receipt,
    customers_who_came_back,
    forget_customer,
    rows_of_customer,
)
from warehouse.settings import Settings

NOW = datetime(2025, 6, 1, tzinfo=UTC)
STAMP = "2025-02-01T00:00:00Z"


def person(number: int, updated_at: str = STAMP, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"c{number}",
        "name": f"Person {number}",
        "email": f"person{number}@example.com",
        "created_at": "2025-01-01",
        "updated_at": updated_at,
    } | changes


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    payments = [payment(number, STAMP) for number in range(14)]
    broken = payment(15, STAMP, amount="much", customer_id="c1")
    with crm({"customers": [person(number) for number in range(7)], "payments": [*payments, broken]}) as running:
        yield running


@pytest.fixture
def company(stand_in: StandIn, add_company: Callable[..., Company]) -> Company:
    return add_company(
        "acme",
        entities=["customers", "payments"],
        personal_data="hash",
        connector_settings={"base_url": stand_in.url, "api_key": "file:key"},
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    put_secret(tmp_path, "acme", "key", API_KEY)
    return Settings(home=tmp_path, reject_limit=1, secret_key=Fernet.generate_key().decode())


def sync(warehouse: Warehouse, company: Company, settings: Settings, days: int = 0) -> dict[str, LoadResult]:
    results = sync_company(warehouse, company, Clock(NOW + timedelta(days=days)), settings)
    return {result.entity: result for result in results}


def forget(warehouse: Warehouse, company: Company, customer: str = "c1") -> Receipt:
    return forget_customer(warehouse, CUSTOMER_TASKS, company, customer, actor="tests", now=NOW, next_training=NOW)


def anywhere(warehouse: Warehouse, company: Company, customer: str = "c1") -> dict[str, int]:
    with warehouse.connect() as conn:
        return rows_of_customer(conn, company.company_id, customer)


def test_a_later_sync_does_not_bring_the_person_back_and_the_totals_agree(
    warehouse: Warehouse, company: Company, settings: Settings, stand_in: StandIn
) -> None:
    sync(warehouse, company, settings)
    receipt = forget(warehouse, company)
    assert receipt.rows == {"raw.customers": 1, "raw.payments": 2, "raw.rejected_records": 1}
    later = "2025-06-02T00:00:00Z"
    stand_in.records["customers"] += [person(1, later, name="Renamed"), person(9, later)]
    stand_in.records["payments"] += [
        payment(21, later, customer_id="c1"),
        payment(22, later, customer_id="c1", amount="much"),
        {"id": "p1", "updated_at": later, "deleted": True},
        payment(23, later, customer_id="c2"),
    ]
    results = sync(warehouse, company, settings, days=2)
    assert anywhere(warehouse, company) == {}
    assert {entity: (result.loaded, result.rejected) for entity, result in results.items()} == {
        "customers": (1, 0),
        "payments": (1, 0),
    }
    assert [result.unaccounted for result in results.values()] == [0, 0]
    with warehouse.connect() as conn:
        # What a company gives again from the beginning is kept out as well.
        conn.execute("delete from ops.sync_cursors")
    sync(warehouse, company, settings, days=3)
    assert anywhere(warehouse, company) == {}
    with warehouse.connect() as conn:
        stored = conn.execute("select count(*) from raw.payments where payment_id in ('p1', 'p8', 'p21')").fetchone()
        assert customers_who_came_back(conn) == {}
    assert stored == (0,)


def test_the_same_id_in_another_company_is_another_person(
    warehouse: Warehouse,
    company: Company,
    settings: Settings,
    stand_in: StandIn,
    add_company: Callable[..., Company],
) -> None:
    put_secret(settings.home, "other", "key", API_KEY)
    other = add_company("other", **company.model_dump(include={"entities", "connector_settings"}))
    sync(warehouse, company, settings)
    sync(warehouse, other, settings)
    forget(warehouse, company)
    sync(warehouse, other, settings, days=1)
    assert anywhere(warehouse, other) == {"raw.customers": 1, "raw.payments": 2, "raw.rejected_records": 1}
    key = b"k" * 32
    assert Hashes(key, 1).customer("c1") not in {Hashes(key, 2).customer("c1"), Hashes(b"l" * 32, 1).customer("c1")}


def test_nobody_is_forgotten_twice_or_by_a_mistyped_id(
    warehouse: Warehouse, company: Company, settings: Settings
) -> None:
    sync(warehouse, company, settings)
    with pytest.raises(CustomerUnknown, match="no customer 'C1'"):
        forget(warehouse, company, "C1")
    forget(warehouse, company)
    with pytest.raises(CustomerUnknown, match="was forgotten before"):
        forget(warehouse, company)


def test_what_a_run_under_way_wrote_again_is_found_and_forgotten_by_the_same_command(
    warehouse: Warehouse, company: Company, settings: Settings
) -> None:
    sync(warehouse, company, settings)
    forget(warehouse, company)
    with warehouse.connect() as conn:
        conn.execute("create table analytics.late (company_id int, customer_id text)")
        conn.execute("insert into analytics.late values (%s, 'c1')", [company.company_id])
        assert customers_who_came_back(conn) == {"analytics.late": 1}
    assert forget(warehouse, company).rows == {"analytics.late": 1}


def test_a_landing_waits_for_an_erasure_and_the_other_way_round(
    warehouse: Warehouse, company: Company, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from warehouse.landing import version_log

    sync(warehouse, company, settings)
    monkeypatch.setattr(version_log.hold_off_loads, "__defaults__", (1,))
    with warehouse.connect(autocommit=True) as loading:
        with (
            VersionLog(loading, company.company_id, "payments").lock(),
            pytest.raises(version_log.LoadInProgress),
        ):
            forget(warehouse, company)
        assert anywhere(warehouse, company)


def test_the_command_asks_first_and_writes_the_receipt(
    warehouse: Warehouse, company: Company, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(warehouse, company, settings)
    monkeypatch.setenv("CHURN_DATABASE_URL", warehouse.url("postgresql"))
    monkeypatch.setenv("CHURN_HOME", str(settings.home))
    runner = CliRunner()
    arguments = ["forget", "--company", "acme", "--customer", "c1"]
    refused = runner.invoke(cli.app, arguments, input="n\n")
    assert isinstance(refused.exception, terminal.CommandFailed)
    assert anywhere(warehouse, company)
    done = runner.invoke(cli.app, [*arguments, "--yes"])
    assert done.exit_code == 0, done.output
    assert "receipt 1 in" in done.output
    assert anywhere(warehouse, company) == {}


def test_the_next_training_is_the_schedules() -> None:
    assert next_training(datetime(2026, 3, 2, tzinfo=UTC)) == datetime(2026, 3, 8, 4, 30, tzinfo=UTC)
