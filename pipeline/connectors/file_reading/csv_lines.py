"""CSV: every line has as many fields as the first one, or is a stray. Nothing shifts, nothing is lost.

Line by line, but for blocks of lines that can only be read in one way, which are read at once (csv_blocks.py).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.connectors.file_reading.csv_blocks import plain_table
from pipeline.connectors.file_reading.parts import ROWS_AT_ONCE, Part, named_by_number, text_table
from pipeline.connectors.file_reading.settings import FileShape
from pipeline.connectors.file_reading.streams import Text, UnreadableFile, open_text
from pipeline.connectors.json_text import in_quotes, payload_json
from warehouse.landing.records import RejectedRecord

_TITLE = "; the first line must hold the names of the columns, without titles or remarks above them"
_IN_QUOTES = re.compile(r' +".*"\s*', re.DOTALL)
_DELIMITER_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


def read_csv(file: Path, shape: FileShape, *, names_columns: bool = False) -> Iterator[Part]:
    """The file's records as text. Raises UnreadableFile, which names the line.

    names_columns: a column without a name is called by its number, and not refused where it holds something.
    """
    with open_text(file, shape.encoding) as text:
        records = _Records(text, shape)
        names = records.names()
        if names_columns:
            names = named_by_number(names)
        has_parts = False
        for part in _parts(file, text, records, names, shape):
            yield part
            has_parts = True
        if not has_parts:
            yield _part(file, names, [], [])


def _parts(file: Path, text: Text, records: _Records, names: list[str], shape: FileShape) -> Iterator[Part]:
    is_regular = all(names) and not shape.trailing_delimiter and not shape.blank_after_delimiter
    has_records = False
    while block := text.block():
        table = plain_table(block, names, shape.delimiter) if is_regular else None
        if table is None:
            text.put_back(block)
            for good, strays in _line_by_line(file, records, names, shape):
                if not has_records:
                    _refuse_strays_alone(good, strays, shape)
                yield _part(file, names, good, strays)
                has_records = True
        else:
            records.pass_over(block)
            for start in range(0, table.num_rows, ROWS_AT_ONCE):
                yield Part(file.name, table.slice(start, ROWS_AT_ONCE))
                has_records = True


def _line_by_line(
    file: Path, records: _Records, names: list[str], shape: FileShape
) -> Iterator[tuple[list[list[str]], list[RejectedRecord]]]:
    """What is put back: lines of as many fields as there are names, and the others."""
    good: list[list[str]] = []
    strays: list[RejectedRecord] = []
    for line, fields in records.put_back():
        if len(fields) != len(names):
            reason = f"line {line} of {file.name} has {len(fields)} fields, the first line {len(names)}"
            strays.append(RejectedRecord(None, reason, payload_json(shape.delimiter.join(fields))))
        else:
            _refuse_nameless(fields, names, line)
            good.append(fields)
        if len(good) + len(strays) >= ROWS_AT_ONCE:
            yield good, strays
            good, strays = [], []
    if good or strays:
        yield good, strays


def _refuse_strays_alone(good: list[list[str]], strays: list[RejectedRecord], shape: FileShape) -> None:
    if strays and not good:
        ended = all(json.loads(stray.payload).endswith(shape.delimiter) for stray in strays)
        setting = "trailing_delimiter: true" if ended and not shape.trailing_delimiter else None
        raise UnreadableFile(f"no line has as many fields as the first: {strays[0].reason}{_TITLE}", setting)


def _part(file: Path, names: list[str], good: list[list[str]], strays: list[RejectedRecord]) -> Part:
    columns = {name: [fields[place] for fields in good] for place, name in enumerate(names) if name}
    return Part(file.name, text_table(columns), tuple(strays))


def _refuse_nameless(fields: list[str], names: list[str], line: int) -> None:
    if not all(names) and any(value and not name for value, name in zip(fields, names, strict=True)):
        raise UnreadableFile(f"line {line} has a value in a column to which the first line gives no name{_TITLE}")


def _refuse_quotes_after_blanks(fields: list[str], line: int) -> None:
    """`7, "Smith"`: for CSV the blank begins the field, and the quotes are letters of it."""
    if any(field.startswith(" ") and _IN_QUOTES.fullmatch(field) for field in fields):
        raise UnreadableFile(
            f"line {line} has a blank between a delimiter and a quote, so that the quotes would be part of the text",
            "blank_after_delimiter: true  # or false, where they are part of it",
        )


class _Records:
    """The file's records as lists of fields, each with the number of the line it begins on."""

    def __init__(self, text: Text, shape: FileShape) -> None:
        self._shape = shape
        self._skipped = 0
        self._text = text
        self._lines = text.lines()
        self._reader = csv.reader(
            self._without_delimiter_line(),
            delimiter=shape.delimiter,
            strict=True,
            skipinitialspace=bool(shape.blank_after_delimiter),
        )
        self._names: list[str] = []

    def names(self) -> list[str]:
        """The first line's fields."""
        first = next(iter(self), None)
        if first is None:
            raise UnreadableFile("it is empty: there is not even a first line with the names of the columns")
        self._names = first[1]
        if any(len(name.splitlines()) > 1 for name in self._names) and not self._shape.multiline:
            raise UnreadableFile(
                f"line {first[0]} opens a quote that runs over lines, in the names of the columns; close it, or say "
                "that names may do so",
                "multiline: true",
            )
        repeated = sorted({name for name in self._names if name and self._names.count(name) > 1})
        if repeated:
            raise UnreadableFile(f"its first line names {', '.join(map(in_quotes, repeated))} twice")
        return self._names

    def put_back(self) -> Iterator[tuple[int, list[str]]]:
        """The records of the block that was put back; the last one may end after it."""
        for record in self:
            yield record
            if not self._text.has_pending:
                return

    def pass_over(self, block: str) -> None:
        """Count the lines of a block that was read otherwise."""
        lines = block.count("\n") + (not block.endswith("\n"))
        self._skipped += lines
        self._text.count(lines)

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        begins = self._reader.line_num + 1
        try:
            for fields in self._reader:
                ends = self._reader.line_num
                if fields:
                    if ends > begins:
                        self._refuse_swallowed(fields, begins + self._skipped)
                    if self._shape.blank_after_delimiter is None:
                        _refuse_quotes_after_blanks(fields, begins + self._skipped)
                    yield begins + self._skipped, self._without_end(fields)
                begins = ends + 1
        except csv.Error as error:
            raise UnreadableFile(
                f"line {begins + self._skipped} cannot be read ({error}): is a quote not closed, or not doubled"
            ) from None

    def _without_end(self, fields: list[str]) -> list[str]:
        is_longer = len(fields) == len(self._names) + 1
        return fields[:-1] if self._shape.trailing_delimiter and is_longer and not fields[-1] else fields

    def _without_delimiter_line(self) -> Iterator[str]:
        """The lines without Excel's own first one, `sep=;`, which must agree with what is declared."""
        first = next(self._lines, "")
        told = _DELIMITER_LINE.fullmatch(first)
        if told is None:
            yield first
        else:
            self._skipped = 1
            if told[1] != self._shape.delimiter:
                raise UnreadableFile(
                    f"its first line says that {in_quotes(told[1])} is the delimiter",
                    f"delimiter: {in_quotes(told[1])}",
                )
        yield from self._lines

    def _refuse_swallowed(self, fields: list[str], line: int) -> None:
        """A quote that was never meant to open a field runs to the next one, over whole records.

        A line within the quote may be longer than a record, for it may have a fault of its own. In the last one the
        quote ends, and the record goes on: there only the very number of fields looks like a record.
        """
        delimiter = self._shape.delimiter
        expected = len(self._names) - 1
        *within, last = [text.count(delimiter) for text in delimiter.join(fields).splitlines()[1:]] or [0]
        of_a_record = (expected, expected + 1) if self._shape.trailing_delimiter else (expected,)
        is_swallowed = last in of_a_record or any(count >= expected for count in within)
        if not self._shape.multiline and expected > 0 and is_swallowed:
            raise UnreadableFile(
                f"line {line} opens a quote that runs over lines which look like records of their own; close or double "
                "the quote, or say that quoted fields may look so",
                "multiline: true",
            )
