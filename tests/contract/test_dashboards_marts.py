"""Every card's SQL, run on marts that dbt built, through the logins that Metabase uses; and a whole verify on it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from pydantic import SecretStr

from pipeline.integrations.metabase.apply import apply_dashboards
from pipeline.integrations.metabase.definition_files import load_definitions, marts_read
from pipeline.integrations.metabase.definitions import CardDefinition
from pipeline.integrations.metabase.filled_sql import filled_sql
from pipeline.integrations.metabase.login import PASSWORD_FILE, PASSWORD_FOLDER, WarehouseLogins
from pipeline.integrations.metabase.scopes import CompanyFacts, Scope, tailored_dashboards
from pipeline.integrations.metabase.verify import VerifyFailed, verify_dashboards
from pipeline.integrations.metabase.visualization import columns_named
from tests.conftest import TestServer
from tests.integration.dbt_project.dbt_runs import warehouse_for_a_module
from tests.integration.pipeline.integrations.metabase.stand_in.server import StandIn, served
from warehouse.connection import Warehouse
from warehouse.roles import ensure_company_logins
from warehouse.settings import Settings

# The logins belong to the whole server: no other test may make them again meanwhile.
pytestmark = pytest.mark.xdist_group("dashboards_marts")

DEFINITIONS = load_definitions()
CARDS = DEFINITIONS.cards()
TYPES_OF_WIDGET = {
    "string/=": {"text", "character varying"},
    "string/contains": {"text"},
    "date/all-options": {"date"},
}
# Roles belong to the whole server: numbers that no other test gives a company.
OURS = CompanyFacts(7101, "zawadi", "Zawadi Stationers", "EUR", ("boss@zawadi.test",))
THEIRS = CompanyFacts(7102, "amani", "Amani", "KES")
DAYS = (date(2025, 8, 1), date(2026, 1, 1), date(2026, 2, 1))
LEVELS = ("high", "medium", "low")
# What a filter is set to, and what every row that a filter may hit says.
VALUE_OF_FILTER: dict[str, Any] = {
    "task": "churn",
    "company": OURS.name,
    "segment": "DE",
    "plan": "Team",
    "country": "DE",
    "risk_level": "high",
    "reason": "Open tickets",
    "customer": "c0",
    "customer_name": "SOMEB",
    "month": (DAYS[0], DAYS[2] + timedelta(days=30)),
}
VALUES: dict[str, Any] = {
    "task": "churn",
    "customer_name": "Somebody",
    "plan_name": "Team",
    "country": "DE",
    "segment": "DE",
    "main_reason": "Open tickets",
    "feature_label": "Open tickets",
    "feature": "tickets_open",
    "evidence_level": "own_model",
    "customer_status": "active",
    "payment_state": "paid",
    "is_raising_risk": True,
    "is_active": True,
    "is_drifted": True,
    "last_status": "succeeded",
    "from_level": "low",
    "reason": "no date",
    "churn_probability": 0.25,
    "retention_rate": 0.5,
    "gross_revenue_retention": 0.9,
    "net_revenue_retention": 1.1,
    "months_since_signup": 3,
    "customers_at_start": 100,
    "customers_churned": 4,
    "tickets_opened": 10,
    "payments_due": 10,
    "satisfaction_total": 12,
}
# Cards show grades of everything together, by what the scores rest on, and by segment.
GRADED = {
    ("score_grades_by_month", "segment"): ("all",) * 3,
    ("score_grades_by_month", "model_version"): ("all",) * 3,
    ("score_grades_by_month", "evidence_level"): ("all",) * 3,
    ("score_grades", "segment"): ("all", "all", "DE"),
    ("score_grades", "model_version"): ("all",) * 3,
    ("score_grades", "evidence_level"): ("all", "own_model", "all"),
    # One row for each task.
    ("track_record", "task"): ("churn", "support", "response"),
    ("challenger_grades", "model_version"): ("churn-2", "churn-2", "churn-3"),
    ("challenger_grades", "scored_by"): ("challenger", "champion", "challenger"),
    ("uplift_ledger", "scope"): ("programme", "month", "segment"),
    # One day was published after all, two still wait.
    ("publication_holds", "hold_status"): ("published", "held", "accepted"),
    ("publication_holds", "released_at"): ("2026-02-01 10:00+00", None, None),
}
BY_TYPE: dict[str, Any] = {
    "text": "word",
    "boolean": False,
    "integer": 3,
    "bigint": 3,
    "double precision": 0.5,
    "numeric": 12,
    "timestamp with time zone": "2026-02-01 10:00+00",
}


@pytest.fixture(scope="module")
def empty_marts(postgres: TestServer, marts_template: str) -> Iterator[Warehouse]:
    """A warehouse whose marts dbt has built on no data; every card runs on it."""
    with warehouse_for_a_module(postgres, marts_template) as warehouse:
        with warehouse.connect() as connection:
            for card in CARDS:
                cursor = connection.execute(filled_sql(card))
                # Nothing to show is no failure, and no zero where nothing was counted.
                assert len(cursor.fetchall()) <= 1, card.key
            for company in (OURS, THEIRS):
                ensure_company_logins(connection, company.company_id)
        yield warehouse


@pytest.fixture(scope="module")
def marts(empty_marts: Warehouse) -> Warehouse:
    """The same with a few rows of each company in every mart that a card reads."""
    with empty_marts.connect() as connection:
        for mart in marts_read():
            fill(connection, mart)
    return empty_marts


def fill(connection: psycopg.Connection[Any], mart: str, companies: tuple[CompanyFacts, ...] = (OURS, THEIRS)) -> None:
    """Three rows of each company: three days, three customers, three risk levels."""
    columns = connection.execute(
        "select column_name, data_type from information_schema.columns"
        " where table_schema = 'analytics' and table_name = %s order by ordinal_position",
        [mart],
    ).fetchall()
    query = sql.SQL("insert into {} values ({})").format(
        sql.Identifier("analytics", mart), sql.SQL(", ").join(sql.Placeholder() for _ in columns)
    )
    for company in companies:
        connection.execute(
            sql.SQL("delete from {} where company_id = %s").format(sql.Identifier("analytics", mart)),
            [company.company_id],
        )
        for number in range(3):
            row = [value(mart, name, kind, company, number) for name, kind in columns]
            connection.execute(query, row)


def value(mart: str, column: str, kind: str, company: CompanyFacts, number: int) -> Any:
    if (mart, column) in GRADED:
        return GRADED[mart, column][number]
    of_the_row: dict[str, Any] = {
        "company_id": company.company_id,
        "company_name": company.name,
        "currency": company.currency,
        "customer_id": f"c{number}",
        "risk_level": LEVELS[number],
        "entity": ("customers", "tickets", "payments")[number],
        "to_level": (*LEVELS[:2], "left")[number],
        "status": ("failed", "succeeded", "succeeded")[number],
        "bin": number + 1,
        "decile": number + 1,
    }
    # Three segments, for a card may show the sum over them; the filter hits the first.
    if column == "cohort_month":
        return date(2025, 10 + number, 1)
    if kind == "date":
        return DAYS[number]
    if column.endswith("_id") and column not in of_the_row:
        return number if kind in {"integer", "bigint"} else f"id{number}"
    return of_the_row.get(column, VALUES.get(column, BY_TYPE.get(kind)))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with a home of this module's own."""
    return Settings(
        home=tmp_path_factory.mktemp("home"),
        metabase_username="admin@churn.test",
        metabase_password=SecretStr("a-long-admin-password"),
    )


@pytest.fixture(scope="module")
def logins(marts: Warehouse, settings: Settings) -> WarehouseLogins:
    return WarehouseLogins(marts, settings)


def connected(logins: WarehouseLogins, scope: Scope) -> psycopg.Connection[dict[str, Any]]:
    """As Metabase connects for this reader."""
    facts = logins.connection(scope)
    return psycopg.connect(
        host=facts.host,
        port=facts.port,
        dbname=facts.dbname,
        user=facts.user,
        password=logins.open(scope).get_secret_value(),
        row_factory=dict_row,
        autocommit=True,
    )


@pytest.fixture(scope="module")
def as_metabase(logins: WarehouseLogins) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with connected(logins, Scope()) as connection:
        yield connection


@pytest.fixture(scope="module")
def as_company(logins: WarehouseLogins) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with connected(logins, Scope(OURS)) as connection:
        yield connection


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.key)
@pytest.mark.parametrize("is_filtered", [False, True], ids=["unfiltered", "filtered"])
def test_a_card_runs_and_returns_exactly_the_columns_that_it_names(
    as_metabase: psycopg.Connection[dict[str, Any]], card: CardDefinition, is_filtered: bool
) -> None:
    filters = {name: VALUE_OF_FILTER[name] for name in card.template_tags} if is_filtered else {}

    cursor = as_metabase.execute(filled_sql(card, filters))

    columns = [column.name for column in cursor.description or ()]
    named = columns_named(card.visualization_settings)
    if card.display == "smartscalar":
        assert columns[0] == "month", "a smartscalar needs its time column first"
        assert named == set(columns[1:])
    else:
        assert named == set(columns)
    rows = cursor.fetchall()
    needs_one_company = "different currencies" in card.description
    assert rows or (needs_one_company and not is_filtered), "the rows of this test are on every card"


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


def test_a_company_sees_its_own_rows_on_every_card_of_its_own(as_company: psycopg.Connection[dict[str, Any]]) -> None:
    for dashboard in tailored_dashboards(DEFINITIONS, Scope(OURS)):
        for card in dashboard.cards.values():
            rows = as_company.execute(filled_sql(card)).fetchall()
            assert rows, card.key
            assert {row["company_name"] for row in rows if "company_name" in row} <= {OURS.name}
            assert {row["currency"] for row in rows if "currency" in row} <= {OURS.currency}
    seen = as_company.execute("select distinct company_id from analytics.customer_overview").fetchall()
    assert [row["company_id"] for row in seen] == [OURS.company_id]


def test_a_company_may_not_read_how_the_installation_runs(as_company: psycopg.Connection[dict[str, Any]]) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_company.execute("select * from analytics.run_history")


def run(connection: psycopg.Connection[dict[str, Any]], key: str, **filters: Any) -> list[dict[str, Any]]:
    (card,) = [card for card in CARDS if card.key == key]
    return connection.execute(filled_sql(card, filters)).fetchall()


def test_money_is_never_added_up_over_currencies(as_metabase: psycopg.Connection[dict[str, Any]]) -> None:
    assert {row["revenue_at_risk"] for row in run(as_metabase, "revenue_at_risk")} == {None}
    assert [row["revenue_at_risk"] for row in run(as_metabase, "revenue_at_risk", company=OURS.name)] == [12, 12, 12]
    assert [row["value_at_stake"] for row in run(as_metabase, "chosen_value")] == [None]
    assert [row["value_at_stake"] for row in run(as_metabase, "chosen_value", company=OURS.name)] == [36]
    assert run(as_metabase, "revenue_bridge") == run(as_metabase, "overdue_by_segment") == []


def test_a_month_without_scores_is_a_gap(as_metabase: psycopg.Connection[dict[str, Any]]) -> None:
    rows = run(as_metabase, "risk_levels_by_month", company=OURS.name)
    counted = {row["month"] for row in rows if row["customers"] is not None}
    assert counted == set(DAYS)
    assert [month for month in sorted({row["month"] for row in rows}) if month not in counted] == [
        date(2025, month, 1) for month in (9, 10, 11, 12)
    ]


def test_the_list_to_act_on_shows_how_the_chance_changed(as_metabase: psycopg.Connection[dict[str, Any]]) -> None:
    rows = run(as_metabase, "customers_to_call", company=OURS.name)
    assert [row["customer_id"] for row in rows] == ["c0", "c1", "c2"]
    assert rows[0]["change_in_chance"] is None, "the score of the same month is no past"
    assert rows[1]["change_in_chance"] is None
    assert [
        row["customer_id"] for row in run(as_metabase, "customers_to_call", company=OURS.name, risk_level="high")
    ] == ["c0"]


def test_one_customer_is_the_same_on_every_card_of_the_page(as_metabase: psycopg.Connection[dict[str, Any]]) -> None:
    chosen = {"company": OURS.name, "customer": "c2"}
    assert [row["customer_id"] for row in run(as_metabase, "facts", **chosen)] == ["c2"]
    assert [row["as_of_date"] for row in run(as_metabase, "scores", **chosen)] == [DAYS[2]]
    assert len(run(as_metabase, "facts", **(chosen | {"customer": "nobody"}))) == 0


def test_metabases_login_sees_all_companies_and_writes_nothing(
    as_metabase: psycopg.Connection[dict[str, Any]],
) -> None:
    seen = as_metabase.execute("select distinct company_id from analytics.customer_overview").fetchall()
    assert {row["company_id"] for row in seen} == {OURS.company_id, THEIRS.company_id}
    as_metabase.execute("set default_transaction_read_only = off")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_metabase.execute("delete from analytics.customer_overview")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_metabase.execute("set role churn_operator")
    as_metabase.execute("set default_transaction_read_only = on")


def test_a_login_is_made_once_its_password_kept_private_and_a_closed_one_reads_nothing(
    marts: Warehouse, settings: Settings, logins: WarehouseLogins
) -> None:
    scope = Scope(THEIRS)
    assert logins.open(scope) == WarehouseLogins(marts, settings).open(scope)
    assert logins.is_open(scope)
    for file in (settings.home / PASSWORD_FILE, settings.home / PASSWORD_FOLDER / "company_7102_metabase"):
        assert file.stat().st_mode & 0o777 == 0o600
    with connected(logins, scope) as connection:
        assert connection.execute("select 1 from analytics.customer_overview").fetchone()
        logins.close(scope)
        assert not logins.is_open(scope)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select 1 from analytics.customer_overview")
    logins.open(scope)


def test_a_verify_compares_every_card_of_every_reader_with_sql_and_sees_what_is_wrong(
    marts: Warehouse, settings: Settings
) -> None:
    state = StandIn({}, warehouse_password=None, polls_until_synced=0)
    logins = WarehouseLogins(marts, settings)
    for scope in (Scope(), Scope(OURS), Scope(THEIRS)):
        logins.close(scope)
    with served(state) as address:
        used = settings.model_copy(update={"metabase_url": address.url})
        apply_dashboards(used, (OURS, THEIRS), logins, run_cards=False, sleep=lambda _: None)
        assert state.created_open == [], "no group could read through a connection that was not locked yet"
        before = state.content()

        lines = verify_dashboards(used, (OURS, THEIRS), marts)

        assert [line.partition(":")[0] for line in lines] == ["All companies", OURS.name, THEIRS.name]
        assert all(line.endswith("0 faults") for line in lines)
        assert state.content() == before
        assert state.api_keys == {}

        by_name = {database["name"]: database for database in state.databases.values()}
        theirs = by_name["Churn Warehouse (Amani)"]
        stolen = next(
            card
            for card in state.cards.values()
            if card["dataset_query"]["database"] == by_name["Churn Warehouse (Zawadi Stationers)"]["id"]
        )
        stolen["dataset_query"]["database"] = theirs["id"]
        changed = next(
            card
            for card in state.cards.values()
            if card["dataset_query"]["database"] == theirs["id"] and card["name"] == "How many customers are chosen?"
        )
        changed["dataset_query"]["stages"][0]["native"] = "select 7 as customers"
        viewers = next(
            str(group["id"]) for group in state.groups_by_id.values() if group["name"] == "Churn viewers: Amani"
        )
        first = tailored_dashboards(DEFINITIONS, Scope(OURS))[0]
        exposed = next(
            card["collection_id"]
            for card in state.cards.values()
            if next(iter(first.cards.values())).entity_id in card["description"]
        )
        state.collection_graph[viewers][str(exposed)] = "read"
        (subscription,), (alert,) = state.pulses.values(), state.alerts.values()
        subscription["channels"][0]["recipients"].append({"email": "somebody@else.test"})
        alert["active"] = False
        with pytest.raises(VerifyFailed) as failed:
            verify_dashboards(used, (OURS, THEIRS), marts)
    faults = "\n".join(failed.value.faults)
    assert f"Zawadi Stationers: {stolen['name']!r} asks connection {theirs['id']}, not its own" in faults
    assert "Amani: 'How many customers are chosen?': shows other values than SQL says" in faults
    assert "Amani: may read a card of company/7101" in faults
    assert "Zawadi Stationers: subscription 'Churn overview': recipients: churn dashboards apply" in faults
    assert "All companies: alert 'What needs somebody now?': missing: churn dashboards apply" in faults
    assert len(failed.value.faults) == 5
    assert state.api_keys == {}
