"""Telling people, as jobs and commands do it: digests, the weekly reports that are due, and that scores are missing."""

import logging
import tempfile
from pathlib import Path

from pipeline.integrations.notifications.sending import Sent, send_digests, send_weekly_reports
from pipeline.prediction.tasks import CONTRACTS
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.publication.lateness import late_publications
from warehouse.settings import Settings

log = logging.getLogger(__name__)


def send_all(settings: Settings, warehouse: Warehouse) -> list[Sent]:
    """Everything that is due now; a line for each message, and for each address that leads nowhere."""
    with tempfile.TemporaryDirectory() as folder:

        def page(company: Company) -> Path | None:
            return _page(settings, warehouse, company, Path(folder))

        return [*send_digests(warehouse, settings), *send_weekly_reports(warehouse, settings, page)]


def tell_of_silence(settings: Settings, warehouse: Warehouse) -> list[str]:
    """Send the digests where scores have not come lately; which, and how the messages went, a line each."""
    with warehouse.connect() as connection:
        late = [*late_publications(connection, CONTRACTS, list_companies(connection), Clock.from_settings(settings))]
    return [*map(str, late), *map(str, send_digests(warehouse, settings))] if late else []


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
