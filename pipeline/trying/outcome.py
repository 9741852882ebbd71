"""Who has the outcome: what the values of the outcome's column mean, told by their words or by a person."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from foundation.counting import agreeing, counted
from pipeline.connectors.json_text import in_quotes
from pipeline.trying.errors import UnclearOutcome, not_there
from pipeline.trying.values import NO, YES, ColumnValues

_LEFT = YES | {"churn", "churned", "left", "lost", "gone", "exited", "cancelled", "canceled", "attrited", "leaver"}
_LEFT |= {"attrited customer", "lapsed", "terminated", "1.0", "1,0"}
_STAYED = NO | {"stayed", "retained", "active", "current", "existing", "existing customer", "not churned", "no churn"}
_STAYED |= {"kept", "loyal", "stay", "remained", "0.0", "0,0"}
_OF_STAYING = re.compile(r"(?i)(?<!in)(?<!de)active|retain|retention|stay|renew|loyal|remain|subscribed|alive")
"""In a column's name: "yes" says then that a customer is still there."""
_MOST_LISTED = 12
_MOST_VALUES = 20


@dataclass(frozen=True)
class Outcome:
    """What is to be predicted: the column and the values that are the outcome.

    known: each row's 1.0, 0.0 or NaN where nobody knows. texts: what stands in the column.
    """

    column: str
    values: tuple[str, ...]
    known: npt.NDArray[np.float64]
    texts: pd.Series

    @property
    def happened(self) -> str:
        """Says of rows that they have the outcome: "Churn is Yes"."""
        return f"{self.column} is {' or '.join(self.values)}"

    @property
    def otherwise(self) -> str:
        """Says of rows that they have not: "Churn is not Yes"."""
        return f"{self.column} is not {' or '.join(self.values)}"


def read_outcome(column: ColumnValues, values: Sequence[str]) -> Outcome:
    """The outcome; `values` are those that a person named. Raises UnclearOutcome and UnknownColumn."""
    texts = column.texts
    counts = texts.dropna().value_counts()
    if counts.empty:
        raise UnclearOutcome(f"{column.name} is empty in all {counted(len(texts), 'row')}: nobody's outcome is known.")
    chosen = _named(column.name, counts, values) if values else _understood(column, counts)
    known = texts.isin(chosen).to_numpy().astype(np.float64)
    known[texts.isna().to_numpy()] = np.nan
    if len(set(known[~np.isnan(known)])) < 2:
        raise UnclearOutcome(_only_one(column.name, counts, chosen, int(texts.isna().sum())))
    return Outcome(column.name, tuple(sorted(chosen, key=lambda value: -counts[value])), known, texts)


def _named(name: str, counts: pd.Series, values: Sequence[str]) -> list[str]:
    chosen: list[str] = []
    for value in values:
        alike = [text for text in counts.index if text.casefold() == value.strip().casefold()]
        if not alike:
            raise not_there(f"value of {name}", value, list(counts.index))
        chosen += alike
    return list(dict.fromkeys(chosen))


def _understood(column: ColumnValues, counts: pd.Series) -> list[str]:
    """The values that say that somebody left, where every value says so or the other."""
    left = [text for text in counts.index if text.casefold() in _LEFT]
    stayed = [text for text in counts.index if text.casefold() in _STAYED]
    if left and _OF_STAYING.search(column.name) and {text.casefold() for text in left} <= YES | {"1.0", "1,0"}:
        raise UnclearOutcome(
            f"{column.name} sounds as if {in_quotes(left[0])} meant that a customer is still there. Add --value "
            f"{in_quotes(stayed[0] if stayed else left[0])} to tell who left, or --value {in_quotes(left[0])} to tell "
            "who did not."
        )
    if len(left) + len(stayed) == len(counts) and (left or len(counts) <= 2):
        return left
    if len(left) == 1 and len(counts) == 2:
        return left
    raise UnclearOutcome(_which_value(column, counts))


def _which_value(column: ColumnValues, counts: pd.Series) -> str:
    if len(counts) > _MOST_VALUES:
        kind = {"date": "dates", "number": "numbers"}.get(column.kind, "words")
        return (
            f"{column.name} holds {len(counts):,} different {kind}, such as {in_quotes(counts.index[0])}: an outcome "
            "has two or a few. Name another column, or make one of yes and no from it."
        )
    listed = ", ".join(f"{in_quotes(value)} ({count:,})" for value, count in counts.items())
    return f"{column.name} holds {listed}. Add --value to say which of them is the outcome; it may stand several times."


def _only_one(name: str, counts: pd.Series, chosen: Sequence[str], missing: int) -> str:
    some = ", ".join(map(in_quotes, list(counts.index)[:_MOST_LISTED]))
    told = f"All {counted(int(counts.sum()), 'row')} that say anything in {name} say {some}"
    if chosen and missing:
        return (
            f"{told}, and {missing:,} {agreeing(missing, 'are')} empty. Where an empty one means no, write no into "
            "it; as it is, nobody is known to have stayed."
        )
    return f"{told}: {'everybody has' if chosen else 'nobody has'} the outcome, and there is nothing to tell apart."
