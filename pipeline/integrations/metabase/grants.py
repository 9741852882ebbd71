"""Brings Metabase's permission graphs in line with levels; which levels are wanted belongs in `permissions.py`."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.integrations.metabase import permissions
from pipeline.integrations.metabase.changes import Action, Change, Work

COLLECTION_GRAPH = "/api/collection/graph"
DATA_GRAPH = "/api/permissions/graph"


class Grants:
    """The rights on collections and on connections. `names` are what to call each, by id."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._has_new_collections = False

    def expect_new_collection(self) -> None:
        """A new collection has the rights of the one that it was made in: they have to be read."""
        self._has_new_collections = True

    def on_collections(self, wanted: permissions.Levels, names: Mapping[str, str]) -> None:
        """Give the groups these levels on collections."""
        state, changes = self._work.state, self._work.changes
        if self._has_new_collections and not changes.is_plan:
            state.collection_graph = self._work.client.get(COLLECTION_GRAPH)
            self._has_new_collections = False
        differing = permissions.collection_changes(state.collection_graph, wanted)
        if not differing:
            return
        state.collection_graph = changes.send_graph(
            COLLECTION_GRAPH,
            lambda graph: permissions.collection_changes(graph, wanted),
            state.collection_graph,
        )
        self._record(differing, names, "collection")

    def on_databases(self, wanted: permissions.Levels, names: Mapping[str, str]) -> None:
        """Give the groups these levels of questions of their own on connections."""
        state, changes = self._work.state, self._work.changes
        # A new connection comes with rights for everybody, and a new group with those that All Users had.
        if not changes.is_plan and {change.kind for change in changes.result.changes} & {"group", "database"}:
            state.data_graph = self._work.client.get(DATA_GRAPH)
        differing = permissions.data_changes(state.data_graph, wanted)
        if not differing:
            return
        state.data_graph = changes.send_graph(
            DATA_GRAPH,
            lambda graph: permissions.as_data_graph(permissions.data_changes(graph, wanted)),
            state.data_graph,
        )
        worded = {
            group: {thing: "no queries" if level == "no" else level for thing, level in levels.items()}
            for group, levels in differing.items()
        }
        self._record(worded, names, "database")

    def _record(self, differing: permissions.Levels, names: Mapping[str, str], kind: str) -> None:
        """A line per thing whose rights changed."""
        group_names = {str(group["id"]): str(group["name"]) for group in self._work.state.groups.values()}
        by_thing: dict[str, list[str]] = {}
        for group, levels in differing.items():
            for thing, level in levels.items():
                by_thing.setdefault(thing, []).append(f"{group_names.get(group, 'a new group')}: {level}")
        for thing, parts in by_thing.items():
            is_closed_to_all = all(part.endswith((": none", ": no queries")) for part in parts)
            action: Action = "locked" if is_closed_to_all else "granted"
            self._work.changes.record(Change(action, kind, names.get(thing, thing), tuple(sorted(parts))))
