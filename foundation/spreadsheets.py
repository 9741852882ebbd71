"""Texts as cells that a spreadsheet shows and does not reckon with.

`warehouse.publication.export` says the same in SQL; a test holds the two together.
"""

from __future__ import annotations

import re

_FORMULA = re.compile("[\\s\\x00-\\x1f\\x7f-\\x9f]*[-=+@\uff1d\uff0b\uff0d\uff20]|[\\t\\r\\n]")
"""How a text begins that spreadsheets take for a formula, in the wide forms of East Asia too."""

_WRITTEN = {"\r": "\\r", "\n": "\\n", "\t": "\\t"}
_CONTROLS = str.maketrans(
    {character: _WRITTEN.get(character, "?") for character in map(chr, [*range(1, 32), *range(127, 160)])}
)


def harmless_cell(text: str) -> str:
    """The text in one line, with an apostrophe before it where it would begin a formula."""
    return ("'" if _FORMULA.match(text) else "") + text.translate(_CONTROLS)
