"""`churn doctor` finds what is not in order, names it, and says what helps; where all is well it ends with 0."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestration.cli.main import app
from tests.integration.conftest import Churn
from tests.integration.published import Score, publish
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse

TODAY = datetime.now(UTC).date()


@pytest.fixture
def look(churn: Churn) -> Callable[[], tuple[int, dict[str, dict[str, object]]]]:
    """Ask the doctor: its exit code, and its findings by subject."""

    def ask() -> tuple[int, dict[str, dict[str, object]]]:
        asked = churn("doctor", "--json")
        return asked.exit_code, {finding["subject"]: finding for finding in json.loads(asked.stdout)}

    return ask


@pytest.fixture
def well(warehouse: Warehouse, lone_acme: Company) -> Company:
    """A company of which every table was loaded, a step ran, and scores stand."""
    publish(warehouse, lone_acme.company_id, TODAY, {"c1": Score(0.5)})
    with warehouse.connect() as conn:
        for entity in lone_acme.entities:
            conn.execute(
                "insert into ops.load_log (company_id, entity, is_backfill, status, known_at, finished_at)"
                " values (%s, %s, false, 'succeeded', now(), now())",
                [lone_acme.company_id, entity],
            )
        conn.execute(
            "insert into ops.run_log (company_id, stage, status, started_at, finished_at)"
            " values (%s, 'score', 'succeeded', now(), now())",
            [lone_acme.company_id],
        )
    return lone_acme


def test_where_all_is_well_it_ends_with_0(well: Company, look, churn: Churn) -> None:
    code, findings = look()
    assert {subject for subject, finding in findings.items() if not finding["is_well"]} == set()
    assert code == 0
    assert not any(finding["helps"] for finding in findings.values())
    assert "✗" not in churn("doctor").stdout


FAULTS = {
    "loads": ("delete from ops.load_log", "never loaded", "churn sync"),
    "last run": ("update ops.run_log set finished_at = now() - interval '3 days'", "a step ended at", "churn run"),
    "quarantine": (
        "insert into ops.quarantines (company_id, step, reason, made_by) select company_id, 'dbt', 'it breaks', 'x'"
        " from ops.companies where slug = 'acme'",
        "acme is left out",
        "churn company release",
    ),
    "secrets": (
        "update ops.companies set connector_settings = connector_settings || "
        """'{"api_key": "env:CHURN_SOURCE_ACME__NOWHERE"}'""",
        "acme, api_key",
        "docs/companies.md",
    ),
    "companies": ("update ops.companies set is_active = false", "none is active", "churn company add"),
    "schema": ("update ops.alembic_version set version_num = '0029'", "revision 0029", "churn migrate"),
}


@pytest.mark.parametrize("subject", sorted(FAULTS))
def test_a_fault_is_named_with_what_helps(subject: str, warehouse: Warehouse, well: Company, look) -> None:
    statement, says, helps = FAULTS[subject]
    with warehouse.connect() as conn:
        conn.execute(statement)
    code, findings = look()
    assert code == 1
    assert {name for name, finding in findings.items() if not finding["is_well"]} == {subject}
    assert says in str(findings[subject]["says"])
    assert helps in str(findings[subject]["helps"])


def test_a_company_without_scores_is_named(
    warehouse: Warehouse, well: Company, add_company: Callable[..., Company], look
) -> None:
    add_company("young", clock_at=datetime.now(UTC) - timedelta(days=900))
    _, findings = look()
    assert findings["scores"]["says"] == "young has none"


def test_what_does_not_run_is_named_and_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_HOME", str(tmp_path / "home"))
    asked = CliRunner().invoke(app, ["doctor"])
    assert asked.exit_code == 1
    assert "not created" in asked.stdout
    assert "churn up" in asked.stdout
    assert not (tmp_path / "home").exists()


def test_a_server_that_is_not_to_be_reached_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    monkeypatch.setenv("CHURN_DATABASE_URL", "postgresql://owner@127.0.0.1:1/churn")
    asked = CliRunner().invoke(app, ["doctor"])
    assert asked.exit_code == 1
    assert "Cannot connect" in asked.stdout
