"""Every card's SQL, run on marts that dbt built, through the login that Metabase uses."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from orchestration.integrations.metabase.definitions import CardDefinition, TemplateTag, load_definitions
from orchestration.integrations.metabase.desired import WarehouseConnection
from orchestration.integrations.metabase.login import PASSWORD_FILE, metabase_connection
from orchestration.integrations.metabase.visualization import columns_named
from warehouse.connection import Warehouse
from warehouse.roles import Role, ensure_company_logins, ensure_database_privileges, set_company_password
from warehouse.settings import Settings

pytestmark = pytest.mark.xdist_group("dashboards_marts")

DBT_PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
CARDS = load_definitions().cards()
OPTIONAL = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
TAG = re.compile(r"\{\{\s*(\w+)\s*\}\}")
TYPES_OF_WIDGET = {"number/=": {"integer", "bigint"}, "string/=": {"text", "character varying"}}
# Roles belong to the whole server: numbers that no other test gives a company.
OURS, THEIRS = 7101, 7102
NAMES = {OURS: "Zawadi Stationers", THEIRS: "Amani Media"}
VALUE_OF_FILTER: dict[str, Any] = {"company": NAMES[OURS], "risk_level": "high", "plan": "Team", "country": "DE"}

OVERVIEW = (
    # company, customer, plan, country, risk, probability, revenue of 90 days, at stake
    (OURS, "c1", "Team", "DE", "high", 0.5, 1000, 500),
    (OURS, "c2", "Team", "KE", "high", 0.4, 2000, 800),
    (OURS, "c3", "Solo", "DE", "low", 0.1, 9000, 900),
    (OURS, "c4", "Solo", "DE", None, None, 0, None),
    (THEIRS, "c1", None, "DE", "high", 0.6, 100, 60),
)
REASONS = (
    # company, customer, rank, feature, label, contribution
    (OURS, "c1", 1, "tickets_open", "Open tickets", 0.9),
    (OURS, "c1", 2, "tenure_days", "Time as a customer", -0.4),
    (OURS, "c1", 3, "other", "Everything else", 0.2),
    (OURS, "c2", 1, "tickets_open", "Open tickets", 0.8),
    (OURS, "c2", 2, "late_payments_90d", "Late payments", 0.5),
    (OURS, "c3", 1, "late_payments_90d", "Late payments", 0.1),
    (THEIRS, "c1", 1, "days_since_last_payment", "Days since the last payment", 1.2),
)
RISK_BY_MONTH = (
    # company, risk, currency, month, customers, expected churners, at stake
    (OURS, "high", "EUR", "2026-01-01", 5, 2.0, 300),
    (OURS, "low", "EUR", "2026-01-01", 95, 3.0, 200),
    (OURS, "low", "EUR", "2026-02-01", 100, 10.0, 400),
    (THEIRS, "high", "KES", "2026-02-01", 10, 5.0, 7000),
)


@pytest.fixture(scope="module")
def marts(postgres: Any, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """A warehouse whose marts dbt has built on no data, and a few rows of ours in them."""
    with postgres.database(template_database) as url:
        warehouse = Warehouse(url)
        with warehouse.connect() as connection:
            ensure_database_privileges(connection)
        folder = tmp_path_factory.mktemp("dbt")
        build_marts(warehouse, folder)
        with warehouse.connect() as connection:
            fill_marts(connection)
        yield warehouse


def build_marts(warehouse: Warehouse, folder: Path) -> None:
    warehouse.write_dbt_profile(folder)
    done = subprocess.run(
        [
            Path(sys.executable).with_name("dbt"),
            *("build", "--select", "+path:models/analytics", "--exclude-resource-type", "test", "unit_test"),
            *("--project-dir", DBT_PROJECT, "--profiles-dir", folder),
            *("--target-path", folder / "target", "--log-path", folder / "logs", "--quiet"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def fill_marts(connection: psycopg.Connection[Any]) -> None:
    connection.cursor().executemany(
        "insert into analytics.customer_overview (company_name, company_id, customer_id, customer_name, plan_name,"
        " country, risk_level, churn_probability, revenue_90d, value_at_stake, currency, evidence_level, score_date)"
        " values (%s, %s, %s, 'Somebody', %s, %s, %s, %s, %s, %s, 'EUR', 'own_model', '2026-02-20')",
        [(NAMES[row[0]], *row) for row in OVERVIEW],
    )
    connection.cursor().executemany(
        "insert into analytics.customer_reasons (company_name, company_id, customer_id, reason_rank, feature,"
        " feature_label, contribution, is_raising_risk) values (%s, %s, %s, %s, %s, %s, %s, %s)",
        [(NAMES[row[0]], *row, row[-1] > 0) for row in REASONS],
    )
    connection.cursor().executemany(
        "insert into analytics.risk_by_month (company_name, company_id, risk_level, currency, month, customers,"
        " expected_churners, value_at_stake) values (%s, %s, %s, %s, %s, %s, %s, %s)",
        [(NAMES[row[0]], *row) for row in RISK_BY_MONTH],
    )
    for company_id in (OURS, THEIRS):
        ensure_company_logins(connection, company_id)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with a home of this module's own."""
    return Settings(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def login(marts: Warehouse, settings: Settings) -> WarehouseConnection:
    """Metabase's login, made as the apply makes it."""
    return metabase_connection(marts, settings)


@pytest.fixture
def as_metabase(login: WarehouseConnection) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with connected(login.user, login.password.get_secret_value(), login) as connection:
        yield connection


def connected(user: str, password: str, facts: WarehouseConnection) -> psycopg.Connection[dict[str, Any]]:
    return psycopg.connect(
        host=facts.host,
        port=facts.port,
        dbname=facts.dbname,
        user=user,
        password=password,
        row_factory=dict_row,
    )


def as_metabase_fills_it(card: CardDefinition, filters: dict[str, Any]) -> sql.Composed:
    """The SQL with these filters set: a field filter becomes a condition on schema.table.column."""

    def condition(tag: TemplateTag, value: Any) -> str:
        return sql.SQL("{} in ({})").format(sql.Identifier(*tag.dimension), sql.Literal(value)).as_string()

    def filled(match: re.Match[str]) -> str:
        (name,) = TAG.findall(match[1])
        if name not in filters:
            return ""
        return TAG.sub(condition(card.template_tags[name], filters[name]), match[1])

    return sql.SQL("{}").format(sql.SQL(OPTIONAL.sub(filled, card.sql)))  # type: ignore[arg-type]


def run(connection: psycopg.Connection[dict[str, Any]], key: str, **filters: Any) -> list[dict[str, Any]]:
    (card,) = [card for card in CARDS if card.key == key]
    return connection.execute(as_metabase_fills_it(card, filters)).fetchall()


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.key)
@pytest.mark.parametrize("is_filtered", [False, True], ids=["unfiltered", "filtered"])
def test_a_card_runs_and_returns_exactly_the_columns_that_it_names(
    as_metabase: psycopg.Connection[dict[str, Any]], card: CardDefinition, is_filtered: bool
) -> None:
    filters = {name: VALUE_OF_FILTER[name] for name in card.template_tags} if is_filtered else {}

    cursor = as_metabase.execute(as_metabase_fills_it(card, filters))

    columns = [column.name for column in cursor.description or ()]
    named = columns_named(card.visualization_settings)
    if card.display == "smartscalar":
        assert columns[0] == "month", "a smartscalar needs its time column first"
        assert named == set(columns[1:])
    else:
        assert named == set(columns)
    assert cursor.fetchall(), "the rows of this test are on every card"


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.key)
def test_a_filter_is_bound_to_a_column_that_suits_its_widget(
    as_metabase: psycopg.Connection[dict[str, Any]], card: CardDefinition
) -> None:
    for name, tag in card.template_tags.items():
        row = as_metabase.execute(
            "select data_type from information_schema.columns"
            " where table_schema = %s and table_name = %s and column_name = %s",
            tag.dimension,
        ).fetchone()
        assert row, f"{name}: {'.'.join(tag.dimension)} is not there, or not for Metabase to see"
        assert row["data_type"] in TYPES_OF_WIDGET[tag.widget_type]


def test_high_risk_is_counted_as_none_in_a_month_without_any(
    as_metabase: psycopg.Connection[dict[str, Any]],
) -> None:
    rows = run(as_metabase, "customers_at_high_risk", company=NAMES[OURS])
    assert [(row["month"].month, row["customers_at_high_risk"]) for row in rows] == [(1, 5), (2, 0)]


def test_average_risk_weighs_customers_and_not_levels(
    as_metabase: psycopg.Connection[dict[str, Any]],
) -> None:
    rows = run(as_metabase, "average_risk", company=NAMES[OURS])
    assert [row["average_risk"] for row in rows] == pytest.approx([0.05, 0.10])


def test_value_at_stake_is_never_added_up_over_currencies(
    as_metabase: psycopg.Connection[dict[str, Any]],
) -> None:
    assert [row["value_at_stake"] for row in run(as_metabase, "value_at_stake", company=NAMES[OURS])] == [500, 400]
    assert {row["value_at_stake"] for row in run(as_metabase, "value_at_stake")} == {None}


def test_the_list_to_act_on_is_ranked_by_value_at_stake_and_leaves_out_who_is_not_scored(
    as_metabase: psycopg.Connection[dict[str, Any]],
) -> None:
    everybody = run(as_metabase, "customers_to_call", company=NAMES[OURS])
    assert [row["customer_id"] for row in everybody] == ["c3", "c2", "c1"]
    high = run(as_metabase, "customers_to_call", company=NAMES[OURS], risk_level="high", country="DE")
    assert [row["customer_id"] for row in high] == ["c1"]


def test_reasons_count_customers_whom_they_make_likelier_to_leave(
    as_metabase: psycopg.Connection[dict[str, Any]],
) -> None:
    rows = run(as_metabase, "top_reasons", company=NAMES[OURS], risk_level="high")
    assert [(row["reason"], row["customers"]) for row in rows] == [("Open tickets", 2), ("Late payments", 1)]
    rows = run(as_metabase, "top_reasons", company=NAMES[OURS], risk_level="high", plan="Team", country="KE")
    assert [(row["reason"], row["customers"]) for row in rows] == [("Late payments", 1), ("Open tickets", 1)]


def test_risk_levels_stack_from_high_to_low(as_metabase: psycopg.Connection[dict[str, Any]]) -> None:
    rows = run(as_metabase, "risk_levels_by_month", company=NAMES[OURS])
    assert [(row["month"].month, row["risk_level"], row["customers"]) for row in rows] == [
        (1, "high", 5),
        (1, "low", 95),
        (2, "low", 100),
    ]


def test_the_data_date_says_what_the_scores_rest_on(as_metabase: psycopg.Connection[dict[str, Any]]) -> None:
    first, second = run(as_metabase, "data_date")
    assert (first["company_name"], first["customers_scored"]) == (NAMES[THEIRS], 1)
    assert (second["company_name"], second["customers_scored"]) == (NAMES[OURS], 3)
    assert first["score_date"].isoformat() == "2026-02-20"
    assert second["evidence"] == "the company's own history"


def test_metabases_login_sees_all_companies_and_writes_nothing(
    as_metabase: psycopg.Connection[dict[str, Any]],
) -> None:
    seen = as_metabase.execute("select distinct company_id from analytics.customer_overview").fetchall()
    assert {row["company_id"] for row in seen} == {OURS, THEIRS}
    as_metabase.execute("set default_transaction_read_only = off")
    as_metabase.commit()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_metabase.execute("delete from analytics.customer_overview")
    as_metabase.rollback()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_metabase.execute("set role churn_operator")


def test_a_company_sees_its_own_rows_on_every_card(marts: Warehouse, login: WarehouseConnection) -> None:
    with marts.connect() as connection:
        user, password = set_company_password(connection, THEIRS, Role.company)
    with connected(user, password, login) as as_company:
        for card in CARDS:
            rows = as_company.execute(as_metabase_fills_it(card, {})).fetchall()
            assert rows or card.key == "customers_by_plan", card.key
            assert {row["company_name"] for row in rows if "company_name" in row} <= {NAMES[THEIRS]}
            assert as_company.execute(as_metabase_fills_it(card, {"company": NAMES[OURS]})).fetchall() == []
        assert [row["value_at_stake"] for row in run(as_company, "value_at_stake")] == [7000]


def test_the_login_is_made_once_and_its_password_kept_private(
    marts: Warehouse, settings: Settings, login: WarehouseConnection
) -> None:
    assert metabase_connection(marts, settings) == login
    file = settings.home / PASSWORD_FILE
    assert file.read_text() == login.password.get_secret_value()
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in settings.home.iterdir()] == [PASSWORD_FILE]
