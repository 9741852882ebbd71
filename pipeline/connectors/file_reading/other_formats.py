"""JSON lines, Parquet and Excel workbooks as pieces of records."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from python_calamine import CalamineError, CalamineWorkbook, SheetVisibleEnum

from pipeline.connectors.file_reading.json_records import RepeatedName, json_record
from pipeline.connectors.file_reading.parts import ROWS_AT_ONCE, Part, named_by_number
from pipeline.connectors.file_reading.settings import FileShape, declared_dates
from pipeline.connectors.file_reading.streams import (
    BYTE_ORDER_MARK,
    UnreadableFile,
    byte_lines,
    check_workbook,
    counts_from_1904,
    refuse_expansion,
    text_lines,
)
from pipeline.connectors.json_text import in_quotes, payload_json
from pipeline.connectors.notation import EXCEL, EXCEL_1904
from pipeline.connectors.values import read_text
from warehouse.landing.records import RejectedRecord

_MARK = BYTE_ORDER_MARK.encode()
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_json_lines(file: Path, shape: FileShape) -> Iterator[Part]:
    """Objects line by line; a line that is no JSON comes as its text. Raises UnreadableFile, which names the line."""
    rows: list[Any] = []
    strays: list[RejectedRecord] = []
    is_first = True
    for number, line in enumerate(_json_lines(file, shape), 1):
        # A file that was put together from several has a mark inside, too.
        text = line.removeprefix(_MARK).strip()
        if not text:
            continue
        if is_first and text.startswith(b"["):
            raise UnreadableFile(f"line {number} begins a JSON array; write one record a line, without [ and commas")
        is_first = False
        try:
            rows.append(json_record(text, number))
        except RepeatedName as error:
            reason = f"line {number} of {file.name} names {in_quotes(error.name)} twice"
            strays.append(RejectedRecord(None, reason, payload_json(text.decode(errors="backslashreplace"))))
        if len(rows) + len(strays) >= ROWS_AT_ONCE:
            yield Part(file.name, rows, tuple(strays), is_sparse=True)
            rows, strays = [], []
    if rows or strays:
        yield Part(file.name, rows, tuple(strays), is_sparse=True)


def _json_lines(file: Path, shape: FileShape) -> Iterator[bytes]:
    if shape.encoding.lower().replace("_", "-") not in ("utf-8", "utf8", "utf-8-sig"):
        yield from (line.encode() for line in text_lines(file, shape.encoding))
        return
    for number, line in enumerate(byte_lines(file)):
        if number == 0 and line.startswith(_WIDE_MARKS):
            raise UnreadableFile("it begins with the mark of UTF-16", "encoding: utf-16")
        # Within JSON text a carriage return is written \r, so that a bare one ends a line.
        yield from line.split(b"\r")


def read_parquet(file: Path, _: FileShape) -> Iterator[Part]:
    """Batches of the file's rows, as they are typed."""
    with pq.ParquetFile(file) as parquet:
        names = parquet.schema_arrow.names
        if len(set(names)) < len(names):
            raise UnreadableFile("two of its columns have one name")
        if not parquet.metadata.num_rows:
            yield Part(file.name, parquet.schema_arrow.empty_table())
        unpacked = 0
        for batch in parquet.iter_batches(batch_size=ROWS_AT_ONCE):
            unpacked += batch.nbytes
            refuse_expansion(unpacked, file.stat().st_size)
            yield Part(file.name, pa.Table.from_batches([batch]))


def read_excel(file: Path, shape: FileShape, *, names_columns: bool = False) -> Iterator[Part]:
    """The rows of a sheet below its first filled one, which holds the names. Cells keep the type they have.

    names_columns: as in `read_csv`.
    """
    try:
        check_workbook(file)
        _refuse_other_days(file, shape)
        workbook = CalamineWorkbook.from_path(file)
        rows = _sheet(workbook, shape).iter_rows()
    except (CalamineError, zipfile.BadZipFile) as error:
        raise UnreadableFile(f"it is no Excel workbook (.xlsx): {error}") from None
    filled = ([None if cell == "" else cell for cell in row] for row in rows)
    records = (row for row in filled if any(cell is not None for cell in row))
    names = _sheet_names(next(records, None))
    if names_columns:
        names = [*named_by_number(names)]
    objects: list[Any] = []
    yielded = False
    for row in records:
        objects.append(_named(row, names))
        if len(objects) >= ROWS_AT_ONCE:
            yield Part(file.name, objects)
            objects, yielded = [], True
    if objects or not yielded:
        yield Part(file.name, objects or _no_rows(names))


def _refuse_other_days(file: Path, shape: FileShape) -> None:
    """Numbers that are declared to be days count as the workbook does: from 1904 they lie four years later."""
    ours, other = (EXCEL_1904, EXCEL) if counts_from_1904(file) else (EXCEL, EXCEL_1904)
    if other in declared_dates(shape):
        raise UnreadableFile(
            f"it counts its days {'from 1904' if ours == EXCEL_1904 else 'from 1900, not from 1904'}",
            f"date_format: {ours}",
        )


def _no_rows(names: list[str | None]) -> pa.Table:
    present = [name for name in names if name is not None]
    return pa.table([pa.nulls(0)] * len(present), names=present)


def _sheet(workbook: CalamineWorkbook, shape: FileShape) -> Any:
    names = workbook.sheet_names
    if shape.sheet is not None:
        if shape.sheet not in names:
            raise UnreadableFile(f"it has no sheet {in_quotes(shape.sheet)}; it has {', '.join(map(in_quotes, names))}")
        return workbook.get_sheet_by_name(shape.sheet)
    visible = [sheet.name for sheet in workbook.sheets_metadata if sheet.visible == SheetVisibleEnum.Visible]
    if len(visible) != 1:
        setting = f"sheet: {in_quotes(visible[0])}" if visible else None
        raise UnreadableFile(f"it has several sheets ({', '.join(map(in_quotes, visible))})", setting)
    return workbook.get_sheet_by_name(visible[0])


def _sheet_names(first: list[Any] | None) -> list[str | None]:
    if first is None:
        raise UnreadableFile("its sheet is empty: there is not even a row with the names of the columns")
    names = [None if cell is None else read_text(cell) for cell in first]
    repeated = sorted({name for name in names if name is not None and names.count(name) > 1})
    if repeated:
        raise UnreadableFile(f"its sheet names {', '.join(map(in_quotes, repeated))} twice")
    return names


def _named(row: list[Any], names: list[str | None]) -> dict[str, Any]:
    if any(name is None and cell is not None for name, cell in zip(names, row, strict=False)) or len(row) > len(names):
        raise UnreadableFile(
            "its sheet has a value in a column without a name; the first filled row must hold the names of the "
            "columns, without titles above them"
        )
    return {name: cell for name, cell in zip(names, row, strict=False) if name is not None}
