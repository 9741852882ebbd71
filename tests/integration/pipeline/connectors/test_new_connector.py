"""A new connector is one module and one row: with these alone a company is checked, registered and synced."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.connectors import registry
from pipeline.loading.sync import sync_company
from tests.integration.company_folders import put_secret
from tests.integration.conftest import Churn
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.companies.registry import get_company, list_companies
from warehouse.connection import Warehouse
from warehouse.errors import CompanyDefinitionError
from warehouse.settings import Settings

LETTERS: dict[str, Any] = {
    "slug": "acme",
    "name": "Acme",
    "connector": "letters",
    "connector_settings": {"word": "file:word"},
    "entities": ["customers"],
    "churn_kind": "cancellation",
    "currency": "EUR",
}


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CONNECTORS, "letters", "tests.integration.pipeline.connectors.letters")


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    def write(**changes: Any) -> str:
        path = tmp_path / "company.yml"
        path.write_text(yaml.safe_dump(LETTERS | changes))
        return str(path)

    return write


@pytest.mark.usefixtures("letters")
def test_a_company_of_a_new_connector_is_checked_registered_and_synced(
    churn: Churn, file: Callable[..., str], tmp_path: Path, warehouse: Warehouse
) -> None:
    put_secret(tmp_path, "acme", "word", "customer")
    assert "Nothing was written" in churn("company", "check", file()).output
    assert "letters" in churn("company", "apply", file(), "--yes").output
    churn("company", "change", "acme", "connector_settings.word=file:word")
    with warehouse.connect() as connection:
        company = get_company(connection, "acme")
    (result,) = sync_company(warehouse, company, Clock(datetime(2025, 6, 1, tzinfo=UTC)), Settings(home=tmp_path))
    assert (result.status, result.received, result.loaded, result.unaccounted) == ("succeeded", 8, 8, 0)
    with warehouse.connect() as connection:
        rows = connection.execute("select customer_id, attributes ->> 'shape' from raw.customers order by 1").fetchall()
    assert rows[0] == ("c", "C")


@pytest.mark.usefixtures("letters")
def test_a_wrong_setting_of_a_new_connector_is_told_with_those_it_has(churn: Churn, file: Callable[..., str]) -> None:
    said = str(churn("company", "check", file(connector_settings={"wrod": "file:word"})).exception)
    assert "connector_settings.wrod: there is no such setting" in said
    assert "Settings of this connector: word" in said


@pytest.mark.parametrize("command", [("check",), ("add",), ("apply", "--yes")], ids=lambda command: command[0])
def test_a_connector_without_a_row_is_refused_by_every_command_that_takes_a_file(
    command: tuple[str, ...], churn: Churn, file: Callable[..., str], warehouse: Warehouse
) -> None:
    name, *options = command
    with pytest.raises(CompanyDefinitionError, match="connector: must be one of habari_api, sql_database, files"):
        churn("company", name, file(), *options)
    with warehouse.connect() as connection:
        assert list_companies(connection, active_only=False) == []


def test_a_change_to_a_connector_without_a_row_is_refused(
    churn: Churn, add_company: Callable[..., Company], warehouse: Warehouse
) -> None:
    before = add_company("acme", connector="files")
    with pytest.raises(CompanyDefinitionError, match=r"connector: must be one of .*; did you mean files\?"):
        churn("company", "change", "acme", "connector=file")
    with warehouse.connect() as connection:
        assert get_company(connection, "acme") == before


def test_a_registered_company_whose_connector_is_gone_fails_its_loads_and_says_what_to_do(
    add_company: Callable[..., Company], tmp_path: Path, warehouse: Warehouse
) -> None:
    with pytest.MonkeyPatch.context() as release:
        release.setitem(registry.CONNECTORS, "letters", "tests.integration.pipeline.connectors.letters")
        company = add_company("acme", connector="letters", entities=["customers"])
    (result,) = sync_company(warehouse, company, Clock(datetime(2025, 6, 1, tzinfo=UTC)), Settings(home=tmp_path))
    assert result.status == "failed"
    assert "connector letters: there is no such connector. Set connector to one of habari_api" in str(result.error)
