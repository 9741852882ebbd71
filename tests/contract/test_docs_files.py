"""docs/connect-a-crm.md: its examples of files, with the files that the page shows, give the records that it says."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from pipeline.connectors.contract import CUSTOMERS, PAYMENTS, Entity
from pipeline.connectors.errors import ConnectorError
from pipeline.connectors.file_reading.settings import FileMapping, FileSet
from pipeline.connectors.files import Files, FileSettings
from pipeline.connectors.registry import CONNECTORS, load_connector
from pipeline.connectors.validation import Reading
from warehouse.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "connect-a-crm.md").read_text()
READING = Reading(ZoneInfo("Europe/Berlin"), datetime(2026, 1, 1, tzinfo=UTC), attribute_kinds={"is_reseller": "flag"})


def examples() -> list[dict[str, Any]]:
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the files of the page."""
    folder = tmp_path / "imports" / "acme"
    folder.mkdir(parents=True)
    for name, content in re.findall(r"```csv (\S+)\n(.*?)```", PAGE, re.DOTALL):
        (folder / name).write_text(content)
    return tmp_path


def records(home: Path, entity: Entity, settings: dict[str, Any]) -> list[dict[str, Any]]:
    source = Files("acme", FileSettings.model_validate(settings), Settings(home=home), READING)
    (chunk,) = source.read(entity, None, 100)
    assert chunk.rejected == ()
    return chunk.accepted.to_pylist()  # type: ignore[no-any-return]


def test_every_example_is_one_that_its_connector_takes() -> None:
    connectors = [example["connector"] for example in examples()]
    assert set(connectors) == set(CONNECTORS)
    for example in examples():
        load_connector(example["connector"]).settings.model_validate(example["connector_settings"])


def test_the_file_of_customers_gives_the_customers_of_the_page(home: Path) -> None:
    (example,) = [
        definition for definition in examples() if "customers" in definition["connector_settings"].get("files", {})
    ]
    assert [
        (row["customer_id"], row["created_at"], row["seats"], row["monthly_price"], json.loads(row["attributes"]))
        for row in records(home, CUSTOMERS, example["connector_settings"])
    ] == [
        ("007", datetime(2025, 1, 30, 23, tzinfo=UTC), 12, Decimal("1234.5"), {"is_reseller": True}),
        ("7", datetime(2025, 1, 31, 23, tzinfo=UTC), None, Decimal("12.5"), {"is_reseller": False}),
    ]


def test_without_its_settings_the_file_fails_with_the_lines_that_the_page_shows(home: Path) -> None:
    (example,) = [
        definition for definition in examples() if "customers" in definition["connector_settings"].get("files", {})
    ]
    settings = example["connector_settings"]
    mapping = settings["files"]["customers"]
    for name in ("delimiter", "decimal", "thousands", "date_format"):
        del mapping[name]
    with pytest.raises(ConnectorError) as caught:
        records(home, CUSTOMERS, settings)
    answer = re.search(r"    It (looks like: .*?)\n((?:    .*\n)+)", PAGE)
    assert answer
    assert answer[1] in str(caught.value)
    assert re.sub("^    ", "", answer[2], flags=re.MULTILINE) in str(caught.value)


def test_the_lines_give_the_payments_of_the_page(home: Path) -> None:
    (example,) = [
        definition
        for definition in examples()
        if "tables" in definition["connector_settings"] and "lines" in str(definition)
    ]
    assert [
        (row["payment_id"], row["customer_id"], row["amount"])
        for row in records(home, PAYMENTS, example["connector_settings"])
    ] == [("0001", "c1", Decimal("20.98")), ("0002", "c2", Decimal(5))]


def test_every_setting_of_files_is_on_the_page() -> None:
    settings = FileSettings.model_fields.keys() | FileSet.model_fields.keys() | FileMapping.model_fields.keys()
    assert [name for name in settings if not re.search(rf"\b{name}\b", PAGE)] == []
