"""CSV, Parquet and JSON lines as a source."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.connectors.contract import PAYMENTS, Chunk, Totals
from pipeline.connectors.errors import ConnectorError, MappingError, SourceNotFound, UnexpectedResponse
from pipeline.connectors.files import Files, FileSettings
from pipeline.connectors.validation import Reading
from tests.integration.company_folders import imports
from warehouse.settings import Settings

READING = Reading(ZoneInfo("UTC"), datetime(2025, 6, 1, tzinfo=UTC))
COLUMNS = {"payment_id": "no", "customer_id": "who", "issued_at": "day", "updated_at": "day", "amount": "sum"}
MAPPING = {"columns": COLUMNS, "constants": {"kind": "charge", "currency": "GBP"}}


def files(home: Path, tables: dict[str, Any] | None = None, **payments: Any) -> Files:
    settings = {"tables": tables or {}, "files": {"payments": payments}}
    return Files("acme", FileSettings.model_validate(settings), Settings(home=home), READING)


def write(home: Path, name: str, content: str | bytes) -> None:
    path = imports(home) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def read(source: Files, since: datetime | None = None, chunk_rows: int = 100) -> list[Chunk]:
    return list(source.read(PAYMENTS, since, chunk_rows))


def rows(chunks: list[Chunk]) -> list[dict[str, Any]]:
    return [row for chunk in chunks for row in chunk.accepted.to_pylist()]


def failure(source: Files) -> ConnectorError:
    with pytest.raises(ConnectorError) as caught:
        read(source)
    assert str(caught.value).startswith("Company acme, source files ")
    return caught.value


def test_csv_columns_are_mapped_constants_filled_and_rows_put_in_order(tmp_path: Path) -> None:
    write(tmp_path, "bills-1.csv", "\ufeffno,who,day,sum,note\n007,c1,2025-01-02,12.50,é\n")
    write(tmp_path, "bills-2.csv", "no,who,day,sum,note\n2,c2,2025-01-01,3,\n3,,2025-01-01,3,x\n")
    chunks = read(files(tmp_path, path="bills-*.csv", **MAPPING))
    assert [(row["payment_id"], row["amount"], row["currency"]) for row in rows(chunks)] == [
        ("2", Decimal("3.0000"), "GBP"),
        ("007", Decimal("12.5000"), "GBP"),
    ]
    assert json.loads(rows(chunks)[1]["attributes"]) == {"note": "é"}
    assert [record.reason for record in chunks[0].rejected] == ["customer_id is missing"]


def test_a_line_with_too_many_or_too_few_fields_is_rejected_by_its_number_and_the_rest_goes_on(tmp_path: Path) -> None:
    write(tmp_path, "bills.csv", "no,who,day,sum\n1,c1,2025-01-02,1\n2,c2,2025-01-02,2,surprise\n3,c3,2025-01-02\n")
    (chunk,) = read(files(tmp_path, path="bills.csv", **MAPPING))
    assert chunk.accepted["payment_id"].to_pylist() == ["1"]
    assert chunk.received == 3
    assert {(record.record_id, record.reason, record.payload) for record in chunk.rejected} == {
        (None, "line 3 of bills.csv has 5 fields, the first line 4", '"2,c2,2025-01-02,2,surprise"'),
        (None, "line 4 of bills.csv has 3 fields, the first line 4", '"3,c3,2025-01-02"'),
    }


def test_json_lines_keep_going_past_a_line_that_is_no_json(tmp_path: Path) -> None:
    good = json.dumps({"no": 1, "who": 5, "day": "2025-01-01", "sum": 2.5, "tags": ["a"]})
    write(tmp_path, "bills.jsonl", f'{good}\n{{"no": 2, "who"\n\n[1]\n')
    (chunk,) = read(files(tmp_path, path="bills.jsonl", **MAPPING))
    assert chunk.accepted["attributes"].to_pylist() == ['{"tags":["a"]}']
    assert [record.reason for record in chunk.rejected] == ["the line is no record", "the record is not an object"]


def test_parquet_is_read_as_it_is_typed(tmp_path: Path) -> None:
    table = pa.table(
        {
            "no": [1, 2],
            "who": [13085.0, None],
            "day": pa.array([datetime(2025, 1, 1), datetime(2025, 1, 2)]),  # noqa: DTZ001
            "sum": [0.1 + 0.2, 1.0],
        }
    )
    pq.write_table(table, imports(tmp_path) / "bills.parquet")
    (chunk,) = read(files(tmp_path, path="*.parquet", **MAPPING))
    assert [(row["customer_id"], row["amount"]) for row in rows([chunk])] == [("13085", Decimal("0.3000"))]
    assert chunk.rejected[0].record_id == "2"


def test_a_query_makes_payments_of_invoice_lines_and_joins_files(tmp_path: Path) -> None:
    write(
        tmp_path,
        "lines.csv",
        "invoice,who,day,quantity,price\n"
        "0001,c1,2025-01-01 10:00,2,9.99\n0001,c1,2025-01-01 10:00,10,0.1\nC2,c1,2025-01-02 09:00,-1,9.99\n",
    )
    write(tmp_path, "people.jsonl", '{"code": "c1", "country": {"iso": "FR"}}\n')
    query = """
        select invoice as payment_id, who as customer_id, min(day) as issued_at, max(day) as updated_at,
            case when invoice like 'C%' then 'refund' else 'charge' end as kind,
            abs(sum(quantity * price)) as amount, any_value(people.country ->> '$.iso') as country
        from lines left join people on people.code = lines.who
        group by invoice, who
    """
    types = {"quantity": "integer", "price": "number"}
    tables = {"lines": {"path": "lines.csv", "types": types}, "people": {"path": "people.jsonl"}}
    chunks = read(files(tmp_path, tables, query=query))
    assert [(row["payment_id"], row["kind"], row["amount"]) for row in rows(chunks)] == [
        ("0001", "charge", Decimal("20.9800")),
        ("C2", "refund", Decimal("9.9900")),
    ]
    assert json.loads(rows(chunks)[0]["attributes"]) == {"country": "FR"}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select nope from lines", 'Referenced column "nope" not found'),
        ("select * from others", "Table with name others does not exist"),
        ("selec", "syntax error"),
        ("select a, b as a from lines", "two columns the name a"),
        ("delete from lines", "it is no SELECT"),
        ("copy lines to 'x.csv'", "it is no SELECT"),
        ("select * from read_csv('/etc/passwd')", "disabled by configuration"),
        ("select * from glob('/etc/*')", "disabled by configuration"),
        ("select * from '/etc/passwd'", "does not exist"),
        ("load httpfs", "it is no SELECT"),
        ("set memory_limit = '99GB'", "it is no SELECT"),
        ("attach 'x.db' as x", "it is no SELECT"),
        ("select 1 from lines; select 2 from lines", "one statement"),
    ],
)
def test_a_query_that_fails_or_writes_is_an_error_that_names_the_tables(
    tmp_path: Path, query: str, message: str
) -> None:
    write(tmp_path, "lines.csv", "a,b\n1,2\n")
    error = failure(files(tmp_path, {"lines": {"path": "lines.csv"}}, query=query))
    assert isinstance(error, MappingError)
    assert "connector_settings.files.payments.query" in str(error)
    assert message in str(error)
    assert list(tmp_path.rglob("*.db")) == []


def test_everything_is_handed_over_each_time_for_a_line_may_come_late(tmp_path: Path) -> None:
    write(tmp_path, "bills.csv", "no,who,day,sum\n1,c,2025-01-01,1\n2,c,2025-01-02,1\n3,c,2025-01-03,1\n")
    source = files(tmp_path, path="bills.csv", **MAPPING)
    assert [row["payment_id"] for row in rows(read(source, datetime(2025, 1, 2, tzinfo=UTC)))] == ["1", "2", "3"]
    assert source.totals(PAYMENTS) == Totals(live=3, deleted=0)


def test_rejected_lines_are_spread_over_the_chunks(tmp_path: Path) -> None:
    lines = "".join(f"{number},c,2025-01-01,{'x' if number % 5 == 0 else 1}\n" for number in range(50))
    write(tmp_path, "bills.csv", f"no,who,day,sum\n{lines}")
    chunks = read(files(tmp_path, path="bills.csv", **MAPPING), chunk_rows=10)
    assert [(chunk.accepted.num_rows, len(chunk.rejected)) for chunk in chunks] == [(10, 3), (10, 3), (10, 2), (10, 2)]


@pytest.mark.parametrize(
    ("mapping", "kind", "message"),
    [
        ({"path": "bill.csv"}, SourceNotFound, "no file matches bill.csv. There are: bills.csv, odd.bin"),
        ({"path": "nowhere/*.csv"}, SourceNotFound, "there is no folder"),
        ({"path": "odd.bin"}, MappingError, "the ending of odd.bin tells no format"),
        ({"path": "odd.bin", "format": "parquet"}, UnexpectedResponse, "odd.bin cannot be read as parquet"),
        ({"path": "odd.bin", "format": "csv"}, UnexpectedResponse, "odd.bin cannot be read as csv"),
        ({"path": "bills.csv", "encoding": "klingon"}, UnexpectedResponse, "unknown encoding: klingon"),
        ({"path": "bills.csv", "delimiter": ";"}, MappingError, "there is no such column"),
        ({"path": "bills.csv", "columns": COLUMNS | {"amount": "summ"}}, MappingError, "columns.amount is summ"),
        ({"path": "bills.csv", "constants": {}}, MappingError, "nothing is mapped to kind"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_what_to_mend(
    tmp_path: Path, mapping: dict[str, Any], kind: type[ConnectorError], message: str
) -> None:
    write(tmp_path, "bills.csv", "no,who,day,sum\n1,c,2025-01-01,1\n")
    write(tmp_path, "odd.bin", b"\xff\xfe\x00\x01" * 20)
    error = failure(files(tmp_path, **(MAPPING | mapping)))
    assert isinstance(error, kind)
    assert message in str(error)
