"""Amounts in a currency's smallest unit (cents), as payment services give them, into amounts of the currency."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from babel.core import get_global

from pipeline.connectors.errors import Unreadable
from pipeline.connectors.json_text import in_quotes

USUAL_EXPONENT = 2
_WITHOUT = (
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF",
    "XPF",
)  # fmt: skip
EXPONENTS: Mapping[str, int] = {
    **dict.fromkeys(_WITHOUT, 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
"""Digits after the point by ISO 4217, where they are not two. CLDR's, which babel has, are those of shops: none in
Hungary, where the minor unit is still a hundredth."""


def currencies() -> frozenset[str]:
    """The codes of ISO 4217, those of the past too."""
    return frozenset(get_global("all_currencies"))


def in_major_units(value: object, currency: object, exponents: Mapping[str, int]) -> Decimal | None:
    """The amount in whole units: 1250 of EUR is 12.50, of JPY 1250. None for no value.

    exponents: a source's own digits by currency, where they are not those of ISO 4217. Raises Unreadable where the
    currency is not known, since the amount could then be a hundred times another.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).lstrip("-").isdecimal():
        raise Unreadable(f"{in_quotes(value)} is not a whole number of minor units")
    code = currency.strip().upper() if isinstance(currency, str) else ""
    if not code:
        raise Unreadable("is in minor units of a currency that the record does not name")
    if code not in currencies():
        raise Unreadable(f"is in minor units of {in_quotes(currency)}, which is no currency")
    exponent = exponents.get(code, EXPONENTS.get(code, USUAL_EXPONENT))
    return Decimal(int(value)).scaleb(-exponent)
