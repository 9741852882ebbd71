"""Groups and collections, where dashboards and cards stand. Each is locked before there is anything in it to see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.integrations.metabase import permissions
from pipeline.integrations.metabase.changes import NOT_THERE_YET, Change, Work
from pipeline.integrations.metabase.definitions import CollectionDefinition
from pipeline.integrations.metabase.desired import collection_body, parent_of
from pipeline.integrations.metabase.errors import MetabaseNotOurs
from pipeline.integrations.metabase.grants import Grants
from pipeline.integrations.metabase.scopes import ROOT, Scope


class Places:
    """Finds or makes them, and says which id each has."""

    def __init__(self, work: Work, grants: Grants) -> None:
        self._work = work
        self._grants = grants

    def root_collection(self) -> int:
        """The collection that holds all of ours, closed to All Users.

        Raises MetabaseNotOurs where somebody else has made one of its name.
        """
        state, wanted = self._work.state, self._work.definitions.warehouse.collection
        existing = state.collections.get(ROOT)
        if existing is None and wanted.name in state.names_in_root:
            raise MetabaseNotOurs(
                f"Metabase has a collection {wanted.name!r} that was not made from these files (its description "
                "lacks our note). Rename it there, or change collection.name in dashboards/warehouse.yaml."
            )
        root = self._collection(None, wanted, ROOT, None, existing)
        closed_to = [state.everyone]
        if not any(known.collections for known in state.scopes.values()):
            # Whoever may see the top level would see what is made in it; later on, opening it is a person's choice.
            closed_to = [
                str(group["id"]) for group in state.groups.values() if not permissions.is_administrators(group)
            ]
        self._grants.on_collections({group: {str(root): "none"} for group in closed_to}, {str(root): wanted.name})
        return root

    def groups(self) -> dict[str, int]:
        """Ids of our groups by name, made where they are missing."""
        ids = {}
        for scope in self._work.scopes:
            for name in scope.groups(self._work.definitions).values():
                existing = self._work.state.groups.get(name)
                if existing is None:
                    existing = self._work.changes.send(
                        "POST",
                        "/api/permissions/group",
                        {"name": name},
                        change=Change("created", "group", name),
                        scope=scope,
                    )
                ids[name] = int(existing.get("id", NOT_THERE_YET))
        return ids

    def collections(self, root: int, groups: Mapping[str, int]) -> dict[str, dict[str, int]]:
        """Ids of each scope's collections, by its key and by part: dashboards, cards, own."""
        outer = self._outer_collections(root, groups)
        return {
            key: {"dashboards": outer[key], **inner} for key, inner in self._inner_collections(outer, groups).items()
        }

    def _outer_collections(self, root: int, groups: Mapping[str, int]) -> dict[str, int]:
        """A collection per scope, for its readers only, for the dashboards and all that is made inside."""
        state, definitions = self._work.state, self._work.definitions
        ids: dict[str, int] = {}
        levels: permissions.Levels = {}
        names: dict[str, str] = {}
        for scope in self._work.scopes:
            there = state.scopes[scope.key].collections
            wanted = scope.collection(definitions)
            reference = scope.collection_references()["dashboards"]
            number = self._collection(scope, wanted, reference, root, there.get("dashboards"))
            ids[scope.key] = number
            names[str(number)] = wanted.name
            readers = [groups[name] for name in scope.groups(definitions).values()]
            closed_to = state.groups.values() if "cards" not in there else ()
            permissions.merge(
                levels,
                permissions.outer_collection(
                    number, state.everyone, closed_to, readers + self._work.administrators(groups)
                ),
            )
        self._grants.on_collections(levels, names)
        return ids

    def _inner_collections(self, outer: Mapping[str, int], groups: Mapping[str, int]) -> dict[str, dict[str, int]]:
        """One for the cards, and one where managers save their own."""
        state, definitions = self._work.state, self._work.definitions
        ids: dict[str, dict[str, int]] = {scope.key: {} for scope in self._work.scopes}
        levels: permissions.Levels = {}
        names: dict[str, str] = {}
        for scope in self._work.scopes:
            there = state.scopes[scope.key].collections
            roles = scope.groups(definitions)
            for part, wanted in inner_collections_of(scope, scope.own_collection(definitions)).items():
                reference = scope.collection_references()[part]
                number = self._collection(scope, wanted, reference, outer[scope.key], there.get(part))
                ids[scope.key][part] = number
                names[str(number)] = scope.labelled(wanted.name)
                readers = dict.fromkeys([groups[name] for name in roles.values()], "read")
                readers |= dict.fromkeys(self._work.administrators(groups), "read")
                if part == "own":
                    readers |= {groups[roles["manager"]]: "write"}
                permissions.merge(levels, permissions.inner_collection(number, state.everyone, readers))
        self._grants.on_collections(levels, names)
        return ids

    def _collection(
        self,
        scope: Scope | None,
        wanted: CollectionDefinition,
        reference: str,
        parent_id: int | None,
        existing: Mapping[str, Any] | None,
    ) -> int:
        """The id of one collection, made where it is missing, changed where it differs."""
        body = collection_body(wanted, reference, parent_id)
        if existing is None:
            change = Change("created", "collection", wanted.name)
            answer = self._work.changes.send("POST", "/api/collection", body, change=change, scope=scope)
            self._grants.expect_new_collection()
            return int(answer.get("id", NOT_THERE_YET))
        stands = {**existing, "parent_id": parent_of(existing)}
        differing = {key: value for key, value in body.items() if stands.get(key) != value}
        if differing:
            parts = tuple("place" if key == "parent_id" else key for key in differing)
            change = Change("updated", "collection", wanted.name, parts)
            path = f"/api/collection/{existing['id']}"
            self._work.changes.send("PUT", path, differing, change=change, scope=scope)
        return int(existing["id"])


def inner_collections_of(scope: Scope, own: CollectionDefinition | None) -> dict[str, CollectionDefinition]:
    """What stands inside a scope's collection, by part; `own` is what its managers have, if they have one."""
    cards = CollectionDefinition(name="Questions", description=f"The cards of the dashboards of {scope.reader}.")
    return {"cards": cards} | ({} if own is None else {"own": own})
