"""What helps with a value that is none of its kind, as the end of the reason why it is rejected."""

from __future__ import annotations

import json
import re

_NO_VALUE = re.compile(
    r"0000-00-00.*|\\N|-+|\?+|[(<\[]?#?(?:null|nan|nat|none|nil|undefined|n/a|not available)!?[)>\]]?", re.IGNORECASE
)
_AROUND = r"[^\w.,'\d]{0,2}"
_NUMBER_IN_COMPANY = re.compile(
    rf"{_AROUND}(?:[^\W\d_]{{1,4}}{_AROUND})?\d[\d.,'\u2019\s]*{_AROUND}(?:[^\W\d_]{{1,4}})?{_AROUND}"
)
"""A number with a currency, a unit, brackets, or a minus that is none or stands behind it."""


def is_word_for_nothing(text: str) -> bool:
    """Whether the text is what programs write where there is no value: NULL, \\N, nan, 0000-00-00."""
    return _NO_VALUE.fullmatch(text.strip()) is not None


def remedy_of_nothing(text: str, kind: str = "value") -> str:
    """How to say in YAML that a word stands for no value."""
    return f'; if it stands for no {kind}, say so by values: {{{json.dumps(text, ensure_ascii=False)}: ""}}'


def remedy_of_word(text: str) -> str:
    """Empty where the text is no word for nothing."""
    return remedy_of_nothing(text) if is_word_for_nothing(text) else ""


def remedy_of_number(text: str) -> str:
    """Empty where nothing is known to help."""
    if is_word_for_nothing(text):
        return remedy_of_word(text)
    if not _NUMBER_IN_COMPANY.fullmatch(text.strip()) or not re.search(r"[^\d.,'\u2019\s+-]|.-", text):
        return ""
    return (
        "; what stands around digits is not read: give the number alone, a minus in front where it is below zero, and "
        "a currency in a column of its own"
    )
