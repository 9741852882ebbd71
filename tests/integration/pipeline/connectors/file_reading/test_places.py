"""No file outside the company's own folder is read, however a path leads there."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.connectors.contract import PAYMENTS
from pipeline.connectors.errors import AccessDenied, MappingError
from pipeline.connectors.file_reading.places import Folder
from tests.integration.pipeline.connectors.export_files import Export

CONTENT = "no,who,day,sum\n1,c1,2025-01-02,1\n"


@pytest.fixture
def export(tmp_path: Path) -> Export:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret.csv").write_text(CONTENT)
    return Export(tmp_path)


@pytest.mark.parametrize("path", ["../other/secret.csv", "../other/*.csv", "sub/../../other/secret.csv"])
def test_dots_lead_nowhere(export: Export, path: str) -> None:
    (export.folder / "sub").mkdir()
    with pytest.raises(AccessDenied, match=r"secret.csv lies outside the company's folder"):
        list(export.source(path=path).read(PAYMENTS, None, 10))


def test_an_absolute_path_and_links_lead_nowhere_unless_they_stay_inside(export: Export) -> None:
    secret = export.home / "other" / "secret.csv"
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


def test_a_relative_directory_stays_below_the_home(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="leads out of CHURN_HOME"):
        Folder("acme", "../elsewhere", tmp_path)


def test_a_folder_whose_name_looks_like_a_pattern_is_taken_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a[1]").mkdir()
    (tmp_path / "a[1]" / "bills.csv").write_text(CONTENT)
    assert [file.name for file in Folder("acme", "a[1]", tmp_path).files("*.csv")] == ["bills.csv"]
