"""Amounts in cents."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.connectors.errors import Unreadable
from pipeline.connectors.rest_reading.minor_units import EXPONENTS, currencies, in_major_units


@given(st.integers(-(10**15), 10**15), st.sampled_from(sorted(currencies())), st.sampled_from([str.upper, str.lower]))
def test_an_amount_times_its_unit_is_what_was_given(amount: int, currency: str, case: object) -> None:
    written = case(currency)  # type: ignore[operator]
    major = in_major_units(amount, written, {})
    assert major is not None
    assert major * 10 ** EXPONENTS.get(currency, 2) == amount
    assert in_major_units(str(amount), written, {}) == major


@pytest.mark.parametrize(
    ("currency", "digits"),
    [("EUR", 2), ("HUF", 2), ("JPY", 0), ("KRW", 0), ("CLP", 0), ("KWD", 3), ("IQD", 3), ("CLF", 4)],
)
def test_digits_are_those_of_iso_4217(currency: str, digits: int) -> None:
    assert in_major_units(1, currency, {}) == Decimal(1).scaleb(-digits)


def test_a_source_may_have_digits_of_its_own() -> None:
    assert in_major_units(500, "mga", {"MGA": 0}) == 500


@pytest.mark.parametrize("amount", [True, 1.5, "1.5", "", "1e3", [1], "ten", "-"])
def test_what_is_no_whole_number_is_refused(amount: object) -> None:
    with pytest.raises(Unreadable):
        in_major_units(amount, "EUR", {})


@pytest.mark.parametrize("currency", [None, "", " ", "EURO", "XXY", 978])
def test_without_a_currency_nothing_is_guessed(currency: object) -> None:
    with pytest.raises(Unreadable):
        in_major_units(100, currency, {})


def test_no_amount_is_none() -> None:
    assert in_major_units(None, None, {}) is None
