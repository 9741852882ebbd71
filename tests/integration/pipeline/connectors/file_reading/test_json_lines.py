"""JSON lines: one record a line, every digit kept, no field hidden by another of its name."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.connectors.file_reading.json_records import RepeatedName, json_record
from tests.integration.pipeline.connectors.export_files import Export

RECORD = {"no": 1, "who": "c1", "day": "2025-01-01", "sum": 2.5}


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path)


def line(**fields: Any) -> str:
    return json.dumps(RECORD | fields)


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_is_refused_and_not_rejected_as_one_record(export: Export, indent: int | None) -> None:
    export.write("bills.jsonl", json.dumps([RECORD, RECORD | {"no": 2}], indent=indent))
    assert "line 1 begins a JSON array; write one record a line" in export.failure(path="bills.jsonl")


@pytest.mark.parametrize("between", ["", " ", ",", ", "])
def test_records_that_share_a_line_are_not_lost_together(export: Export, between: str) -> None:
    export.write("bills.jsonl", f"{line()}\n{line(no=2)}{between}{line(no=3)}\n")
    assert "line 2 holds several records" in export.failure(path="bills.jsonl")


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_lines_end_as_they_do_on_any_machine(export: Export, end: str) -> None:
    export.write("bills.jsonl", line(note="a\rb") + end + line(no=2) + end)
    assert export.column("payment_id", path="bills.jsonl") == ["1", "2"]


def test_a_name_that_comes_twice_rejects_its_record_with_the_line(export: Export) -> None:
    twice = '{"no": 2, "who": "c1", "day": "2025-01-01", "sum": 1, "sum" : 5}'
    inside = '{"no": 3, "who": "c1", "day": "2025-01-01", "sum": 1, "more": [{"a": 1, "a": 2}]}'
    export.write("bills.jsonl", f"{line()}\n{twice}\n{inside}\n")
    chunk = export.chunk(path="bills.jsonl")
    assert (chunk.received, chunk.accepted["payment_id"].to_pylist()) == (3, ["1"])
    assert [record.reason for record in chunk.rejected] == [
        'line 2 of bills.jsonl names "sum" twice',
        'line 3 of bills.jsonl names "a" twice',
    ]


def test_numbers_keep_all_their_digits(export: Export) -> None:
    export.write(
        "bills.jsonl",
        '{"no": 12345678901234567890123, "who": 9007199254740993, "day": "2025-01-01", "sum": 12345678901234.5678,'
        ' "account": 123456789012345678901, "rate": 0.12345678901234567890}',
    )
    (row,) = export.chunk(path="bills.jsonl").accepted.to_pylist()
    assert (row["payment_id"], row["customer_id"]) == ("12345678901234567890123", "9007199254740993")
    assert row["amount"] == Decimal("12345678901234.5678")
    assert row["attributes"] == '{"account":123456789012345678901,"rate":0.12345678901234567890}'


PLAIN = st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


def written(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} : {written(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value)


@given(record=st.dictionaries(st.text(), VALUES), name=st.text())
def test_a_record_is_what_was_written_or_names_what_it_has_twice(record: dict[str, Any], name: str) -> None:
    text = written(record)
    read = json_record(text.encode(), 1)
    assert read == json.loads(text) or read == json.loads(text, parse_float=Decimal)
    twice = written({name: 1})[:-1] + "," + written({name: 2})[1:]
    with pytest.raises(RepeatedName):
        json_record(twice.encode(), 1)
