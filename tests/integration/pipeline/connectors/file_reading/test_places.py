"""No file outside the company's own folder is read, however a path leads there."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.connectors.contract import PAYMENTS
from pipeline.connectors.errors import AccessDenied
from pipeline.connectors.file_reading.places import Folder
from tests.integration.company_folders import imports
from tests.integration.pipeline.connectors.export_files import Export
from warehouse.settings import Settings

CONTENT = "no,who,day,sum\n1,c1,2025-01-02,1\n"


@pytest.fixture
def export(tmp_path: Path) -> Export:
    (imports(tmp_path, "other") / "secret.csv").write_text(CONTENT)
    return Export(tmp_path)


@pytest.mark.parametrize("path", ["../other/secret.csv", "../other/*.csv", "sub/../../other/secret.csv"])
def test_dots_lead_nowhere(export: Export, path: str) -> None:
    (export.folder / "sub").mkdir()
    with pytest.raises(AccessDenied, match=r"secret.csv lies outside the company's folder"):
        list(export.source(path=path).read(PAYMENTS, None, 10))


def test_an_absolute_path_and_links_lead_nowhere_unless_they_stay_inside(export: Export) -> None:
    secret = imports(export.home, "other") / "secret.csv"
    assert "lies outside" in export.failure(path=str(secret))
    (export.folder / "link.csv").symlink_to(secret)
    assert "link.csv lies outside" in export.failure(path="*.csv")
    (export.folder / "link.csv").unlink()
    (export.folder / "folder").symlink_to(secret.parent)
    assert "secret.csv lies outside" in export.failure(path="folder/*.csv")
    assert "secret.csv lies outside" in export.failure(path="**/*.csv")
    inside = export.write("real/bills.csv", CONTENT)
    (export.folder / "bills.csv").symlink_to(inside)
    assert export.column("payment_id", path="bills.csv") == ["1"]
    assert export.column("payment_id", path=str(inside)) == ["1"]


def test_tables_of_queries_stay_inside_too(export: Export) -> None:
    tables = {"lines": {"path": "../other/secret.csv"}}
    assert "lies outside" in export.failure(tables=tables, query="select * from lines")


def test_a_folder_whose_name_looks_like_a_pattern_is_taken_by_its_name(tmp_path: Path) -> None:
    folder = imports(tmp_path) / "a[1]"
    folder.mkdir()
    (folder / "bills.csv").write_text(CONTENT)
    settings = Settings(home=tmp_path)
    assert [file.name for file in Folder("acme", "imports/acme/a[1]", settings).files("*.csv")] == ["bills.csv"]
