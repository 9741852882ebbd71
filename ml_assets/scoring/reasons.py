"""A reason as data, and the text of it that people read. Frames and models stay out: every reader may import this.

The macro `reason_fact` in `dbt_project/macros/reasons.sql` says the same in SQL; a test holds the two together.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Value = float | bool | str | None
Direction = Literal["raises", "lowers"]

OTHER = "other"
"""The feature of the reason that holds what all features without a reason of their own add up to."""

_EFFECTS: Mapping[Direction | None, str] = {
    "raises": "raises the {noun}",
    "lowers": "lowers the {noun}",
    None: "changes nothing",
}
_EFFECTS_TOGETHER: Mapping[Direction | None, str] = {
    "raises": "raise the {noun}",
    "lowers": "lower the {noun}",
    None: "change nothing",
}

_PREPOSITIONS = "added|against|as|for|in|now|of|open|overdue|since|until|with"
_HEAD = re.compile(rf"\S+(?:\s+(?!(?:{_PREPOSITIONS})(?:\s|$))\S+)*", re.IGNORECASE)
_PLURAL = re.compile(r"(?:^|[^sui])s$")


@dataclass(frozen=True)
class Reason:
    """One additive part of a score.

    `usual` is what the company's customers mostly have, in the same `unit` as `value`; None where either is not known.
    `contribution` is in log-odds. `published_text` is set where the reason was published without what is usual: it is
    then told by the text it came with.
    """

    feature: str
    label: str
    value: Value
    usual: Value
    unit: str
    family: str
    contribution: float
    published_text: str | None = None

    @classmethod
    def from_published(cls, published: Mapping[str, Any]) -> "Reason":
        """A reason out of the published array, of this release or an older one."""
        return cls(
            feature=published["feature"],
            label=published["label"],
            value=published["value"],
            usual=published.get("usual"),
            unit=published["unit"],
            family=published["family"],
            contribution=published["contribution"],
            published_text=None if "usual" in published else published["text"],
        )

    @property
    def direction(self) -> Direction | None:
        """Which way it moves the probability; None for a part of zero."""
        return "raises" if self.contribution > 0 else "lowers" if self.contribution < 0 else None

    @property
    def fact(self) -> str:
        """The value beside the usual one, without what follows from it.

        "3 tickets open for more than 7 days, usually 0" where the label counts its unit; else "Plan: pro, usually
        basic"; "Revenue in the last 90 days is not known". A value that reads like the usual one is "as usual".
        """
        if self.published_text is not None:
            return self.published_text
        return self.label if self.feature == OTHER else _fact(self.label, self.unit, self.value, self.usual)

    def effect(self, noun: str) -> str:
        """What it does to the outcome, which a noun such as "risk" stands for: "raises the risk"."""
        return _EFFECTS[self.direction].format(noun=noun)

    def sentence(self, noun: str) -> str:
        """Fact and effect: "Plan: pro, usually basic (raises the risk)"."""
        if self.published_text is not None:
            return self.published_text
        if self.feature == OTHER:
            return f"{self.label} {_EFFECTS_TOGETHER[self.direction].format(noun=noun)}"
        return f"{self.fact} ({self.effect(noun)})"


def _fact(label: str, unit: str, value: Value, usual: Value) -> str:
    match = _HEAD.match(label)
    head = match[0] if match else ""
    if value is None:
        is_plural = any(_PLURAL.search(word) for word in (head.split()[:1] + head.split()[-1:]))
        return f"{label} {'are' if is_plural else 'is'} not known"
    is_counted = not isinstance(value, bool | str) and unit.endswith("s") and unit in head.lower().split()
    spoken, usually = (_value_text(each, "" if is_counted else unit) for each in (value, usual))
    if is_counted:
        said = f"{spoken} {_counted(head, unit, is_single=spoken == '1')}{label[len(head) :]}"
    else:
        said = f"{label}: {spoken}"
    if usual is None:
        return said
    return f"{said}, as usual" if usually == spoken else f"{said}, usually {usually}"


def _counted(head: str, unit: str, *, is_single: bool) -> str:
    """The head of a label behind a number: "Failed payments" as "failed payments", or "failed payment" of one."""
    first, *others = head.split()
    phrase = [first[0].lower() + first[1:] if first[1:].islower() else first, *others]
    if is_single:
        phrase[head.lower().split().index(unit)] = unit[:-1]
    return " ".join(phrase)


def _value_text(value: Value, unit: str) -> str:
    """A value with its unit: "74 days", "1,251 EUR", "25%" (of a share), "yes"."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    number = _digits(float(value), unit)
    if is_share(unit):
        return number + unit.removeprefix("share")
    if unit.endswith("currency"):
        return f"{number} in the {unit}"
    return f"{number} {unit[:-1] if number == '1' and unit.endswith('s') else unit}".rstrip()


def _digits(value: float, unit: str) -> str:
    """A number no finer than a person says it: whole from 100 on, with one decimal from 10 on, with two below."""
    if is_share(unit):
        return f"{_rounded(value, 100):.0%}"
    size = abs(value)
    if 0 < size < 0.01:
        return f"{value:.2g}"
    decimals = 0 if size >= 100 else 1 if size >= 10 else 2
    rounded = _rounded(value, 10**decimals)
    return f"{rounded:,.0f}" if rounded.is_integer() else f"{rounded:.{decimals}f}"


def _rounded(value: float, parts: int) -> float:
    """To whole tenths or hundredths, halves to the even one, as numpy and Postgres round; -0 is 0."""
    return round(value * parts) / parts + 0.0


def is_share(unit: str) -> bool:
    """Whether a number is said in percent: "share", or a share of something, as in "share per week"."""
    return unit.split(" ")[0] == "share"
