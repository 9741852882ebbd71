"""From rows of the store to the JSON objects that the CRM answers with."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from demo.world.dirt import Defect
from demo.world.moments import Ints

PREFIXES = {
    "customers": "cus_%07d",
    "tickets": "tic_%08d",
    "payments": "pay_%08d",
    "events": "evt_%09d",
    "campaigns": "cam_%05d",
    "sends": "snd_%09d",
}
OWNERS = {"customer": "customer_id", "campaign": "campaign_id"}
"""What is called otherwise when it is served: the record that another one belongs to."""
BOOKKEEPING = ("key", "updated_at", "visible_from", "visible_until", "is_deleted", "defect")
MOMENT_FIELDS = frozenset(
    {
        *("created_at", "cancelled_at", "contract_end_at"),
        *("first_response_at", "resolved_at", "reopened_at"),
        *("due_at", "paid_at", "failed_at"),
        *("starts_at", "ends_at", "sent_at", "opened_at", "clicked_at", "responded_at", "unsubscribed_at"),
    }
)

#: The offsets, in minutes, in which records' moments are written; a record keeps to one of them.
OFFSETS = np.array([0, 0, 0, 60, 60, 120, 120, -300, -480, 330, 0, 60, 0, 120, 60, 0])
SUFFIXES = tuple(
    "Z"
    if place % 5 == 0 and not minutes
    else f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    for place, minutes in enumerate(OFFSETS.tolist())
)

Record = dict[str, Any]


def render(entity: str, rows: pa.Table) -> list[Record]:
    """The records of a page, in order; a deleted one is a tombstone of three fields."""
    keys = rows["key"].to_numpy()
    places = (keys * 2_654_435_761 >> 7) % len(OFFSETS)
    names = [name for name in rows.column_names if name not in BOOKKEEPING]
    columns: list[Iterable[Any]] = [[PREFIXES[entity] % key for key in keys.tolist()]]
    columns += [_texts(name, rows[name], places) for name in names]
    updated_at = _moments(rows["updated_at"], places)
    columns += [updated_at, [False] * len(keys)]
    labels = [
        "id",
        *(OWNERS.get(name, name) for name in names),
        "updated_at",
        "deleted",
    ]
    records = [dict(zip(labels, values, strict=True)) for values in zip(*columns, strict=True)]
    for index in np.flatnonzero(rows["is_deleted"].to_numpy()).tolist():
        records[index] = {"id": records[index]["id"], "updated_at": updated_at[index], "deleted": True}
    _break(records, rows["defect"].to_numpy())
    return records


def _texts(name: str, column: pa.ChunkedArray, places: Ints) -> list[Any]:
    """One field's values as JSON wants them."""
    if name in MOMENT_FIELDS:
        return _moments(column, places)
    values = _plain(column.combine_chunks())
    convert = _CONVERTERS.get(name)
    return [None if value is None else convert(value) for value in values] if convert else values


def _plain(column: pa.Array) -> list[Any]:
    """What `to_pylist` gives, several times as fast for dictionaries and integers."""
    if pa.types.is_dictionary(column.type):
        names = [*column.dictionary.to_pylist(), None]
        return [names[code] for code in column.indices.fill_null(-1).to_numpy(zero_copy_only=False).tolist()]
    if pa.types.is_integer(column.type) and not column.null_count:
        numbers: list[Any] = column.to_numpy().tolist()
        return numbers
    plain: list[Any] = column.to_pylist()
    return plain


def _moments(column: pa.ChunkedArray, places: Ints) -> list[str | None]:
    """ISO 8601 texts with each record's own offset; None where null."""
    known = pc.is_valid(column).to_numpy()
    local = pc.fill_null(column, 0).to_numpy() + OFFSETS[places] * 60
    texts = np.datetime_as_string(local.astype("datetime64[s]"), unit="s").tolist()
    suffixes = [SUFFIXES[place] for place in places.tolist()]
    return [text + suffix if is_known else None for text, suffix, is_known in zip(texts, suffixes, known, strict=True)]


def _money(hundredths: int) -> str:
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _customer_id(key: int) -> str:
    return PREFIXES["customers"] % key


def _campaign_id(key: int) -> str:
    return PREFIXES["campaigns"] % key


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "monthly_price": _money,
    "amount": _money,
    "discount": _money,
    "cost_per_send": _money,
    "discount_share": _money,
    "revenue": _money,
    "customer": _customer_id,
    "campaign": _campaign_id,
    "custom": lambda text: orjson.Fragment(text),
}


def _break(records: list[Record], defects: Any) -> None:
    """Spoil the records that a real CRM's users have spoiled."""
    for index in np.flatnonzero(defects).tolist():
        record = records[index]
        if record["deleted"]:
            continue
        if defects[index] == Defect.NO_CUSTOMER:
            record["customer_id"] = None
        elif defects[index] == Defect.AMOUNT_NO_NUMBER:
            record["amount"] = "n/a"
        else:
            record["created_at"] = "31/02/2026 25:00"
