"""What stands in two files counts once, or is refused; no money is doubled."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.connectors.contract import PAYMENTS
from tests.integration.pipeline.connectors.export_files import Export

OLD = "no,who,day,sum\n1,c1,2025-01-02,10\n2,c1,2025-01-03,20\n"
NEW = "no,who,day,sum\n2,c1,2025-01-03,{amount}\n3,c1,2025-01-04,30\n"
QUERY = """
    select no as payment_id, any_value(who) as customer_id, 'charge' as kind, min(day) as issued_at,
        min(day) as updated_at, sum(sum) as amount from bills group by no
"""


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path)


def queried(**table: Any) -> dict[str, Any]:
    return {"tables": {"bills": {"path": "*.csv", "types": {"sum": "integer"}} | table}, "query": QUERY}


def test_a_record_of_two_files_counts_once_and_is_told_of(export: Export) -> None:
    export.write("2024.csv", OLD)
    export.write("2025.csv", NEW.format(amount=20))
    source = export.source(path="*.csv")
    (chunk,) = source.read(PAYMENTS, None, 100)
    assert sorted(chunk.accepted["amount"].to_pylist()) == [Decimal(10), Decimal(20), Decimal(30)]
    assert (chunk.received, chunk.rejected) == (4, ())
    assert "1 payment stands in two files and counts once (2024.csv, 2025.csv; such as 2)." in chunk.remarks
    totals = source.totals(PAYMENTS)
    assert totals is not None
    assert totals.live == 3


def test_two_files_that_say_otherwise_of_a_record_are_told_of_and_the_later_one_counts(export: Export) -> None:
    export.write("2024.csv", OLD)
    export.write("2025.csv", NEW.format(amount=25))
    chunk = export.chunk(path="*.csv")
    rows = zip(chunk.accepted["payment_id"].to_pylist(), chunk.accepted["amount"].to_pylist(), strict=True)
    assert [amount for payment_id, amount in rows if payment_id == "2"] == [Decimal(20), Decimal(25)]
    assert (chunk.received, chunk.rejected, chunk.clashing) == (4, (), 0)
    assert any("with different content: the later file's counts" in remark for remark in chunk.remarks)


def test_lines_of_a_query_that_stand_in_two_files_are_refused_until_someone_says_what_they_are(export: Export) -> None:
    export.write("2024.csv", OLD)
    export.write("2025.csv", NEW.format(amount=20))
    error = export.failure(**queried())
    assert "1 of its lines stands in another file of bills too" in error
    assert "Add to connector_settings.tables.bills:\n  record_id: COLUMN  # or overlaps: all" in error
    once = export.chunk(**queried(record_id="no"))
    assert sorted(once.accepted["amount"].to_pylist()) == [Decimal(10), Decimal(20), Decimal(30)]
    assert any("1 record stands in two files with the same lines and counts once" in remark for remark in once.remarks)
    twice = export.column("amount", **queried(overlaps="all"))
    assert sorted(twice) == [Decimal(10), Decimal(30), Decimal(40)]


def test_lines_that_repeat_within_a_file_all_count(export: Export) -> None:
    export.write("2024.csv", "no,who,day,sum\n1,c1,2025-01-02,10\n1,c1,2025-01-02,10\n")
    export.write("2025.csv", "no,who,day,sum\n1,c1,2025-01-02,10\n1,c1,2025-01-02,10\n2,c1,2025-01-02,5\n")
    assert sorted(export.column("amount", **queried(record_id="no"))) == [Decimal(5), Decimal(20)]


def test_a_record_whose_lines_differ_between_files_is_refused(export: Export) -> None:
    export.write("2024.csv", OLD)
    export.write("2025.csv", NEW.format(amount=25))
    error = export.failure(**queried(record_id="no"))
    assert "1 record stands in two files with different lines, no 2 among them" in error
    assert "there is no such column" in export.failure(**queried(record_id="nope"))


def test_a_repeat_far_down_in_one_file_is_found_too(export: Export) -> None:
    lines = "".join(f"{number},c1,2025-01-02,1\n" for number in range(60_000))
    export.write("bills.csv", f"no,who,day,sum\n{lines}5,c1,2025-01-02,1\n6,c1,2025-01-02,2\n")
    chunk = export.chunk(path="bills.csv")
    assert (chunk.received, chunk.accepted.num_rows, chunk.rejected) == (60_002, 60_001, ())
    assert chunk.clashing == 1
