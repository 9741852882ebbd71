"""The page says what was found, by whom, and what a snapshot cannot say; a stranger's text stays text."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.trying.page import how_it_was_read, page_html, verdict, write_page
from pipeline.trying.scores_file import write_scores
from pipeline.trying.trial import Trial, TrialSettings, try_file
from tests.unit.pipeline.trying.customers_table import customers_table

HOSTILE = "<script>alert(1)</script>"


def tried(frame: pd.DataFrame, folder: Path) -> Trial:
    frame.to_csv(folder / "table.csv", index=False)
    return try_file(folder / "table.csv", TrialSettings("churn"), lambda _: True)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """With a formula for an id, markup in a name and in values, and a leak."""
    table = customers_table(400)
    table.loc[0, "customer_id"] = "=cmd|'/c calc'!A1"
    table["$x_{1}$ " + HOSTILE] = np.where(table["tenure"] > 20, HOSTILE, "plain")
    table["left_on"] = np.where(table["churn"] == "Yes", "2024-12-01", "")
    table["mail"] = [f"c{number}@example.org" for number in range(400)]
    return tried(table, tmp_path_factory.mktemp("page"))


def words_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_the_page_has_everything_that_a_reader_needs(trial: Trial) -> None:
    page = words_of(page_html(trial))

    for title in ("What can be told", "Promised and kept", "Lift by tenth", "What moves the scores", "Most at risk"):
        assert title in page
    assert f"{trial.validation.best.metrics['auc']:.3f}" in page
    assert "left_on may come of the outcome is filled only where churn is Yes" in page
    assert "holds e-mail addresses" in page
    assert "A snapshot does not say" in page
    assert "When anybody leaves." in page
    assert "Whether a column was known before." in page
    assert "A history in the warehouse adds" in page


def test_the_page_needs_nothing_from_outside_and_runs_nothing(trial: Trial) -> None:
    page = page_html(trial)

    assert "<script" not in page
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", page)
    assert "default-src 'none'" in page


def test_those_most_at_risk_have_not_left_and_come_in_order(trial: Trial) -> None:
    page = page_html(trial)
    section = page[page.index('id="customers"') : page.index('id="columns"')]
    names = re.findall(r"<tr><td>(.*?)</td>", section)
    shares = [float(share) for share in re.findall(r'class="n">([\d.]+)%</td>', section)]
    outcomes = dict(zip(trial.names, trial.outcome.texts, strict=True))

    assert len(names) == 25
    assert shares == sorted(shares, reverse=True)
    assert {outcomes.get(name, "No") for name in names} == {"No"}


def test_who_is_not_known_yet_is_counted(tmp_path: Path) -> None:
    table = customers_table(200)
    table.loc[0, "churn"] = None
    trial = tried(table, tmp_path)

    assert "The outcome of 1 row is not known yet: it did not teach, and has a score." in how_it_was_read(trial)
    table.loc[1, "churn"] = None
    again = tried(table, tmp_path)
    assert "The outcome of 2 rows is not known yet: they did not teach, and have a score." in how_it_was_read(again)


def test_noise_gets_no_list_of_customers(tmp_path: Path) -> None:
    table = customers_table(300)
    table["churn"] = np.random.default_rng(1).choice(["Yes", "No"], 300)
    trial = tried(table, tmp_path)

    page = words_of(page_html(trial))

    assert "do not tell" in verdict(trial)
    assert "a list would be a lottery" in page


def test_few_outcomes_are_said_to_be_few(tmp_path: Path) -> None:
    trial = tried(customers_table(60, seed=5), tmp_path)

    assert trial.is_thin
    assert "are few" in words_of(page_html(trial))


def test_files_are_their_owners_alone_and_cells_are_no_formulas(trial: Trial, tmp_path: Path) -> None:
    page, scores = tmp_path / "page.html", tmp_path / "scores.csv"

    write_page(trial, page)
    write_scores(trial, scores)

    assert {oct(path.stat().st_mode)[-3:] for path in (page, scores)} == {"600"}
    rows = list(csv.DictReader(io.StringIO(scores.read_text())))
    assert len(rows) == 400
    assert rows[0]["customer_id"] == "'=cmd|'/c calc'!A1"
    assert not [cell for row in rows for cell in row.values() if cell[:1] in {*"=+-@"}]
