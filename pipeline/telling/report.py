"""One company's dashboards as one HTML page: the same files and SQL as in Metabase, read as the company reads them.

The page needs no server, no network and no script, so that it can be mailed and kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
from markdown_it import MarkdownIt
from markupsafe import Markup
from psycopg.rows import dict_row

from foundation.private_files import private_file
from pipeline.integrations.metabase.definition_files import load_definitions
from pipeline.integrations.metabase.definitions import CardDefinition, DashboardDefinition
from pipeline.integrations.metabase.filled_sql import filled_sql
from pipeline.integrations.metabase.scopes import CompanyFacts, Scope, tailored_dashboards
from pipeline.prediction.tasks import churn_settings_of
from pipeline.telling import charts as report_charts
from pipeline.telling.pages import LOOK, rendered
from warehouse.companies.registry import get_company
from warehouse.connection import Warehouse
from warehouse.roles import Role, take_on_company_login
from warehouse.settings import Settings

TOP_CUSTOMERS = 3
CUSTOMER = "customer"
MOST_TABLE_ROWS = 25
TIME_COLUMNS = ("month", "quarter_start", "as_of_date", "started_date")
Rows = list[dict[str, Any]]


@dataclass
class Cell:
    """One cell of a table: its text, whether they are a number, and its colours."""

    text: str
    is_number: bool = False
    chip: str | None = None
    shade: str | None = None
    is_wrapped: bool = False


@dataclass
class Block:
    """One card on the page; exactly one of svg, table, facts, number is set, or `empty` says why there is nothing."""

    title: str
    description: str
    is_wide: bool = False
    empty: str | None = None
    svg: Markup | None = None
    header: list[str] = field(default_factory=list)
    table: list[list[Cell]] | None = None
    note: str | None = None
    facts: list[tuple[str, str]] | None = None
    number: str | None = None
    change: str | None = None
    is_bad: bool = False
    is_good: bool = False


@dataclass
class Section:
    """One dashboard on the page."""

    key: str
    title: str
    description: str
    numbers: list[Block] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    people: list[tuple[str, list[Block]]] = field(default_factory=list)
    text: Markup | None = None


def write_report(
    settings: Settings, warehouse: Warehouse, slug: str, path: Path, *, last_month: date | None = None
) -> None:
    """Write the page; it takes its name only when all of it is written. Raises CompanyNotFound for an unknown slug."""
    with private_file(path) as file:
        file.write(report_html(settings, warehouse, slug, last_month=last_month).encode())


def report_html(settings: Settings, warehouse: Warehouse, slug: str, *, last_month: date | None = None) -> str:  # noqa: ARG001 - a report will say where Metabase is
    """The page. `last_month` (the first day of a month) leaves out what came after it."""
    with warehouse.connect() as connection:
        company = get_company(connection, slug)
        take_on_company_login(connection, company.company_id, Role.company)
        connection.commit()
        churn = churn_settings_of(company)
        facts = CompanyFacts(company.company_id, company.slug, company.name, company.currency)
        dashboards = tailored_dashboards(load_definitions(), Scope(facts))
        last_day = None if last_month is None else end_of(last_month)
        reader = Reader(connection, last_day)
        sections = [section_of(dashboard, reader) for dashboard in dashboards]
        as_of = reader.data_date()
    return rendered(
        LOOK,
        "report.html.j2",
        company=facts,
        sections=sections,
        as_of=as_of,
        last_month=last_month,
        horizon_days=churn.horizon_days if churn else None,
    )


def end_of(month: date) -> date:
    """The last day of the month that starts on that day."""
    return (month.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


class Reader:
    """Runs cards as one company; `last_day` cuts off what came after it."""

    def __init__(self, connection: psycopg.Connection[Any], last_day: date | None) -> None:
        self._connection = connection
        self._last_day = last_day

    def rows(self, card: CardDefinition, filters: Mapping[str, Any]) -> Rows | None:
        """The card's rows; None where it speaks of today only and the report of a past month."""
        chosen = {name: value for name, value in filters.items() if name in card.template_tags}
        if self._last_day is not None and "month" in card.template_tags:
            chosen["month"] = (None, self._last_day)
        with self._connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(filled_sql(card, chosen)).fetchall()
        self._connection.rollback()
        if self._last_day is None or "month" in chosen:
            return rows
        column = next((name for name in TIME_COLUMNS if rows and name in rows[0]), None)
        if column is None:
            return None if rows else []
        return [row for row in rows if row[column] <= self._last_day]

    def data_date(self) -> date | None:
        """The day of the newest published scores."""
        row = self._connection.execute("select max(as_of_date) from analytics.publication_history").fetchone()
        self._connection.rollback()
        return None if row is None else row[0]

    def customers_at_stake(self) -> list[tuple[str, str]]:
        """(customer, name) of those with the most at stake; none in a report of a past month."""
        if self._last_day is not None:
            return []
        row = self._connection.execute(
            "select customer_id, coalesce(customer_name, customer_id) from analytics.customer_overview"
            " where value_at_stake is not null order by value_at_stake desc, customer_id limit %s",
            [TOP_CUSTOMERS],
        ).fetchall()
        self._connection.rollback()
        return [(customer_id, name) for customer_id, name in row]


def section_of(dashboard: DashboardDefinition, reader: Reader) -> Section:
    """One dashboard as a section, with what its filters start with. What it borrows stands in another section."""
    section = Section(dashboard.key, dashboard.name, without_clicks(dashboard.description))
    wide = {dashcard.card for dashcard in dashboard.dashcards if dashcard.size_x > 14}
    defaults = {parameter.id: parameter.default for parameter in dashboard.parameters if parameter.default}
    texts = [dashcard.text for dashcard in dashboard.dashcards if dashcard.text]
    if texts:
        html = MarkdownIt().render(without_clicks("\n\n".join(texts)))
        section.text = Markup(html)  # noqa: S704 - our own files
    if dashboard.key == CUSTOMER:
        section.description = f"The {TOP_CUSTOMERS} customers with the most at stake, one by one."
        for customer_id, name in reader.customers_at_stake():
            chosen = {"customer": customer_id}
            blocks = [block_of(card, reader.rows(card, chosen), wide) for card in dashboard.own_cards()]
            section.people.append((name, blocks))
        if not section.people:
            section.blocks = [
                Block(card.name, card.description, empty="There is no scored customer to show here.")
                for card in dashboard.own_cards()
            ]
        return section
    for card in dashboard.own_cards():
        block = block_of(card, reader.rows(card, defaults), wide)
        (section.numbers if card.display in {"scalar", "smartscalar"} else section.blocks).append(block)
    return section


def block_of(card: CardDefinition, rows: Rows | None, wide: set[str | None]) -> Block:
    """One card with its rows."""
    block = Block(card.name, without_clicks(card.description), is_wide=card.key in wide and card.display == "table")
    if rows is None:
        block.empty = "It speaks of today only, so it is left out of a report of a past month."
    elif not rows or is_blank(card, rows):
        block.empty = "There is nothing to show here yet."
    elif card.display in {"scalar", "smartscalar"}:
        fill_number(block, card, rows)
    elif card.display == "object":
        block.facts = [
            (
                title_of(card, column),
                report_charts.written(rows[0][column], report_charts.column_settings(card, column)),
            )
            for column in visible_columns(card, rows)
            if rows[0][column] is not None
        ]
    elif card.display == "table":
        fill_table(block, card, rows)
    else:
        block.svg = Markup(report_charts.chart(card, rows))  # noqa: S704 - made by matplotlib, which escapes text
    return block


def without_clicks(text: str) -> str:
    """A description without the sentences on filters and clicks, which a page has not."""
    return re.sub(
        r"(^|(?<=\.)\s+|(?<=\n))(Follows|Click|Choose|The filters|Without a choice)\b[^.]*\.", "", text
    ).strip()


def is_blank(card: CardDefinition, rows: Rows) -> bool:
    """Whether a chart or number has no value to show."""
    settings = card.visualization_settings
    metrics = settings.get("graph.metrics") or ([settings["scalar.field"]] if "scalar.field" in settings else [])
    return bool(metrics) and all(row[metric] is None for row in rows for metric in metrics)


def fill_number(block: Block, card: CardDefinition, rows: Rows) -> None:
    """The newest value large, and beside it the change from the one before."""
    settings = card.visualization_settings
    column = settings["scalar.field"]
    how = report_charts.column_settings(card, column)
    values = [row[column] for row in rows if row[column] is not None]
    block.number = report_charts.written(values[-1], how)
    if card.display != "smartscalar" or len(values) < 2:
        return
    newest, before = float(values[-1]), float(values[-2])
    difference = newest - before
    if how.get("number_style") == "percent":
        amount = f"{abs(difference) * 100:.1f} points"
    else:
        amount = report_charts.written(abs(difference), how)
    arrow = "▲" if difference > 0 else "▼" if difference < 0 else "＝"
    at = rows[-2].get("month")
    since = f" since {at:%b %Y}" if isinstance(at, date) else ""
    block.change = f"{arrow} {amount}{since}" if difference else f"no change{since}"
    is_up_bad = bool(settings.get("scalar.switch_positive_negative"))
    block.is_bad = difference != 0 and (difference > 0) == is_up_bad
    block.is_good = difference != 0 and not block.is_bad
    block.svg = Markup(report_charts.sparkline([float(value) for value in values[-24:]], card.name))  # noqa: S704


def visible_columns(card: CardDefinition, rows: Rows) -> list[str]:
    """The columns that a table shows, in its order."""
    listed = card.visualization_settings.get("table.columns")
    return [column["name"] for column in listed if column["enabled"]] if listed else list(rows[0])


def title_of(card: CardDefinition, column: str) -> str:
    """A column's title."""
    return str(report_charts.column_settings(card, column).get("column_title", column.replace("_", " ")))


def fill_table(block: Block, card: CardDefinition, rows: Rows) -> None:
    """A table, or with table.pivot one column per value of its pivot column."""
    if card.visualization_settings.get("table.pivot"):
        fill_pivot(block, card, rows)
        return
    listed = visible_columns(card, rows)
    # A page is as wide as its paper: a column that says nothing takes no room on it.
    columns = [column for column in listed if any(row[column] is not None for row in rows)] or listed
    block.header = [title_of(card, column) for column in columns]
    block.table = [[cell_of(card, column, row[column]) for column in columns] for row in rows[:MOST_TABLE_ROWS]]
    align_numbers(block.table)
    block.is_wide = block.is_wide or len(columns) > 6
    if len(rows) > MOST_TABLE_ROWS:
        block.note = f"The first {MOST_TABLE_ROWS} of {len(rows)}."


def fill_pivot(block: Block, card: CardDefinition, rows: Rows) -> None:
    """Rows by the column that is left, columns by the pivot column, both in the order that they come in."""
    pivot, cell = (card.visualization_settings[key] for key in ("table.pivot_column", "table.cell_column"))
    (side,) = [column for column in rows[0] if column not in {pivot, cell}]
    across = list(dict.fromkeys(row[pivot] for row in rows))
    if all(isinstance(value, int) for value in across):
        across.sort()
    values = {(row[side], row[pivot]): row[cell] for row in rows}
    block.header = [title_of(card, side), *(report_charts.written(value, {}) for value in across)]
    if all(isinstance(value, int) for value in across):
        block.note = f"Across: {title_of(card, pivot).lower()}."
    block.table = [
        [
            cell_of(card, side, down),
            *(cell_of(card, cell, values[down, value]) if (down, value) in values else Cell("") for value in across),
        ]
        for down in dict.fromkeys(row[side] for row in rows)
    ]
    align_numbers(block.table)
    block.is_wide = block.is_wide or len(block.header) > 8


def align_numbers(table: list[list[Cell]]) -> None:
    """What is missing stands in a column of numbers where a number would."""
    for at in range(len(table[0])):
        column = [row[at] for row in table]
        if any(cell.is_number for cell in column):
            for cell in column:
                cell.is_number = True


def cell_of(card: CardDefinition, column: str, value: Any) -> Cell:
    """A cell with the colour that the card's formatting gives it."""
    is_number = isinstance(value, int | float) or type(value).__name__ == "Decimal"
    how = report_charts.column_settings(card, column)
    cell = Cell(report_charts.written(value, how), is_number=is_number, is_wrapped=bool(how.get("text_wrapping")))
    for rule in formatting_of(card, column):
        if rule["type"] == "range" and is_number:
            low, high = float(rule["min_value"]), float(rule["max_value"])
            share = min(max((float(value) - low) / (high - low), 0.0), 1.0)
            cell.shade = f"color-mix(in srgb, {rule['colors'][-1]} {share:.0%}, {rule['colors'][0]})"
        elif rule["type"] == "single" and meets(value, rule["operator"], rule["value"]):
            cell.chip = rule["color"]
    return cell


def formatting_of(card: CardDefinition, column: str) -> Iterator[Mapping[str, Any]]:
    """The rules that colour a column."""
    rules: Sequence[Mapping[str, Any]] = card.visualization_settings.get("table.column_formatting", [])
    return (rule for rule in rules if column in rule["columns"])


def meets(value: Any, operator: str, wanted: Any) -> bool:
    """Whether a rule applies."""
    if value is None:
        return False
    return bool(value == wanted if operator == "=" else float(value) > float(wanted))
