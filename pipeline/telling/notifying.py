"""Telling people, as jobs and commands do it: digests, then the weekly reports that are due, each with its page."""

import logging
import tempfile
from pathlib import Path

from pipeline.integrations.notifications.sending import Sent, send_digests, send_weekly_reports
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.settings import Settings

log = logging.getLogger(__name__)


def send_all(settings: Settings, warehouse: Warehouse) -> list[Sent]:
    """Everything that is due now; a line for each message, and for each address that leads nowhere."""
    with tempfile.TemporaryDirectory() as folder:

        def page(company: Company) -> Path | None:
            return _page(settings, warehouse, company, Path(folder))

        return [*send_digests(warehouse, settings), *send_weekly_reports(warehouse, settings, page)]


def _page(settings: Settings, warehouse: Warehouse, company: Company, folder: Path) -> Path | None:
    """The company's whole report; without it, which is logged, the short one goes alone."""
    from pipeline.telling.report import write_report

    path = folder / f"churn-report-{company.slug}.html"
    try:
        write_report(settings, warehouse, company.slug, path)
    except Exception:
        log.exception("weekly report · %s: the page could not be made, the e-mail goes without it", company.slug)
        return None
    return path
