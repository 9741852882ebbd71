"""Queries over files never read the beginning of a text as a number, and reach nothing but their tables."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.connectors.file_reading import queries
from pipeline.connectors.file_reading.queries import QueryFailed, run_query
from tests.integration.pipeline.connectors.export_files import Export

SELECT = """
    select no as payment_id, who as customer_id, 'charge' as kind, day as issued_at, day as updated_at,
        {amount} as amount from bills
"""


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path)


def bills(amount: str = "sum", **table: Any) -> dict[str, Any]:
    return {"tables": {"bills": {"path": "bills.csv", "delimiter": ";"} | table}, "query": SELECT.format(amount=amount)}


@pytest.mark.parametrize("amount", ["12,50", "1.234,50", "12abc"])
def test_text_that_only_begins_like_a_number_is_none(export: Export, amount: str) -> None:
    export.write("bills.csv", f"no;who;day;sum\n1;c1;2025-01-02;{amount}\n")
    assert "Could not convert string" in export.failure(**bills("cast(sum as double)"))
    assert "No function matches" in export.failure(**bills("sum * 1.0"))
    message = export.failure(**bills(types={"sum": "number"}))
    assert amount in message
    declared = {"decimal": ",", "thousands": ".", "types": {"sum": "number"}}
    if amount != "12abc":
        expected = {"12,50": "12.5", "1.234,50": "1234.5"}[amount]
        assert export.column("amount", **bills(**declared)) == [Decimal(expected)]


def test_what_a_query_hands_on_as_text_is_held_to_the_same_rules(export: Export) -> None:
    export.write("bills.csv", "no;who;day;sum\n1;c1;2025-01-02;1.234\n")
    assert "fits two readings" in export.failure(**bills())


def test_007_is_not_joined_with_7(export: Export) -> None:
    export.write("bills.csv", "no;who;day;sum\n1;007;2025-01-02;1\n")
    export.write("people.jsonl", '{"code": 7}\n{"code": 8}\n')
    tables = bills()["tables"] | {"people": {"path": "people.jsonl"}}
    join = SELECT.format(amount="sum") + " join people on people.code = bills.who"
    assert "who, which is text, with a number" in export.failure(tables=tables, query=join)
    as_text = SELECT.format(amount="sum") + " join people on people.code::varchar = bills.who"
    assert export.chunk(tables=tables, query=as_text).received == 0
    filtered = SELECT.format(amount="sum") + " where who = 7"
    assert "so that 007 would equal 7" in export.failure(tables=tables, query=filtered)


LINES = {"lines": pa.table({"no": ["007", "7"], "number": [7, 7], "größe": ["1.5", "1"]})}


@pytest.mark.parametrize(
    ("query", "compared"),
    [
        ("select * from lines where trim(no) = 7", "trim(no)"),
        ("select * from (select no as code from lines) where code = 7", "code"),
        ("select case no when 7 then 'a' end as a from lines", "no"),
        ("select if(no = 7, 1, 2) as a from lines", "no"),
        ("select nullif(größe, 1) as a from lines", "größe"),
        ("select * from lines where 'ß' = 'ß' and no is distinct from 7", "no"),
        ("select list_filter([no], lambda code: code = 7) as a from lines", "code"),
        ("with codes as (select no as code from lines) select code from codes where code in (7, 8)", "code"),
        ("select no from lines where no = true", "no"),
        ("select no::int as a from lines where no = 7", "no"),
    ],
)
def test_text_is_compared_with_numbers_under_no_other_name(query: str, compared: str) -> None:
    with pytest.raises(QueryFailed, match="so that 007 would equal 7") as caught:
        run_query(query, LINES, "UTC")
    assert f"it compares {compared}, which is text, with a number" in str(caught.value)


@pytest.mark.parametrize(
    "query",
    [
        "select no::int = 7 as a from lines",
        "select cast ( no as double) = try_cast(größe AS DOUBLE) as a from lines",
        "with read as (select no :: int as code from lines) select a.code from read as a join read as b using (code)",
        "select no from lines where no = '7' and number in ('7', 8)",
        "select no || number as a, sum(größe::double) over (order by number) as b from lines",
        "select no from lines union select number from lines",
        "select unnest(['a']) as a from lines, generate_series(1, 3)",
    ],
)
def test_casts_that_somebody_wrote_are_left_alone(query: str) -> None:
    assert run_query(query, LINES, "UTC").num_rows


def test_timestamps_of_nanoseconds_cost_no_more_than_others(export: Export) -> None:
    rows = 100_000
    days = pa.array([datetime(2025, 1, 1, 12, 30)] * rows, pa.timestamp("ns"))  # noqa: DTZ001
    table = pa.table({"no": range(rows), "who": range(rows), "day": days, "sum": [1.5] * rows})
    pq.write_table(table, export.folder / "bills.parquet")
    source = {"tables": {"bills": {"path": "bills.parquet"}}, "query": SELECT.format(amount="sum")}
    started = time.process_time()
    chunk = export.chunk(**source)
    assert time.process_time() - started < 6  # Read one by one, the timestamps alone took 7.6 s of 2 cores.
    assert chunk.accepted["issued_at"][0].as_py() == datetime(2025, 1, 1, 12, 30, tzinfo=UTC)


def test_declared_timestamps_mean_the_same_moment_with_and_without_a_query(tmp_path: Path) -> None:
    export = Export(tmp_path, zone="Asia/Kolkata")
    export.write("bills.csv", "no;who;day;sum\n1;c1;2025-01-02 10:00;1\n")
    local = datetime(2025, 1, 2, 4, 30, tzinfo=UTC)
    assert export.column("issued_at", path="bills.csv", delimiter=";") == [local]
    assert export.column("issued_at", **bills()) == [local]
    assert export.column("issued_at", **bills(types={"day": "timestamp"})) == [local]
    in_utc = bills(types={"day": "timestamp"}, time_zone="UTC")
    assert export.column("issued_at", **in_utc) == [datetime(2025, 1, 2, 10, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("select * from read_text('/etc/passwd')", "disabled by configuration"),
        ("select * from glob('/*')", "disabled by configuration"),
        ("from read_parquet('http://127.0.0.1/x.parquet')", "disabled by configuration|not exist|requires"),
        ("install httpfs", "it is no SELECT"),
        ("pragma database_list", "it is no SELECT"),
        ("set lock_configuration = false", "it is no SELECT"),
        ("select table", "syntax error"),
        ("", "0 statements"),
    ],
)
def test_a_query_reaches_nothing_but_its_tables(query: str, reason: str) -> None:
    with pytest.raises(QueryFailed, match=reason):
        run_query(query, {}, "UTC")


def test_a_query_of_the_test_itself_sees_no_variable_of_ours() -> None:
    secret = pa.table({"a": [1]})
    with pytest.raises(QueryFailed, match="secret does not exist"):
        run_query("select * from secret", {}, "UTC")
    assert secret.num_rows == 1


def test_memory_and_time_of_a_query_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(QueryFailed, match="Out of Memory"):
        run_query("select list(range) from range(2000000000)", {}, "UTC")
    monkeypatch.setattr(queries, "LONGEST_QUERY_SECONDS", 0.2)
    with pytest.raises(QueryFailed, match="Interrupted"):
        run_query("select sum(a.range) from range(10000000) as a, range(100000) as b", {}, "UTC")


def test_a_column_that_is_text_in_one_file_and_a_number_in_another_is_text(export: Export) -> None:
    export.write("a.jsonl", '{"no": 7, "who": "c", "day": "2025-01-01", "sum": 1}\n')
    export.write("b.jsonl", '{"no": "007", "who": "c", "day": "2025-01-01", "sum": 2.5}\n')
    source = {"tables": {"bills": {"path": "*.jsonl"}}, "query": SELECT.format(amount="sum")}
    assert sorted(export.column("payment_id", **source)) == ["007", "7"]


def test_numbers_of_a_typed_file_keep_their_digits_where_they_are_declared_numbers(export: Export) -> None:
    table = pa.table({"no": [2**53 + 1, 2], "who": ["c", "c"], "day": ["2025-01-01"] * 2, "sum": [True, False]})
    pq.write_table(table, export.folder / "bills.parquet")
    source = {"query": SELECT.format(amount="5"), "tables": {"bills": {"path": "bills.parquet"}}}
    source["tables"]["bills"]["types"] = {"no": "number"}
    assert sorted(export.column("payment_id", **source)) == ["2", "9007199254740993"]
    source["tables"]["bills"]["types"] = {"sum": "number"}
    assert "sum is declared a number, and holds values of type bool" in export.failure(**source)


def test_text_of_parquet_is_not_compared_with_numbers_either(export: Export) -> None:
    table = pa.table({"no": pa.array(["007"], pa.large_string()), "who": ["c"], "day": ["2025-01-01"], "sum": [1.5]})
    pq.write_table(table, export.folder / "bills.parquet")
    query = SELECT.format(amount="sum") + " where no = 7"
    assert "so that 007 would equal 7" in export.failure(tables={"bills": {"path": "bills.parquet"}}, query=query)
