"""Which SQL makes a feature model's rows: the version that features carry."""

from collections.abc import Mapping
from typing import Any

from pipeline.features.dbt_macros import call_macro


def sql_version(manifest: Mapping[str, Any], unique_id: str) -> str:
    """Which SQL makes a feature model's rows: what stands before the dot of ``feature_version``, 12 hex digits.

    The macro ``sql_version`` says it. Raises KeyError for a model that the manifest does not hold.
    """
    if unique_id not in manifest["nodes"]:
        raise KeyError(unique_id)
    return str(call_macro(manifest, "sql_version", unique_id))
