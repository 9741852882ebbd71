"""Dashboards and cards as they were read last, in a file of the home folder.

Metabase lists when each was edited last, by whomever: it keeps a revision of every edit. What was not edited since need
not be read again. An upgrade, another Metabase, or a week that passed forgets all of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

Item = Mapping[str, Any]
FILE = "metabase_read.json"
REMEMBERED_SECONDS = 7 * 24 * 3600
DASHCARD_KEYS = (
    "id",
    "card_id",
    "row",
    "col",
    "size_x",
    "size_y",
    "dashboard_tab_id",
    "parameter_mappings",
    "visualization_settings",
)
DASHBOARD_KEYS = ("id", "name", "description", "width", "auto_apply_filters", "tabs", "parameters", "dashcards")
CARD_KEYS = (
    "id",
    "name",
    "description",
    "type",
    "display",
    "collection_id",
    "visualization_settings",
    "dataset_query",
)


class Memory:
    """What one Metabase (`source`: its address and version) showed. An item is an entry of a collection's list."""

    def __init__(self, home: Path, source: str) -> None:
        self._path = home / FILE
        self._source = source
        self._known: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            self._known = kept["things"] if kept["source"] == source else {}
        self._seen: dict[str, Any] = {}

    def recall(self, item: Item) -> Item | None:
        """What the item is, read now or remembered; None where it was edited since or is not known."""
        name = _name(item)
        if name not in self._seen:
            entry = self._known.get(name)
            if entry is None or _edited(item) is None or entry["edited"] != _edited(item):
                return None
            if not 0 <= time.time() - entry["read"] < REMEMBERED_SECONDS:
                return None
            self._seen[name] = entry
        thing: Item = self._seen[name]["thing"]
        return thing

    def keep(self, item: Item, thing: Item) -> None:
        """Remember what the item, listed before it was read, turned out to be."""
        keys = DASHBOARD_KEYS if item["model"] == "dashboard" else CARD_KEYS
        kept = {key: thing[key] for key in keys if key in thing}
        if "dashcards" in kept:
            kept["dashcards"] = [
                {key: dashcard.get(key) for key in DASHCARD_KEYS} for dashcard in kept["dashcards"] or []
            ]
        self._seen[_name(item)] = {"edited": _edited(item), "read": time.time(), "thing": kept}

    def save(self) -> None:
        """Write what was seen this time; a file that cannot be written costs requests only."""
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._path.with_suffix(".new")
            fresh.touch(mode=0o600)
            fresh.write_text(json.dumps({"source": self._source, "things": self._seen}), encoding="utf-8")
            fresh.replace(self._path)


def _name(item: Item) -> str:
    return f"{item['model']} {item['id']}"


def _edited(item: Item) -> str | None:
    edited = (item.get("last-edit-info") or {}).get("timestamp")
    return None if edited is None else str(edited)
