"""Applying the real dashboards to the stand-in: the companies, their logins, and what to look at afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from pipeline.integrations.metabase.apply import apply_dashboards
from pipeline.integrations.metabase.changes import ApplyResult
from pipeline.integrations.metabase.definitions import DASHBOARDS_DIRECTORY, Definitions
from pipeline.integrations.metabase.desired import WarehouseConnection
from pipeline.integrations.metabase.scopes import CompanyFacts, Scope, distinct_cards, scopes_of, tailored_dashboards
from tests.integration.pipeline.integrations.metabase.stand_in.server import StandIn
from warehouse.settings import Settings

USERNAME = "admin@churn.test"
PASSWORD = "a-long-admin-password"
WAREHOUSE_PASSWORD = "a-long-warehouse-password"
ALL_USERS = "1"
ZAWADI = CompanyFacts(1, "zawadi", "Zawadi Stationers", "KES")
AMANI = CompanyFacts(2, "amani", "Amani Media", "EUR", ("success@amani.test", "boss@amani.test"))
COMPANIES = (ZAWADI, AMANI)
FACTS = {"host": "postgres", "port": 5432, "dbname": "churn"}


@dataclass
class FakeLogins:
    """Logins that nobody needs to make; remembers which are open."""

    password: str = WAREHOUSE_PASSWORD
    facts: dict[str, Any] = field(default_factory=lambda: dict(FACTS))
    opened: set[str] = field(default_factory=set)

    def connection(self, scope: Scope) -> WarehouseConnection:
        user = "churn_metabase" if scope.company is None else f"company_{scope.company.company_id}_metabase"
        return WarehouseConnection(**self.facts, user=user)

    def is_open(self, scope: Scope) -> bool:
        return scope.key in self.opened

    def close(self, scope: Scope) -> SecretStr:
        self.opened.discard(scope.key)
        return SecretStr(self.password)

    def open(self, scope: Scope) -> SecretStr:
        self.opened.add(scope.key)
        return SecretStr(self.password)


def tables_of(definitions: Definitions) -> dict[tuple[str, str], list[str]]:
    tables: dict[tuple[str, str], list[str]] = {("raw", "customers"): ["email"]}
    for schema, table, column in sorted(definitions.columns_filtered()):
        tables.setdefault((schema, table), []).append(column)
    return tables


def settings(url: str | None, **changes: Any) -> Settings:
    access = {"metabase_username": USERNAME, "metabase_password": SecretStr(PASSWORD)}
    return Settings(metabase_url=url, **(access | changes))


def do_not_wait(_: float) -> None:
    """In place of time.sleep."""


def apply(
    url: str,
    directory: Path = DASHBOARDS_DIRECTORY,
    *,
    companies: Sequence[CompanyFacts] = COMPANIES,
    logins: FakeLogins | None = None,
    run_cards: bool = True,
    plan: bool = False,
    **changes: Any,
) -> ApplyResult:
    return apply_dashboards(
        settings(url, **changes),
        companies,
        logins or FakeLogins(),
        directory=directory,
        run_cards=run_cards,
        plan=plan,
        sleep=do_not_wait,
    )


def cards_of(definitions: Definitions, companies: Sequence[CompanyFacts] = COMPANIES) -> int:
    return sum(len(distinct_cards(tailored_dashboards(definitions, scope))) for scope in scopes_of(companies))


def named(store: dict[int, Any], name: str, *, among: int | None = None) -> Any:
    (item,) = [item for item in store.values() if item["name"] == name and among in (None, item.get("collection_id"))]
    return item


def overview_of(metabase: StandIn, company: str) -> Any:
    return named(metabase.dashboards, "Churn overview", among=named(metabase.collections, company)["id"])
