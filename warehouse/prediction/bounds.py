"""Numbers that no model can reckon with: one of them is missing for its entity, and stops nobody else's score."""

from __future__ import annotations

import logging

import pyarrow as pa
import pyarrow.compute as pc

from foundation.counting import counted

LARGEST_NUMBER = 1e30
"""Models reckon in float32, which ends at 3.4e38, and add such numbers up. dbt leaves out attributes that reach it
(macros/attributes.sql)."""

log = logging.getLogger(__name__)


def within_bounds(rows: pa.Table) -> pa.Table:
    """The rows with null in place of infinite numbers and of those of LARGEST_NUMBER or more; says how many."""
    for place, column in enumerate(rows.schema):
        if not pa.types.is_floating(column.type):
            continue
        size = pc.abs(rows[place])
        largest = pc.max(size).as_py()
        if largest is None or largest < LARGEST_NUMBER:
            continue
        too_large = pc.fill_null(pc.greater_equal(size, LARGEST_NUMBER), False)
        where = counted(pc.sum(too_large).as_py(), "row")
        log.warning("%s is too large in %s, and counts as missing there", column.name, where)
        bounded = pc.if_else(too_large, pa.scalar(None, column.type), rows[place])
        rows = rows.set_column(place, column, bounded)
    return rows
