"""What the type of a SQL column says about its values, where these are fetched as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from pipeline.connectors.contract import Entity, FieldKind
from pipeline.connectors.file_reading.declaring import UndeclaredColumns, columns_of
from pipeline.connectors.file_reading.parts import is_text
from pipeline.connectors.validation import Reading

_WHOLE_NUMBER = r"^(-?\d+)\.0+$"


def undeclared_texts(entity: Entity, table: sa.Table, reading: Reading, dialect: str) -> UndeclaredColumns:
    """The columns in which numbers and dates are text, as the source has it, and nobody said how they are written.

    A number is a number whatever its text; a date may be text or a number, but for a column of dates. SQLite has no
    such type.
    """
    columns = columns_of(entity, reading)
    dates = () if dialect == "sqlite" else (sa.Date, sa.DateTime)
    kinds = {
        name: kind
        for name, kind in columns.kinds.items()
        if (column := table.c.get(name)) is not None
        and (
            not isinstance(column.type, dates)
            if kind is FieldKind.timestamp
            else isinstance(column.type, sa.String | sa.types.NullType)
        )
    }
    return replace(columns, kinds=kinds)


def with_whole_ids(entity: Entity, table: sa.Table, reading: Reading, rows: pa.Table) -> pa.Table:
    """The rows with ids of a numeric column as whole numbers: 7.00 of one table is 7 of another."""
    for field in entity.fields:
        name = reading.source_name(field.name)
        place = rows.schema.get_field_index(name)
        is_id = (
            field.kind is FieldKind.identifier and place >= 0 and isinstance(table.c[name].type, sa.Numeric | sa.Float)
        )
        if is_id and is_text(rows[name].type):
            rows = rows.set_column(place, name, pc.replace_substring_regex(rows[name], _WHOLE_NUMBER, r"\1"))
    return rows


def as_text(column: sa.Column[Any], dialect: str) -> sa.Label[Any]:
    """The column's values as text; bytes, which need be none, in hexadecimal."""
    if dialect == "sqlite" and isinstance(column.type, sa.LargeBinary):
        return sa.func.hex(column).label(column.name)
    return sa.cast(column, sa.Text).label(column.name)


def is_one_of(key: sa.Column[Any], record_ids: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether a record has one of these ids; an id 7 that a column has as 7.00 is found as a number."""
    if isinstance(key.type, sa.Numeric | sa.Float):
        return key.in_([Decimal(record_id) for record_id in record_ids])
    return sa.cast(key, sa.String).in_(record_ids)
