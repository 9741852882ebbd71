"""Notations that people elsewhere use: read as declared, or refused with what helps; never read as something else."""

from __future__ import annotations

import gzip
import io
from datetime import date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.connectors.contract import CUSTOMERS
from tests.integration.pipeline.connectors.export_files import Export

HEAD = "customer_id,created_at,cancelled_at,plan\n"


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path)


def people(*cancelled: str) -> str:
    return HEAD + "".join(f'c{number},2024-01-01,"{moment}",Pro\n' for number, moment in enumerate(cancelled))


def bytes_of(table: pa.Table) -> bytes:
    written = io.BytesIO()
    pq.write_table(table, written)
    return written.getvalue()


@pytest.mark.parametrize(
    ("moment", "date_format", "read_as"),
    [
        ("2025-01-31 10.30", "%Y-%m-%d %H.%M", "2025-01-31 10:30"),
        ("2025-01-31 10:30:00 PM", "%Y-%m-%d %I:%M:%S %p", "2025-01-31 22:30"),
        ("31/Jan/2025", "%d/%b/%Y", "2025-01-31 00:00"),
        ("Fri, 31 Jan 2025 10:30:00 +0100", "%a, %d %b %Y %H:%M:%S %z", "2025-01-31 09:30"),
        ("31.01.2025 10:30:00+05:30", "%d.%m.%Y %H:%M:%S%z", "2025-01-31 05:00"),
        ("31.01.2025T10:30", "%d.%m.%YT%H:%M", "2025-01-31 10:30"),
    ],
)
def test_dates_of_other_formats_fail_with_the_one_that_reads_them(
    export: Export, moment: str, date_format: str, read_as: str
) -> None:
    export.write("people.csv", people(moment, moment))
    assert f'cancelled_at: "{date_format}"' in export.failure(CUSTOMERS, path="people.csv")
    declared = {"path": "people.csv", "date_formats": {"cancelled_at": date_format}}
    assert {f"{read:%Y-%m-%d %H:%M}" for read in export.column("cancelled_at", CUSTOMERS, **declared)} == {read_as}


@pytest.mark.parametrize("moment", ["2025-01-31 10.30", "2025-01-31T10:30.5", "20250131T1030.5", "2025-01-31 10,5"])
def test_a_fraction_of_an_hour_or_a_minute_is_not_taken_for_seconds(export: Export, moment: str) -> None:
    export.write("people.csv", people(moment, *["2025-01-31 10:30:15.5"] * 30))
    chunk = export.chunk(CUSTOMERS, path="people.csv")
    (rejected,) = chunk.rejected
    assert f'cancelled_at "{moment}" is not a date and time' in rejected.reason
    assert chunk.accepted["cancelled_at"][0].as_py().microsecond == 500_000


@pytest.mark.parametrize("word", ["NULL", "\\N", "nan", "0000-00-00", "None", "#N/A", "9999-12-31", "(null)"])
def test_a_word_for_no_date_is_rejected_with_the_setting_that_reads_it(export: Export, word: str) -> None:
    export.write("people.csv", people(word, word))
    reason = export.chunk(CUSTOMERS, path="people.csv").rejected[0].reason
    assert "so by values: {" in reason
    declared = {"path": "people.csv", "values": {"cancelled_at": {word: ""}}}
    assert export.column("cancelled_at", CUSTOMERS, **declared) == [None, None]


@pytest.mark.parametrize("typed", [date(9999, 12, 31), datetime(1970, 1, 1)])  # noqa: DTZ001
def test_a_typed_date_that_stands_for_none_is_translated_like_text(export: Export, typed: date) -> None:
    columns = {"customer_id": ["c1", "c2"], "created_at": ["2024-01-01"] * 2}
    export.write("people.parquet", bytes_of(pa.table(columns | {"cancelled_at": [typed, None]})))
    declared = {"path": "people.parquet", "values": {"cancelled_at": {str(typed): ""}}}
    assert export.column("cancelled_at", CUSTOMERS, **declared) == [None, None]


@pytest.mark.parametrize("amount", ["€12.50", "12.50 EUR", "(12.50)", "12.50-", "\u221212.50", "CHF 1'200.00", "50 %"])
def test_what_stands_around_a_number_is_said_to_be_in_the_way(export: Export, amount: str) -> None:
    export.write("bills.csv", f'no,who,day,sum\n1,c1,2025-01-01,"{amount}"\n2,c1,2025-01-01,3\n')
    (rejected,) = export.chunk(path="bills.csv").rejected
    assert "what stands around digits is not read" in rejected.reason


@pytest.mark.parametrize(
    ("delimiter", "written"), [("^", '"^"'), ("~", '"~"'), ("\x01", '"\\u0001"'), ("§", '"\\u00a7"')]
)
def test_a_delimiter_of_other_systems_is_told(export: Export, delimiter: str, written: str) -> None:
    export.write("people.csv", people("", "").replace('""', "").replace(",", delimiter))
    assert f"delimiter: {written}" in export.failure(CUSTOMERS, path="people.csv")
    assert export.column("plan", CUSTOMERS, path="people.csv", delimiter=delimiter) == ["Pro", "Pro"]


def test_quotes_after_a_blank_are_no_part_of_the_text_until_somebody_says_so(export: Export) -> None:
    export.write("people.csv", 'customer_id,created_at,plan\n"c1",2024-01-01, "Pro, yearly"\n'.replace(", yearly", ""))
    assert "blank_after_delimiter: true" in export.failure(CUSTOMERS, path="people.csv")
    mapping = {"path": "people.csv", "blank_after_delimiter": True}
    assert export.column("plan", CUSTOMERS, **mapping) == ["Pro"]
    assert export.column("plan", CUSTOMERS, **mapping | {"blank_after_delimiter": False}) == [' "Pro"']


def test_a_blank_after_each_delimiter_belongs_to_names_and_values_no_more(export: Export) -> None:
    export.write("people.csv", "customer_id, created_at, plan\nc1, 2024-01-01, Pro\n")
    assert export.column("plan", CUSTOMERS, path="people.csv", blank_after_delimiter=True) == ["Pro"]


@pytest.mark.parametrize("above", ["Customers of 2025\n\n", "# exported\n", "Customers of 2025,,,\n"])
def test_a_title_above_the_names_is_said_to_be_in_the_way(export: Export, above: str) -> None:
    export.write("people.csv", above + people("", ""))
    assert "the first line must hold the names" in export.failure(CUSTOMERS, path="people.csv")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("people.xls", b"", "Save it as a workbook of the kind .xlsx"),
        ("people.zip", b"", "Unpack it"),
        ("people.csv", b"PK\x03\x04\xff\xfe", "format: excel"),
        ("people.csv", gzip.compress(HEAD.encode(), mtime=0), "let its name end with .gz"),
        ("people.xlsx", b"<html><table></table></html>", "it is a web page"),
        ("people.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1", "save it as .xlsx"),
    ],
)
def test_a_file_of_another_format_than_its_name_says_is_told_by_what_it_is(
    export: Export, name: str, content: bytes, told: str
) -> None:
    export.write(name, content)
    assert told in export.failure(CUSTOMERS, path=name)


@pytest.mark.parametrize(("kind", "first_unsure"), [(pa.float32(), 2**24), (pa.float16(), 2**11)])
def test_an_id_that_a_narrow_number_cannot_tell_from_its_neighbour_is_refused(
    export: Export, kind: pa.DataType, first_unsure: int
) -> None:
    ids = pa.array([float(first_unsure), 7.0]).cast(kind)
    export.write("people.parquet", bytes_of(pa.table({"customer_id": ids, "created_at": ["2024-01-01"] * 2})))
    chunk = export.chunk(CUSTOMERS, path="people.parquet")
    assert chunk.accepted["customer_id"].to_pylist() == ["7"]
    assert "has lost digits" in chunk.rejected[0].reason
    assert (chunk.received, chunk.unnamed) == (2, 1)


def workbook(*moments: Any) -> bytes:
    book = openpyxl.Workbook()
    book.active.append(["customer_id", "created_at", "cancelled_at"])
    for number, moment in enumerate(moments):
        book.active.append([f"c{number}", datetime(2024, 1, 1), moment])  # noqa: DTZ001
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


@pytest.mark.parametrize(("typed", "is_told"), [(date(2025, 4, 3), True), (date(2025, 4, 13), False)])
def test_dates_among_texts_of_which_each_could_be_of_another_order_are_told(
    export: Export, typed: date, is_told: bool
) -> None:
    export.write("people.xlsx", workbook(typed, "31/12/2025", "25/12/2025"))
    chunk = export.chunk(CUSTOMERS, path="people.xlsx", date_formats={"cancelled_at": "%d/%m/%Y"})
    assert any("may have taken day for month" in remark for remark in chunk.remarks) == is_told
