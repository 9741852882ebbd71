"""Markdown that a company's own words cannot break."""

import re

_LINES = re.compile(r"[\r\n]+")
_MARKS = re.compile(r"([\\|*`~\[\]]|(?<![^\W_])_|_(?![^\W_]))")


def cell(text: str) -> str:
    """What a company wrote stands in one cell of a table, and is nothing but text: no link, no picture, no mention."""
    plain = _LINES.sub(" ", text).replace("&", "&amp;").replace("<", "&lt;").replace("@", "&#64;")
    return _MARKS.sub(r"\\\1", plain)
