"""A customer's id or a company's name is a formula, markup or a sequence that a terminal obeys: it stays text."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.markup import escape
from rich.table import Table

from orchestration.cli import terminal
from orchestration.console import TextConsole, as_text
from tests.integration.conftest import Churn
from tests.integration.published import FIRST_DAY, Score, publish
from warehouse.connection import Warehouse

FORMULAS = ["=HYPERLINK(1)", "+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", " =1", "＝1+1", "\n=1", "\x01=1"]
PLAIN = ["c1", "a=b", "x-1", "é@x", "\x1b[31mred", 'quote"d', "two\nlines", "01"]


@pytest.mark.parametrize("kind", [["csv"], ["csv", "--snapshot"], ["csv", "--since", "0"]], ids=str)
def test_no_cell_of_a_csv_begins_as_a_formula_does(
    kind: list[str], churn: Churn, warehouse: Warehouse, add_company: Callable[..., Any]
) -> None:
    publish(warehouse, add_company("acme").company_id, FIRST_DAY, dict.fromkeys(FORMULAS + PLAIN, Score(0.5)))
    name, *options = kind
    exported = churn("export", "--company", "acme", "--format", name, *options).stdout
    rows = list(csv.DictReader(io.StringIO(exported, newline="")))
    assert len(rows) == len(FORMULAS + PLAIN)
    for row in rows:
        for cell in row.values():
            assert not any(unicodedata.category(character) == "Cc" for character in cell)
        assert row["customer_id"].lstrip()[0] not in "=+-@＝"
    ids = {row["customer_id"] for row in rows}
    assert {"c1", "a=b", "x-1", "é@x", "?[31mred", 'quote"d', "two\\nlines", "01", "'=HYPERLINK(1)", "'-2+3"} <= ids


@pytest.mark.parametrize("format", ["raw-csv", "jsonl"])
def test_programs_get_every_text_as_it_is(
    format: str, churn: Churn, warehouse: Warehouse, add_company: Callable[..., Any]
) -> None:
    wanted = [text for text in FORMULAS + PLAIN if "\r" not in text]
    publish(warehouse, add_company("acme").company_id, FIRST_DAY, dict.fromkeys(wanted, Score(0.5)))
    exported = churn("export", "--company", "acme", "--format", format).stdout
    if format == "jsonl":
        ids = [json.loads(line)["customer_id"] for line in exported.splitlines()]
    else:
        ids = [row["customer_id"] for row in csv.DictReader(io.StringIO(exported, newline=""))]
    assert sorted(ids) == sorted(wanted)


def obeyed(text: str) -> list[str]:
    return [
        each
        for each in text
        if unicodedata.category(each) in {"Cc", "Cf", "Zl", "Zp"} and each not in "\n\t\u00ad\u200c\u200d"
    ]


@given(st.text(max_size=80))
def test_nothing_that_a_terminal_obeys_is_printed(text: str) -> None:
    for force_terminal in (True, False):
        written = io.StringIO()
        console = TextConsole(file=written, force_terminal=force_terminal, no_color=True, width=500, soft_wrap=True)
        table = Table(box=None)
        table.add_column("id")
        table.add_row(escape(text))
        console.print(escape(text))
        console.print(table)
        printed = written.getvalue().encode("utf-8", "replace").decode()
        for own in ("\x1b[1m", "\x1b[0m"):
            printed = printed.replace(own, "")
        assert obeyed(printed) == []


def test_codes_of_emoji_and_markup_stay_as_they_were_written() -> None:
    written = io.StringIO()
    console = TextConsole(file=written, width=200)
    console.print(escape(":smile: [red]x[/red] [link=http://evil.example]y[/link]"))
    assert written.getvalue() == ":smile: [red]x[/red] [link=http://evil.example]y[/link]\n"
    assert as_text("\x1b]0;owned\x07 \u202e") == "\\x1b]0;owned\\x07 \\u202e"


def test_every_command_prints_by_that_console() -> None:
    assert isinstance(terminal.console, TextConsole)
    assert isinstance(terminal.errors, TextConsole)


NAME = "[bold]Acme[/bold] :smile: \u202e [/]"


@pytest.mark.parametrize(
    "command", [("company", "list"), ("company", "show", "acme"), ("company", "remove", "acme")], ids=str
)
def test_a_companys_name_is_shown_as_it_is(
    command: tuple[str, ...], churn: Churn, add_company: Callable[..., Any]
) -> None:
    add_company("acme", name=NAME)
    output = churn(*command, typed="no\n").output
    assert "[bold]Acme[/bold] :smile:" in output
    assert obeyed(output) == []
