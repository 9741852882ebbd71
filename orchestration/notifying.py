"""Telling people, as jobs and commands do it: digests, then the weekly reports that are due."""

from pathlib import Path

from psycopg.errors import UndefinedTable

from orchestration.integrations.notifications.sending import Sent, send_digests, send_weekly_reports
from orchestration.report import write_report
from warehouse.companies import Company
from warehouse.connection import Warehouse
from warehouse.settings import Settings


def send_all(settings: Settings, warehouse: Warehouse) -> list[Sent]:
    """Everything that is due now; a line for each message, and for each address that leads nowhere."""

    def page(company: Company) -> Path | None:
        """The company's report as a file in the home folder; None while its marts have not been built."""
        path = settings.home / "reports" / f"churn-{company.slug}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_report(settings, warehouse, company.slug, path)
        except UndefinedTable:
            return None
        return path

    return [*send_digests(warehouse, settings), *send_weekly_reports(warehouse, settings, page)]
