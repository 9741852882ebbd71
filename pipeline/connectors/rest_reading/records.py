"""Makes our records of what a REST API gives: each one becomes a record of the contract, or is rejected."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from pipeline.connectors.contract import Chunk, Entity, FieldKind, SeenColumns
from pipeline.connectors.errors import Unreadable
from pipeline.connectors.json_text import in_quotes, payload_json
from pipeline.connectors.rest_reading.expressions import Getter, getter, is_true
from pipeline.connectors.rest_reading.minor_units import in_major_units
from pipeline.connectors.rest_reading.settings import Endpoint, FieldSource
from pipeline.connectors.validation import Reading, validate_records
from pipeline.connectors.values import LONGEST_IDENTIFIER, read_value
from warehouse.landing.records import RejectedRecord

ATTRIBUTES = "attributes"


class RecordMaker:
    """Of one endpoint of one entity."""

    def __init__(
        self,
        entity: Entity,
        endpoint: Endpoint,
        reading: Reading,
        exponents: Mapping[str, int],
        described: Collection[str],
    ) -> None:
        """reading: the company's, with the source's zone. described: the columns that any endpoint of the entity has,
        so that one which this endpoint has not is no column that was lost."""
        self._entity = entity
        self._described = frozenset(described)
        self._endpoint = endpoint
        self._exponents = exponents
        key = endpoint.fields[entity.key].path
        self.key_of = getter(key) if key else (lambda _: None)
        """The id of a record of the source."""
        self._each = None if endpoint.each is None else getter(endpoint.each)
        self._where = None if endpoint.where is None else getter(endpoint.where)
        self._refuse = None if endpoint.refuse is None else getter(endpoint.refuse.when)
        self._columns = [
            (name, self._reader(source)) for name, source in endpoint.fields.items() if source.path is not None
        ]
        self._attributes = [(name, getter(path)) for name, path in endpoint.attributes.items()]
        self._reading = _reading_of(endpoint, reading)

    def wanted(self, records: Sequence[Any]) -> list[Any]:
        """The records of a page: members of `each` with their record as `parent`, and those of which `where` is true.

        Raises Unreadable with the endpoint's words where one is there that must not come.
        """
        chosen = records if self._each is None else [member for record in records for member in self._members(record)]
        if self._refuse is not None and self._endpoint.refuse is not None:
            for record in chosen:
                if is_true(self._refuse(record)):
                    raise Unreadable(self._endpoint.refuse.because)
        if self._where is None:
            return list(chosen)
        # What is no object is kept, to be rejected: left out it would not be counted.
        return [record for record in chosen if not isinstance(record, dict) or is_true(self._where(record))]

    def chunk(self, records: Sequence[Any]) -> Chunk:
        """The records checked against the contract; reasons name the endpoint."""
        made: list[object] = []
        strays: list[RejectedRecord] = []
        for record in records:
            if not isinstance(record, dict):
                made.append(record)
                continue
            ours, problems = self._made(record)
            if problems and not self._is_deleted(ours):
                strays.append(RejectedRecord(_id_of(ours[self._entity.key]), "; ".join(problems), payload_json(ours)))
            else:
                made.append(ours)
        chunk = validate_records(self._entity, made, self._reading)
        return self._with_strays(chunk, strays)

    def _members(self, record: Any) -> Iterator[Any]:
        assert self._each is not None  # noqa: S101 only asked where there is one
        members = self._each(record)
        if members is not None and not isinstance(members, list):
            raise Unreadable(f"{self._endpoint.each} of a record is no list")
        for member in members or []:
            yield {**member, "parent": record} if isinstance(member, dict) else member

    def _made(self, record: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        problems: list[str] = []
        ours = _read(self._columns, record, problems)
        if self._attributes:
            ours[ATTRIBUTES] = _read(self._attributes, record, problems)
        ours.setdefault(self._entity.key, None)
        return ours, problems

    def _reader(self, source: FieldSource) -> Getter:
        assert source.path is not None  # noqa: S101 only asked where there is one
        found = getter(source.path)
        if source.unit == "minor":
            return self._minor_reader(source, found)
        if source.plus_minutes is not None:
            return _later(found, getter(source.plus_minutes))
        if source.case is not None:
            change = str.upper if source.case == "upper" else str.lower
            return lambda record: change(value) if isinstance(value := found(record), str) else value
        return found

    def _minor_reader(self, source: FieldSource, amount: Getter) -> Getter:
        of_record = self._endpoint.fields.get("currency")
        currency_path = source.currency or (of_record.path if of_record else None)
        constant = of_record.constant if of_record and source.currency is None else None
        currency = getter(currency_path) if currency_path else None

        def read(record: Any) -> Any:
            code = None if currency is None else currency(record)
            return in_major_units(amount(record), constant if code is None else code, self._exponents)

        return read

    def _is_deleted(self, ours: Mapping[str, Any]) -> bool:
        source = self._endpoint.fields.get("is_deleted")
        value = ours.get("is_deleted")
        if source is not None and value is None:
            value = source.constant
        try:
            return bool(read_value(FieldKind.boolean, value, ZoneInfo("UTC")))
        except Unreadable:
            return False

    def _with_strays(self, chunk: Chunk, strays: Sequence[RejectedRecord]) -> Chunk:
        rejected = tuple(
            replace(record, reason=f"{self._endpoint.path}: {record.reason}") for record in (*strays, *chunk.rejected)
        )
        named = [record.record_id for record in strays if record.record_id is not None]
        listed = chunk.listed if chunk.listed is not None else pa.array([], pa.string())
        return replace(
            chunk,
            rejected=rejected,
            received=chunk.received + len(strays),
            listed=pa.concat_arrays([listed, pa.array(named, pa.string())]) if named else listed,
            unnamed=chunk.unnamed + len(strays) - len(named),
            columns=tuple(self._without_others(columns) for columns in chunk.columns),
        )

    def _without_others(self, columns: SeenColumns) -> SeenColumns:
        absent = {name: source for name, source in columns.absent.items() if name not in self._described}
        return replace(columns, absent=absent)


def _read(columns: Sequence[tuple[str, Getter]], record: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """What stands under each name, None where it cannot be read, which `problems` then tells."""
    values: dict[str, Any] = {}
    for name, find in columns:
        try:
            values[name] = find(record)
        except Unreadable as error:
            values[name] = None
            problems.append(f"{name} {error}")
    return values


def _reading_of(endpoint: Endpoint, reading: Reading) -> Reading:
    fields = endpoint.fields
    zones = {name: ZoneInfo(source.time_zone) for name, source in fields.items() if source.time_zone}
    return replace(
        reading,
        constants={name: source.constant for name, source in fields.items() if source.constant is not None},
        values={**reading.values, **{name: source.values for name, source in fields.items() if source.values}},
        date_formats={name: source.format for name, source in fields.items() if source.format},
        time_zones={**reading.time_zones, **zones},
        spread=ATTRIBUTES,
        is_stamped="updated_at" in fields,
    )


def _later(begin: Getter, minutes: Getter) -> Getter:
    """A time so many minutes after another; None where either is missing."""

    def read(record: Any) -> Any:
        start, after = begin(record), minutes(record)
        if start is None or after is None:
            return None
        moment = read_value(FieldKind.timestamp, start, ZoneInfo("UTC"))
        if isinstance(after, bool) or not isinstance(after, int | float) or not isinstance(moment, datetime):
            raise Unreadable(f"{in_quotes(after)} is no number of minutes")
        return moment + timedelta(minutes=after)

    return read


def _id_of(value: object) -> str | None:
    try:
        identifier = read_value(FieldKind.identifier, value, ZoneInfo("UTC"))
    except Unreadable:
        return None
    return None if identifier is None else str(identifier)[:LONGEST_IDENTIFIER]
