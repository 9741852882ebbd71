"""Decisions in a built warehouse: drawn once, published whole, the same again on one day, and one company's alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from pipeline.decisions.deciding import Decided, decide_company, draw_control_groups, plan_company
from tests.integration.conftest import SCORED, TwoCompanies
from tests.integration.crm_history import END
from warehouse.companies.definition import Company
from warehouse.companies.registry import list_companies
from warehouse.decisions.ledger import stop
from warehouse.roles import Role

pytestmark = pytest.mark.xdist_group("two_companies")

WRITTEN = (
    *("ml.programmes", "ml.control_groups", "ml.enrolments", "ml.programme_plans"),
    *("predictions.decisions", "predictions.decisions_changes", "predictions.decisions_snapshot"),
)


def company_of(two_companies: TwoCompanies, company_id: int) -> Company:
    with two_companies.warehouse.connect() as connection:
        (company,) = (each for each in list_companies(connection) if each.company_id == company_id)
    return company


def decide(two_companies: TwoCompanies, company_id: int) -> Decided:
    return decide_company(two_companies.warehouse, company_of(two_companies, company_id), END)


def content(two_companies: TwoCompanies) -> dict[str, list[tuple[Any, ...]]]:
    with two_companies.warehouse.connect() as connection:
        return {name: connection.execute(f"select * from {name} order by 1, 2, 3").fetchall() for name in WRITTEN}


def query(two_companies: TwoCompanies, text: str) -> list[tuple[Any, ...]]:
    with two_companies.warehouse.connect() as connection:
        return connection.execute(text).fetchall()


def test_decided_again_on_the_same_day_everything_is_as_it_was(two_companies: TwoCompanies) -> None:
    before = content(two_companies)
    assert all(before.values())
    for company_id in two_companies.company_ids:
        published = decide(two_companies, company_id).published
        assert published is not None
        assert (published.upserts, published.deletes) == (0, 0)
    after = content(two_companies)
    plans = "ml.programme_plans"
    assert {name: rows for name, rows in after.items() if name != plans} == {
        name: rows for name, rows in before.items() if name != plans
    }


def test_planning_writes_nothing(two_companies: TwoCompanies) -> None:
    before = content(two_companies)
    for company_id in two_companies.company_ids:
        assert plan_company(two_companies.warehouse, company_of(two_companies, company_id)) is not None
    assert content(two_companies) == before


def test_each_customer_is_drawn_once_for_each_programme(two_companies: TwoCompanies) -> None:
    counts = query(
        two_companies,
        "select company_id, action, count(*), count(distinct propensity), min(propensity) from ml.control_groups"
        " group by 1, 2",
    )
    assert len(counts) == 4
    assert {tuple(rest) for _, _, *rest in counts if rest[0]} == {(count, 1, 0.9) for _, _, count, *_ in counts}
    for company_id in two_companies.company_ids:
        assert draw_control_groups(two_companies.warehouse, company_of(two_companies, company_id)) == 0


def test_every_scored_customer_has_a_decision_with_reasons(two_companies: TwoCompanies) -> None:
    rows = query(
        two_companies,
        "select company_id, count(*), min(jsonb_array_length(reasons)) from predictions.decisions_current group by 1",
    )
    assert sorted(row[:2] for row in rows) == [(company_id, SCORED) for company_id in sorted(two_companies.company_ids)]
    assert all(reasons >= 1 for _, _, reasons in rows)


def test_a_reader_sees_the_decisions_of_its_own_company(two_companies: TwoCompanies) -> None:
    for company_id in two_companies.company_ids:
        with two_companies.login(company_id, Role.company_sync) as connection:
            for relation in ("decisions", "decisions_current", "decisions_changes", "decisions_snapshot"):
                seen = connection.execute(f"select distinct company_id from predictions.{relation}").fetchall()
                assert seen == [(company_id,)], relation
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("select from ml.control_groups")


def test_no_control_is_among_those_to_be_treated(two_companies: TwoCompanies) -> None:
    contaminated = query(
        two_companies,
        "select enrolled.* from ml.enrolments as enrolled inner join ml.control_groups as drawn"
        " using (company_id, action, customer_id) where drawn.is_control <> enrolled.is_control",
    )
    assert contaminated == []


def test_the_ledger_says_nothing_of_few_outcomes_and_how_many_there_are(two_companies: TwoCompanies) -> None:
    lines = query(
        two_companies,
        "select bool_and(saved is null and earned is null), sum(enrolled) filter (where scope = 'programme'),"
        " sum(enrolled) filter (where scope = 'month'), (select count(*) from ml.enrolments) from ml.uplift_ledger",
    )
    assert lines[0][0]
    assert lines[0][1] == lines[0][2] == lines[0][3] > 0


def test_a_programme_stops_once_and_then_decides_nothing(two_companies: TwoCompanies) -> None:
    company = company_of(two_companies, two_companies.company_ids[0])
    today = END.date()
    with two_companies.warehouse.connect() as connection:
        for action in company.actions:
            assert stop(connection, company.company_id, action.name, today, "it lost") == 1
            assert stop(connection, company.company_id, action.name, today, "it lost") == 0
    try:
        plan = plan_company(two_companies.warehouse, company)
        assert plan is not None
        assert set(plan.programmes.column("status").to_pylist()) == {"stopped"}
        assert plan.enrolments.num_rows == 0
        going_on = [action.model_copy(update={"stops_at_loss": False}) for action in company.actions]
        plan = plan_company(two_companies.warehouse, company.model_copy(update={"actions": tuple(going_on)}))
        assert plan is not None
        assert "stopped" not in plan.programmes.column("status").to_pylist()
    finally:
        with two_companies.warehouse.connect() as connection:
            connection.execute("update ml.programmes set stopped_on = null, stopped_because = null")


def test_what_was_measured_takes_the_place_of_what_is_believed(two_companies: TwoCompanies) -> None:
    company = company_of(two_companies, two_companies.company_ids[0])
    anew = company.actions[0].model_copy(update={"name": "anew"})
    renamed = company.model_copy(update={"actions": (anew,)})

    def rests_on() -> set[str]:
        plan = plan_company(two_companies.warehouse, renamed)
        assert plan is not None
        return set(plan.decisions.column("rests_on").drop_null().to_pylist())

    assert rests_on() == {"believed"}
    with two_companies.warehouse.connect() as connection:
        connection.execute(
            "insert into ml.uplift_ledger (company_id, action, scope, part, enrolled, matured, treated, controls,"
            " treated_left, controls_left, saved_low, saved, saved_high, promised, spent, graded_on)"
            " values (%s, 'anew', 'programme', 'all', 400, 400, 200, 200, 20, 100, 0.4, 0.41, 0.42, 1, 1, %s)",
            [company.company_id, END.date()],
        )
    try:
        assert rests_on() == {"measured"}
    finally:
        with two_companies.warehouse.connect() as connection:
            connection.execute("delete from ml.uplift_ledger where action = 'anew'")


def test_a_company_without_actions_is_told_how_to_declare_one(two_companies: TwoCompanies) -> None:
    company = company_of(two_companies, two_companies.company_ids[0]).model_copy(update={"actions": ()})
    before = content(two_companies)
    decided = decide_company(two_companies.warehouse, company, END + timedelta(days=1))
    assert decided.published is None
    assert decided.refusal is not None
    assert "`actions:`" in decided.refusal
    assert content(two_companies) == before
