"""Which columns are features, which one says who, and why the others are nothing."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from pipeline.trying.columns import TypedTable, find_customer, type_columns
from pipeline.trying.values import Notations, read_columns

ROWS = 100
TEXT = "The customer rang on day {} and was not pleased with the bill at all"


def typed(columns: dict[str, list[Any]], *, keep: tuple[str, ...] = (), drop: tuple[str, ...] = ()) -> TypedTable:
    return type_columns(read_columns(pa.table(columns), Notations()), keep=keep, drop=drop, apart=())


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("country", ["AT"] * ROWS, "same in every row"),
        ("note", [None] * ROWS, "is empty"),
        ("mail", [f"c{number}@example.org" for number in range(ROWS)], "e-mail"),
        ("remark", [TEXT.format(number) for number in range(ROWS)], "free text"),
        ("RowNumber", list(range(1, ROWS + 1)), "another number in every row"),
        ("position", list(range(1, ROWS + 1)), "counts the rows"),
        ("Surname", [f"Smith {number % 40}" for number in range(ROWS)], "says who"),
        ("street", [f"High Street {number}" for number in range(ROWS)], "says who"),
        ("invoice_id", [number * 7 for number in range(ROWS)], "says who"),
    ],
)
def test_a_column_that_tells_of_no_kind_is_left_out_with_its_reason(name: str, values: list[Any], reason: str) -> None:
    table = typed({name: values, "tenure": [number % 7 for number in range(ROWS)]})

    assert [feature.label for feature in table.features] == ["tenure"]
    assert [each.column for each in table.left_out] == [name]
    assert reason in table.left_out[0].reason


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("income", [1000.5 + 13 * number for number in range(ROWS)]),
        ("mobile_minutes", [number * 3 % 91 for number in range(ROWS)]),
        ("price index", [90 + number % 60 for number in range(ROWS)]),
        ("city", [f"City {number % 30}" for number in range(ROWS)]),
        ("mobile os", ["iOS", "Android"] * (ROWS // 2)),
        ("joined", [f"2024-{1 + number % 12:02d}-01" for number in range(ROWS)]),
    ],
)
def test_a_column_that_tells_of_a_kind_stays(name: str, values: list[Any]) -> None:
    table = typed({name: values})

    assert [feature.label for feature in table.features] == [name], table.left_out


def test_what_a_person_keeps_or_drops_is_kept_or_dropped() -> None:
    columns: dict[str, list[Any]] = {"mail": [f"c{number}@x.org" for number in range(ROWS)], "age": list(range(ROWS))}

    table = typed(columns, keep=("mail",), drop=("age",))

    assert [feature.label for feature in table.features] == ["mail"]
    assert [(each.column, each.reason) for each in table.left_out] == [("age", "you left it out")]


def test_a_column_that_stands_twice_counts_once() -> None:
    table = typed({"tenure": [1, 2, 3, 4], "months": [1, 2, 3, 4]})

    assert [each.reason for each in table.left_out] == ["holds the same as tenure"]


def test_a_date_is_days_back_from_the_newest() -> None:
    table = typed({"joined": ["2024-12-01", "2024-12-31"], "seen": ["2024-12-30", ""]})

    assert table.frame["c0"].tolist() == [30, 0]
    assert table.frame["c1"].tolist()[0] == 1
    assert pd.isna(table.frame["c1"].tolist()[1])
    assert "31 December 2024" in " ".join(table.remarks)


def customer_of(columns: dict[str, list[Any]]) -> str | None:
    return find_customer(read_columns(pa.table(columns), Notations()))


def test_the_customers_id_is_found_also_where_it_repeats() -> None:
    subscription = [f"S{number}" for number in range(ROWS)]
    account = [f"A{number // 3}" for number in range(ROWS)]

    assert customer_of({"subscription_id": subscription, "account_id": account}) == "account_id"
    assert customer_of({"id": subscription, "plan_id": [number % 3 for number in range(ROWS)]}) == "id"


def test_the_id_of_a_branch_is_no_customers() -> None:
    assert customer_of({"branch_id": [number % 30 for number in range(ROWS)], "age": list(range(ROWS))}) is None
