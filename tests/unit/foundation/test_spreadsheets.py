"""No cell of ours is reckoned with by a spreadsheet, and none ends its line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from foundation.spreadsheets import harmless_cell


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_no_text_begins_as_a_formula_or_breaks_its_line(text: str) -> None:
    cell = harmless_cell(text)

    assert cell.lstrip()[:1] not in {*"=+-@＝＋－＠"}
    assert not {"\r", "\n", "\t"} & {*cell}


def test_what_is_no_formula_stays_as_it_is() -> None:
    for text in ("", "A-1", "tenure: 3, usually 29", "Müller", "a=b"):
        assert harmless_cell(text) == text
