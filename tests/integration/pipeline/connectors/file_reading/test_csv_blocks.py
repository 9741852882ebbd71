"""Blocks of lines that are read at once are read as one by one."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.connectors.file_reading import csv_lines, streams
from pipeline.connectors.file_reading.csv_blocks import plain_table
from pipeline.connectors.file_reading.csv_lines import read_csv
from pipeline.connectors.file_reading.settings import FileShape
from pipeline.connectors.file_reading.streams import UnreadableFile

PIECES = ["a", "b c", "ä", ",", ",", ";", '"', '""', '","', "\n", "\n", "\r\n", "\r", "\0", "\ufeff", "\u2028", " "]
FIELDS = st.sampled_from(["", "1", "12,5", "NA", "null", '15" nail', "two\nlines", "ä", " x ", "c1", "\u2028"])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("csv") / "any.csv"


def read(file: Path, shape: FileShape) -> tuple[list[object], list[tuple[str, str]], str]:
    """All records, all strays with their reasons, and the error that ended the reading."""
    records: list[object] = []
    strays: list[tuple[str, str]] = []
    try:
        for part in read_csv(file, shape):
            records += part.rows.to_pylist()  # type: ignore[union-attr]
            strays += [(stray.reason, stray.payload) for stray in part.strays]
    except UnreadableFile as error:
        return [], [], str(error)
    return records, strays, ""


def read_both_ways(file: Path, shape: FileShape, block_letters: int) -> Iterator[object]:
    with patch.object(streams, "BLOCK_LETTERS", block_letters):
        yield read(file, shape)
        with patch.object(csv_lines, "plain_table", return_value=None):
            yield read(file, shape)


@given(
    rows=st.lists(st.lists(FIELDS, min_size=3, max_size=3), max_size=12),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    block_letters=st.sampled_from([1, 20, 1000]),
    encoding=st.sampled_from(["utf-8", "utf-16", "cp1252"]),
)
def test_what_a_csv_writer_wrote_reads_the_same_in_blocks(
    file: Path, rows: list[list[str]], quoting: int, end: str, block_letters: int, encoding: str
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting, lineterminator=end).writerows([["a", "b", "c"], *rows])  # type: ignore[arg-type]
    file.write_bytes(text.getvalue().encode(encoding, errors="replace"))
    shape = FileShape(encoding=encoding, multiline=True)
    at_once, by_line = read_both_ways(file, shape, block_letters)
    assert at_once == by_line


@given(
    pieces=st.lists(st.sampled_from(PIECES), max_size=40),
    header=st.sampled_from(["a", "a,b", "a,b,c", "a;b", '"a",b', "a,,c"]),
    block_letters=st.sampled_from([1, 5, 1000]),
    trailing_delimiter=st.booleans(),
    multiline=st.booleans(),
)
def test_any_text_reads_the_same_in_blocks(
    file: Path,
    pieces: list[str],
    header: str,
    block_letters: int,
    *,
    trailing_delimiter: bool,
    multiline: bool,
) -> None:
    file.write_bytes(f"{header}\n{''.join(pieces)}".encode())
    shape = FileShape(multiline=multiline, trailing_delimiter=trailing_delimiter)
    at_once, by_line = read_both_ways(file, shape, block_letters)
    if "no line has as many fields" not in f"{at_once}{by_line}":
        assert at_once == by_line


@pytest.mark.parametrize(
    "block",
    [
        '1,"12"" nail"\n"2",x\r\n',
        '"",""\n',
        "1,\n,2\n\n3,4",
        '1,"a,b"\n',
    ],
)
def test_plain_text_is_read_at_once(block: str) -> None:
    assert plain_table(block, ["a", "b"], ",") is not None


@pytest.mark.parametrize(
    "block",
    [
        '1,12" nail\n',
        '1,"two\nlines"\n',
        '1,"a" b\n',
        "1,2,3\n",
        "1\n",
        "1,2\r3,4\n",
        "1,2\n3,4\r",
        "1,\0\n",
        "\ufeff1,2\n",
        '1,"open\n',
        f"1,{'x' * csv.field_size_limit()}\n",
    ],
)
def test_text_that_says_more_when_read_by_line_is_not_read_at_once(block: str) -> None:
    assert plain_table(block, ["a", "b"], ",") is None


@pytest.mark.parametrize(("encoding", "bad"), [("utf-8", b"\xff"), ("cp1252", b"\x81")])
def test_the_line_that_is_not_of_the_encoding_is_named_exactly(file: Path, encoding: str, bad: bytes) -> None:
    lines = ["a,b"] + ["1,2"] * 5_000
    before = codecs.encode("\n".join(lines) + "\n", encoding)
    file.write_bytes(before + bad + codecs.encode(",2\n", encoding))
    _, _, error = read(file, FileShape(encoding=encoding))
    assert error == f"line 5002 is not {encoding}"
