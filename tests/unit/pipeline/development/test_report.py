"""A change as one page: what a company wrote is text in it, in HTML and in Markdown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipeline.development.markdown import cell
from pipeline.development.report import ChangeReport, Part, write_change_report

HOSTILE = "![x](http://evil.example/p.png) <script>alert(1)</script> | **bold** `code` @somebody [a](javascript:b)"
REPORT = ChangeReport(
    place="anna",
    task="churn",
    verdicts=("acme: Better for certain: log loss 0.2 → 0.1.",),
    parts=(Part("rows", "What changes in rows", f"| plan |\n|---|\n| {cell(HOSTILE)} |"),),
)


def test_the_page_needs_nothing_from_outside_and_shows_words_as_words(tmp_path: Path) -> None:
    write_change_report(REPORT, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Better for certain" in page
    assert "<td>![x](http://evil.example/p.png) &lt;script&gt;" in page
    for mark in ("<script", "<img", '<a href="http', '<a href="javascript', "<strong>", "<code>code"):
        assert mark not in page


def test_by_the_name_of_the_file_it_is_markdown(tmp_path: Path) -> None:
    write_change_report(REPORT, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert text.startswith("# anna: what the change does\n\n- acme: Better for certain")
    assert "@somebody" not in text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_cell_holds_any_text_and_nothing_but_it(text: str) -> None:
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    table = f"| a | b |\n|---|---|\n| x{cell(text)}x | y |"
    tokens = markdown.parse(table)
    assert [token.type for token in tokens].count("td_open") == 2
    (inline,) = [token for token in tokens if token.type == "inline" and token.content.startswith("x")]
    assert {child.type for child in inline.children or []} <= {"text", "text_special", "softbreak", "html_entity"}


@pytest.mark.parametrize("name", ["tickets_opened_7d", "seats: 3 → 4"])
def test_plain_names_stay_as_they_are(name: str) -> None:
    assert cell(name) == name
