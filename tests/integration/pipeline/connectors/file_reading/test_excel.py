"""Excel workbooks, written by openpyxl and read by another library."""

from __future__ import annotations

import io
import json
import re
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from pipeline.connectors.file_reading import streams
from tests.integration.pipeline.connectors.export_files import Export

HEADER = ["no", "who", "day", "sum", "note"]


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path)


def workbook(export: Export, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    path = export.folder / "bills.xlsx"
    book.save(path)
    return path


def test_cells_keep_the_type_they_have(export: Export) -> None:
    workbook(
        export,
        bills=[
            [],
            HEADER,
            ["007", 13085, datetime(2025, 12, 31, 14, 30), 1234.5, True],  # noqa: DTZ001
            [8, "c2", "2025-01-02", "12.50", None],
            [],
        ],
    )
    chunk = export.chunk(path="bills.xlsx")
    assert chunk.rejected == ()
    assert [
        (row["payment_id"], row["customer_id"], row["issued_at"], row["amount"], json.loads(row["attributes"])["note"])
        for row in chunk.accepted.to_pylist()
    ] == [
        ("8", "c2", datetime(2025, 1, 2, tzinfo=UTC), Decimal("12.5"), None),
        ("007", "13085", datetime(2025, 12, 31, 14, 30, tzinfo=UTC), Decimal("1234.5"), True),
    ]


def test_a_sheet_is_chosen_by_name_and_never_guessed(export: Export) -> None:
    row = [1, "c1", datetime(2025, 1, 1), 5, None]  # noqa: DTZ001
    workbook(export, January=[HEADER, row], February=[HEADER, [2, *row[1:]]])
    error = export.failure(path="bills.xlsx")
    assert 'it has several sheets ("January", "February")' in error
    assert export.column("payment_id", path="bills.xlsx", sheet="February") == ["2"]
    assert 'no sheet "March"' in export.failure(path="bills.xlsx", sheet="March")


def test_a_cell_in_error_is_not_taken_for_an_empty_one(export: Export) -> None:
    path = workbook(export, bills=[HEADER, [1, "c1", "2025-01-01", 5, "#N/A"]])
    book = openpyxl.load_workbook(path)
    book["bills"]["E2"].data_type = "e"
    book.save(path)
    assert "a sheet holds cells in error" in export.failure(path="bills.xlsx")


def test_serial_dates_without_a_format_are_read_when_declared(export: Export) -> None:
    workbook(export, bills=[HEADER, [1, "c1", 45658.5, 5, None]])
    assert export.column("issued_at", path="bills.xlsx", date_format="excel") == [datetime(2025, 1, 1, 12, tzinfo=UTC)]


def test_a_workbook_that_counts_from_1904_is_not_read_four_years_early(export: Export) -> None:
    path = workbook(export, bills=[HEADER, [1, "c1", 44196.5, 5, None]])
    assert "it counts its days from 1900" in export.failure(path="bills.xlsx", date_format="excel_1904")
    book = openpyxl.load_workbook(path)
    book.epoch = CALENDAR_MAC_1904
    book["bills"].append([2, "c2", datetime(2025, 1, 2), 5, None])  # noqa: DTZ001
    book.save(path)
    assert "date_format: excel_1904" in export.failure(path="bills.xlsx", date_format="excel")
    assert "date_format: excel_1904" in export.failure(path="bills.xlsx", date_formats={"issued_at": "excel"})
    assert export.column("issued_at", path="bills.xlsx", date_format="excel_1904") == [
        datetime(2025, 1, 1, 12, tzinfo=UTC),
        datetime(2025, 1, 2, tzinfo=UTC),
    ]


@pytest.mark.parametrize("formula", ["=D2*2", '=IF(D2>1, "late", "")'])
def test_a_formula_that_nothing_has_calculated_is_not_taken_for_an_empty_cell(export: Export, formula: str) -> None:
    path = workbook(export, bills=[HEADER, [1, "c1", datetime(2025, 1, 1), 5, formula]])  # noqa: DTZ001
    assert "formulas without a value" in export.failure(path="bills.xlsx")
    sheet = "xl/worksheets/sheet1.xml"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    saved = re.sub(rb'<c r="E2"([^>]*)>(<f>.*?</f>).*?</c>', rb'<c r="E2" t="str"\1>\2<v></v></c>', members[sheet])
    assert saved != members[sheet]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, saved if name == sheet else content)
    assert json.loads(export.column("attributes", path="bills.xlsx")[0]) == {"note": None}


def test_an_id_of_more_digits_than_a_spreadsheet_keeps_is_refused(export: Export) -> None:
    row = ["c1", datetime(2025, 1, 1), 5, None]  # noqa: DTZ001
    workbook(export, bills=[HEADER, [123456789012345, *row], [1234567890123450, *row], ["1234567890123456", *row]])
    chunk = export.chunk(path="bills.xlsx")
    assert chunk.accepted["payment_id"].to_pylist() == ["123456789012345", "1234567890123456"]
    assert [record.reason.split(":")[0] for record in chunk.rejected] == [
        'payment_id "1234567890123450.0" has lost digits'
    ]


def test_days_as_numbers_fail_with_the_format_that_would_read_them(export: Export) -> None:
    workbook(export, bills=[[*HEADER, 2025], [1, "c1", 45658, 5, None, "x"]])
    assert "  date_format: excel" in export.failure(path="bills.xlsx")
    (attributes,) = export.column("attributes", path="bills.xlsx", date_format="excel")
    assert json.loads(attributes) == {"note": None, "2025": "x"}


def test_text_in_cells_is_held_to_the_same_notations_as_text_in_csv(export: Export) -> None:
    workbook(export, bills=[HEADER, [1, "c1", "31.12.2025", "12,50", None]])
    error = export.failure(path="bills.xlsx")
    assert 'decimal: ","' in error
    assert 'date_format: "%d.%m.%Y"' in error


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "its sheet is empty"),
        ([["no", "no"], [1, 2]], 'names "no" twice'),
        ([HEADER, [1, "c1", "2025-01-01", 5, None, "astray"]], "a value in a column without a name"),
    ],
)
def test_a_sheet_that_is_no_table_is_refused(export: Export, rows: list[list[Any]], reason: str) -> None:
    workbook(export, bills=rows)
    assert reason in export.failure(path="bills.xlsx")


def test_a_sheet_of_names_alone_holds_no_records(export: Export) -> None:
    workbook(export, bills=[HEADER])
    assert export.chunk(path="bills.xlsx").received == 0


def test_what_is_no_workbook_or_unpacks_without_measure_is_refused(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    export.write("bills.xlsx", "no,who\n")
    assert "it is no Excel workbook" in export.failure(path="bills.xlsx")
    monkeypatch.setattr(streams, "FREE_BYTES", 100_000)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b" " * 50_000_000)
    export.write("bills.xlsx", packed.getvalue())
    assert "unpacks to more than 100 times its size" in export.failure(path="bills.xlsx")


def test_a_query_reads_a_sheet_with_mixed_cells_as_text(export: Export) -> None:
    workbook(export, bills=[HEADER, ["007", "c1", "2025-01-01", 5, None], [7, "c2", "2025-01-02", 6.5, None]])
    query = """
        select no as payment_id, who as customer_id, day as issued_at, day as updated_at, 'charge' as kind,
            sum as amount from bills
    """
    source = {"tables": {"bills": {"path": "bills.xlsx"}}, "query": query}
    assert export.column("payment_id", **source) == ["007", "7"]
    assert export.column("amount", **source) == [Decimal(5), Decimal("6.5")]
