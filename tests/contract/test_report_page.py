"""The report as a page, opened in a real browser without a window."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from pipeline.companies import parse_definition
from pipeline.integrations.metabase.definition_files import load_definitions, marts_read
from pipeline.integrations.metabase.scopes import CompanyFacts, Scope, tailored_dashboards
from pipeline.telling.charts import at_axis, number_written, series_of
from pipeline.telling.report import Block, fill_table, report_html, write_report
from tests.conftest import TestServer
from tests.contract.test_dashboards_marts import fill
from tests.integration.dbt_project.dbt_runs import warehouse_for_a_module
from warehouse.companies.registry import add_company
from warehouse.connection import Warehouse
from warehouse.settings import Settings

pytestmark = pytest.mark.xdist_group("dashboards_marts")

NAME = "Zawadi & <Sons>"
PATIENCE_SECONDS = 60
TITLES = [
    card.name
    for dashboard in tailored_dashboards(load_definitions(), Scope(CompanyFacts(1, "zawadi", NAME, "EUR")))
    for card in dashboard.cards.values()
]


@pytest.fixture(scope="module")
def warehouse(postgres: TestServer, marts_template: str) -> Iterator[Warehouse]:
    """Marts with a few rows of one company, and none of another."""
    with warehouse_for_a_module(postgres, marts_template) as warehouse:
        with warehouse.connect() as connection:
            connection.execute("alter table ops.companies alter company_id restart with 7201")
            tasks = {"zawadi": {"churn": {"kind": "cancellation"}}, "fresh": {"churn": {"kind": "cancellation"}}}
            names = {"zawadi": NAME, "fresh": "Fresh Start", "helpdesk": "Help Desk"}
            for slug, name in names.items():
                definition = {"slug": slug, "name": name, "connector": "files", "currency": "EUR"}
                said = definition | {"tasks": tasks.get(slug, {"support": {}})}
                company = add_company(connection, parse_definition(said), "tests")
                if slug == "zawadi":
                    facts = CompanyFacts(company.company_id, slug, name, "EUR")
            for mart in marts_read():
                fill(connection, mart, (facts,))
        yield warehouse


@pytest.fixture(scope="module")
def browser() -> str:
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("there is no chromium here, so the report is not opened in a browser")
    return executable


def opened(browser: str, page: Path, profile: Path) -> str:
    """The page as the browser has it after loading; fails where the browser complains of anything in it."""
    done = subprocess.run(
        [
            *(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--enable-logging=stderr", f"--user-data-dir={profile}", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []
    return done.stdout


def readable_text(dom: str) -> str:
    """What a reader reads."""
    return html.unescape(
        re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", dom, flags=re.S)))
    )


def test_a_company_without_churn_has_a_report_too(warehouse: Warehouse, tmp_path: Path) -> None:
    """It was refused for want of a horizon."""
    page = report_html(Settings(home=tmp_path), warehouse, "helpdesk")
    assert "Help Desk" in page
    assert "days after it" not in page


@pytest.mark.parametrize("slug", ["zawadi", "fresh"], ids=["with rows", "without any"])
def test_the_page_opens_with_every_cards_title_and_no_error(
    warehouse: Warehouse, browser: str, tmp_path: Path, slug: str
) -> None:
    page = tmp_path / "report.html"
    write_report(Settings(home=tmp_path), warehouse, slug, page)

    text = readable_text(opened(browser, page, tmp_path / "profile"))

    assert [title for title in TITLES if title not in text] == []
    if slug == "zawadi":
        assert f"Churn report: {NAME}" in text
        assert "€12" in text
        assert "Somebody" in text
        assert text.count("There is nothing to show here yet.") == 0
    else:
        assert "Nothing has been scored yet." in text
        assert "There is nothing to show here yet." in text
        assert "There is no scored customer to show here." in text
    for word in ("None", "NaN", "nan", "Traceback", "{{", "[["):
        assert word not in text.replace("None of", "")
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []


def test_the_page_needs_no_network_no_script_and_no_other_file(warehouse: Warehouse, tmp_path: Path) -> None:
    page = report_html(Settings(home=tmp_path), warehouse, "zawadi")

    assert not re.search(r"<script|<link|<img|@import|src=|url\((?!#)", page)
    assert not re.search(r"""(?:href|src)=["'](?!#)""", page.replace("xlink:href", "href"))
    assert len(page) < 1_000_000


def test_a_report_of_a_past_month_shows_nothing_that_came_after(warehouse: Warehouse, tmp_path: Path) -> None:
    page = readable_text(report_html(Settings(home=tmp_path), warehouse, "zawadi", last_month=date(2026, 1, 1)))

    assert "Up to January 2026." in page
    assert "It speaks of today only" in page
    assert "Feb 26" not in page
    assert [title for title in TITLES if title not in page] == []


def test_numbers_are_written_with_their_unit() -> None:
    assert number_written(1234.5, {"number_style": "currency", "currency": "EUR", "decimals": 0}) == "€1,234"
    assert number_written(-1234.5, {"number_style": "currency", "currency": "KES", "decimals": 2}) == "−KES 1,234.50"
    assert number_written(0.1234, {"number_style": "percent", "decimals": 1}) == "12.3%"
    assert number_written(1_250_000, {}, short=True) == "1.2M"
    assert number_written(3.0, {}) == "3"


@pytest.mark.parametrize(
    ("key", "months", "places"),
    [
        ("risk_levels_by_month", [date(2025, 11, 1), date(2026, 2, 1)], 4),
        ("risk_movements", [date(2025, 11, 1), date(2025, 12, 1), date(2026, 2, 1)], 4),
        ("revenue_retention", [date(2025, 1, 1), date(2025, 10, 1)], 4),
    ],
)
def test_months_without_a_value_are_a_gap_in_a_chart_and_not_left_out(
    key: str, months: list[date], places: int
) -> None:
    (card,) = [card for card in load_definitions().cards() if card.key == key]
    columns = [*card.visualization_settings["graph.dimensions"], *card.visualization_settings["graph.metrics"]]
    rows = [dict.fromkeys(columns, 1) | {columns[0]: month} for month in months]
    drawn, series = series_of(card, rows)
    assert (drawn[0], drawn[-1], len(drawn)) == (months[0], months[-1], places)
    for values in series.values():
        assert [month for month, value in zip(drawn, values, strict=True) if value is not None] == months


def test_whole_numbers_beside_an_axis_are_written_as_such() -> None:
    assert [at_axis(text) for text in ("12.0%", "1.5%", "2,000.0", "€1.0M", "10")] == [
        "12%",
        "1.5%",
        "2,000",
        "€1M",
        "10",
    ]


def test_a_column_without_a_value_takes_no_room_and_what_is_missing_stands_where_a_number_would() -> None:
    (card,) = [card for card in load_definitions().cards() if card.key == "tickets"]
    rows = [
        {"opened_at": date(2026, 1, 2), "subject": "Late", "first_response_hours": None, "satisfaction": None},
        {"opened_at": date(2026, 1, 1), "subject": "Lost", "first_response_hours": 2.5, "satisfaction": None},
    ]
    listed = [{"name": name, "enabled": True} for name in rows[0]]
    settings = card.visualization_settings | {"table.columns": listed}
    block = Block("Tickets", "")

    fill_table(block, card.model_copy(update={"visualization_settings": settings}), rows)

    assert block.table is not None
    assert len(block.header) == 3
    assert [[cell.is_number for cell in row] for row in block.table] == [[False, False, True]] * 2


def test_a_table_across_many_columns_takes_the_pages_width() -> None:
    (card,) = [card for card in load_definitions().cards() if card.key == "cohorts"]
    settings = card.visualization_settings
    pivot, cell = settings["table.pivot_column"], settings["table.cell_column"]
    for columns, is_wide in ((8, False), (9, True)):
        rows = [{"cohort": date(2026, 1, 1), pivot: at, cell: 0.5} for at in range(columns - 1)]
        block = Block("Cohorts", "")
        fill_table(block, card, rows)
        assert block.is_wide is is_wide
