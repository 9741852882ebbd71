"""What a check doubts: customers that are not found, ids with blanks, attributes of another kind, empty exports."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from orchestration.cli.company_report import print_check
from orchestration.cli.main import app
from pipeline.companies import parse_definition
from pipeline.loading.check import CompanyCheck, check_company
from pipeline.loading.sync import sync_company
from tests.integration.company_folders import imports
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.settings import Settings

CLOCK = Clock(datetime(2026, 1, 1, tzinfo=UTC))
PEOPLE = "customer_id,created_at,updated_at,team_size\n"
BILLS = "payment_id,customer_id,kind,amount,issued_at,updated_at\n"


def company(folder: Path, **fields: Any) -> dict[str, Any]:
    files = {name: {"path": f"{name}.csv"} for name in fields.get("entities", ["customers", "payments"])}
    settings = {"files": files}
    defaults = {
        "slug": "acme",
        "name": "Acme",
        "connector": "files",
        "connector_settings": settings,
        "entities": ["customers", "payments"],
        "tasks": {"churn": {"kind": "cancellation", "horizon_days": 30}},
        "currency": "EUR",
        "time_zone": "Asia/Kolkata",
        "custom_attributes": [{"name": "team_size", "kind": "number"}],
    }
    return defaults | fields


def check(folder: Path, **fields: Any) -> CompanyCheck:
    return check_company(parse_definition(company(folder, **fields)), Settings(home=folder), CLOCK)


def write(folder: Path, people: list[str], bills: list[str]) -> None:
    lines = [f"{name},2025-01-01,2025-01-01,12\n" for name in people]
    (imports(folder) / "customers.csv").write_text(PEOPLE + "".join(lines))
    lines = [f"p{number},{who},charge,1,2025-01-02,2025-01-02\n" for number, who in enumerate(bills)]
    (imports(folder) / "payments.csv").write_text(BILLS + "".join(lines))


def test_payments_whose_ids_are_shifted_make_it_not_ready(tmp_path: Path) -> None:
    write(tmp_path, [f"c{number}" for number in range(200)], [f"c{number + 200}" for number in range(200)])
    checked = check(tmp_path)
    assert checked.entities[1].linked_share == 0
    assert any(
        failure.startswith('payments: only 0 of 200 find their customer. Their customer_id is like "c200", "c201"')
        for failure in checked.failures
    )


@pytest.mark.parametrize(("customers_found", "is_ready"), [(100, True), (51, True), (49, False)])
def test_the_share_that_finds_its_customer_is_told_and_decides_by_half(
    tmp_path: Path, customers_found: int, is_ready: bool
) -> None:
    write(tmp_path, ["c"], ["c"] * customers_found + ["x"] * (100 - customers_found))
    checked = check(tmp_path)
    assert checked.entities[1].linked_share == customers_found / 100
    assert (checked.failures == ()) == is_ready
    told = f'payments: {100 - customers_found} do not find their customer, such as "x".' in checked.understood
    assert told == (is_ready and customers_found < 100)


@pytest.mark.parametrize(("shift", "share"), [(0, 1.0), (5, 0.5), (1000, 0.0)])
def test_of_a_part_of_the_customers_the_share_is_told_as_that_of_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: int, share: float
) -> None:
    file = imports(tmp_path) / "crm.db"
    with sqlite3.connect(file) as database:
        database.execute("create table customers (customer_id integer, created_at text)")
        database.execute(
            "create table payments (payment_id int, customer_id int, kind text, amount int, issued_at text)"
        )
        database.executemany(
            "insert into customers values (?, '2025-01-01')", [(number,) for number in range(100, 130)]
        )
        bills = [(number, number + shift) for number in range(100, 130)]
        database.executemany("insert into payments values (?, ?, 'charge', 1, '2025-01-01')", bills)
    monkeypatch.setenv("CHURN_SOURCE_ACME__URL", f"sqlite:///{file}")
    tables = {name: {"table": name} for name in ("customers", "payments")}
    source = {"url": "env:CHURN_SOURCE_ACME__URL", "tables": tables}
    definition = parse_definition(company(tmp_path, connector="sql_database", connector_settings=source))
    checked = check_company(definition, Settings(home=tmp_path), CLOCK, records=10)
    assert (checked.entities[1].linked_share, checked.entities[1].is_linked_to_sample) == (share, True)
    console = Console(width=200, record=True, file=io.StringIO())
    print_check(checked, console)
    printed = console.export_text()
    assert f"{share:.1%} (sample)" in printed
    doubt = f"payments: in this sample {10 * share:.0f} of 10 find their customer among the 10 that were read"
    further = "; `--records` reads more." if share else ': is customer_id, like "1100", of the kind of "100"?'
    told = [line for line in checked.understood if "in this sample" in line]
    assert told == ([] if share == 1 else [doubt + further])
    assert not checked.failures


@pytest.mark.parametrize("name", [" cancelled_at", "Cancelled_At", "canceled_at", "cancelledAt"])
def test_a_column_of_nearly_our_name_is_told_of_before_everybody_looks_active(tmp_path: Path, name: str) -> None:
    write(tmp_path, ["c1"], ["c1"])
    text = (
        (imports(tmp_path) / "customers.csv").read_text().replace("team_size", f"team_size,{name}").replace("12", "12,")
    )
    (imports(tmp_path) / "customers.csv").write_text(text)
    assert (
        f'customers: "{name}" is kept as an attribute, and no column is cancelled_at: map it if it is that.'
        in check(tmp_path).understood
    )


def test_the_times_that_are_shown_came_from_the_file(tmp_path: Path) -> None:
    write(tmp_path, [], [])
    lines = "".join(f"c{number},2025-01-0{number},1\n" for number in range(1, 5))
    (imports(tmp_path) / "customers.csv").write_text("customer_id,created_at,team_size\n" + lines)
    (times,) = [line for line in check(tmp_path).understood if line.startswith("customers: times are read as")]
    for day in (1, 2, 3):
        assert f"2025-01-0{day} = " in times
    assert "None" not in times


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_line_that_would_hide_deletions_is_told_of_before_the_first_load(tmp_path: Path, is_complete: bool) -> None:
    write(tmp_path, ["c1"], ["c1"])
    with (imports(tmp_path) / "customers.csv").open("a") as file:
        file.write("1 customer\n")
    files = {"customers": {"path": "customers.csv", "complete": is_complete}, "payments": {"path": "payments.csv"}}
    told = [line for line in check(tmp_path, connector_settings={"files": files}).understood if "Deletions" in line]
    remark = "customers: Deletions are not looked for: 1 record has no id that can be read, and might be any."
    assert told == ([remark] if is_complete else [])


def test_ids_with_characters_that_nobody_sees_are_told(tmp_path: Path) -> None:
    write(tmp_path, ["c1", "c2\u200b"], ["c1"])
    assert any('such as "c2\\u200b"' in line for line in check(tmp_path).understood)


def test_customers_of_a_header_alone_are_not_ready(tmp_path: Path) -> None:
    write(tmp_path, [], [])
    assert check(tmp_path).failures == (
        "customers: not one came, and without customers nothing can be predicted. Is the export empty?",
    )


def test_blanks_around_ids_and_attributes_that_are_no_number_are_told(tmp_path: Path) -> None:
    write(tmp_path, ["c1", " c2", "c3 "], ["c1"])
    lines = (imports(tmp_path) / "customers.csv").read_text().replace("2025-01-01,12\n", "2025-01-01,a dozen\n", 1)
    (imports(tmp_path) / "customers.csv").write_text(lines)
    told = "\n".join(check(tmp_path).understood)
    assert 'customers: 2 of customer_id begin or end with a blank, such as " c2"' in told
    assert 'customers: 1 has no number in team_size, such as "a dozen"' in told


def test_a_file_is_told_in_under_ten_lines_with_its_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CHURN_IMPORT_FOLDERS", str(tmp_path / "imports"))
    monkeypatch.setenv("COLUMNS", "200")
    write(tmp_path, ["c1", "c2"], ["c1", "c2", "c2"])
    file = tmp_path / "acme.yml"
    file.write_text(yaml.safe_dump(company(tmp_path)))
    done = CliRunner().invoke(app, ["company", "check", str(file)])
    assert done.exit_code == 0, done.output
    told = [line.strip() for line in done.output.splitlines()]
    assert "payments: payments.csv looks like: commas, ASCII, dates as ISO 8601; 3 records." in told
    (times,) = [line for line in told if line.startswith("payments: times are read as")]
    assert "2025-01-02 = 2025-01-01 18:30 UTC (issued_at, Asia/Kolkata)" in times
    assert len([line for line in told if line.startswith(("customers: ", "payments: "))]) < 10


def test_a_file_that_does_not_read_is_told_with_the_lines_to_add(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CHURN_IMPORT_FOLDERS", str(tmp_path / "imports"))
    monkeypatch.setenv("COLUMNS", "200")
    write(tmp_path, ["c1"], [])
    (imports(tmp_path) / "payments.csv").write_bytes(
        (BILLS.replace(",", ";") + "1;c1;charge;12,50;31.12.2025;31.12.2025;\n".replace(";\n", "\n")).encode("utf-16")
    )
    file = tmp_path / "acme.yml"
    file.write_text(yaml.safe_dump(company(tmp_path)))
    done = CliRunner().invoke(app, ["company", "check", str(file)])
    output = done.output + str(done.exception)
    assert "It looks like: semicolons, UTF-16, day first, decimal comma" in output
    for line in ('delimiter: ";"', "encoding: utf-16", 'decimal: ","', 'date_format: "%d.%m.%Y"'):
        assert f"  {line}" in output


def test_words_for_nothing_are_told_where_they_would_be_words_like_any_other(tmp_path: Path) -> None:
    (imports(tmp_path) / "customers.csv").write_text(
        "customer_id,created_at,plan,branch\nc1,2025-01-01,NULL,n/a\nc2,2025-01-01,Pro,Shop\nNone,2025-01-01,Pro,Shop\n"
    )
    attribute = {"name": "branch", "kind": "category"}
    told = check(tmp_path, entities=["customers"], custom_attributes=[attribute]).understood
    for column, word in (("plan", "NULL"), ("customer_id", "None"), ("branch", "n/a")):
        remedy = f'values: {{{column}: {{"{word}": ""}}}}'
        assert any(f'{column} is "{word}" in 1' in sentence and remedy in sentence for sentence in told)


@pytest.mark.parametrize("written", ["1001.0", '="007"', "'007", "'c1'", "#######"])
def test_ids_as_a_spreadsheet_or_a_script_wrote_them_are_told(tmp_path: Path, written: str) -> None:
    text = '"' + written.replace('"', '""') + '"'
    (imports(tmp_path) / "customers.csv").write_text(f"customer_id,created_at\n{text},2025-01-01\nc2,2025-01-01\n")
    assert any(
        sentence.startswith("customers: 1 of customer_id holds")
        for sentence in check(tmp_path, entities=["customers"], custom_attributes=[]).understood
    )


def test_words_with_blanks_around_them_are_told_as_ids_are(tmp_path: Path) -> None:
    (imports(tmp_path) / "customers.csv").write_text(
        "customer_id,created_at,plan\nc1,2025-01-01,Pro \nc2,2025-01-01,Pro\n"
    )
    told = check(tmp_path, entities=["customers"], custom_attributes=[]).understood
    assert any(sentence.startswith("customers: 1 of plan begins or ends with a blank") for sentence in told)


@pytest.mark.parametrize("moment", ["1970-01-01", "1900-01-02", "2024-12-31"])
def test_who_left_before_coming_is_told_before_being_counted_nowhere(tmp_path: Path, moment: str) -> None:
    (imports(tmp_path) / "customers.csv").write_text(
        f"customer_id,created_at,cancelled_at\nc1,2025-01-02,{moment}\nc2,2025-01-02,\n"
    )
    told = check(tmp_path, entities=["customers"], custom_attributes=[], time_zone="UTC").understood
    assert any('1 has a cancelled_at before their created_at, such as "c1"' in sentence for sentence in told)


@pytest.mark.parametrize(("repeated", "is_ready"), [(1, True), (4, False)])
def test_an_id_that_comes_again_and_says_otherwise_is_told_as_the_load_takes_it(
    tmp_path: Path, repeated: int, is_ready: bool
) -> None:
    lines = [f"c{number},2025-01-01,Pro\n" for number in range(3)] + [f"c0,2025-01-01,P{n}\n" for n in range(repeated)]
    (imports(tmp_path) / "customers.csv").write_text("customer_id,created_at,plan\n" + "".join(lines))
    checked = check(tmp_path, entities=["customers"], custom_attributes=[])
    assert (checked.failures == ()) == is_ready
    told = "1 customer has the customer_id of another at one time and says otherwise"
    assert any(told in sentence for sentence in checked.understood) == is_ready


def test_a_load_of_two_companies_tells_each_of_its_own_ids_that_come_again(
    warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path
) -> None:
    mapping = {"files": {"customers": {"path": "customers.csv"}}}
    companies = [
        add_company(slug, connector="files", entities=["customers"], connector_settings=mapping)
        for slug in ("acme", "other")
    ]
    lines = {"acme": "c1,2025-01-01,Pro\nc2,2025-01-01,Pro\nc1,2025-01-01,Team\n", "other": "c1,2025-01-01,Pro\n"}
    told = {}
    for company in companies:
        (imports(tmp_path, company.slug) / "customers.csv").write_text(
            "customer_id,created_at,plan\n" + lines[company.slug]
        )
        (loaded,) = sync_company(warehouse, company, CLOCK, Settings(home=tmp_path), ["customers"])
        assert loaded.received == loaded.loaded + loaded.unchanged + loaded.rejected > 0
        told[company.slug] = loaded.remarks
    assert told["acme"] is not None
    assert '1 customer has the customer_id of another at one time and says otherwise, such as "c1"' in told["acme"]
    assert told["other"] is None
