"""Dashboards: each card as readers' logins run it, the report page, and a plan on fifty companies.

    python -m benchmarks.dashboards [--customers 200000] [--months 24] [--companies 50]

One run, on an embedded Postgres of its own. The marts' tables are made by dbt (policies and indexes included) on no
data and filled with made-up rows: one company with all the customers, and a tenth as many of another beside it.
A company's dashboards run as its login; those of who looks after all companies as theirs, over both companies, with a
year of loads and runs of fifty companies on Operations. Each card runs three times and its median counts; a dashboard's
time is the sum over its cards, one after the other. The page is opened in headless Chromium, where there is one, by the
page's own clock: from the start of its loading to the end of its load event. The plan asks a stand-in for Metabase over
HTTP, in this process, which holds everything.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from pipeline.companies import parse_definition
from pipeline.integrations.metabase.apply import apply_dashboards
from pipeline.integrations.metabase.definition_files import load_definitions, marts_read
from pipeline.integrations.metabase.desired import WarehouseConnection
from pipeline.integrations.metabase.filled_sql import filled_sql
from pipeline.integrations.metabase.login import WarehouseLogins
from pipeline.integrations.metabase.scopes import CompanyFacts, Scope, tailored_dashboards
from pipeline.prediction.tasks import CONTRACTS
from pipeline.telling.report import write_report
from tests.integration.pipeline.integrations.metabase.stand_in.server import StandIn, served
from warehouse.companies.registry import add_company
from warehouse.connection import Warehouse
from warehouse.migrate import migrate
from warehouse.roles import Role, set_company_password
from warehouse.settings import Settings

PROJECT = Path(__file__).parents[1]
SLOWEST_CARD_MS, WHOLE_DASHBOARD_MS, PAGE_SECONDS, PLAN_SECONDS = 500.0, 2000.0, 2.0, 10.0
SEGMENTS = 8
PASSWORD = "a-long-warehouse-password"  # noqa: S105 - of a stand-in
MONTH = "(date '2026-10-01' - make_interval(months => {months} - 1 - {number}))::date"
LEVEL = "(array['low', 'low', 'low', 'low', 'low', 'low', 'medium', 'medium', 'high', 'high'])[1 + {number} % 10]"
REASONS = "(array['Open tickets', 'Late payments', 'Days since the last payment', 'Fewer log-ins'])[1 + {number} % 4]"
BY_TYPE = {
    "text": "'word ' || (customer % 7)",
    "boolean": "customer % 3 = 0",
    "integer": "(random() * 100)::integer",
    "bigint": "(random() * 100)::bigint",
    "double precision": "random()",
    "numeric": "round((random() * 1000)::numeric, 2)",
    "date": MONTH.format(months=24, number="(customer % 24)"),
    "timestamp with time zone": "timestamptz '2026-10-01' - make_interval(days => customer % 700)",
    "jsonb": "'{}'::jsonb",
}


def rows_of(mart: str, customers: int, months: int) -> tuple[str, dict[str, str]]:
    """FROM clause and expressions of a mart's rows; `customer` is a number in each."""
    month = MONTH.format(months=months, number="at")
    each_customer = f"generate_series(1, {customers}) as customer"
    each_month = f"generate_series(0, {months - 1}) as at, lateral (select at as customer) as numbered"
    segments = f"generate_series(0, {months - 1}) as at, generate_series(1, {SEGMENTS}) as customer"
    by_segment = {"month": month, "segment": "'segment ' || customer", "quarter_start": month}
    score_month = {"month": month, "as_of_date": month}
    splits = "generate_series(0, 3) as slice"
    split = {
        "segment": "case when customer = 0 then 'all' else 'segment ' || customer end",
        "model_version": "case when slice = 0 then 'all' else 'v' || slice end",
        "evidence_level": "case when slice < 2 then 'all' else (array['own_model', 'rule'])[slice - 1] end",
    }
    # Six tables or stages a day of twenty-five companies each, so of fifty in all.
    a_year = f"generate_series(1, {365 * 6 * 25}) as customer"
    a_day = "date '2026-10-01' - customer % 365"
    special: dict[str, tuple[str, dict[str, str]]] = {
        "customer_overview": (each_customer, {}),
        "customer_reasons": (f"{each_customer}, generate_series(1, 6) as rank", {"reason_rank": "rank"}),
        "score_history": (f"generate_series(0, {months - 1}) as at, {each_customer}", score_month),
        "customer_tickets": (f"{each_customer}, generate_series(1, 3) as at", {"ticket_id": "customer || '-' || at"}),
        "customer_payments": (
            f"{each_customer}, generate_series(1, {months}) as at",
            {"payment_id": "customer || '-' || at"},
        ),
        "churned_customers": (f"generate_series(1, {customers // 4}) as customer", {}),
        "cohort_retention": (
            f"generate_series(0, {months - 1}) as at, generate_series(0, {months - 1}) as later,"
            f" generate_series(1, {SEGMENTS}) as customer",
            {
                "segment": "'segment ' || customer",
                "cohort_month": month,
                "month": f"({month} + make_interval(months => later))::date",
                "months_since_signup": "later",
                "customers": "100",
                "customers_retained": "100 - later",
            },
        ),
        "risk_by_month": (
            f"generate_series(0, {months - 1}) as at, generate_series(6, 8) as customer",
            score_month | {"risk_level": "(array['low', 'medium', 'high'])[customer - 5]"},
        ),
        "risk_movements_by_month": (
            f"generate_series(0, {months - 1}) as at, generate_series(0, 15) as customer",
            {
                "month": month,
                "from_level": "(array['low', 'medium', 'high', 'new'])[1 + customer / 4]",
                "to_level": "(array['low', 'medium', 'high', 'left'])[1 + customer % 4]",
            },
        ),
        "risk_levels_with_replays": (
            f"generate_series(0, {months - 1}) as at, generate_series(6, 8) as customer",
            {"month": month, "risk_level": "(array['low', 'medium', 'high'])[customer - 5]", "is_replayed": "at < 12"},
        ),
        "risk_movements_with_replays": (
            f"generate_series(0, {months - 1}) as at, generate_series(0, 15) as customer",
            {
                "month": month,
                "from_level": "(array['low', 'medium', 'high', 'new'])[1 + customer / 4]",
                "to_level": "(array['low', 'medium', 'high', 'left'])[1 + customer % 4]",
                "is_replayed": "at < 12",
            },
        ),
        "grades_with_replays": (each_month, {"as_of_month": month, "is_replayed": "at < 12"}),
        "track_record": ("generate_series(1, 1) as customer", {}),
        "track_record_by_month": (each_month, {"as_of_month": month}),
        "track_record_calibration": ("generate_series(1, 10) as customer", {"bin": "customer"}),
        "publication_history": (each_month, {"as_of_date": month}),
        "load_history": (a_year, {"started_date": a_day, "known_date": a_day}),
        "run_history": (a_year, {"started_date": a_day, "stage": "'stage ' || (customer % 6)"}),
        "publication_holds": (
            "generate_series(0, 364) as customer",
            {
                "as_of_date": a_day,
                "hold_status": "(array['held', 'accepted', 'published', 'replayed'])[1 + customer % 4]",
                "released_at": "case when customer % 4 > 1 then timestamptz '2026-10-01' end",
            },
        ),
        "held_scores": (
            f"generate_series(1, {customers // 20}) as customer, generate_series(0, 2) as at",
            {"as_of_date": "date '2026-10-01' - at"},
        ),
        "score_grades": (f"generate_series(0, {SEGMENTS}) as customer, {splits}", split),
        "score_grades_by_month": (
            f"generate_series(0, {months - 1}) as at, generate_series(0, {SEGMENTS}) as customer, {splits}",
            {"as_of_month": month} | split,
        ),
        "challenger_grades": (
            "generate_series(0, 7) as customer",
            {
                "model_version": "'v' || (customer / 2)",
                "scored_by": "(array['challenger', 'champion'])[1 + customer % 2]",
            },
        ),
        "score_calibration": ("generate_series(1, 10) as customer", {"bin": "customer"}),
        "score_lift": ("generate_series(1, 10) as customer", {"decile": "customer"}),
        "score_moves": (each_customer, {}),
        "reasons_by_risk_level": (
            "generate_series(1, 40) as customer, unnest(array['low', 'medium', 'high']) as level",
            {"risk_level": "level"},
        ),
    }
    for name in ("churn_by_month", "support_by_month", "payment_health_by_month", "revenue_retention_by_quarter"):
        special[name] = (segments, by_segment)
    return special.get(mart, ("generate_series(1, 200) as customer", {"entity": "'entity ' || customer"}))


def fill(connection: psycopg.Connection[Any], mart: str, company: CompanyFacts, customers: int, months: int) -> None:
    """Made-up rows of one company in one mart."""
    columns = connection.execute(
        "select column_name, data_type from information_schema.columns"
        " where table_schema = 'analytics' and table_name = %s order by ordinal_position",
        [mart],
    ).fetchall()
    source, own = rows_of(mart, customers, months)
    known = {
        "company_id": str(company.company_id),
        "company_name": f"'{company.name}'",
        "currency": f"'{company.currency}'",
        "customer_id": "'cus_' || lpad(customer::text, 8, '0')",
        "customer_name": "'Customer ' || customer",
        "segment": f"'segment ' || (customer % {SEGMENTS})",
        "risk_level": LEVEL.format(number="customer"),
        "main_reason": REASONS.format(number="customer"),
        "feature_label": REASONS.format(number="customer"),
        "feature": "'feature ' || customer",
        "is_raising_risk": "true",
        "evidence_level": "'own_model'",
        "payment_state": "case when customer % 20 = 0 then 'failed' else 'paid' end",
        "status": "case when customer % 20 = 0 then 'failed' else 'succeeded' end",
        "score_date": "date '2026-10-01'",
        "reason_text": f"{REASONS.format(number='customer')} || ': 12 days, usually 3'",
        "effect": "'raises the risk'",
    }
    for name in ("first_reason", "second_reason", "third_reason"):
        known[name] = known["reason_text"]
    values = []
    for name, kind in columns:
        unique = f"customer::{kind}" if name.endswith("_id") and kind in {"integer", "bigint", "text"} else None
        values.append(f"({own.get(name) or known.get(name) or unique or BY_TYPE[kind]})::{kind}")
    connection.execute(f"insert into analytics.{mart} select {', '.join(values)} from {source}")  # type: ignore[call-overload]
    connection.execute(f"analyze analytics.{mart}")  # type: ignore[call-overload]


def make_marts(warehouse: Warehouse, folder: Path) -> None:
    """The marts as dbt makes them, empty."""
    warehouse.write_dbt_profile(folder)
    arguments = ["build", "--quiet", "--exclude-resource-type", "test", "unit_test", "--profiles-dir", folder]
    places = ["--project-dir", PROJECT / "dbt_project", "--target-path", folder / "target", "--log-path", folder]
    subprocess.run([Path(sys.executable).parent / "dbt", *arguments, *places], check=True)


def card_milliseconds(connection: psycopg.Connection[Any], scope: Scope) -> dict[str, dict[str, float]]:
    """Per dashboard and card the median of three runs, fetching included."""
    medians: dict[str, dict[str, float]] = {}
    for dashboard in tailored_dashboards(load_definitions(), scope):
        defaults = {parameter.id: parameter.default for parameter in dashboard.parameters if parameter.default}
        for card in dashboard.placed_cards():
            chosen = {name: value for name, value in defaults.items() if name in card.template_tags}
            query = filled_sql(card, chosen)
            times = []
            for _ in range(3):
                started = time.perf_counter()
                connection.execute(query).fetchall()
                times.append((time.perf_counter() - started) * 1000)
            medians.setdefault(dashboard.name, {})[card.key] = statistics.median(times)
    return medians


def page_seconds(page: Path, folder: Path) -> float | None:
    """Seconds from the start of the page's loading to the end of its load event, by the browser's clock."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        return None
    script = (
        "<script>addEventListener('load', () => setTimeout(() => { const entry ="
        " performance.getEntriesByType('navigation')[0]; document.title = 'took ' + entry.loadEventEnd; }))</script>"
    )
    timed = folder / "timed.html"
    text = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", page.read_text(encoding="utf-8"))
    timed.write_text(text.replace("<head>", f"<head>{script}"), encoding="utf-8")
    options = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--virtual-time-budget=9000",
    )
    command = [browser, *options, f"--user-data-dir={folder / 'profile'}", "--dump-dom", timed.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    took = re.search(r"<title>took ([\d.]+)", dom)
    assert took is not None
    return float(took[1]) / 1000


class OpenLogins:
    """Logins of fifty companies that nobody needs to make."""

    def connection(self, scope: Scope) -> WarehouseConnection:
        return WarehouseConnection("postgres", 5432, "churn", scope.key.replace("/", "_"))

    def is_open(self, _: Scope) -> bool:
        return True

    def close(self, _: Scope) -> SecretStr:
        return SecretStr(PASSWORD)

    open = close


def plan_seconds(companies: int) -> tuple[float, int, int]:
    """Seconds and requests of a plan with nothing to change, and writes of an apply for one more company's others.

    The plan is the second since the apply: the first reads what the apply wrote, and remembers it.
    """
    tables: dict[tuple[str, str], list[str]] = {}
    for schema, table, column in sorted(load_definitions().columns_filtered()):
        tables.setdefault((schema, table), []).append(column)
    state = StandIn(tables, warehouse_password=PASSWORD, polls_until_synced=0)
    facts = [CompanyFacts(number, f"company{number}", f"Company {number}", "EUR") for number in range(1, companies + 2)]
    settings = Settings(metabase_username="admin@churn.test", metabase_password=SecretStr("a-long-admin-password"))
    with served(state) as address, tempfile.TemporaryDirectory() as home:
        used = settings.model_copy(update={"metabase_url": address.url, "home": Path(home)})
        apply_dashboards(used, facts[:-1], OpenLogins(), run_cards=False, sleep=lambda _: None)
        apply_dashboards(used, facts[:-1], OpenLogins(), plan=True)
        before = len(state.requests)
        started = time.perf_counter()
        result = apply_dashboards(used, facts[:-1], OpenLogins(), plan=True)
        seconds, requests = time.perf_counter() - started, len(state.requests) - before
        assert result.changes == []
        content = state.content()
        apply_dashboards(used, facts, OpenLogins(), run_cards=False, sleep=lambda _: None)
        after = state.content()
    stores = ("cards", "dashboards", "databases", "collections")
    touched = sum(after[store][key] != value for store in stores for key, value in content[store].items())
    return seconds, requests, touched


def main() -> None:
    """Run the benchmark and print what came out; exits 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=200_000)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--companies", type=int, default=50)
    options = parser.parse_args()
    kept = [_plan(options.companies)]
    with tempfile.TemporaryDirectory() as name, Warehouse.open(Settings(home=Path(name) / "home")) as warehouse:
        kept += _cards(warehouse, Path(name), options.customers, options.months)
    if not all(kept):
        raise SystemExit(1)


def _plan(companies: int) -> bool:
    seconds, requests, touched = plan_seconds(companies)
    print(f"A plan on {companies} companies with nothing to change: {requests} requests")
    kept = _promise("seconds", seconds, PLAN_SECONDS)
    print("An apply for one more company")
    return _promise("things of others that it touched", touched, 0) and kept


def _cards(warehouse: Warehouse, folder: Path, customers: int, months: int) -> list[bool]:
    migrate(warehouse, CONTRACTS)
    companies = []
    with warehouse.connect() as connection:
        for slug in ("large", "small"):
            definition = {"slug": slug, "name": slug.title(), "connector": "files", "currency": "EUR"}
            company = add_company(
                connection, parse_definition(definition | {"churn_kind": "cancellation"}), "benchmark"
            )
            companies.append(CompanyFacts(company.company_id, slug, company.name, company.currency))
    make_marts(warehouse, folder / "dbt")
    with warehouse.connect(autocommit=True) as connection:
        for mart in marts_read():
            for company, size in zip(companies, (customers, customers // 10), strict=True):
                fill(connection, mart, company, size, months)
    with warehouse.connect() as connection:
        user, password = set_company_password(connection, companies[0].company_id, Role.company)
    kept = []
    size = f"{customers:,} customers, {months} months"
    print(f"Every card as a company's login: {size}")
    with psycopg.connect(make_conninfo(warehouse.url("postgresql"), user=user, password=password)) as connection:
        kept += _dashboards(connection, Scope(companies[0]))
    print(f"Every card as those who look after all companies: {size}, and a tenth of that beside it")
    operator = WarehouseLogins(warehouse, Settings(home=folder), actor="benchmark")
    login = operator.connection(Scope())
    password = operator.open(Scope()).get_secret_value()
    with psycopg.connect(make_conninfo(warehouse.url("postgresql"), user=login.user, password=password)) as connection:
        kept += _dashboards(connection, Scope())
    page = folder / "report.html"
    started = time.perf_counter()
    write_report(Settings(home=folder), warehouse, "large", page)
    made = time.perf_counter() - started
    print(f"The report page: made in {made:.1f} s, {page.stat().st_size / 1024:.0f} KiB")
    seconds = page_seconds(page, folder)
    if seconds is None:
        print("  not opened: there is no chromium here")
        return kept
    return [*kept, _promise("opens in, seconds", seconds, PAGE_SECONDS)]


def _dashboards(connection: psycopg.Connection[Any], scope: Scope) -> list[bool]:
    kept = []
    for dashboard, times in card_milliseconds(connection, scope).items():
        slowest = max(times, key=lambda key: times[key])
        print(f"  {dashboard}: {len(times)} cards, slowest {slowest}")
        kept.append(_promise("slowest card, ms", times[slowest], SLOWEST_CARD_MS))
        kept.append(_promise("all cards, ms", sum(times.values()), WHOLE_DASHBOARD_MS))
    return kept


def _promise(name: str, value: float, promised: float) -> bool:
    kept = value <= promised
    print(f"    {name:34} {value:8.2f}   (promised: at most {promised:g}){'' if kept else '   MISSED'}", flush=True)
    return kept


if __name__ == "__main__":
    main()
