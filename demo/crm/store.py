"""The records of one company and entity, memory-mapped: which the CRM shows at a clock time, and keyset pages."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from demo.world.moments import Bools, Ints

ENTITIES = ("customers", "tickets", "payments", "events", "campaigns", "sends")


@dataclass(frozen=True)
class Position:
    """A place in the order (updated_at, key): a page starts right after it."""

    updated_at: int
    key: int


@dataclass(frozen=True)
class Page:
    """Rows of one page, how many match in all, and where the next page starts (None at the end)."""

    rows: pa.Table
    total: int
    following: Position | None


class RecordStore:
    """Record versions sorted by (updated_at, key), one of which per record shows at a time."""

    def __init__(self, path: Path) -> None:
        # Mapped for the life of the process: pages are read by the kernel as they are asked for.
        self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all().combine_chunks()
        self._visible_from = self._integers("visible_from")
        self._visible_until = self._integers("visible_until")
        self._clock = -1
        self._visible_rows = np.empty(0, dtype=np.int64)
        self._updated_at = self._keys = self._visible_rows

    def page(self, clock: int, since: int | None, after: Position | None, size: int) -> Page:
        """At most `size` records shown at `clock` with updated_at >= since, from right after a position."""
        self._look(clock)
        first = 0 if since is None else int(np.searchsorted(self._updated_at, since))
        start = first if after is None else max(first, self._index_after(after))
        end = min(start + size, len(self._visible_rows))
        is_last = end == len(self._visible_rows)
        following = None if is_last else Position(int(self._updated_at[end - 1]), int(self._keys[end - 1]))
        rows = self._table.take(pa.array(self._visible_rows[start:end]))
        return Page(rows, len(self._visible_rows) - first, following)

    def totals(self, clock: int) -> dict[str, int]:
        """Shown records by whether they are deleted."""
        self._look(clock)
        deleted = int(np.count_nonzero(self._is_deleted()[self._visible_rows]))
        return {"live": len(self._visible_rows) - deleted, "deleted": deleted}

    def _look(self, clock: int) -> None:
        """Find the shown rows; kept until the clock moves."""
        if clock == self._clock:
            return
        self._visible_rows = np.flatnonzero((self._visible_from <= clock) & (self._visible_until > clock))
        self._updated_at = self._integers("updated_at")[self._visible_rows]
        self._keys = self._integers("key")[self._visible_rows]
        self._clock = clock

    def _index_after(self, position: Position) -> int:
        low = int(np.searchsorted(self._updated_at, position.updated_at))
        high = int(np.searchsorted(self._updated_at, position.updated_at, side="right"))
        return low + int(np.searchsorted(self._keys[low:high], position.key, side="right"))

    def _integers(self, name: str) -> Ints:
        return np.asarray(self._table[name].combine_chunks().to_numpy(), dtype=np.int64)

    def _is_deleted(self) -> Bools:
        return np.asarray(self._table["is_deleted"].to_numpy(), dtype=np.bool_)
