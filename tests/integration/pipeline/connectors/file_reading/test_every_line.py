"""What was read is what was sent: every line counts, none shifts, none is swallowed."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.connectors.file_reading import streams
from pipeline.connectors.file_reading.csv_lines import read_csv
from pipeline.connectors.file_reading.settings import FileShape
from pipeline.connectors.file_reading.streams import UnreadableFile
from tests.integration.pipeline.connectors.export_files import Export

HEADER = "no,who,day,sum\n"
LINE = "1,c1,2025-01-02,12.50\n"


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path)


def test_lines_that_end_with_a_delimiter_do_not_shift_the_columns(export: Export) -> None:
    export.write("bills.csv", HEADER + "1,c1,2025-01-02,12.50,\n2,c2,2025-01-03,3.00,\n")
    error = export.failure(path="bills.csv")
    assert "line 2 of bills.csv has 5 fields, the first line 4" in error
    assert "Add to connector_settings.files.payments:\n  trailing_delimiter: true" in error
    assert export.column("amount", path="bills.csv", trailing_delimiter=True) == [Decimal("12.5"), Decimal(3)]
    assert export.column("customer_id", path="bills.csv", trailing_delimiter=True) == ["c1", "c2"]


def test_a_first_line_that_ends_with_a_delimiter_too_is_a_column_without_name_and_values(export: Export) -> None:
    export.write("bills.csv", "no,who,day,sum,\n1,c1,2025-01-02,12.50,\n")
    assert export.column("amount", path="bills.csv") == [Decimal("12.5")]
    export.write("bills.csv", "no,who,day,sum,\n1,c1,2025-01-02,12.50,lost\n")
    assert "line 2 has a value in a column to which the first line gives no name" in export.failure(path="bills.csv")


def test_an_unquoted_comma_in_one_line_rejects_that_line_only(export: Export) -> None:
    export.write("bills.csv", HEADER + "1,Smith, Inc,2025-01-02,1\n" + LINE)
    chunk = export.chunk(path="bills.csv")
    assert [record.reason for record in chunk.rejected] == ["line 2 of bills.csv has 5 fields, the first line 4"]
    assert (chunk.received, chunk.accepted["customer_id"].to_pylist()) == (2, ["c1"])


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('"no,who,day,sum\n' + LINE, 1),
        (HEADER + '"1,c1,2025-01-02,12.50\n' + LINE, 2),
        (HEADER + LINE + '1,"12 inch nail,2025-01-02,1\n' + LINE * 5, 3),
        (HEADER + '1,"c1" x,2025-01-02,1\n', 2),
        (HEADER + LINE + '2,"c2\n' + LINE + '3,c3",2025-01-02,1\n', 3),
    ],
)
def test_a_stray_quote_swallows_nothing_but_fails_with_its_line(export: Export, content: str, line: int) -> None:
    export.write("bills.csv", content)
    assert f"line {line} " in export.failure(path="bills.csv")


@pytest.mark.parametrize("last", ['3,c3",2025-01-02,1,', '3,c3,x",2025-01-02,1,'])
def test_a_stray_quote_swallows_no_line_that_ends_with_a_delimiter(export: Export, last: str) -> None:
    export.write("bills.csv", f'{HEADER}1,c1,2025-01-02,1,\n2,"c2,2025-01-02,1,\n5,c5,2025-01-02,1,\n{last}\n')
    assert "line 3 opens a quote" in export.failure(path="bills.csv", trailing_delimiter=True)
    export.write("bills.csv", f'{HEADER}1,c1,2025-01-02,1,\n2,"c2,2025-01-02,1,\n3,c3",2025-01-02,1,\n')
    assert "line 3 opens a quote" in export.failure(path="bills.csv", trailing_delimiter=True)


def test_a_stray_quote_swallows_no_line_that_has_a_comma_too_many(export: Export) -> None:
    export.write("bills.csv", HEADER + LINE + '2,"c2,2025-01-02,1\n3,Smith, Inc,2025-01-02,1\n4,c4",2025-01-02,1\n')
    assert "line 3 opens a quote" in export.failure(path="bills.csv")


def test_a_byte_order_mark_within_a_file_put_together_is_no_part_of_an_id(export: Export) -> None:
    export.write("bills.csv", f"\ufeff{HEADER}{LINE}\ufeff2,c2,2025-01-03,3\n")
    assert export.column("payment_id", path="bills.csv") == ["1", "2"]


def test_quoted_line_breaks_are_kept_and_may_look_like_records_when_declared(export: Export) -> None:
    export.write("bills.csv", 'note,no,who,day,sum\n"first\nsecond, third",1,c1,2025-01-02,1\n')
    assert [json.loads(text) for text in export.column("attributes", path="bills.csv")] == [
        {"note": "first\nsecond, third"}
    ]
    export.write("bills.csv", 'note,no,who,day,sum\n"first\na,b,c,d,e\nlast",1,c1,2025-01-02,1\n')
    assert "multiline: true" in export.failure(path="bills.csv")
    assert len(export.column("amount", path="bills.csv", multiline=True)) == 1


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file_is_no_file_without_records(export: Export, content: str) -> None:
    export.write("bills.csv", content)
    assert "it is empty" in export.failure(path="bills.csv")


def test_a_name_that_runs_over_lines_has_swallowed_records(export: Export) -> None:
    export.write("bills.csv", 'no,"who,day,sum\n1,c1",day,sum\n2,c2,2025-01-02,1\n')
    assert "line 1 opens a quote that runs over lines, in the names of the columns" in export.failure(path="bills.csv")


def test_a_mapped_column_that_one_of_the_files_lacks_fails_and_others_are_told(export: Export) -> None:
    export.write("1.csv", "no,who,day,sum,note\n1,c1,2025-01-02,1,x\n")
    export.write("2.csv", "no,who,day,sum\n2,c2,2025-01-02,1\n")
    assert "2.csv lacks note, which other files have." in export.chunk(path="*.csv").remarks
    export.write("2.csv", "no,who,day,total,note\n2,c2,2025-01-02,1,x\n")
    error = export.failure(path="*.csv")
    assert "*.csv, 2.csv: connector_settings.files.payments.columns.amount is sum, but there is no such column" in error


def test_two_columns_of_one_name_are_refused(export: Export) -> None:
    export.write("bills.csv", "no,who,day,sum,sum\n1,c1,2025-01-02,1,2\n")
    assert 'names "sum" twice' in export.failure(path="bills.csv")


def test_a_header_only_file_is_mapped_like_any_other(export: Export) -> None:
    export.write("bills.csv", HEADER)
    assert export.chunk(path="bills.csv").received == 0
    export.write("bills.csv", "no,who,day\n")
    assert "columns.amount is sum, but there is no such column" in export.failure(path="bills.csv")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_json_lines_with_a_byte_order_mark_lose_no_record(export: Export, encoding: str) -> None:
    record = json.dumps({"no": 1, "who": "c1", "day": "2025-01-01", "sum": 2.5})
    export.write("bills.jsonl", f"{record}\n{record.replace('1', '2', 1)}\n", encoding)
    assert export.column("payment_id", path="bills.jsonl", encoding=encoding) == ["1", "2"]
    if encoding == "utf-16":
        assert "encoding: utf-16" in export.failure(path="bills.jsonl")


def test_json_lines_that_were_put_together_from_several_files_keep_every_record(export: Export) -> None:
    record = json.dumps({"no": 1, "who": "c1", "day": "2025-01-01", "sum": 2.5}).encode()
    export.write("bills.jsonl", b"\xef\xbb\xbf" + record + b"\n\xef\xbb\xbf" + record.replace(b"1", b"2", 1) + b"\n")
    assert export.column("payment_id", path="bills.jsonl") == ["1", "2"]


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0\ufeff"), max_size=8)


@given(
    rows=st.lists(st.lists(FIELD, min_size=3, max_size=3), max_size=20),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_whatever_a_csv_writer_wrote_is_read_field_by_field(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str, encoding: str
) -> None:
    file = tmp_path_factory.mktemp("csv") / "any.csv"
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([["a", "b", "c"], *rows])
    file.write_bytes(text.getvalue().encode(encoding))
    parts = list(read_csv(file, FileShape(delimiter=delimiter, encoding=encoding)))
    assert [list(row.values()) for part in parts for row in part.rows.to_pylist()] == [
        [field or None for field in row] for row in rows
    ]
    assert not any(part.strays for part in parts)


def test_packed_files_are_streamed_and_one_that_unpacks_without_measure_is_refused(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    export.write("bills.csv.gz", gzip.compress((HEADER + LINE).encode()))
    assert export.column("amount", path="*.csv.gz") == [Decimal("12.5")]
    monkeypatch.setattr(streams, "FREE_BYTES", 100_000)
    monkeypatch.setattr(streams, "LONGEST_LINE", 10_000)
    bomb = export.write("bomb.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 5_000_000))
    tracemalloc.start()
    assert "unpacks to more than 100 times its size" in export.failure(path="bomb.jsonl.gz")
    assert tracemalloc.get_traced_memory()[1] < 200 * bomb.stat().st_size + 50_000_000
    tracemalloc.stop()
    export.write("endless.csv", HEADER + "x" * 20_000)
    assert "line 2 is longer than" in export.failure(path="endless.csv")
    export.write("cut.csv.gz", gzip.compress((HEADER + LINE).encode())[:-9])
    assert "cut.csv.gz cannot be read" in export.failure(path="cut.csv.gz")


def test_a_line_longer_than_the_limit_is_refused_in_json_lines_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LONGEST_LINE", 10)
    file = tmp_path / "long.jsonl"
    file.write_text('{"a": "' + "x" * 100)
    with pytest.raises(UnreadableFile, match="line 1"):
        list(streams.byte_lines(file))
