"""Writes docs/data-dictionary.md: every table and column that people read, as the dbt project's YAML describes it.

`make docs` runs it. Sources are what Python and the CRMs write; features and analytics are dbt's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "dbt_project" / "models"
PAGE = ROOT / "docs" / "data-dictionary.md"
LAYERS = {
    "analytics": "What dashboards show. A company reads its own rows only.",
    "features": "What was known of each customer at each date, and what came of it, by task. For models.",
}
FOLDERS = {"analytics": ("analytics",), "features": ("features", "tasks")}
"""Where the models of a schema stand. Tasks keep intermediate models of theirs beside the others."""


def dictionary() -> str:
    """The page, from the YAML as it stands."""
    lines = [
        "# Data dictionary",
        "",
        "Written by `make docs` from the descriptions in `dbt_project/models`; change those. Every table begins with",
        "`company_id`. What other programs may rely on is in [predictions-contract.md](predictions-contract.md).",
    ]
    for layer, description in LAYERS.items():
        lines += ["", f"## {layer}", "", description]
        models = [model for folder in FOLDERS[layer] for model in _described(MODELS / folder, "models")]
        for model in sorted(models, key=lambda model: model["name"]):
            if not model["name"].startswith("int_"):
                lines += _table(f"{layer}.{model['name']}", model)
    lines += ["", "## Written by Python", "", "What dbt reads: registry, logs, models' records, published scores."]
    for source in sorted(_described(MODELS / "staging", "sources"), key=lambda source: source["name"]):
        for table in sorted(source["tables"], key=lambda table: table["name"]):
            lines += _table(f"{source['name']}.{table['name']}", table)
    return "\n".join(lines) + "\n"


def _described(folder: Path, kind: str) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.rglob("*.yml")):
        content = yaml.safe_load(path.read_text()) or {}
        yield from content.get(kind, []) if isinstance(content, dict) else []


def _table(name: str, described: dict[str, Any]) -> list[str]:
    lines = ["", f"### {name}", "", _description(described) or "–"]
    columns = described.get("columns", [])
    if columns:
        lines += ["", "| column | type | meaning |", "|---|---|---|"]
        lines += [
            f"| `{column['name']}` | {column.get('data_type', '')} | {_description(column)} |" for column in columns
        ]
    return lines


def _description(described: dict[str, Any]) -> str:
    return " ".join(str(described.get("description", "")).split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(dictionary())
