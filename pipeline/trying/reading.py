"""A file as one table, as it stands: texts where it holds texts. What it looks like is acted upon here, and told.

A load into the warehouse refuses what nobody declared, for it repeats every day. Here a person looks at the result.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from foundation.counting import agreeing, counted
from pipeline.connectors.file_reading.csv_lines import read_csv
from pipeline.connectors.file_reading.other_formats import read_excel, read_json_lines, read_parquet
from pipeline.connectors.file_reading.parts import Part
from pipeline.connectors.file_reading.places import format_of
from pipeline.connectors.file_reading.settings import FORMATS, FileSet, Format
from pipeline.connectors.file_reading.sniffing import look_at
from pipeline.connectors.file_reading.streams import UnreadableFile
from pipeline.connectors.file_reading.tables import table_of, together
from pipeline.trying.errors import UnreadableTable, not_there

MOST_ROWS = 50_000
"""Of more rows so many are drawn by chance: the answer would hardly change, and takes as much longer."""

MOST_CELLS = 10_000_000
MOST_STRAYS = 0.05
"""More lines than this share with another number of fields, and it is another file than it was taken for."""

_OF_TEXT = ("csv", "jsonl")
_FORMAT_NAMES: dict[Format, str] = {"csv": "CSV", "excel": "Excel", "parquet": "Parquet", "jsonl": "JSON lines"}
_OPTIONS = {"sheet": "--sheet names one", "multiline": "--multiline says that quoted fields may look so"}
_ZONE = ZoneInfo("UTC")


@dataclass(frozen=True)
class TableRead:
    """The rows of a file, each with its number from 1; and how it was read, in sentences.

    in_file: rows that the file holds. strays: lines that are none, for they have another number of fields.
    """

    table: pa.Table
    numbers: np.ndarray
    in_file: int
    strays: int
    remarks: tuple[str, ...]
    looks: str

    def column(self, name: str) -> str:
        """The column of this name, in whatever case. Raises UnknownColumn, which names near ones."""
        names = self.table.column_names
        if name in names:
            return name
        alike = [other for other in names if other.strip().casefold() == name.strip().casefold()]
        if len(alike) != 1:
            raise not_there("column", name, names)
        return str(alike[0])


def read_table(file: Path, *, sheet: str | None = None, multiline: bool = False, seed: int = 7) -> TableRead:
    """Read CSV, Excel, Parquet or JSON lines. Raises UnreadableTable, which says what helps."""
    file_format = _format(file)
    shape, looks = _shape(file, file_format, sheet, multiline)
    try:
        try:
            drawn = _draw(_parts(file, file_format, shape), seed)
        except UnreadableFile as error:
            if not (error.setting or "").startswith("trailing_delimiter"):
                raise
            shape = shape.model_copy(update={"trailing_delimiter": True})
            drawn = _draw(_parts(file, file_format, shape), seed)
    except UnreadableFile as error:
        option = _OPTIONS.get((error.setting or "").split(":")[0])
        problem = error.problem.rstrip(".")
        raise UnreadableTable(f"{file.name} cannot be read: {problem}.{f' {option}.' if option else ''}") from None
    except (pa.ArrowException, LookupError, OSError, EOFError, zlib.error) as error:
        raise UnreadableTable(f"{file.name} cannot be read: {' '.join(str(error).split())[:200]}.") from None
    _refuse_little(file, drawn)
    return TableRead(drawn.table, drawn.numbers, drawn.in_file, drawn.strays, tuple(drawn.remarks()), looks)


def _parts(file: Path, file_format: Format, shape: FileSet) -> Iterator[Part]:
    """A column without a name, such as the row numbers that pandas writes first, is called by its place."""
    match file_format:
        case "csv":
            return read_csv(file, shape, names_columns=True)
        case "excel":
            return read_excel(file, shape, names_columns=True)
        case "parquet":
            return read_parquet(file, shape)
        case "jsonl":
            return read_json_lines(file, shape)


def _format(file: Path) -> Format:
    if file.is_dir():
        raise UnreadableTable(f"{file} is a folder. Name one file in it.")
    if not file.is_file():
        there = [other.name for other in file.parent.iterdir()] if file.parent.is_dir() else []
        near = not_there("file", file.name, sorted(name for name in there if Path(name).suffix.lower() in FORMATS))
        raise UnreadableTable(f"{near} It was looked for in {file.parent.resolve()}.")
    file_format = format_of(file, FileSet(path=file.name))
    if file_format is None:
        raise UnreadableTable(
            f"The ending of {file.name} tells no format. Save it as one of {', '.join(FORMATS)} (text may be packed, "
            ".gz)."
        )
    return file_format


def _shape(file: Path, file_format: Format, sheet: str | None, multiline: bool) -> tuple[FileSet, str]:
    """How the file is written, by its look; and that in words."""
    told: dict[str, object] = {"sheet": sheet, "multiline": multiline}
    looks = _FORMAT_NAMES[file_format]
    if file_format in _OF_TEXT:
        try:
            look = look_at(file)
        except (UnreadableFile, OSError, EOFError, zlib.error) as error:
            raise UnreadableTable(f"{file.name} cannot be read: {error}.") from None
        told |= {"delimiter": look.delimiter, "encoding": look.encoding}
        looks = f"{looks} ({look.description()})" if file_format == "csv" else f"{looks} ({look.encoding_name})"
    return FileSet(path=file.name, **{name: value for name, value in told.items() if value}), looks


@dataclass
class _Drawn:
    """What was kept of the file's rows so far: each with the same chance, `share`."""

    table: pa.Table
    numbers: np.ndarray
    in_file: int = 0
    strays: int = 0
    first_stray: str = ""
    share: float = 1.0

    def remarks(self) -> Iterator[str]:
        if self.strays:
            left = agreeing(self.strays, "are")
            yield f"{counted(self.strays, 'line')} {left} left out: {self.first_stray}."
        if self.table.num_rows < self.in_file:
            yield (
                f"Of {counted(self.in_file, 'row')} {self.table.num_rows:,} were drawn by chance; the others have no "
                "score."
            )


def _draw(parts: Iterator[Part], seed: int) -> _Drawn:
    """The rows of all parts, or a part of them drawn by chance: whenever too many are kept, every second one goes."""
    random = np.random.default_rng(seed)
    drawn = _Drawn(pa.table({}), np.zeros(0, dtype=np.int64))
    kept: list[pa.Table] = []
    for part in parts:
        drawn.strays += len(part.strays)
        drawn.first_stray = drawn.first_stray or (part.strays[0].reason if part.strays else "")
        table = table_of(replace(part, strays=()), FileSet(path=part.file), _ZONE)
        numbers = drawn.in_file + 1 + np.arange(table.num_rows)
        drawn.in_file += table.num_rows
        chosen = random.random(table.num_rows) < drawn.share
        kept.append(table.filter(pa.array(chosen)))
        drawn.numbers = np.concatenate([drawn.numbers, numbers[chosen]])
        most = min(MOST_ROWS, max(1, MOST_CELLS // max(1, table.num_columns)))
        if len(drawn.numbers) > 2 * most:
            _thin(drawn, kept, random.random(len(drawn.numbers)) < 0.5)
            drawn.share /= 2
    drawn.table = together(kept) if kept else pa.table({})
    most = min(MOST_ROWS, max(1, MOST_CELLS // max(1, drawn.table.num_columns)))
    if len(drawn.numbers) > most:
        kept = [drawn.table]
        _thin(drawn, kept, random.permutation(len(drawn.numbers)) < most)
        drawn.table = kept[0]
    return drawn


def _thin(drawn: _Drawn, kept: list[pa.Table], chosen: np.ndarray) -> None:
    kept[:] = [together(kept).filter(pa.array(chosen))]
    drawn.numbers = drawn.numbers[chosen]


def _refuse_little(file: Path, drawn: _Drawn) -> None:
    if drawn.strays > MOST_STRAYS * (drawn.in_file + drawn.strays):
        raise UnreadableTable(
            f"{file.name}: {counted(drawn.strays, 'line')} of {drawn.in_file + drawn.strays:,} do not have as many "
            f"fields as the first ({drawn.first_stray}). Is the first line that of the names?"
        )
    if not drawn.table.num_rows:
        raise UnreadableTable(f"{file.name} has no rows below the names of its columns.")
    if drawn.table.num_columns < 2:
        raise UnreadableTable(
            f"{file.name} has one column, {drawn.table.column_names[0]!r}: there is nothing to tell the outcome by."
        )
