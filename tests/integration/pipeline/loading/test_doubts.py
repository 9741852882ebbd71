"""What a check doubts: customers that are not found, ids with blanks, attributes of another kind, empty exports."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from orchestration.cli.main import app
from pipeline.companies import parse_definition
from pipeline.loading.check import CompanyCheck, check_company
from tests.integration.company_folders import imports
from warehouse.clock import Clock
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


@pytest.mark.parametrize(("found", "is_ready"), [(100, True), (51, True), (49, False)])
def test_the_share_that_finds_its_customer_is_told_and_decides_by_half(
    tmp_path: Path, found: int, is_ready: bool
) -> None:
    write(tmp_path, ["c"], ["c"] * found + ["x"] * (100 - found))
    checked = check(tmp_path)
    assert checked.entities[1].linked_share == found / 100
    assert (checked.failures == ()) == is_ready
    told = f'payments: {100 - found} do not find their customer, such as "x".' in checked.understood
    assert told == (is_ready and found < 100)


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
