"""Grades and drift of a company's scores, from the warehouse's tables to the figures, and what they set off."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from ml_assets.judging.drift import TOGETHER
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.retraining import cause_to_train, train_where_due
from pipeline.prediction.tasks import task_named
from pipeline.prediction.training import Trainer
from pipeline.watching.grades_and_drift import grade_company
from pipeline.watching.verdicts import broken_promises, drifted_companies, open_holds
from tests.integration.conftest import Churn
from tests.integration.pipeline.watching.conftest import FIRST, NOW, SECOND
from tests.integration.published import Score, publish, stage
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.errors import CompanyNotFound
from warehouse.prediction.drift_log import DriftRow, record_drift
from warehouse.prediction.model_log import Cause
from warehouse.prediction.score_grades import read_grades
from warehouse.prediction.shadow_grades import read_shadow_grades
from warehouse.publication.holds import NotHeld, hold
from warehouse.roles import Role
from warehouse.settings import Settings

pytestmark = pytest.mark.xdist_group("mlflow")

CHURN = task_named("churn")


def _label(
    warehouse: Warehouse, company: Company, day: date, churned: set[str], *, version: int = 1, known_days: int = 31
) -> None:
    with warehouse.connect() as conn:
        conn.cursor().executemany(
            "insert into features.churn_label_versions values (%s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    company.company_id,
                    customer,
                    day,
                    "churned" if customer in churned else "retained",
                    version,
                    customer in churned,
                    datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=known_days),
                )
                for customer in [f"c{number}" for number in range(10)]
            ],
        )


def _grades(warehouse: Warehouse, company: Company) -> dict[tuple[str | None, str], tuple[int, int]]:
    with warehouse.connect(Role.ml) as conn:
        return {
            (str(row.as_of_month) if row.as_of_month else None, row.segment): (row.scores, row.outcomes)
            for row in read_grades(conn, company.company_id, "churn")
            if row.model_version == row.evidence_level == "all"
        }


def test_scores_are_graded_once_when_their_labels_mature_and_again_when_these_are_corrected(
    warehouse: Warehouse, company: Company
) -> None:
    assert grade_company(warehouse, CHURN, company, NOW).graded == 0
    _label(warehouse, company, FIRST, {"c8", "c9"})
    first = grade_company(warehouse, CHURN, company, NOW)
    assert (first.graded, first.corrected, first.outcomes, first.auc) == (10, 0, 2, 1.0)
    assert _grades(warehouse, company)[None, "shops"] == (5, 1)
    assert _grades(warehouse, company)[None, "unknown"] == (5, 1)

    again = grade_company(warehouse, CHURN, company, NOW)
    assert (again.graded, again.corrected, again.scores) == (0, 0, 10)

    _label(warehouse, company, SECOND, {"c9"})
    second = grade_company(warehouse, CHURN, company, NOW)
    assert (second.graded, second.scores, second.outcomes) == (10, 20, 3)
    assert _grades(warehouse, company)["2026-01-01", "all"] == (10, 2)

    with warehouse.connect() as conn:
        conn.execute(
            "insert into features.churn_label_versions values (%s, 'c0', %s, 'churned', 2, true, %s),"
            " (%s, 'c1', %s, 'censored', 2, null, %s)",
            [company.company_id, FIRST, NOW, company.company_id, FIRST, NOW],
        )
    corrected = grade_company(warehouse, CHURN, company, NOW)
    assert (corrected.graded, corrected.corrected) == (0, 2)
    assert _grades(warehouse, company)["2026-01-01", "all"] == (9, 3)
    assert _grades(warehouse, company)["2026-02-01", "all"] == (10, 1)
    with warehouse.connect() as conn:
        assert conn.execute("select sum(corrections) from ml.score_grades").fetchone() == (2,)


def test_a_grade_is_of_the_score_as_it_was_published_and_not_of_one_of_later(
    warehouse: Warehouse, company: Company
) -> None:
    _label(warehouse, company, FIRST, {"c9"})
    grade_company(warehouse, CHURN, company, NOW)
    publish(warehouse, company.company_id, FIRST, {f"c{number}": Score(0.5) for number in range(10)})
    _label(warehouse, company, FIRST, {"c0"}, version=2, known_days=40)
    grade_company(warehouse, CHURN, company, NOW)
    with warehouse.connect() as conn:
        rows = conn.execute("select probability, outcome from ml.score_grades order by entity_id").fetchall()
    assert rows[0] == (0.05, True)
    assert rows[9] == (0.05 + 9 / 12, False)


def test_a_challenger_is_graded_beside_the_champion_on_the_same_rows_and_is_no_part_of_what_was_promised(
    warehouse: Warehouse, company: Company
) -> None:
    with warehouse.connect(Role.ml) as conn:
        published = conn.execute("select distinct model_version from predictions.churn_scores").fetchall()
        # Two customers of the first date alone, and the published model itself, which was a challenger before.
        conn.cursor().executemany(
            "insert into ml.shadow_scores (company_id, task, entity_id, as_of_date, model_version, probability,"
            " scored_at) values (%s, 'churn', %s, %s, %s, %s, now())",
            [
                (company.company_id, customer, FIRST, version, probability)
                for version in ("churn-acme v2", published[0][0])
                for customer, probability in (("c0", 0.9), ("c9", 0.1), ("c8", 0.8))
            ],
        )
    assert grade_company(warehouse, CHURN, company, NOW).challengers == 0
    _label(warehouse, company, FIRST, {"c8", "c9"})
    _label(warehouse, company, SECOND, {"c9"})
    assert grade_company(warehouse, CHURN, company, NOW).challengers == 1

    def compared() -> dict[str, tuple[Any, ...]]:
        with warehouse.connect(Role.ml) as conn:
            grades = read_shadow_grades(conn, company.company_id, "churn")
        assert {grade.model_version for grade in grades} == {"churn-acme v2"}
        return {
            grade.scored_by: (grade.scores, grade.outcomes, round(grade.promised, 4), grade.auc) for grade in grades
        }

    champion = round((0.05 + 0.05 + 9 / 12 + 0.05 + 8 / 12) / 3, 4)
    assert compared() == {"challenger": (3, 2, 0.6, 0.0), "champion": (3, 2, champion, 1.0)}
    assert _grades(warehouse, company)[None, "all"] == (20, 3)
    with warehouse.connect() as conn:
        versions = conn.execute("select distinct model_version from ml.grades").fetchall()
        assert {version for (version,) in versions} == {"all", published[0][0]}

    _label(warehouse, company, FIRST, {"c0", "c8", "c9"}, version=2, known_days=75)
    assert grade_company(warehouse, CHURN, company, NOW).challengers == 1
    assert compared()["challenger"] == (3, 3, 0.6, None)


def test_replayed_dates_are_not_graded(warehouse: Warehouse, company: Company) -> None:
    with warehouse.connect() as conn:
        conn.execute(
            "insert into ml.publication_holds (company_id, task, as_of_date, held_at, reasons, scores, flips,"
            " released_at, release) values (%s, 'churn', %s, now(), '[]', 10, 0, now(), 'replayed')",
            [company.company_id, FIRST],
        )
    _label(warehouse, company, FIRST, {"c9"})
    assert grade_company(warehouse, CHURN, company, NOW).graded == 0


def test_checks_name_the_company_and_its_figures(warehouse: Warehouse, company: Company) -> None:
    def verdicts() -> tuple[dict[str, str], ...]:
        with warehouse.connect() as conn:
            return tuple(
                dict(check(conn, "churn").faults) for check in (broken_promises, drifted_companies, open_holds)
            )

    assert verdicts() == ({}, {}, {})
    with warehouse.connect() as conn:
        assert broken_promises(conn, "churn").figures == {"acme": "nothing graded yet"}
    # Nobody left, though 42 percent were to.
    _label(warehouse, company, FIRST, set())
    grade_company(warehouse, CHURN, company, NOW)
    stage(warehouse, company.company_id, SECOND + timedelta(days=1), {"c0": Score(0.9), "c1": Score(0.1)})
    with warehouse.connect(Role.ml) as conn:
        hold(
            conn,
            CHURN.relations.contract,
            company.company_id,
            SECOND + timedelta(days=1),
            NOW,
            {"no source fell silent": "payments: 0"},
        )
        _drift(conn, company, NOW.date(), [TOGETHER, "revenue_90d"])
    promises, drifts, holds = verdicts()
    assert promises["acme"].startswith("42.5% promised, 0.0% kept (0.0% to 27.8%)")
    assert drifts == {"acme": "2026-04-01: revenue_90d drifted"}
    assert holds["acme"].startswith("1 date held, the newest 2026-02-06 (1 risk level would have changed): payments")


def _drift(
    conn: psycopg.Connection[Any],
    company: Company,
    day: date,
    drifted: list[str],
    version: str = "churn-acme v1",
    watched: tuple[str, ...] = (TOGETHER, "probability", "revenue_90d"),
) -> None:
    rows = [
        DriftRow(name, name, 0.5, None, 0.4 if name == "revenue_90d" else None, 0.1, name in drifted, 0, 0, [], "")
        for name in watched
    ]
    record_drift(conn, company.company_id, "churn", day, version, rows, NOW)


def test_a_model_is_trained_anew_by_drift_by_grades_and_by_age_but_not_too_often_nor_from_an_outage(
    warehouse: Warehouse, company: Company, trained: tuple[ModelRegistry, Trainer]
) -> None:
    registry, trainer = trained
    settings = Settings(database_url=warehouse.url(), retrain_after_days=30, retrain_minimum_days=7)  # type: ignore[arg-type]
    version = "churn-acme v1"
    today = NOW.date()

    def cause(days: int) -> Cause | None:
        with warehouse.connect(Role.ml) as conn:
            return cause_to_train(conn, CHURN, settings, registry, company, today + timedelta(days=days))

    assert cause(8) is None
    assert cause(30) == "schedule"
    with warehouse.connect(Role.ml) as conn:
        _drift(conn, company, today + timedelta(days=7), ["probability"], version)
    assert cause(8) is None
    with warehouse.connect(Role.ml) as conn:
        _drift(conn, company, today + timedelta(days=8), [TOGETHER], version)
    assert cause(8) == "drift"
    assert cause(6) is None

    with warehouse.connect() as conn:
        conn.execute("delete from ml.feature_drift")
        conn.execute(
            "insert into ml.grades (company_id, task, segment, model_version, evidence_level, scores, customers,"
            " outcomes, promised, kept, kept_low, kept_high, bins, deciles, computed_at)"
            " values (%s, 'churn', 'all', %s, 'own_model', 900, 900, 90, 0.3, 0.1, 0.08, 0.12, '[]', '[]', now())",
            [company.company_id, version],
        )
    assert cause(8) == "grade"
    stage(warehouse, company.company_id, today + timedelta(days=8), {"c0": Score(0.9)})
    with warehouse.connect(Role.ml) as conn:
        hold(
            conn,
            CHURN.relations.contract,
            company.company_id,
            today + timedelta(days=8),
            NOW,
            {"no source fell silent": "payments: 0"},
        )
    assert cause(9) is None

    def train(on_schedule: bool) -> str:
        return train_where_due(
            CHURN, settings, warehouse, registry, trainer, company, "always", "schedule" if on_schedule else None
        ).status

    assert train(on_schedule=True) == "not_due"
    assert train(on_schedule=False) != "not_due"
    with warehouse.connect() as conn:
        causes = conn.execute("select cause from ml.training_runs order by training_run_id").fetchall()
    assert causes == [("first",), ("asked",)]


def test_grades_are_shown_by_command_with_challengers_below(
    warehouse: Warehouse, company: Company, churn: Churn
) -> None:
    assert "acme: nothing to grade yet. A score is graded 30 days after its date." in churn("grade").output
    with warehouse.connect(Role.ml) as conn:
        conn.execute(
            "insert into ml.shadow_scores (company_id, task, entity_id, as_of_date, model_version, probability,"
            " scored_at) values (%s, 'churn', 'c9', %s, 'churn-acme v2', 0.25, now())",
            [company.company_id, FIRST],
        )
    _label(warehouse, company, FIRST, {"c8", "c9"})
    output = churn("grade", "--company", "acme").output
    assert re.search(r"2026-01 +all +10 +2 +42\.5% +20\.0%", output)
    assert re.search(r"churn-acme v2 +challenger +1 +1 +25\.0% +100\.0%", output)
    assert re.search(r"churn-acme v2 +champion +1 +1 +80\.0%", output)
    assert "10 graded now, 0 corrected." in output
    with pytest.raises(CompanyNotFound, match="acem"):
        churn("grade", "--company", "acem")


def test_holds_are_listed_looked_into_and_accepted_by_command(
    warehouse: Warehouse, company: Company, churn: Churn
) -> None:
    assert "acme: nothing is held." in churn("holds").output
    held = SECOND + timedelta(days=1)
    stage(warehouse, company.company_id, held, {"c0": Score(0.9), "c1": Score(0.1)})
    with warehouse.connect(Role.ml) as conn:
        hold(conn, CHURN.relations.contract, company.company_id, held, NOW, {"no source fell silent": "payments: 0"})
    listed = churn("holds", "--company", "acme", "--date", f"{held}").output
    assert re.search(r"2026-02-06 +2026-02-05 +2 +1 +held +payments: 0", listed)
    which = f"--company acme --task churn --date {held}"
    assert f"`churn holds accept {which} --because" in listed
    assert f"`churn replay {which}`" in listed
    assert re.search(r"c0 +low 5\.0% +high 90\.0%", listed)
    accept = ("holds", "accept", "--company", "acme", "--because", "closed week")
    accepted = churn(*accept, "--date", f"{held}").output
    assert accepted.startswith(f"Accepted. `churn replay {which}` publishes it.")
    assert "accepted" in churn("holds").output
    with pytest.raises(
        NotHeld, match="acme: No churn scores of 2026-02-09 are held; `churn holds` lists those that are"
    ):
        churn(*accept, "--date", "2026-02-09")
