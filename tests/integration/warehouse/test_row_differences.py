"""Two relations beside each other: counts against pandas' own comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from warehouse.connection import Warehouse
from warehouse.relations import Relation
from warehouse.row_differences import Comparison, Side, types_of, values

BEFORE, AFTER = Relation("public", "before"), Relation("public", "after")
COLUMNS = "company_id integer, customer_id text, amount double precision, plan text, notes json"
Row = tuple[int, str | None, float | None, str | None]

ids = st.sampled_from(["a", "b", "c", "d", None])
amounts = st.one_of(st.none(), st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf")]))
rows = st.lists(
    st.tuples(st.integers(1, 2), ids, amounts, st.sampled_from([None, "", "x"])),
    unique_by=lambda row: row[:2],
    max_size=8,
)


def compared(warehouse: Warehouse, before: Sequence[Row], after: Sequence[Row], *, key: bool) -> Any:
    with warehouse.connect() as connection:
        for relation, given_rows in ((BEFORE, before), (AFTER, after)):
            connection.execute(sql.SQL("drop table if exists {}").format(relation.identifier))
            connection.execute(f"create table {relation} ({COLUMNS})".encode())
            with connection.cursor().copy(f"copy {relation} from stdin".encode()) as copy:
                for row in given_rows:
                    copy.write_row((*row, '{"a": 1}'))
        sides = [Side(relation, types_of(connection, relation)) for relation in (BEFORE, AFTER)]
        names = ["company_id", "customer_id", "amount", "plan"]
        comparison = Comparison(*sides, names[:2], [*names[2:], "notes"]) if key else Comparison(*sides, names, [])
        counts, changed = comparison.count(connection)
        return counts, changed, comparison.examples(connection, ["amount", "plan"] if key else [], 3)


def equal(one: Any, other: Any) -> bool:
    """As Postgres has it: a number that is none equals itself."""
    return bool(one == other or (one != one and other != other))


@given(before=rows, after=rows)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_by_key_every_row_is_added_removed_changed_or_the_same(
    warehouse: Warehouse, before: list[Row], after: list[Row]
) -> None:
    counts, changed, examples = compared(warehouse, before, after, key=True)
    old, new = ({row[:2]: row[2:] for row in side} for side in (before, after))
    for company_id in {key[0] for key in (*old, *new)}:
        (counted,) = [row for row in counts if row.company_id == company_id]
        of_both = [key for key in new if key in old and key[0] == company_id]
        differing = [key for key in of_both if not all(equal(*pair) for pair in zip(old[key], new[key], strict=True))]
        assert counted.added == sum(key[0] == company_id and key not in old for key in new)
        assert counted.removed == sum(key[0] == company_id and key not in new for key in old)
        assert (counted.changed, counted.same) == (len(differing), len(of_both) - len(differing))
    both = [key for key in new if key in old]
    assert changed == {
        "amount": sum(not equal(old[key][0], new[key][0]) for key in both),
        "plan": sum(old[key][1] != new[key][1] for key in both),
        "notes": 0,
    }
    assert len(examples) == min(3, sum(row.changed for row in counts))


@given(before=rows, after=rows, doubled=st.integers(0, 3))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_without_a_key_a_row_counts_as_often_as_it_stands_there(
    warehouse: Warehouse, before: list[Row], after: list[Row], doubled: int
) -> None:
    counts, changed, examples = compared(warehouse, before, [*after, *after[:doubled]], key=False)
    assert sum(row.removed + row.same for row in counts) == len(before)
    assert sum(row.added + row.same for row in counts) == len(after) + len(after[:doubled])
    assert (changed, examples) == ({}, [])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("amount", (0.2, ("0", "0", "1", "1", "2"), ())),
        ("plan", (0.4, (), (("x", 2), ("y|z", 1)))),
    ],
)
def test_values_at_a_glance(warehouse: Warehouse, column: str, expected: Any) -> None:
    rows = [(1, "a", 0.0, "x"), (1, "b", 1.0, "x"), (1, "c", 1.0, "y|z"), (1, "d", 2.0, None), (1, "e", None, None)]
    compared(warehouse, [], rows, key=True)  # type: ignore[arg-type]
    with warehouse.connect() as connection:
        seen = values(connection, Side(AFTER, types_of(connection, AFTER)), column)
    assert (seen.null_share, seen.quantiles, seen.commonest) == expected
