"""Who may see what: the levels that groups should have, and what of a permission graph differs. Pure.

The free Metabase has two walls: a collection's level (whoever may read a collection sees its cards' data) and the
right to ask one's own questions of a connection. The third is the login behind each connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Levels = dict[str, dict[str, str]]
"""Group id to (collection or database id to level)."""


def is_administrators(group: Mapping[str, Any]) -> bool:
    """Metabase's own group of administrators, which sees everything and whose rights cannot be set."""
    return group.get("magic_group_type") == "admin" or group.get("name") == "Administrators"


def merge(levels: Levels, more: Levels) -> None:
    """Add `more` to `levels`."""
    for group, wanted in more.items():
        levels.setdefault(group, {}).update(wanted)


def outer_collection(
    collection_id: int, everyone: str, closed_to: Iterable[Mapping[str, Any]], readers: Iterable[int]
) -> Levels:
    """None for All Users and for the groups it is closed to, read for its readers."""
    levels: Levels = {
        str(group["id"]): {str(collection_id): "none"} for group in closed_to if not is_administrators(group)
    }
    levels[everyone] = {str(collection_id): "none"}
    return levels | {str(reader): {str(collection_id): "read"} for reader in readers}


def inner_collection(collection_id: int, everyone: str, readers: Mapping[int, str]) -> Levels:
    """None for All Users, and its level for each reader."""
    levels: Levels = {everyone: {str(collection_id): "none"}}
    return levels | {str(reader): {str(collection_id): level} for reader, level in readers.items()}


def database(
    database_id: int,
    everyone: str,
    closed_to: Iterable[Mapping[str, Any]],
    ours: Iterable[int],
    allowed: Mapping[int, str],
) -> Levels:
    """No questions of their own for anybody but the groups in `allowed`."""
    levels: Levels = {str(group["id"]): {str(database_id): "no"} for group in closed_to if not is_administrators(group)}
    levels |= {str(group): {str(database_id): "no"} for group in ours}
    levels[everyone] = {str(database_id): "no"}
    return levels | {str(group): {str(database_id): level} for group, level in allowed.items()}


def collection_changes(graph: Mapping[str, Any], wanted: Levels) -> Levels:
    """What of `wanted` the collection graph does not say yet. A level that is absent is none."""

    def level(group: str, thing: str) -> str:
        return str((graph["groups"].get(group) or {}).get(thing, "none"))

    return differing(wanted, level)


def data_changes(graph: Mapping[str, Any], wanted: Levels) -> Levels:
    """What of `wanted` the data permission graph does not say yet. A right that is absent is no."""

    def level(group: str, thing: str) -> str:
        return str(((graph["groups"].get(group) or {}).get(thing) or {}).get("create-queries", "no"))

    return differing(wanted, level)


def as_data_graph(levels: Levels) -> dict[str, dict[str, dict[str, str]]]:
    """Levels in the shape of a PUT to /api/permissions/graph."""
    return {
        group: {thing: {"view-data": "unrestricted", "create-queries": level} for thing, level in inner.items()}
        for group, inner in levels.items()
    }


def differing(wanted: Levels, level: Any) -> Levels:
    """The entries of `wanted` that differ from what `level(group, thing)` says."""
    differences: Levels = {}
    for group, things in wanted.items():
        for thing, value in things.items():
            if level(group, thing) != value:
                differences.setdefault(group, {})[thing] = value
    return differences
