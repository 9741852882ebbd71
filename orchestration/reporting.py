"""The dashboards of this warehouse in this Metabase, and what changed in words."""

from orchestration.integrations.metabase import apply
from orchestration.integrations.metabase.login import metabase_connection
from warehouse.connection import Warehouse
from warehouse.settings import Settings


def apply_dashboards(settings: Settings, warehouse: Warehouse) -> list[str]:
    """Bring Metabase in line with the files; returns a line per change, and where each dashboard is.

    Without CHURN_METABASE_URL one line says so. Raises MetabaseError children.
    """
    result = apply.apply_dashboards(settings, lambda: metabase_connection(warehouse, settings))
    if result.skipped:
        return [result.skipped]
    changes = [str(change) for change in result.changes] or ["Metabase is in line with the files already."]
    places = [f"{name}: {url}" for name, url in result.dashboard_urls.items()]
    return [*changes, *result.notes, *places]
