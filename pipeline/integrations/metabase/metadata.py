"""Descriptions, types, keys and visibility of tables and columns, from dbt's manifest, by dbt-metabase.

What differs is found from what Metabase told anyway: the library asks again and waits for a sync, so it runs only
where there is something to write. A connection that sees several companies is told of no key: a customer's id is
unique within a company only, and Metabase joins by one column.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbtmetabase import DbtMetabase, Filter
from dbtmetabase.format import NullValue
from dbtmetabase.manifest import Column, Manifest, Model

from pipeline.integrations.metabase.client import LONGEST_BODY_IN_ERROR
from pipeline.integrations.metabase.errors import MetabaseError, MetabaseRefused, MetabaseUnreachable
from pipeline.integrations.metabase.state import Fields, field_ids

if TYPE_CHECKING:
    from pipeline.integrations.metabase.client import MetabaseClient

# It logs whole answers, with the secrets that they may quote; what it raises is told without them.
logging.getLogger("dbtmetabase.metabase").setLevel(logging.CRITICAL)

KEY_TYPES = frozenset({"type/PK", "type/FK"})


class KeylessManifest(Manifest):  # type: ignore[misc]  # the library has no types
    """dbt's manifest without its keys; one that somebody gave Metabase by hand is taken back."""

    def read_models(self) -> Sequence[Model]:
        """The models, as the library reads them."""
        models: Sequence[Model] = super().read_models()
        for column in (column for model in models for column in model.columns):
            if column.semantic_type in KEY_TYPES:
                column.semantic_type, column.fk_target_table, column.fk_target_field = NullValue, None, None
        return models


class Library(DbtMetabase):  # type: ignore[misc]  # the library has no types
    """dbt-metabase for one connection."""

    def __init__(self, manifest: Manifest, **access: str) -> None:
        super().__init__(manifest_path=manifest.path, **access)
        self._told = manifest

    @property
    def manifest(self) -> Manifest:
        """What it tells."""
        return self._told


def manifest_for(path: Path, *, has_keys: bool) -> Manifest:
    """dbt's manifest, with or without its keys."""
    return Manifest(path) if has_keys else KeylessManifest(path)


@lru_cache(maxsize=8)
def _models(path: Path, modified_ns: int, *, has_keys: bool) -> tuple[Model, ...]:  # noqa: ARG001 - a key of the cache
    return tuple(manifest_for(path, has_keys=has_keys).read_models())


def metadata_drift(metadata: Mapping[str, Any], manifest_path: Path, *, has_keys: bool) -> int:
    """How many tables and columns differ from the manifest; those that the connection does not see count not."""
    read = _models(manifest_path, manifest_path.stat().st_mtime_ns, has_keys=has_keys)
    models = {(model.schema, model.alias): model for model in read}
    ids = field_ids(metadata)
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
            drift += column is not None and _differs(field, column, ids)
    return drift


def _differs(field: Mapping[str, Any], column: Column, ids: Fields) -> bool:
    return bool(
        field.get("description") != (column.description or None)
        or field.get("visibility_type", "normal") != (column.visibility_type or "normal")
        or _type_differs(field, column)
        or (column.fk_target_field and field.get("fk_target_field_id") != ids.get(_target_of(column)))
        or (column.has_field_values and field.get("has_field_values") != column.has_field_values)
    )


def _type_differs(field: Mapping[str, Any], column: Column) -> bool:
    told = field.get("semantic_type")
    # Types that Metabase finds by itself may stay where the manifest has none; a key may not.
    return (
        told in KEY_TYPES
        if column.semantic_type is NullValue
        else bool(column.semantic_type) and (told != column.semantic_type)
    )


def _target_of(column: Column) -> tuple[str, str, str]:
    schema, table = str(column.fk_target_table).split(".")
    return schema, table, str(column.fk_target_field)


def write_metadata(
    client: MetabaseClient, database_name: str, manifest_path: Path, metadata: Mapping[str, Any], *, has_keys: bool
) -> None:
    """Write what the manifest says of the tables that one connection sees.

    Raises MetabaseRefused, MetabaseUnreachable, or MetabaseError where the library is at a loss.
    """
    tables = metadata.get("tables") or []
    try:
        # It signs in at once.
        library = Library(manifest_for(manifest_path, has_keys=has_keys), **client.credentials())
        library.export_models(
            metabase_database=database_name,
            schema_filter=Filter(include=sorted({table["schema"] for table in tables})),
            model_filter=Filter(include=[table["name"] for table in tables]),
            skip_sources=True,
            sync_timeout=0,
        )
    except Exception as error:
        raise _told(error, database_name, client) from error


def _told(error: Exception, database_name: str, client: MetabaseClient) -> MetabaseError:
    """The library's error as one of ours; those of its HTTP client have a response, which is None where none came."""
    if not (isinstance(error, OSError) and hasattr(error, "response")):
        return MetabaseError(f"dbt-metabase could not describe the tables of {database_name!r}: {error}")
    answer = error.response
    if answer is None:
        return MetabaseUnreachable(
            f"No answer from Metabase to dbt-metabase, which describes the tables of {database_name!r}: "
            f"{client.without_secrets(str(error))}."
        )
    said = client.without_secrets(answer.text, LONGEST_BODY_IN_ERROR) or "(no body)"
    return MetabaseRefused(answer.status_code, str(answer.request.method), str(answer.request.path_url), said)
