"""The dashboards of this warehouse in this Metabase, and what changed in words."""

import getpass
from collections.abc import Iterator
from pathlib import Path

from pipeline.features.catalogue import manifest_path
from pipeline.integrations.metabase import apply, verify
from pipeline.integrations.metabase.changes import ApplyResult
from pipeline.integrations.metabase.login import WarehouseLogins
from pipeline.integrations.metabase.scopes import CompanyFacts
from pipeline.integrations.notifications.channels import mail_addresses
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.relations import CUSTOMER_OVERVIEW
from warehouse.settings import Settings

NO_MARTS = "No marts are built yet, so there is nothing to show: the first run makes the dashboards (`churn run`)."


def apply_dashboards(settings: Settings, warehouse: Warehouse, *, plan: bool = False) -> list[str]:
    """Bring Metabase in line with the files; returns a line per change, and where each dashboard is.

    With `plan` nothing is written. Without CHURN_METABASE_URL one line says so. Before the first run there are no marts
    to show: then Metabase gets its administrator and nothing else. Raises MetabaseError children.
    """
    if settings.metabase_url is not None and not _has_marts(warehouse):
        apply.set_up(settings, plan=plan)
        return [NO_MARTS]
    result = apply.apply_dashboards(
        settings,
        company_facts(warehouse, settings),
        WarehouseLogins(warehouse, settings, actor=getpass.getuser()),
        manifest=known_manifest(settings),
        operators=operators(settings),
        plan=plan,
    )
    return list(lines_of(result, is_plan=plan))


def lines_of(result: ApplyResult, *, is_plan: bool) -> Iterator[str]:
    """What an apply or a plan has to say."""
    if result.skipped:
        yield result.skipped
        return
    if result.changes and is_plan:
        yield "Nothing was written. After an apply:"
    yield from [str(change) for change in result.changes] or ["Metabase is in line with the files already."]
    yield from result.notes
    if not is_plan:
        yield from (f"{name}: {url}" for name, url in result.dashboard_urls.items())


def verify_dashboards(settings: Settings, warehouse: Warehouse) -> list[str]:
    """Run every card as every reader and compare with SQL; returns a line per reader. Raises MetabaseError children."""
    return verify.verify_dashboards(
        settings, company_facts(warehouse, settings), warehouse, operators=operators(settings)
    )


def operators(settings: Settings) -> tuple[str, ...]:
    """The e-mail addresses of those who look after all companies."""
    return mail_addresses(
        [address.strip() for address in settings.operator_addresses.split(",") if address.strip()],
        settings,
        None,
    )


def company_facts(warehouse: Warehouse, settings: Settings) -> list[CompanyFacts]:
    """The active companies, as dashboards need them."""
    with warehouse.connect() as connection:
        return [
            CompanyFacts(
                company.company_id,
                company.slug,
                company.name,
                company.currency,
                mail_addresses(company.notification_addresses, settings, company.slug),
                has_weekly_report=settings.mail_url is not None and company.notifications.weekly_report_on is not None,
            )
            for company in list_companies(connection)
        ]


def _has_marts(warehouse: Warehouse) -> bool:
    """Whether dbt has built the marts that dashboards show."""
    with warehouse.connect() as connection:
        row = connection.execute("select to_regclass(%s) is not null", [str(CUSTOMER_OVERVIEW)]).fetchone()
    return bool(row and row[0])


def known_manifest(settings: Settings) -> Path | None:
    """dbt's manifest, where the project has been parsed."""
    path = manifest_path(settings)
    return path if path.is_file() else None
