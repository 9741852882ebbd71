"""dbt's exposures of the dashboards, from the files that make them: what each reads, so that lineage ends there.

dbt-metabase can read exposures back from a Metabase; the files are where ours come from, and need none.
"""

from __future__ import annotations

import yaml

from pipeline.features.catalogue import PROJECT_DIRECTORY
from pipeline.integrations.metabase.definition_files import load_definitions
from pipeline.integrations.metabase.definitions import DashboardDefinition

EXPOSURES_FILE = PROJECT_DIRECTORY / "models" / "analytics" / "_dashboards__exposures.yml"
HEADER = "# Written by `churn dashboards exposures` from the files under dashboards/; a test compares.\n"


def exposures_text() -> str:
    """The whole file."""
    exposures = [exposure(dashboard) for dashboard in load_definitions().dashboards]
    return HEADER + yaml.safe_dump({"exposures": exposures}, sort_keys=False, width=118, allow_unicode=True)


def exposure(dashboard: DashboardDefinition) -> dict[str, object]:
    """One dashboard, with the marts that its cards read."""
    tables = {table for card in dashboard.cards.values() for table in card.tables()}
    return {
        "name": f"{dashboard.key}_dashboard",
        "label": dashboard.name,
        "type": "dashboard",
        "maturity": "high",
        "description": f"{dashboard.description} In Metabase and in the report; defined in dashboards/{dashboard.key}.",
        "depends_on": [f"ref('{table.removeprefix('analytics.')}')" for table in sorted(tables)],
        "owner": {"name": "BI"},
    }


def write_exposures() -> bool:
    """Write the file; False where it says so already."""
    text = exposures_text()
    if EXPOSURES_FILE.is_file() and EXPOSURES_FILE.read_text(encoding="utf-8") == text:
        return False
    EXPOSURES_FILE.write_text(text, encoding="utf-8")
    return True
