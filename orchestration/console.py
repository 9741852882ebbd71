"""The terminal, on which what a stranger wrote stays text: no emoji codes, and no sequence that a terminal obeys."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_HARMLESS = "\n\t"
_OBEYED = {"Cc", "Cf", "Zl", "Zp"}
"""Kinds of characters that move the cursor, begin a sequence, turn the direction of writing or end a line."""

_OF_SCRIPTS = "\u00ad\u200c\u200d"
"""Joiners and the soft hyphen, which languages and emoji are written with."""


def as_text(text: str) -> str:
    """The text with every character that a terminal would obey as its escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(character) for character in text)


def _escape(character: str) -> str:
    if character in _HARMLESS or character in _OF_SCRIPTS or unicodedata.category(character) not in _OBEYED:
        return character
    return character.encode("unicode_escape").decode()


class TextConsole(Console):
    """rich's console for our lines. Markup in what is not ours is the caller's to escape (`rich.markup.escape`)."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"highlight": False, "emoji": False, **settings})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See `Console.render`."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(as_text(segment.text), segment.style)
