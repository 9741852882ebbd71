"""A record's versions: when there are new ones, which of them the CRM shows when, and their Arrow table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from demo.world import dirt
from demo.world.dirt import Defect
from demo.world.moments import NEVER, STARTING_CLOCK, WORLD_END, Bools, Ints
from demo.world.records import Changes


@dataclass
class Versions:
    """The versions of one entity: which record, from when, and who is deleted by then."""

    record: Ints
    updated_at: Ints
    is_deleted: Bools
    defect: Ints
    visible_from: Ints
    visible_until: Ints


def list_versions(
    moments: Sequence[Ints],
    deleted_at: Ints,
    defects: Sequence[Defect],
    changes: Sequence[Changes],
    rng: np.random.Generator,
) -> Versions:
    """All versions of an entity whose records change at these moments; the first array is their creation."""
    since = moments[0]
    count = len(since)
    touched_at, is_seen_late = dirt.starting_clock_edits(since, rng)
    defect, mended_at = dirt.break_records(defects, since, rng)
    every = np.arange(count)
    record = np.concatenate([np.tile(every, len(moments) + 3), *(change.customer for change in changes)])
    at = np.concatenate([*moments, touched_at, mended_at, deleted_at, *(change.seen_at for change in changes)])
    kept = (at <= WORLD_END) & (at <= deleted_at[record]) & (at >= since[record])
    record, at = _distinct(record[kept], at[kept])
    is_last = np.ones(len(record), dtype=np.bool_)
    is_last[:-1] = record[1:] != record[:-1]
    is_late = is_seen_late[record] & (at == STARTING_CLOCK)
    visible_from = np.where(is_late, at + dirt.SEEN_LATE_BY, at)
    return Versions(
        record=record,
        updated_at=at,
        is_deleted=at >= deleted_at[record],
        defect=np.where(at < mended_at[record], defect[record], Defect.NONE),
        visible_from=visible_from,
        visible_until=np.where(is_last, NEVER, np.append(visible_from[1:], NEVER)),
    )


def _distinct(record: Ints, at: Ints) -> tuple[Ints, Ints]:
    """The distinct pairs, sorted by record and moment."""
    order = np.lexsort((at, record))
    record, at = record[order], at[order]
    is_first = np.ones(len(record), dtype=np.bool_)
    is_first[1:] = (record[1:] != record[:-1]) | (at[1:] != at[:-1])
    return record[is_first], at[is_first]


def version_table(versions: Versions, columns: dict[str, pa.Array]) -> pa.Table:
    """Bookkeeping columns and fields together, in the order in which the CRM serves them."""
    columns = {
        "key": pa.array(versions.record + 1),
        "updated_at": pa.array(versions.updated_at),
        "visible_from": pa.array(versions.visible_from),
        "visible_until": pa.array(versions.visible_until),
        "is_deleted": pa.array(versions.is_deleted),
        "defect": pa.array(versions.defect.astype(np.int8)),
    } | columns
    order = np.lexsort((versions.record, versions.updated_at))
    return pa.table(columns).take(pa.array(order))


def coded(code: Ints, values: Sequence[str], missing: Bools | None = None) -> pa.DictionaryArray:
    """Codes as an Arrow dictionary of these values."""
    return pa.DictionaryArray.from_arrays(pa.array(code.astype(np.int8), mask=missing), pa.array(values))


def known_moments(event_at: Ints, at: Ints) -> pa.Array:
    """Event times as a version of the moment `at` knows them: null where still to come."""
    return pa.array(event_at, mask=event_at > at)
