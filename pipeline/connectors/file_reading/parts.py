"""What readers of files hand over: pieces of a file's records, and lines that are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.landing.records import RejectedRecord

ROWS_AT_ONCE = 50_000


@dataclass(frozen=True)
class Part:
    """A run of a file's records: an Arrow table with the file's columns, or objects and lines that are none.

    strays: lines that do not have the file's number of fields. is_sparse: a record holds only the columns it fills.
    """

    file: str
    rows: pa.Table | list[Any]
    strays: tuple[RejectedRecord, ...] = ()
    is_sparse: bool = False

    @property
    def names(self) -> list[str]:
        """The columns, in the file's order."""
        if isinstance(self.rows, pa.Table):
            return list(self.rows.column_names)
        return list(dict.fromkeys(name for row in self.rows if isinstance(row, dict) for name in row))

    def texts(self, column: str, *, with_numbers: bool = False) -> tuple[pa.Array, pa.Array]:
        """The column's values that are text, each once, and how often each is there.

        with_numbers: numbers too, as they are written, for a date may be one.
        """
        if isinstance(self.rows, pa.Table):
            if column not in self.rows.column_names:
                return _NO_TEXTS
            values = self.rows[column].combine_chunks()
            if pa.types.is_dictionary(values.type):
                values = values.dictionary_decode()
            is_number = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
            if not is_text(values.type) and not (with_numbers and is_number):
                return _NO_TEXTS
        else:
            given = [row.get(column) for row in self.rows if isinstance(row, dict)]
            numbers = [value for value in given if with_numbers and type(value) in (int, float, Decimal)]
            texts = [value for value in given if isinstance(value, str) and value]
            values = pa.array([*texts, *map(str, numbers)], pa.string())
        counted = pc.value_counts(pc.drop_null(values).cast(pa.string()))
        return counted.field("values"), counted.field("counts")


_NO_TEXTS = (pa.array([], pa.string()), pa.array([], pa.int64()))


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are text, however Arrow keeps it."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def named_by_number(names: Sequence[str | None]) -> list[str]:
    """The names, and "column 3" where the third has none."""
    return [name or f"column {place}" for place, name in enumerate(names, 1)]


def text_table(columns: Mapping[str, Sequence[str]]) -> pa.Table:
    """Columns of text as a table; empty fields are missing."""
    arrays = {}
    for name, texts in columns.items():
        array = pa.array(texts, pa.string())
        arrays[name] = pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)
    return pa.table(arrays)
