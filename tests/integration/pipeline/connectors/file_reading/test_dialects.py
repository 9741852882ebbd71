"""How files are written is declared; what is not declared and not plain fails with the lines to add."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.connectors.contract import CUSTOMERS, FieldKind
from pipeline.connectors.errors import Unreadable
from pipeline.connectors.notation import Notation, plain_number
from pipeline.connectors.values import read_value
from tests.integration.pipeline.connectors.export_files import Export

GERMAN = "no;who;day;sum;note\n007;c1;31.12.2025 14:30;1.234,50;schön\n8;c2;01.02.2025 00:00;12,50;\n"
DECLARED: dict[str, Any] = {
    "delimiter": ";",
    "encoding": "cp1252",
    "decimal": ",",
    "thousands": ".",
    "date_format": "%d.%m.%Y %H:%M",
}


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path)


def added(error: str) -> dict[str, Any]:
    """The YAML lines that a message tells to add."""
    lines = re.search(r"Add to [\w.]+:\n((?:  .*\n?)+)", error)
    assert lines, error
    loaded: dict[str, Any] = yaml.safe_load(re.split(r"(?<=[\w\"]) `churn", lines[1])[0])
    return loaded


def test_a_declared_dialect_is_read_to_the_digit(export: Export) -> None:
    export.write("bills.csv", GERMAN, "cp1252")
    chunk = export.chunk(path="bills.csv", **DECLARED)
    assert chunk.rejected == ()
    assert [
        (row["payment_id"], row["amount"], row["issued_at"], row["attributes"]) for row in chunk.accepted.to_pylist()
    ] == [
        ("8", Decimal("12.5"), datetime(2025, 2, 1, tzinfo=UTC), '{"note":null}'),
        ("007", Decimal("1234.5"), datetime(2025, 12, 31, 14, 30, tzinfo=UTC), '{"note":"schön"}'),
    ]
    assert "looks like: semicolons, cp1252, dates as %d.%m.%Y %H:%M, decimal comma; 2 records" in chunk.understood[0]


def test_one_error_tells_all_lines_that_the_file_needs(export: Export) -> None:
    export.write("bills.csv", GERMAN, "cp1252")
    error = export.failure(path="bills.csv")
    assert "It looks like: semicolons, cp1252, day first, decimal comma." in error
    settings = added(error)
    assert settings == DECLARED
    assert export.column("amount", path="bills.csv", **settings) == [Decimal("12.5"), Decimal("1234.5")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_an_encoding_is_told_by_the_error_that_it_causes(export: Export, encoding: str) -> None:
    export.write("bills.csv", "no,who,day,sum,note\n1,c1,2025-01-02,1,é\n", encoding)
    if encoding == "utf-8-sig":  # The mark says so itself.
        assert json.loads(export.column("attributes", path="bills.csv")[0]) == {"note": "é"}
        return
    error = export.failure(path="bills.csv")
    assert added(error) == {"encoding": encoding}
    assert encoding != "cp1252" or "line 2 is not utf-8" in error
    assert json.loads(export.column("attributes", path="bills.csv", encoding=encoding)[0]) == {"note": "é"}


def test_excels_own_delimiter_line_must_agree_with_what_is_declared(export: Export) -> None:
    export.write("bills.csv", "sep=;\nno;who;day;sum\n1;c1;2025-01-02;1\n2;c2;;1\n")
    assert added(export.failure(path="bills.csv")) == {"delimiter": ";"}
    chunk = export.chunk(path="bills.csv", delimiter=";")
    assert (chunk.accepted["payment_id"].to_pylist(), chunk.received) == (["1"], 2)


@pytest.mark.parametrize(
    ("day", "date_format", "moment"),
    [
        ("31.12.2025", "%d.%m.%Y", datetime(2025, 12, 31)),  # noqa: DTZ001
        ("12/31/2025", "%m/%d/%Y", datetime(2025, 12, 31)),  # noqa: DTZ001
        ("31 Dec 2025", "%d %b %Y", datetime(2025, 12, 31)),  # noqa: DTZ001
        ("1735689600", "epoch_seconds", datetime(2025, 1, 1)),  # noqa: DTZ001
        ("1735689600123", "epoch_milliseconds", datetime(2025, 1, 1, 0, 0, 0, 123000)),  # noqa: DTZ001
        ("1735689600123456", "epoch_microseconds", datetime(2025, 1, 1, 0, 0, 0, 123456)),  # noqa: DTZ001
        ("1735689600123456789", "epoch_nanoseconds", datetime(2025, 1, 1, 0, 0, 0, 123456)),  # noqa: DTZ001
        ("45658.5", "excel", datetime(2025, 1, 1, 12)),  # noqa: DTZ001
        ("31-DEC-25", "%d-%b-%y", datetime(2025, 12, 31)),  # noqa: DTZ001
        ("31122025", "%d%m%Y", datetime(2025, 12, 31)),  # noqa: DTZ001
        ("20251231143005", "%Y%m%d%H%M%S", datetime(2025, 12, 31, 14, 30, 5)),  # noqa: DTZ001
    ],
)
def test_dates_of_a_format_fail_with_it_until_it_is_declared(
    export: Export, day: str, date_format: str, moment: datetime
) -> None:
    export.write("bills.csv", f"no,who,day,sum\n1,c1,{day},1\n")
    assert added(export.failure(path="bills.csv")) == {"date_format": date_format}
    assert export.column("issued_at", path="bills.csv", date_format=date_format) == [moment.replace(tzinfo=UTC)]


def test_a_day_that_may_be_a_month_is_refused_until_it_is_declared(export: Export) -> None:
    export.write("bills.csv", "no,who,day,sum\n1,c1,03/04/2025,1\n")
    error = export.failure(path="bills.csv")
    assert "fits two readings" in error
    assert 'date_format: "%d/%m/%Y"  # or date_format: "%m/%d/%Y"' in error
    assert export.column("issued_at", path="bills.csv", date_format="%m/%d/%Y") == [datetime(2025, 3, 4, tzinfo=UTC)]
    assert export.column("issued_at", path="bills.csv", date_format="%d/%m/%Y") == [datetime(2025, 4, 3, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("day", "readings"),
    [
        ("24-12-31", {"%d-%m-%y": datetime(2031, 12, 24), "%y-%m-%d": datetime(2024, 12, 31)}),  # noqa: DTZ001
        ("202501311000", {"epoch_milliseconds": datetime(1976, 6, 1), "%Y%m%d%H%M": datetime(2025, 1, 31)}),  # noqa: DTZ001
        ("01022025", {"%d%m%Y": datetime(2025, 2, 1), "%m%d%Y": datetime(2025, 1, 2)}),  # noqa: DTZ001
    ],
)
def test_a_date_that_two_formats_read_is_refused_until_one_is_declared(
    export: Export, day: str, readings: dict[str, datetime]
) -> None:
    columns = {"payment_id": "no", "customer_id": "who", "issued_at": "day", "amount": "sum"}
    export.write("bills.csv", f"no,who,day,sum\n1,c1,{day},1\n")
    error = export.failure(path="bills.csv", columns=columns)
    assert "fits two readings" in error
    for date_format, moment in readings.items():
        assert date_format in error
        (read,) = export.column("issued_at", path="bills.csv", columns=columns, date_format=date_format)
        assert read.date() == moment.date()


@pytest.mark.parametrize("file", ["bills.jsonl", "bills.parquet"])
@pytest.mark.parametrize(
    ("day", "date_format"),
    [(1735689600, "epoch_seconds"), (1735689600500, "epoch_milliseconds"), (45658.5, "excel")],
)
def test_dates_that_are_numbers_fail_with_their_format_too(
    export: Export, file: str, day: float, date_format: str
) -> None:
    record = {"no": 1, "who": "c1", "day": day, "sum": 1}
    if file == "bills.jsonl":
        export.write(file, json.dumps(record))
    else:
        pq.write_table(pa.Table.from_pylist([record]), export.folder / file)
    assert added(export.failure(path=file)) == {"date_format": date_format}
    (read,) = export.column("issued_at", path=file, date_format=date_format)
    assert read.date() == datetime(2025, 1, 1, tzinfo=UTC).date()


def test_seconds_among_milliseconds_are_not_taken_for_1970(export: Export) -> None:
    export.write("bills.csv", "no,who,day,sum\n1,c1,1735689600000,1\n2,c1,1735689600,1\n")
    chunk = export.chunk(path="bills.csv", date_format="epoch_milliseconds")
    assert chunk.accepted["payment_id"].to_pylist() == ["1"]
    assert "would be in early 1970 as epoch_milliseconds" in chunk.rejected[0].reason


def test_a_zone_by_its_name_is_not_let_go(tmp_path: Path) -> None:
    export = Export(tmp_path, zone="America/New_York")
    export.write("bills.csv", "no,who,day,sum\n1,c1,2025-01-31 10:00:00 UTC,1\n2,c1,2025-01-31 11:00 CET,1\n")
    chunk = export.chunk(path="bills.csv")
    assert chunk.accepted["issued_at"].to_pylist() == [datetime(2025, 1, 31, 10, tzinfo=UTC)]
    assert [record.record_id for record in chunk.rejected] == ["2"]


@pytest.mark.parametrize("date_format", ["%d.%m.%Y %H:%M %Z", "%m/%d/%Y %H:%M %p", "%m/%d/%Y %I:%M", "%d.%m."])
def test_a_format_that_would_let_a_part_of_the_date_go_is_refused(export: Export, date_format: str) -> None:
    with pytest.raises(ValidationError):
        export.source(path="bills.csv", date_format=date_format)


@pytest.mark.parametrize(
    ("amount", "settings", "value"),
    [
        ("12,50", {"decimal": ","}, "12.5"),
        ("1.234,50", {"decimal": ",", "thousands": "."}, "1234.5"),
        ("1 234,50", {"decimal": ",", "thousands": " "}, "1234.5"),
        ("1\u202f234,50", {"decimal": ",", "thousands": " "}, "1234.5"),
        ("1,234.50", {"decimal": ".", "thousands": ","}, "1234.5"),
        ("1'234.50", {"decimal": ".", "thousands": "'"}, "1234.5"),
    ],
)
def test_amounts_of_a_notation_fail_with_it_until_it_is_declared(
    export: Export, amount: str, settings: dict[str, str], value: str
) -> None:
    export.write("bills.csv", f"no;who;day;sum\n1;c1;2025-01-02;{amount}\n")
    assert added(export.failure(path="bills.csv", delimiter=";")) == settings
    assert export.column("amount", path="bills.csv", delimiter=";", **settings) == [Decimal(value)]


@pytest.mark.parametrize("amount", ["1,234", "1.234"])
def test_thousands_that_may_be_thousandths_are_refused_until_they_are_declared(export: Export, amount: str) -> None:
    export.write("bills.csv", f"no;who;day;sum\n1;c1;2025-01-02;{amount}\n2;c1;2025-01-02;7\n")
    assert "fits two readings" in export.failure(path="bills.csv", delimiter=";")
    mark, other = amount[1], ",."[amount[1] == ","]
    fraction = export.column("amount", path="bills.csv", delimiter=";", decimal=mark)
    assert fraction == [Decimal("1.234"), Decimal(7)]
    whole = export.column("amount", path="bills.csv", delimiter=";", decimal=other, thousands=mark)
    assert whole == [Decimal(1234), Decimal(7)]


def test_another_value_of_the_column_may_decide_what_a_point_is(export: Export) -> None:
    export.write("bills.csv", "no,who,day,sum\n1,c1,2025-01-02,1.234\n2,c1,2025-01-02,0.5\n")
    assert export.column("amount", path="bills.csv") == [Decimal("1.234"), Decimal("0.5")]


def test_a_declared_notation_refuses_what_another_would_read(export: Export) -> None:
    export.write("bills.csv", "no;who;day;sum\n1;c1;2025-01-02;12.50\n2;c1;2025-02-30;1,0\n3;c1;2025-01-02;1.23,5\n")
    chunk = export.chunk(path="bills.csv", delimiter=";", decimal=",", thousands=".", date_format="%Y-%m-%d")
    assert chunk.accepted.num_rows == 0
    assert [record.reason.split("; ")[0] for record in chunk.rejected] == [
        'amount "12.50" is not a number written with "," before the fraction, "." between thousands',
        'updated_at "2025-02-30" is not a date written as %Y-%m-%d',
        'amount "1.23,5" is not a number written with "," before the fraction, "." between thousands',
    ]


def test_one_wrong_value_among_many_rejects_its_record_and_asks_for_no_format(export: Export) -> None:
    lines = "".join(f"{number},c1,2025-01-02,1\n" for number in range(40))
    export.write("bills.csv", f"no,who,day,sum\n{lines}x,c1,31.12.2025,1\n")
    chunk = export.chunk(path="bills.csv")
    assert (chunk.accepted.num_rows, len(chunk.rejected)) == (40, 1)


def test_columns_of_two_formats_are_declared_one_by_one(export: Export) -> None:
    columns = {"payment_id": "no", "customer_id": "who", "issued_at": "day", "updated_at": "changed", "amount": "sum"}
    export.write("bills.csv", "no,who,day,changed,sum\n1,c1,31.12.2025,2026-01-01,1\n")
    settings = added(export.failure(path="bills.csv", columns=columns))
    assert settings == {"date_formats": {"issued_at": "%d.%m.%Y"}}
    assert export.column("issued_at", path="bills.csv", columns=columns, **settings) == [
        datetime(2025, 12, 31, tzinfo=UTC)
    ]


def test_ids_keep_zeros_case_length_and_blanks(export: Export) -> None:
    ids = ["007", "7", "Ab", "aB", " x", "x ", "0" * 200]
    lines = "".join(f"{name},c1,2025-01-02,1\n" for name in ids)
    export.write("bills.csv", f"no,who,day,sum\n{lines}")
    assert sorted(export.column("payment_id", path="bills.csv")) == sorted(ids)


@pytest.mark.parametrize("name", ["1.2346E+11", "1,2346E+11", "1E+11", "1.2346e+123"])
def test_an_id_that_a_spreadsheet_wrote_short_is_refused_with_the_reason(export: Export, name: str) -> None:
    export.write("bills.csv", f"no;who;day;sum\n{name};c1;2025-01-02;1\n2E10;c1;2025-01-02;1\n")
    chunk = export.chunk(path="bills.csv", delimiter=";")
    assert "has lost digits: a spreadsheet wrote a long number short" in chunk.rejected[0].reason
    assert chunk.accepted["payment_id"].to_pylist() == ["2E10"]


def test_attributes_of_a_declared_kind_are_read_from_text_and_others_stay(export: Export) -> None:
    export.write(
        "people.csv",
        "customer_id;created_at;updated_at;seats_sold;is_reseller;note\n"
        "1;2025-01-01;2025-01-01;12;true;12\n2;2025-01-01;2025-01-02;12,5;ja;x\n3;2025-01-01;2025-01-03;many;nein;x\n",
    )
    values = {"is_reseller": {"ja": "true"}}
    texts = export.column("attributes", CUSTOMERS, path="people.csv", delimiter=";", decimal=",", values=values)
    assert [json.loads(text) for text in texts] == [
        {"seats_sold": 12, "is_reseller": True, "note": "12"},
        {"seats_sold": 12.5, "is_reseller": True, "note": "x"},
        {"seats_sold": "many", "is_reseller": "nein", "note": "x"},
    ]


@pytest.mark.parametrize("file", ["people.jsonl", "people.parquet"])
def test_a_flag_that_a_source_has_as_a_number_is_a_flag(export: Export, file: str) -> None:
    records = [
        {"customer_id": number, "created_at": "2025-01-01", "is_reseller": flag, "seats_sold": 1, "status": 1.0}
        for number, flag in enumerate([1, 0, 2])
    ]
    if file == "people.jsonl":
        export.write(file, "\n".join(map(json.dumps, records)))
    else:
        pq.write_table(pa.Table.from_pylist(records), export.folder / file)
    chunk = export.chunk(CUSTOMERS, path=file, values={"status": {"1": "active"}})
    assert [json.loads(text)["is_reseller"] for text in chunk.accepted["attributes"].to_pylist()] == [True, False, 2]
    assert chunk.accepted["status"].to_pylist() == ["active"] * 3
    chunk = export.chunk(CUSTOMERS, path=file, values={"is_reseller": {"2": "true"}})
    assert [json.loads(text)["is_reseller"] for text in chunk.accepted["attributes"].to_pylist()] == [True, False, True]


def test_an_encoding_of_one_byte_is_shown_by_its_letters_since_any_of_them_reads(export: Export) -> None:
    export.write("bills.csv", "no,who,day,sum,note\n1,c1,2025-01-02,1,Łódź\n", "cp1250")
    error = export.failure(path="bills.csv")
    assert 'encoding: cp1252  # if "£ódŸ" is right; else iso-8859-15, cp1250 or another' in error
    understood = export.chunk(path="bills.csv", encoding="cp1250").understood
    assert understood[0].startswith("bills.csv looks like: commas, cp1250, dates as")
    assert understood[1] == 'bills.csv: letters read as "Łódź".'


@pytest.mark.parametrize("declared", ["latin-1", "iso-8859-15"])
def test_a_declared_encoding_by_which_letters_are_none_is_doubted(export: Export, declared: str) -> None:
    export.write("bills.csv", "no,who,day,sum,note\n1,c1,2025-01-02,1,Müller’s\n", "cp1252")
    (doubt,) = export.chunk(path="bills.csv", encoding=declared).remarks
    assert f'declared as {declared}, by which "Müller\\x92s" has no letters; it may be cp1252' in doubt


def test_a_declared_encoding_that_garbles_letters_is_doubted(export: Export) -> None:
    export.write("bills.csv", "no,who,day,sum,note\n1,c1,2025-01-02,1,é\n")
    assert any(
        "but its letters are UTF-8" in remark for remark in export.chunk(path="bills.csv", encoding="cp1252").remarks
    )


@given(
    number=st.decimals(min_value=-(10**9), max_value=10**9, places=2, allow_nan=False),
    marks=st.sampled_from([(",", "."), (",", " "), (".", ","), (".", "'"), (",", None), (".", None)]),
)
def test_whatever_is_written_in_a_notation_is_read_in_it(number: Decimal, marks: tuple[str, str | None]) -> None:
    decimal, thousands = marks
    written = f"{number:,.2f}".replace(",", "T").replace(".", decimal).replace("T", thousands or "")
    assert Decimal(plain_number(written, Notation(decimal, thousands))) == number


@given(moment=st.datetimes(min_value=datetime(1901, 1, 1), max_value=datetime(2199, 1, 1)))  # noqa: DTZ001
def test_whatever_a_date_format_writes_it_reads(moment: datetime) -> None:
    second = moment.replace(microsecond=0)
    for date_format in ("%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p"):
        notation = Notation(date_format=date_format)
        read = read_value(FieldKind.timestamp, second.strftime(date_format), ZoneInfo("UTC"), notation)
        assert read == second.replace(tzinfo=UTC)


@pytest.mark.parametrize("value", [True, "nan", "1e400", "9" * 30, "", "12:30"])
def test_a_date_as_a_number_is_a_plain_number(value: object) -> None:
    if value == "":
        assert read_value(FieldKind.timestamp, value, ZoneInfo("UTC"), Notation(date_format="excel")) is None
        return
    with pytest.raises(Unreadable):
        read_value(FieldKind.timestamp, value, ZoneInfo("UTC"), Notation(date_format="excel"))
