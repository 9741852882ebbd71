"""What several modules of integration tests share: two companies built by dbt, with scores published."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb
from typer.testing import CliRunner, Result

from orchestration.cli.main import app
from orchestration.cli.terminal import CommandFailed, console
from pipeline.decisions.deciding import decide_company
from pipeline.decisions.ledger import keep_ledger
from pipeline.decisions.valuing import value_company
from pipeline.integrations.metabase.login import WarehouseLogins
from pipeline.integrations.metabase.scopes import CompanyFacts, Scope
from pipeline.prediction.tasks import CONTRACTS
from tests.conftest import TestServer
from tests.integration.company_ids import take_ids_of_no_other_test
from tests.integration.crm_history import END, FIRST_LOAD, generate
from tests.integration.dbt_project.dbt_runs import DbtRuns, copy_project, warehouse_for_a_module
from tests.integration.dbt_project.dbt_world import register_companies
from tests.integration.published import Score, publish
from warehouse.companies.action_versions import write_actions
from warehouse.companies.actions import Action, SavedShare
from warehouse.companies.definition import Company
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.prediction.model_log import Event, Promotion, TrainingRecord, record_promotion, record_training
from warehouse.roles import COMPANY_ROLES, Role, company_login, company_metabase_login, set_company_password
from warehouse.settings import Settings

Churn = Callable[..., Result]
Door = Role | Literal["metabase"]
"""A company's way in: a login of its own, or the one by which Metabase reads for it."""
DOORS: tuple[Door, ...] = (*COMPANY_ROLES, "metabase")

CUSTOMERS = 40
SCORED = 3
CURVE = {"within": {"30": 0.25, "180": 0.5}, "reach_days": 180, "expected_days": 130.0}
REASONS = [
    {"feature": feature, "label": feature, "value": 2, "unit": "days", "family": "tickets", "text": text}
    | {"contribution": contribution}
    for feature, text, contribution in (
        ("tenure_days", "Customer for 12 days", -0.2),
        ("tickets_open", "2 tickets are open", 0.9),
        ("payments_overdue", "An invoice is overdue", 0.4),
        ("other", "Everything else", 0.5),
    )
]


@pytest.fixture
def churn(warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Churn:
    """Types a command; an error is raised, but for a command that a person stopped."""
    monkeypatch.setenv("CHURN_DATABASE_URL", warehouse.url("postgresql"))
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    monkeypatch.setattr(console, "_width", 160)

    def run(*arguments: str, typed: str | None = None) -> Result:
        result = CliRunner().invoke(app, arguments, input=typed)
        if result.exception is not None and not isinstance(result.exception, SystemExit | CommandFailed):
            raise result.exception
        return result

    return run


@pytest.fixture
def lone_acme(warehouse: Warehouse, add_company: Callable[..., Company]) -> Company:
    """A company whose logins, which belong to the server, no other test has."""
    with warehouse.connect() as connection:
        take_ids_of_no_other_test(connection)
    return add_company("acme")


def login_of(company_id: int, door: Door) -> str:
    return company_metabase_login(company_id) if door == "metabase" else company_login(company_id, door)


def group_of(door: Door) -> Role:
    return Role.company if door == "metabase" else door


@dataclass
class TwoCompanies:
    """A built warehouse with two companies in it, and how to log in as one of them.

    Their ids are far from other tests', for roles belong to the server. Tests in it leave it as they found it.
    """

    warehouse: Warehouse
    dbt: DbtRuns
    company_ids: list[int]
    addresses: dict[tuple[int, Door], str]

    def login(self, company_id: int, door: Door = Role.company) -> psycopg.Connection[Any]:
        """A connection as the company itself makes it, or Metabase for it, with its own password."""
        return psycopg.connect(self.addresses[company_id, door], autocommit=True)


@pytest.fixture(scope="session")
def two_companies(
    postgres: TestServer, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TwoCompanies]:
    """Built once per worker: modules that use it are of the xdist group `two_companies`."""
    with warehouse_for_a_module(postgres, template_database) as warehouse:
        folder = tmp_path_factory.mktemp("dbt")
        warehouse.write_dbt_profile(folder)
        dbt = DbtRuns(copy_project(folder / "project"), folder)
        with warehouse.connect() as connection:
            take_ids_of_no_other_test(connection)
            company_ids = register_companies(connection, now=END, first_load=FIRST_LOAD)
            generate(company_ids, customers=CUSTOMERS, seed=22).write(connection)
            connection.execute(
                "update raw.customers set name = 'Person ' || customer_id || ' of ' || company_id,"
                " email = customer_id || '@' || company_id || '.example'"
            )
        dbt.run("build")
        for company_id in company_ids:
            _publish_scores(warehouse, company_id)
            with warehouse.connect() as connection:
                _watch(connection, company_id)
                _replay(connection, company_id)
                _train(connection, company_id)
            _value(warehouse, company_id)
            _decide(warehouse, company_id)
        dbt.run("run", "--select", "analytics")
        home = tmp_path_factory.mktemp("home")
        yield TwoCompanies(warehouse, dbt, company_ids, _passwords(warehouse, company_ids, Settings(home=home)))


def _publish_scores(warehouse: Warehouse, company_id: int) -> None:
    """Two publications, so that the feed has more than one change of a customer."""
    with warehouse.connect() as connection:
        customers = connection.execute(
            "select customer_id from staging.stg_crm__customers where company_id = %s and not is_test"
            " and cancelled_at is null order by customer_id limit %s",
            [company_id, SCORED],
        ).fetchall()
    today = END.date()
    for day, probability in ((today - timedelta(days=1), 0.6), (today, 0.25)):
        for contract in CONTRACTS:
            scores = {customer: Score(probability, "high") for (customer,) in customers}
            publish(warehouse, company_id, day, scores, contract=contract)
    with warehouse.connect() as connection:
        connection.execute(
            "update predictions.churn_scores_v1 set reasons = %s, horizon_curve = %s where as_of_date = %s",
            [Jsonb(REASONS), Jsonb(CURVE), today],
        )


def _watch(connection: psycopg.Connection[Any], company_id: int) -> None:
    """A grade of one month and one over all, a feature's drift, and a date that was held for one customer."""
    bins = [{"bin": 1, "scores": 9, "promised": 0.1, "kept": 0.2, "kept_low": 0.05, "kept_high": 0.4}]
    deciles = [{"decile": 1, "scores": 9, "outcomes": 1.5, "lift": 2.0}]
    for month in (None, END.date().replace(day=1)):
        connection.execute(
            "insert into ml.grades (company_id, task, as_of_month, segment, model_version, evidence_level, scores,"
            " customers, outcomes, promised, kept, kept_low, kept_high, bins, deciles, computed_at)"
            " values (%s, 'churn', %s, 'all', 'all', 'all', 9, 9, 2, 0.1, 0.2, 0.05, 0.4, %s, %s, %s)",
            [company_id, month, Jsonb(bins), Jsonb(deciles), END],
        )
    for scored_by, auc in (("challenger", 0.7), ("champion", 0.6)):
        connection.execute(
            "insert into ml.shadow_grades (company_id, task, model_version, scored_by, first_date, last_date, scores,"
            " customers, outcomes, promised, kept, kept_low, kept_high, auc, computed_at)"
            " values (%s, 'churn', 'churn-x v3', %s, %s, %s, 9, 9, 2, 0.1, 0.2, 0.05, 0.4, %s, %s)",
            [company_id, scored_by, END.date(), END.date(), auc, END],
        )
    connection.execute(
        "insert into ml.feature_drift (company_id, task, as_of_date, feature, label, model_version, psi, is_drifted,"
        " note, measured_at) values (%s, 'churn', %s, 'seats', 'Seats', 'v1', 0.1, false, '', %s)",
        [company_id, END.date(), END],
    )
    connection.execute(
        "insert into ml.publication_holds (company_id, task, as_of_date, held_at, reasons, scores, flips)"
        " values (%s, 'churn', %s, %s, %s, 9, 1)",
        [company_id, END.date(), END, Jsonb([{"name": "no table shrank", "detail": "customers: 5 after 9"}])],
    )
    connection.execute(
        "insert into ml.held_flips (company_id, task, as_of_date, entity_id, published_level, held_level,"
        " published_probability, held_probability) select %s, 'churn', %s, min(customer_id), 'low', 'high', 0.1, 0.6"
        " from predictions.churn_scores_v1 where company_id = %s",
        [company_id, END.date(), company_id],
    )


def _replay(connection: psycopg.Connection[Any], company_id: int) -> None:
    """Two past months that were replayed, one customer's scores in them, and grades of both and over all."""
    second = (END.date() - timedelta(days=100)).replace(day=1)
    first = (second - timedelta(days=1)).replace(day=1)
    bins = [{"bin": 1, "scores": 1, "promised": 0.1, "kept": 0.2, "kept_low": 0.05, "kept_high": 0.4}]
    deciles = [{"decile": 1, "scores": 1, "outcomes": 1.0, "lift": 2.0}]
    for month in (first, second):
        connection.execute(
            "insert into ml.track_record_months (company_id, task, as_of_date, feature_version, label_settings,"
            " labels_since, rung, candidate, recipe_of, rows, customers, outcomes, replayed_at)"
            " values (%s, 'churn', %s, 'v', '{}', %s, 'own_model', 'logistic', %s, 9, 9, 2, %s)",
            [company_id, month, END, month, END],
        )
        connection.execute(
            "insert into ml.track_record (company_id, task, as_of_date, entity_id, probability, risk_level, reasons,"
            " value_at_stake, outcome) select %s, 'churn', %s, min(customer_id), 0.6, 'high', %s, 10, true"
            " from predictions.churn_scores_v1 where company_id = %s",
            [company_id, month, Jsonb(REASONS), company_id],
        )
    for graded in (None, first, second):
        connection.execute(
            "insert into ml.track_record_grades (company_id, task, as_of_month, first_month, last_month, scores,"
            " customers, outcomes, promised, kept, kept_low, kept_high, bins, deciles, high_risk, high_risk_outcomes,"
            " entities_with_outcome, entities_named, value_lost, value_lost_named, computed_at)"
            " values (%s, 'churn', %s, %s, %s, 1, 1, 1, 0.6, 1, 0.2, 1, %s, %s, 1, 1, 1, 1, 10, 10, %s)",
            [company_id, graded, first, second, Jsonb(bins), Jsonb(deciles), END],
        )


def _value(warehouse: Warehouse, company_id: int) -> None:
    """What each customer is worth, twice: on the second time one has moved."""
    with warehouse.connect() as connection:
        (company,) = (each for each in list_companies(connection) if each.company_id == company_id)
    value_company(warehouse, company)
    with warehouse.connect() as connection:
        connection.execute(
            "update ml.customer_values set value_segment = 'prospect' where company_id = %(company)s and customer_id ="
            " (select min(customer_id) from ml.customer_values where company_id = %(company)s"
            " and value_segment in ('steady', 'vip'))",
            {"company": company_id},
        )
    value_company(warehouse, company)


ACTIONS = [
    Action(
        name=name,
        label=f"Action {name}",
        channel="call",
        cost_per_contact=cost,
        budget=1000,
        saved_share=SavedShare(low=0.1, likely=0.2, high=0.3),
    )
    for name, cost in (("call", 1), ("offer", 2))
]


def _decide(warehouse: Warehouse, company_id: int) -> None:
    """Two actions, decided while each customer has a value, as nobody in a small shop has; then as they are valued."""
    with warehouse.connect() as connection:
        write_actions(connection, company_id, ACTIONS)
        (company,) = (each for each in list_companies(connection) if each.company_id == company_id)
        connection.execute(
            "update ml.customer_values set method = 'purchases', expected_low = 0, expected_value = 1000,"
            " expected_high = 2000 where company_id = %s and method is null",
            [company_id],
        )
    decide_company(warehouse, company, END)
    value_company(warehouse, company)
    decide_company(warehouse, company, END)
    keep_ledger(warehouse, company)


def _train(connection: psycopg.Connection[Any], company_id: int) -> None:
    """A first model, a second one that replaces it, as it cannot be read, and a way back."""
    for version, status in (("1", "promoted"), ("2", "promoted"), ("3", "kept_champion")):
        record = TrainingRecord(
            task="churn",
            company_id=company_id,
            rung="own_model",
            status=status,
            model_name="churn-x",
            model_version=version,
            mlflow_run_id=None,
            as_of_date=END.date(),
            rows=9,
            customers=9,
            outcomes=2,
            decision={"chosen": "boosted"},
            evaluations={"boosted": {"auc": 0.7 + int(version) / 100, "auc_low": 0.6}, "rule": {"auc": 0.5}},
            cause="schedule",
        )
        events: dict[str, tuple[Event, str]] = {
            "1": ("first", "there was no champion"),
            "2": ("replaced", "the champion cannot be read any more: /somewhere/on/disk"),
            "3": ("kept", "not met: no segment worse"),
        }
        event, why = events[version]
        before = {"1": None, "2": "1", "3": "2"}[version]
        run = record_training(connection, record)
        record_promotion(
            connection,
            Promotion(company_id, "churn", event, "churn-x", before, version, why, {}, "training", run),
        )
    record_promotion(
        connection,
        Promotion(company_id, "churn", "rolled_back", "churn-x", "2", "1", "rolled back from v2", {}, "somebody"),
    )


def _passwords(warehouse: Warehouse, company_ids: list[int], settings: Settings) -> dict[tuple[int, Door], str]:
    """Metabase's password is made as an apply makes it."""
    addresses: dict[tuple[int, Door], str] = {}
    url = warehouse.url("postgresql")
    for company_id in company_ids:
        scope = Scope(CompanyFacts(company_id, "", "", "EUR"))
        metabase = WarehouseLogins(warehouse, settings, "tests").open(scope).get_secret_value()
        addresses[company_id, "metabase"] = make_conninfo(
            url, user=company_metabase_login(company_id), password=metabase
        )
        with warehouse.connect() as connection:
            for role in COMPANY_ROLES:
                user, password = set_company_password(connection, company_id, role)
                addresses[company_id, role] = make_conninfo(url, user=user, password=password)
    return addresses
