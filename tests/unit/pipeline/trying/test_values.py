"""Texts are read by the notation that reads all of them; what fits two readings is asked about."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.trying.errors import UnclearNotation
from pipeline.trying.values import ColumnValues, Notations, read_columns


def column(values: list[Any], told: Notations | None = None, **others: list[Any]) -> ColumnValues:
    return read_columns(pa.table({"x": values, **others}), told or Notations())["x"]


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["1", "2.5", " 3 ", ""], [1, 2.5, 3, None]),
        (["29,90", "1.234,50"], [29.9, 1234.5]),
        (["29.90", "1,234.50"], [29.9, 1234.5]),
        (["€ 12", "€ 7.5"], [12, 7.5]),
        (["12,5%", "100,0%"], [12.5, 100]),
        (["1e-05", "2"], [1e-05, 2]),
        (["5", "n/a", "-", "7"], [5, None, None, 7]),
        (["0,125", "1,250"], [0.125, 1.25]),
    ],
)
def test_numbers_are_read_as_they_were_meant(texts: list[str], numbers: list[float | None]) -> None:
    read = column(texts)

    assert read.kind == "number"
    assert [None if pd.isna(value) else value for value in read.values] == numbers


@pytest.mark.parametrize("texts", [["01234", "56789"], ["4912345678901234567"], ["Fiber", "DSL"], ["1", "two"]])
def test_codes_and_words_are_no_numbers(texts: list[str]) -> None:
    assert column(texts).kind == "text"


def test_a_number_that_fits_two_readings_is_asked_about_unless_the_file_decides() -> None:
    with pytest.raises(UnclearNotation, match=r"--decimal"):
        column(["1.234", "2.500"])
    assert column(["1.234", "2.500"], Notations(decimal=".")).values.tolist() == [1.234, 2.5]
    assert column(["1.234", "2.500"], Notations(decimal=",")).values.tolist() == [1234, 2500]
    assert column(["1.234", "2.500"], fee=["0,5", "12,25"]).values.tolist() == [1234, 2500]
    assert column(["1.234", "2.500"], fee=["0.5", "12.25"]).values.tolist() == [1.234, 2.5]


@given(st.lists(st.decimals(-9999, 9999, places=2), min_size=2, max_size=20))
def test_a_decimal_comma_and_a_point_say_the_same(numbers: list[Decimal]) -> None:
    with_point = column([f"{number:.2f}" for number in numbers])
    with_comma = column([f"{number:.2f}".replace(".", ",") for number in numbers])

    assert with_point.values.tolist() == with_comma.values.tolist() == [float(number) for number in numbers]


def test_dates_are_read_where_their_order_is_plain() -> None:
    wanted = [pd.Timestamp("2024-12-31"), pd.Timestamp("2024-01-02")]

    assert column(["2024-12-31", "2024-01-02"]).values.tolist() == wanted
    assert column(["31.12.2024", "02.01.2024"]).values.tolist() == wanted
    assert column(["20241231", "20240102"]).values.tolist() == wanted
    assert column([datetime(2024, 12, 31), datetime(2024, 1, 2)]).values.tolist() == wanted  # noqa: DTZ001 - a file's cells have no zone
    assert column([date(2024, 12, 31), date(2024, 1, 2)]).values.tolist() == wanted


def test_a_day_that_may_be_a_month_leaves_its_column_out_until_somebody_says() -> None:
    read = column(["01/02/2024", "03/04/2024"])

    assert read.kind == "nested"
    assert "--date-format" in str(read.remark)
    told = column(["01/02/2024", "03/04/2024"], Notations(date_format="%m/%d/%Y"))
    assert told.values.tolist() == [pd.Timestamp("2024-01-02"), pd.Timestamp("2024-03-04")]


def test_a_date_at_the_end_of_time_stands_for_none() -> None:
    for read in (column(["2024-12-31", "9999-12-31"]), column([date(2024, 12, 31), date(9999, 12, 31)])):
        assert read.kind == "date"
        assert read.values.isna().tolist() == [False, True]
        assert read.remark == "1 date before 1900 or after 2199 stands for none"


@pytest.mark.parametrize("texts", [["Yes", "no"], ["TRUE", "FALSE"], ["y", "n"], ["1", "0"]])
def test_yes_and_no_are_flags_in_any_words(texts: list[str]) -> None:
    assert column(texts).values.tolist() == [True, False]


def test_a_third_word_makes_a_category() -> None:
    assert column(["Yes", "No", "No internet service"]).kind == "text"


def test_infinite_numbers_count_as_missing_and_are_told() -> None:
    read = column([1.0, float("inf")])

    assert pd.isna(read.values[1])
    assert "infinite" in str(read.remark)
