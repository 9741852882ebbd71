"""Descriptions, types and visibility of tables and columns, from dbt's manifest, by dbt-metabase.

What differs is found from what Metabase told anyway: the library asks again and waits for a sync, so it runs only
where there is something to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbtmetabase import DbtMetabase, Filter

from orchestration.integrations.metabase.errors import MetabaseError

if TYPE_CHECKING:
    from dbtmetabase.manifest import Model

    from orchestration.integrations.metabase.client import MetabaseClient


@lru_cache(maxsize=4)
def _models(manifest_path: Path, modified_ns: int) -> tuple[Model, ...]:  # noqa: ARG001 - a key of the cache
    from dbtmetabase.manifest import Manifest

    return tuple(Manifest(manifest_path).read_models())


def metadata_drift(metadata: Mapping[str, Any], manifest_path: Path) -> int:
    """How many tables and columns differ from the manifest; those that the connection does not see count not."""
    models = {(model.schema, model.alias): model for model in _models(manifest_path, manifest_path.stat().st_mtime_ns)}
    drift = 0
    for table in metadata.get("tables") or []:
        model = models.get((table["schema"], table["name"]))
        if model is None:
            continue
        drift += table.get("description") != (model.format_description() or None)
        drift += table.get("visibility_type") != (model.visibility_type or None)
        if model.visibility_type:
            continue
        columns = {column.name: column for column in model.columns}
        for field in table.get("fields") or []:
            column = columns.get(field["name"])
            drift += column is not None and _differs(field, column)
    return drift


def _differs(field: Mapping[str, Any], column: Any) -> bool:
    return bool(
        field.get("description") != (column.description or None)
        or field.get("visibility_type", "normal") != (column.visibility_type or "normal")
        or (column.semantic_type and field.get("semantic_type") != column.semantic_type)
        or (column.has_field_values and field.get("has_field_values") != column.has_field_values)
    )


def write_metadata(
    client: MetabaseClient, database_name: str, manifest_path: Path, metadata: Mapping[str, Any]
) -> None:
    """Write what the manifest says of the tables that one connection sees."""
    tables = metadata.get("tables") or []
    library = DbtMetabase(manifest_path=manifest_path, **client.credentials())
    try:
        library.export_models(
            metabase_database=database_name,
            schema_filter=Filter(include=sorted({table["schema"] for table in tables})),
            model_filter=Filter(include=[table["name"] for table in tables]),
            skip_sources=True,
            sync_timeout=0,
        )
    except Exception as error:
        raise MetabaseError(f"dbt-metabase could not describe the tables of {database_name!r}: {error}") from error
