"""`churn record`: past months are replayed and shown, and the summary of a run says it in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from orchestration.cli.main import app
from orchestration.cli.summary import print_summary
from orchestration.cli.terminal import console
from pipeline.prediction.card import with_track_record
from tests.integration.conftest import Churn, TwoCompanies
from warehouse.prediction.feature_store import FeaturesNotBuilt

pytestmark = pytest.mark.xdist_group("two_companies")


TABLES = ("track_record_months", "track_record", "track_record_grades")


@pytest.fixture
def record(two_companies: TwoCompanies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoCompanies]:
    """Two companies of which nothing was replayed; what was before stands there again afterwards."""
    monkeypatch.setenv("CHURN_DATABASE_URL", two_companies.warehouse.url("postgresql"))
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    monkeypatch.setattr(console, "_width", 200)
    nothing = f"truncate {', '.join(f'ml.{table}' for table in TABLES)}"
    with two_companies.warehouse.connect() as connection:
        connection.execute("create schema kept")
        for table in TABLES:
            connection.execute(f"create table kept.{table} as table ml.{table}")  # type: ignore[call-overload]
        connection.execute(nothing)  # type: ignore[call-overload]
    yield two_companies
    with two_companies.warehouse.connect() as connection:
        connection.execute(nothing)  # type: ignore[call-overload]
        for table in TABLES:
            connection.execute(f"insert into ml.{table} table kept.{table}")  # type: ignore[call-overload]
        connection.execute("drop schema kept cascade")


def _typed(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.exception or result.output
    return result.output


def test_months_are_replayed_shown_and_told_in_the_summary(record: TwoCompanies) -> None:
    told = _typed("record", "--company", "subscriptions", "--months", "4")
    assert "subscriptions, replayed" in told
    assert "4 months replayed now." in told
    assert "Replayed, " in told
    assert "0 months replayed now." in _typed("record", "--company", "subscriptions", "--months", "4")

    own = record.company_ids[0]
    with record.warehouse.connect() as connection:
        months = connection.execute(
            "select company_id, count(*) from ml.track_record_months group by company_id"
        ).fetchall()
        connection.execute(
            "update ml.track_record_grades set entities_with_outcome = 40, entities_named = 20, named_share = 0.5,"
            " named_share_low = 0.35, named_share_high = 0.65, high_risk = 30, high_risk_kept = 0.7,"
            " high_risk_kept_low = 0.6, high_risk_kept_high = 0.8, first_month = '2025-01-01',"
            " last_month = '2025-06-01' where as_of_month is null"
        )
        terminal = Console(width=300, record=True, quiet=False, file=None)
        with terminal.capture() as summary:
            print_summary(connection, terminal, "no run")
    assert months == [(own, 4)]
    assert (
        "subscriptions: Replayed, Jan 2025 to Jun 2025: of the customers that would have been put at high risk in a "
        "month, 70% (60% to 80%) left within 30 days; of 100 who left, 50 (35 to 65) would have been named."
    ) in " ".join(summary.get().split())


def test_before_the_first_run_the_message_says_what_to_do(churn: Churn) -> None:
    with pytest.raises(FeaturesNotBuilt, match="`churn run`"):
        churn("record")


def test_the_card_carries_the_sentence_before_its_limits() -> None:
    page = with_track_record("<h2>Data</h2><h2>Limits</h2>", "Replayed: 3 < 4.")
    assert page.index("Replayed: 3 &lt; 4.") < page.index("<h2>Limits</h2>")
    assert "Track record, replayed" in page
