"""Many lines of CSV at once, by Arrow: only text that cannot be read in two ways. All else is that of csv_lines.py."""

from __future__ import annotations

import csv
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as arrow_csv

from pipeline.connectors.file_reading.streams import BYTE_ORDER_MARK

_QUOTE, _LINE_FEED, _RETURN = b'"\n\r'


def plain_table(block: str, names: Sequence[str], delimiter: str) -> pa.Table | None:
    """Whole lines as a table of text, empty fields missing; None where they must be read one by one.

    That is where Arrow would be laxer than Python's strict reader, or says less: a quote that stands within a field or
    runs over lines, a line with more or fewer fields than there are names, or that is longer than Python reads.
    """
    if not delimiter.isascii() or "\0" in block or BYTE_ORDER_MARK in block:
        return None
    encoded = block.encode()
    if not _is_plain(np.frombuffer(encoded, np.uint8), ord(delimiter)):
        return None
    is_whole = True

    def leave_out(_: arrow_csv.InvalidRow) -> str:
        nonlocal is_whole
        is_whole = False
        return "skip"

    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(encoded),
            arrow_csv.ReadOptions(use_threads=False, block_size=len(encoded) + 1, column_names=list(names)),
            arrow_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=leave_out),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:
        return None
    return table if is_whole else None


def _is_plain(text: npt.NDArray[np.uint8], delimiter: int) -> bool:
    """Whether every quote opens or closes a whole field, or is doubled within one, and every line ends as lines do."""
    ends = np.flatnonzero(text == _LINE_FEED)
    returns = np.flatnonzero(text == _RETURN)
    if len(returns) and (returns[-1] + 1 == len(text) or not (text[returns + 1] == _LINE_FEED).all()):
        return False
    bounds = np.concatenate(([-1], ends, [len(text)]))
    if np.diff(bounds).max() > csv.field_size_limit():
        return False
    quotes = np.flatnonzero(text == _QUOTE)
    if not len(quotes):
        return True
    opening, closing = quotes[::2], quotes[1::2]
    if len(opening) != len(closing) or not np.array_equal(
        np.searchsorted(ends, opening), np.searchsorted(ends, closing)
    ):
        return False
    # A closing quote and an opening one side by side are one quote within a field.
    is_doubled = opening[1:] == closing[:-1] + 1
    before = np.where(opening > 0, text[opening - 1], _LINE_FEED)
    after = np.append(text, np.uint8(_LINE_FEED))[closing + 1]
    begins = (before == delimiter) | (before == _LINE_FEED)
    ends_field = (after == delimiter) | (after == _LINE_FEED) | (after == _RETURN)
    begins[1:] |= is_doubled
    ends_field[:-1] |= is_doubled
    return bool(begins.all() and ends_field.all())
