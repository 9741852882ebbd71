"""Why a file cannot be tried. Each message says what there is, and what to type."""

from collections.abc import Iterable
from difflib import get_close_matches

from foundation.errors import ChurnError

_NAMED = 20


class TrialError(ChurnError):
    """A file cannot be tried as it was asked for."""


class UnreadableTable(TrialError):
    """The file is not there, or does not read as a table."""


class UnknownColumn(TrialError):
    """A column or a value is named that the file does not have."""


class UnclearOutcome(TrialError):
    """What the outcome's values mean, nobody said."""


class TooFewOutcomes(TrialError):
    """Too few customers with, or without, the outcome to learn from."""


class UnclearNotation(TrialError):
    """Numbers fit two readings."""


def not_there(what: str, named: str, known: Iterable[str]) -> UnknownColumn:
    """The error of a name that is not among those known: the near ones, else all of them."""
    names = list(known)
    folded = {name.casefold(): name for name in names}
    near = [folded[name] for name in get_close_matches(named.casefold(), folded, n=3, cutoff=0.6)]
    if near:
        return UnknownColumn(f"There is no {what} {named!r}; near it: {', '.join(near)}.")
    further = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return UnknownColumn(f"There is no {what} {named!r}; there are: {', '.join(names[:_NAMED])}{further}.")
