"""`churn company check`: what would come of a company, told before it is registered, by the real connectors."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from rich.console import Console
from typer.testing import CliRunner

from ml_assets.training.ladder import OutcomeCounts
from orchestration.cli.company_report import print_check
from orchestration.cli.main import app
from orchestration.cli.terminal import CommandFailed
from pipeline.companies import parse_definition
from pipeline.loading.check import CompanyCheck, check_company, pool_of
from tests.integration.company_folders import imports, put_secret
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY, crm
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLOCK = Clock(NOW)


def definition(**fields: Any) -> Any:
    defaults = {
        "slug": "acme",
        "name": "Acme",
        "connector": "files",
        "entities": ["customers"],
        "churn_kind": "cancellation",
        "currency": "EUR",
    }
    return parse_definition(defaults | fields)


def files_of(*entities: str) -> dict[str, Any]:
    return {"files": {name: {"path": f"{name}.csv"} for name in entities}}


def habari_customer(number: int, cancelled: datetime | None = None) -> dict[str, Any]:
    updated = cancelled or datetime(2025, 1, 5, tzinfo=UTC) + timedelta(minutes=number)
    return {
        "id": f"c{number}",
        "created_at": "2024-12-10T00:00:00Z",
        "cancelled_at": cancelled and cancelled.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "updated_at": updated.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "custom": {"industry": "mills"},
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    put_secret(tmp_path, "acme", "key", API_KEY)
    return Settings(home=tmp_path)


def check_habari(settings: Settings, records: dict[str, Any], limit: int = 10_000, **fields: Any) -> CompanyCheck:
    with crm(records) as stand_in:
        connection = {"base_url": stand_in.url, "api_key": "file:key", "page_size": 50}
        company = definition(connector="habari_api", connector_settings=connection, **fields)
        return check_company(company, settings, CLOCK, records=limit)


def test_all_of_a_small_crm_is_read_and_the_figures_are_exact(settings: Settings) -> None:
    leavers = [habari_customer(number, datetime(2025, 3 + number % 3, 10, tzinfo=UTC)) for number in range(70)]
    stayers = [habari_customer(number) for number in range(100, 220)]
    broken = [habari_customer(500) | {"created_at": "yesterday"}]
    check = check_habari(
        settings, {"customers": leavers + stayers + broken, "tickets": [{"id": "t1", "updated_at": "x"}]}
    )
    (customers,) = check.entities
    assert (customers.received, customers.rejected, customers.total) == (191, 1, 191)
    assert customers.is_complete
    ((reason, count),) = customers.reasons
    assert (reason.split()[:2], count) == (["created_at", '"yesterday"'], 1)
    assert check.churn is not None
    assert check.churn.by_month == (("2025-03", 24), ("2025-04", 23), ("2025-05", 23))
    assert check.churn.scale == 1
    assert (check.churn.outcomes.outcomes, check.churn.outcomes.survivors) == (70, 120)
    assert check.decision is not None
    assert check.decision.rung == "own_model"
    assert check.failures == ()
    advice = "\n".join(check.advice)
    assert "also has tickets" in advice
    assert "fills name, email, phone, status, plan" in advice


def test_of_a_large_crm_a_bounded_part_is_read_and_called_a_sample(settings: Settings) -> None:
    customers = [habari_customer(number) for number in range(400)]
    check = check_habari(settings, {"customers": customers}, limit=100)
    (read,) = check.entities
    assert (read.received, read.total, read.is_complete) == (100, 400, False)
    assert check.is_sample
    assert check.churn is not None
    assert check.churn.scale == 4


def test_too_few_outcomes_say_what_is_missing_and_what_sharing_would_do(settings: Settings) -> None:
    records = {"customers": [habari_customer(1, datetime(2025, 3, 10, tzinfo=UTC)), habari_customer(2)]}
    alone = check_habari(settings, records)
    assert alone.decision is not None
    assert alone.decision.rung == "rule"
    advice = "\n".join(alone.advice)
    assert "59 more customers who left and 99 more who stayed" in advice
    assert "shares_training: true" in advice
    with crm(records) as stand_in:
        connection = {"base_url": stand_in.url, "api_key": "file:key"}
        company = definition(connector="habari_api", connector_settings=connection, shares_training=True)
        pooled = check_company(company, settings, CLOCK, pool=OutcomeCounts(500, 300, 80, 220))
    assert pooled.decision is not None
    assert pooled.decision.rung == "pooled_model"
    console = Console(width=1000, record=True, file=io.StringIO())
    print_check(pooled, console)
    told = (
        "The model of companies that share training: the pool has about 80 customers with the outcome and 200 without."
    )
    assert f"Its scores would rest on: {told}" in console.export_text()


def test_how_much_evidence_a_rung_needs_is_a_setting(settings: Settings) -> None:
    leavers = [habari_customer(number, datetime(2025, 3, 10, tzinfo=UTC)) for number in range(5)]
    stayers = [habari_customer(number) for number in range(100, 130)]
    lenient = settings.model_copy(update={"ladder_own_outcomes": 5, "ladder_own_survivors": 30})
    strict = settings.model_copy(update={"ladder_own_outcomes": 6, "ladder_own_survivors": 31})
    rungs = []
    for chosen in (settings, lenient, strict):
        check = check_habari(chosen, {"customers": leavers + stayers})
        assert check.decision is not None
        rungs.append(check.decision.rung)
    assert rungs == ["rule", "own_model", "rule"]
    assert any("1 more customers who left and 1 more who stayed" in advice for advice in check.advice)


def test_a_source_that_cannot_be_reached_or_a_secret_that_is_missing_is_a_finding(
    settings: Settings, tmp_path: Path
) -> None:
    connection = {"base_url": "http://127.0.0.1:1", "api_key": "file:key"}
    unreachable = check_company(
        definition(connector="sql_database", connector_settings={"url": "file:address", "tables": {}}), settings, CLOCK
    )
    assert "file:address" in unreachable.failures[0]
    put_secret(tmp_path, "acme", "address", "postgresql+psycopg://reader:hunter2hunter2@127.0.0.1:1/crm")
    tables = {"customers": {"table": "customers"}}
    refused = check_company(
        definition(connector="sql_database", connector_settings={"url": "file:address", "tables": tables}),
        settings,
        CLOCK,
    )
    assert "customers cannot be read" in refused.failures[0]
    assert "hunter2" not in str(refused)
    keyless = check_company(
        definition(connector="habari_api", connector_settings=connection, personal_data="hash"), settings, CLOCK
    )
    assert "CHURN_SECRET_KEY" in keyless.failures[0]


def test_so_many_rejected_records_that_the_first_load_would_fail_are_a_failure(
    settings: Settings, tmp_path: Path
) -> None:
    lines = ["customer_id,created_at,updated_at"]
    lines += [f"{number},{'2025-01-01' if number % 2 else 'soon'},2025-02-01" for number in range(40)]
    (imports(tmp_path) / "customers.csv").write_text("\n".join(lines))
    check = check_company(definition(connector_settings=files_of("customers")), settings, CLOCK)
    assert check.entities[0].accepted_share == 0.5
    assert "20 of 40 records break the contract" in check.failures[0]


def test_what_a_source_has_and_the_company_leaves_out_is_advised_whatever_the_connector(
    settings: Settings, tmp_path: Path
) -> None:
    (imports(tmp_path) / "customers.csv").write_text("customer_id,created_at,updated_at\n1,2025-01-01,2025-02-01\n")
    (imports(tmp_path) / "payments.csv").write_text(
        "payment_id,customer_id,kind,amount,issued_at,updated_at\n1,1,charge,10,2025-01-10,2025-01-10\n"
    )
    mapped = files_of("customers", "payments", "tickets")
    check = check_company(definition(entities=["customers"], connector_settings=mapped), settings, CLOCK)
    assert "The source also has payments: add them to entities, each brings features." in check.advice


def test_silence_is_read_from_payments_and_an_export_that_ended_wants_its_own_clock(
    settings: Settings, tmp_path: Path
) -> None:
    customers = [f"{name},2024-01-01,2024-01-01" for name in ("silent", "back", "loyal")]
    (imports(tmp_path) / "customers.csv").write_text("\n".join(["customer_id,created_at,updated_at", *customers]))
    lines = ["payment_id,customer_id,kind,amount,issued_at,paid_at,updated_at"]
    days = {
        "silent": ["2024-01-10"],
        "back": ["2024-01-10", "2024-06-10"],
        "loyal": [f"2024-0{m}-10" for m in range(1, 8)],
    }
    for customer, paid in days.items():
        lines += [f"{customer}{day},{customer},charge,10,{day},{day},{day}" for day in paid]
    (imports(tmp_path) / "payments.csv").write_text("\n".join(lines))
    company = definition(
        churn_kind="inactivity",
        inactivity_days=60,
        horizon_days=60,
        entities=["customers", "payments"],
        connector_settings=files_of("customers", "payments"),
    )
    check = check_company(company, settings, Clock(datetime(2024, 8, 1, tzinfo=UTC)))
    assert check.churn is not None
    assert check.churn.by_month == (("2024-03", 2),)
    assert (check.churn.outcomes.outcomes, check.churn.outcomes.survivors) == (2, 1)
    late = check_company(company, settings, CLOCK)
    assert "clock_at" in "\n".join(late.advice)


def test_yearly_payers_are_not_silent_and_settings_that_ask_little_are_pointed_out(
    settings: Settings, tmp_path: Path
) -> None:
    (imports(tmp_path) / "customers.csv").write_text(
        "customer_id,created_at,updated_at,plan\n1,2024-01-01,2024-01-01,Gold\n2,2024-01-01,2024-01-01,Basic\n"
    )
    (imports(tmp_path) / "payments.csv").write_text(
        "payment_id,customer_id,kind,amount,issued_at,paid_at,updated_at\n"
        "1,1,charge,10,2024-01-10,2024-01-10,2024-01-10\n2,2,charge,10,2024-01-10,2024-01-10,2024-01-10\n"
    )
    churn: dict[str, Any] = {"kind": "inactivity", "inactivity_days": 60, "horizon_days": 30}
    company = {
        "churn_kind": None,
        "time_zone": "America/New_York",
        "entities": ["customers", "payments"],
        "connector_settings": files_of("customers", "payments"),
    }
    unsaid = check_company(definition(tasks={"churn": churn}, **company), settings, CLOCK)
    assert unsaid.churn is not None
    assert unsaid.churn.by_month == (("2024-03", 2),)
    assert any("only who has been silent for 30 days already" in line for line in unsaid.advice)
    every = {"Gold": "1 year", "Silver": "1 month"}
    said = check_company(definition(tasks={"churn": churn | {"expected_every": every}}, **company), settings, CLOCK)
    assert said.churn is not None
    # Due on 2025-01-10, and silent from 00:00 UTC of 2025-03-11 on, which in New York is the evening before.
    assert said.churn.by_month == (("2024-03", 1), ("2025-03", 1))
    assert "No customer has the plan Silver of expected_every; plans there: Basic, Gold." in said.advice


def test_downgrades_are_seen_where_the_source_remembers_prices(settings: Settings, tmp_path: Path) -> None:
    (imports(tmp_path) / "customers.csv").write_text(
        "customer_id,created_at,updated_at,monthly_price\n"
        "1,2024-01-01,2024-01-02,100\n1,2024-01-01,2024-05-20,40\n2,2024-01-01,2024-01-02,100\n2,2024-01-01,2024-05-20,90\n"
    )
    company = definition(churn_kind="downgrade", downgrade_share=0.5, connector_settings=files_of("customers"))
    check = check_company(company, settings, CLOCK)
    assert check.churn is not None
    assert check.churn.by_month == (("2024-05", 1),)
    assert (check.churn.outcomes.outcomes, check.churn.outcomes.survivors) == (1, 1)


def test_a_custom_attribute_that_no_customer_has_is_pointed_out(settings: Settings) -> None:
    attributes = [{"name": "industry", "kind": "category"}, {"name": "team_size", "kind": "number"}]
    check = check_habari(settings, {"customers": [habari_customer(1)]}, custom_attributes=attributes)
    advice = "\n".join(check.advice)
    assert "attribute team_size; attributes there: industry" in advice
    assert "segment_by is country, which no customer has" in advice


def test_a_part_of_a_database_table_is_read_within_the_limit(settings: Settings, warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute("create schema crm")
        connection.execute(
            "create table crm.customers as select number::text as customer_id, timestamptz '2024-01-01' as created_at,"
            " timestamptz '2025-01-01' + number * interval '1 minute' as updated_at"
            " from generate_series(1, 5000) as number"
        )
    put_secret(settings.home, "acme", "address", warehouse.url())
    tables = {"customers": {"schema": "crm", "table": "customers"}}
    company = definition(connector="sql_database", connector_settings={"url": "file:address", "tables": tables})
    check = check_company(company, settings, CLOCK, records=2000)
    assert check.failures == ()
    assert (check.entities[0].received, check.entities[0].total, check.entities[0].is_complete) == (2000, 5000, False)


def test_the_pool_is_of_others_that_share_and_mean_the_same(
    warehouse: Warehouse, add_company: Callable[..., Company]
) -> None:
    small: dict[str, Any] = {"shares_training": True, "allows_small_pool": True}
    sharing = definition(slug="acme", **small)
    assert pool_of(warehouse, sharing) is None  # No labels were built yet.
    ids = [
        add_company("acme", **small).company_id,
        add_company("same", **small).company_id,
        add_company("other", shares_training=True, horizon_days=90).company_id,
        add_company("alone").company_id,
    ]
    with warehouse.connect() as connection:
        connection.execute(
            "create table features.churn_labels as select company_id, customer_id, date '2025-03-01' as as_of_date,"
            " true as is_mature, customer_id <= 2 as is_churned"
            " from unnest(%s::int[]) as company_id, generate_series(1, 5) as customer_id",
            (ids,),
        )
    assert pool_of(warehouse, sharing) == OutcomeCounts(rows=5, entities=5, outcomes=2, survivors=3)
    assert pool_of(warehouse, definition(slug="acme")) is None
    assert pool_of(warehouse, definition(slug="acme", shares_training=True)) is None


def test_no_pool_mixes_two_meanings_of_silence(warehouse: Warehouse, add_company: Callable[..., Company]) -> None:
    silent = {"churn_kind": "inactivity", "shares_training": True, "allows_small_pool": True}
    ids = [
        add_company("sixty", inactivity_days=60, **silent).company_id,
        add_company("ninety", inactivity_days=90, **silent).company_id,
    ]
    with warehouse.connect() as connection:
        connection.execute(
            "create table features.churn_labels as select company_id, 1 as customer_id, date '2025-03-01' as"
            " as_of_date, true as is_mature, true as is_churned from unnest(%s::int[]) as company_id",
            (ids,),
        )
    for days, others in ((60, 1), (90, 1), (61, 0)):
        new = definition(slug="new", inactivity_days=days, entities=["customers", "payments"], **silent)
        pool = pool_of(warehouse, new)
        assert (pool.entities if pool else 0) == others


def test_the_command_needs_no_warehouse_writes_none_and_fails_where_a_load_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CHURN_IMPORT_FOLDERS", str(tmp_path / "imports"))
    monkeypatch.setenv("COLUMNS", "160")
    (imports(tmp_path) / "customers.csv").write_text("customer_id,created_at,updated_at\n1,2024-01-01,2024-01-01\n")
    file = tmp_path / "acme.yml"
    file.write_text(yaml.safe_dump(definition(connector_settings=files_of("customers")).model_dump(mode="json")))
    done = CliRunner().invoke(app, ["company", "check", str(file)])
    assert done.exit_code == 0, done.output
    for phrase in (
        "reachable",
        "100.0%",
        "Its scores would rest on: A rule: ",
        "What would help",
        "Nothing was written",
    ):
        assert phrase in done.output
    assert not (tmp_path / "home").exists()
    (imports(tmp_path) / "customers.csv").unlink()
    failed = CliRunner().invoke(app, ["company", "check", str(file)])
    assert isinstance(failed.exception, CommandFailed)
    assert "not reachable" in failed.output


def test_a_registered_company_is_checked_by_its_slug_and_nothing_is_written(
    warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    monkeypatch.setenv("CHURN_DATABASE_URL", warehouse.url("postgresql"))
    (imports(tmp_path) / "customers.csv").write_text("customer_id,created_at,updated_at\n1,2024-01-01,2024-01-01\n")
    add_company("acme", connector="files", entities=["customers"], connector_settings=files_of("customers"))
    engine = sa.create_engine(warehouse.url())
    written = "select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_user_tables"
    with engine.connect() as connection:
        before = connection.execute(sa.text(written)).scalar()
    assert CliRunner().invoke(app, ["company", "check", "acme"]).exit_code == 0
    with engine.connect() as connection:
        assert connection.execute(sa.text(written)).scalar() == before
        assert connection.execute(sa.text("select count(*) from raw.customers")).scalar() == 0
    engine.dispose()
