"""Telling people, as jobs and commands do it: digests, then the weekly reports that are due."""

from orchestration.integrations.notifications.sending import Sent, send_digests, send_weekly_reports
from warehouse.connection import Warehouse
from warehouse.settings import Settings


def send_all(settings: Settings, warehouse: Warehouse) -> list[Sent]:
    """Everything that is due now; a line for each message, and for each address that leads nowhere."""
    return [*send_digests(warehouse, settings), *send_weekly_reports(warehouse, settings, lambda _: None)]
