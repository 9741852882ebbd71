"""Texts of others in our messages stay text: a customer's name is no link, no mention of a whole channel, no markup.

Customers choose their names and ids, plans and errors quote what a CRM said, and a message is read as ours.
"""

from __future__ import annotations

import re
import unicodedata

_ADDRESS = re.compile(r"([A-Za-z0-9+.-]):(?=//)|\b(mailto|tel|sms|javascript|data):(?=\S)", re.IGNORECASE)
_WWW = re.compile(r"\bwww\.", re.IGNORECASE)
_INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"
_BEGINS_MENTION = re.compile(r"([@<])")


def plain(text: str) -> str:
    """One line of visible text in which no program sees an address to make a link of: `https[:]//`, `www[.]`.

    A bare name such as example.com stays as it is, for ids and e-mail addresses look like that.
    """
    line = " ".join("".join(each if _is_visible(each) else " " for each in text).split())
    return _WWW.sub("www[.]", _ADDRESS.sub(r"\1\2[:]", line)).replace("](", "] (")


def without_mentions(text: str) -> str:
    """For channels where @everyone or <!here> speaks to people: a mark without width stands after its first letter."""
    return _BEGINS_MENTION.sub("\\1\u200b", text)


def _is_visible(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in _INVISIBLE
