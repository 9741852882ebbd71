"""Columns of a workbook that are partly dates and partly text, as where a spreadsheet opened dates of another country.

It takes 03/04/2025 for a date, by its own order of day and month, and leaves 25/12/2025, which fits none, as text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from foundation.counting import counted
from pipeline.connectors.file_reading.parts import Part

MONTHS = 12


@dataclass
class _Cells:
    dates: int = 0
    texts: int = 0
    last_day: int = 0
    example: str = ""


class MixedDates:
    """Watches the columns of time, by the source's names."""

    def __init__(self, columns: Iterable[str]) -> None:
        self._cells = {column: _Cells() for column in columns}

    def see(self, part: Part) -> None:
        """Look at a part's values; columns of one type are not mixed."""
        if isinstance(part.rows, pa.Table):
            return
        for row in part.rows:
            for column, cells in self._cells.items():
                value = row.get(column) if isinstance(row, dict) else None
                if isinstance(value, date):  # A moment is a date too.
                    cells.dates += 1
                    cells.last_day = max(cells.last_day, value.day)
                    cells.example = cells.example or f"{value:%Y-%m-%d}"
                elif isinstance(value, str) and value.strip():
                    cells.texts += 1

    def remarks(self) -> list[str]:
        """The columns whose dates could all be of another order: a sentence each."""
        return [
            f"{column} has {counted(cells.dates, 'date')} among {counted(cells.texts, 'text')}, and none of them is"
            f" after the {MONTHS}th of its month, such as {cells.example}: a spreadsheet may have taken day for month"
            " in them; export the column as text."
            for column, cells in self._cells.items()
            if cells.dates and cells.texts and cells.last_day <= MONTHS
        ]
