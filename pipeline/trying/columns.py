"""What each column is good for: a feature of some kind, the customer's name, or nothing, and why."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml_assets.frames import LARGEST_VOCABULARY
from ml_assets.task import Feature
from pipeline.trying.values import ColumnValues

_ID_WORDS = {"id", "uuid", "guid", "rownumber", "msisdn", "iban"}
_ID_NAMES = {"index", "key", "phone", "telephone", "mobile", "fax"}
_LAST_WORDS = {"number", "no", "nr"}
_CUSTOMER_WORDS = ("customer", "client", "account", "subscriber", "member", "user", "contact", "person")
_PERSON = re.compile(
    r"(?i)^(?:(?:first|last|sur|full|given|family|user|customer|client|account|contact|company)[ _-]?)?name$"
    r"|^(?:e[ _-]?mail|phone|telephone|mobile|street|address|iban|surname|birth[ _-]?name)(?:[ _-]?\w+)?$"
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

MOSTLY_DIFFERENT = 0.5
"""A word that differs in more rows than this share says who, not what kind."""
_LONG_TEXT = 40
"""Letters, on average: words as people write them, not names of kinds."""
_FEW_ROWS = 20
_DATES = "dates"


@dataclass(frozen=True)
class LeftOut:
    """A column that is no feature, and why, as a sentence that goes on from its name."""

    column: str
    reason: str


@dataclass(frozen=True)
class TypedTable:
    """The features with their values in one frame, what was left out and why, and what should be known of the rest.

    Features are called c0, c1 and so on in the frame; their labels are the columns' own names.
    """

    frame: pd.DataFrame
    features: tuple[Feature, ...]
    left_out: tuple[LeftOut, ...]
    remarks: tuple[str, ...]

    def without(self, left_out: Sequence[LeftOut]) -> TypedTable:
        """With these columns left out too."""
        gone = {each.column for each in left_out}
        features = tuple(feature for feature in self.features if feature.label not in gone)
        frame = self.frame[[feature.name for feature in features]]
        return TypedTable(frame, features, (*self.left_out, *left_out), self.remarks)


def find_customer(columns: Mapping[str, ColumnValues]) -> str | None:
    """The column that says who a row is about: an id, of a customer if there are several; None where none does."""
    ids = [name for name, column in columns.items() if _is_named_id(name) and _could_be_id(column)]
    if not ids:
        return None
    return min(
        ids, key=lambda name: next((at for at, word in enumerate(_CUSTOMER_WORDS) if word in name.casefold()), 99)
    )


def type_columns(
    columns: Mapping[str, ColumnValues], *, keep: Collection[str], drop: Collection[str], apart: Collection[str]
) -> TypedTable:
    """Features of the columns but those `apart` (the outcome, the customer).

    `keep` and `drop` are what a person decided. A date becomes the days from it to the newest date of the file.
    """
    candidates = {name: column for name, column in columns.items() if name not in apart}
    newest = _newest_date([column for name, column in candidates.items() if name not in drop])
    left_out: list[LeftOut] = []
    remarks: list[str] = []
    features: list[Feature] = []
    values: dict[str, pd.Series] = {}
    seen: dict[tuple[str, bytes], str] = {}
    for name, column in candidates.items():
        reason = "you left it out" if name in drop else _why_not(column, is_wanted=name in keep)
        if reason is None and name not in keep:
            content = (
                column.kind,
                pd.util.hash_pandas_object(column.values.astype(str), index=False).to_numpy().tobytes(),
            )
            reason = f"holds the same as {seen[content]}" if content in seen else None
            seen.setdefault(content, name)
        if reason is not None:
            left_out.append(LeftOut(name, reason))
            continue
        feature, column_values = _feature(column, f"c{len(features)}", newest)
        features.append(feature)
        values[feature.name] = column_values
        if column.remark:
            remarks.append(f"{name}: {column.remark}.")
        if feature.kind == "category" and column.values.nunique() > LARGEST_VOCABULARY:
            remarks.append(
                f"{name}: of {column.values.nunique():,} values the {LARGEST_VOCABULARY} most frequent are told apart."
            )
    if any(feature.family == _DATES for feature in features):
        remarks.append(f"Dates are read as days back from {newest:%-d %B %Y}, the newest in the file.")
    frame = pd.DataFrame(values, index=pd.RangeIndex(len(next(iter(columns.values())).values)))
    return TypedTable(frame, tuple(features), tuple(left_out), tuple(remarks))


def _why_not(column: ColumnValues, *, is_wanted: bool) -> str | None:
    """Why a column is no feature; None where it is one. Of a wanted one only that it cannot be."""
    known = column.values.dropna()
    if column.kind == "nested":
        return column.remark or "no model reads such values"
    if known.empty:
        return "is empty"
    distinct = known.nunique()
    if distinct == 1 and len(known) == len(column.values):
        return f"is the same in every row ({column.texts.iloc[0]})"
    if is_wanted:
        return None
    if column.kind == "text":
        return _why_no_category(column.name, known, distinct)
    if column.kind == "number" and distinct == len(known) and len(known) >= _FEW_ROWS:
        if _is_named_id(column.name):
            return "is another number in every row: it says who, not what kind"
        if _is_row_number(known):
            return "counts the rows"
    if column.kind == "number" and _is_named_id(column.name) and _is_whole(known) and distinct > LARGEST_VOCABULARY:
        return "is an id: it says who, not what kind"
    return None


def _why_no_category(name: str, known: pd.Series, distinct: int) -> str | None:
    if known.map(lambda text: bool(_EMAIL.fullmatch(text))).mean() > MOSTLY_DIFFERENT:
        return "holds e-mail addresses"
    if _PERSON.match(name.strip()) and distinct > _FEW_ROWS:
        return "says who, not what kind"
    if distinct > MOSTLY_DIFFERENT * len(known) and len(known) >= _FEW_ROWS:
        if known.str.len().mean() >= _LONG_TEXT:
            return "is free text, which no model here reads"
        return "differs in nearly every row: it says who, not what kind"
    if known.str.len().mean() >= 2 * _LONG_TEXT and distinct > LARGEST_VOCABULARY:
        return "is free text, which no model here reads"
    return None


def _feature(column: ColumnValues, name: str, newest: pd.Timestamp | None) -> tuple[Feature, pd.Series]:
    label, values = column.name, column.values
    if column.kind == "date" and newest is not None:
        days = (newest - values).dt.total_seconds() / 86_400
        return Feature(name, label, "days back", _DATES, "number"), days
    if column.kind == "number":
        numbers = set(values.dropna().unique())
        if numbers == {0.0, 1.0}:
            return Feature(name, label, "", "columns", "flag"), values
        return Feature(name, label, "", "columns", "number"), values
    kind = "flag" if column.kind == "flag" else "category"
    return Feature(name, label, "", "columns", kind), values  # type: ignore[arg-type]


def _newest_date(columns: Sequence[ColumnValues]) -> pd.Timestamp | None:
    newest = [column.values.max() for column in columns if column.kind == "date" and column.values.notna().any()]
    return max(newest, default=None)


def _could_be_id(column: ColumnValues) -> bool:
    known = column.texts.dropna()
    is_whole = column.kind == "text" or (column.kind == "number" and _is_whole(column.values.dropna()))
    is_of_customers = any(word in column.name.casefold() for word in _CUSTOMER_WORDS)
    # The id of a branch or of a plan repeats, too: a customer's may, where its name says that it is one.
    fewest = min(_FEW_ROWS, len(known) / 2) if is_of_customers else MOSTLY_DIFFERENT * len(known)
    return is_whole and len(known) > MOSTLY_DIFFERENT * len(column.texts) and known.nunique() > fewest


def _is_named_id(name: str) -> bool:
    words = [word.casefold() for word in _WORD.findall(name)]
    whole = "".join(words)
    ends_as_id = len(words) > 1 and words[-1] in _LAST_WORDS
    return bool(_ID_WORDS & {*words, whole}) or whole in _ID_NAMES or ends_as_id


def _is_row_number(known: pd.Series) -> bool:
    steps = np.diff(known.to_numpy())
    return bool(len(steps) and (steps == steps[0]).all() and steps[0] == 1)


def _is_whole(known: pd.Series) -> bool:
    return bool((known == known.round()).all())
