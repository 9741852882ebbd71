"""The entity contract: what a customer, a ticket, a payment, an event, a campaign and a send are to the warehouse.

One table of fields per entity, from which the Arrow schema, the checks and the
messages come. Column names are those of the raw tables. What a source looks like
does not belong here, nor how a record is checked (validation.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Protocol, runtime_checkable

import pyarrow as pa

from warehouse.landing.records import RejectedRecord


class FieldKind(StrEnum):
    """How a value is read, and as what it is stored."""

    identifier = "identifier"
    text = "text"
    integer = "integer"
    money = "money"
    boolean = "boolean"
    timestamp = "timestamp"


ARROW_TYPES: dict[FieldKind, pa.DataType] = {
    FieldKind.identifier: pa.string(),
    FieldKind.text: pa.string(),
    FieldKind.integer: pa.int32(),
    FieldKind.money: pa.decimal128(18, 4),
    FieldKind.boolean: pa.bool_(),
    FieldKind.timestamp: pa.timestamp("us", "UTC"),
}


@dataclass(frozen=True)
class Field:
    """One column of an entity.

    `required`: a record without it is rejected, tombstones excepted. `fixed`: it counts from the
    record's creation on (see the rule of time). `minimum` and `maximum` are inclusive, and `longest` is how
    many characters a text may have. `default` stands for a missing boolean.
    """

    name: str
    kind: FieldKind
    required: bool = False
    fixed: bool = False
    choices: tuple[str, ...] | None = None
    minimum: int | None = None
    maximum: int | None = None
    longest: int | None = None
    default: bool | None = None


@dataclass(frozen=True)
class Entity:
    """A kind of record: its name, its key column and its fields (the key and updated_at first).

    never_changes: a record stays what it was when it happened, or is deleted.
    """

    name: str
    key: str
    fields: tuple[Field, ...]
    never_changes: bool = False

    @cached_property
    def schema(self) -> pa.Schema:
        """Arrow schema of accepted records: every field, then `attributes` as JSON text."""
        return pa.schema([(field.name, ARROW_TYPES[field.kind]) for field in self.fields] + [ATTRIBUTES])

    @cached_property
    def began_at(self) -> str:
        """The field that says when the record came to be."""
        return next(
            field.name for field in self.fields if field.kind is FieldKind.timestamp and field.fixed and field.required
        )

    @cached_property
    def field_names(self) -> tuple[str, ...]:
        """The names that a mapping may use."""
        return tuple(field.name for field in self.fields)

    @property
    def is_of_customers(self) -> bool:
        """Whether each record says which customer it is of."""
        return CUSTOMERS.key in self.field_names


ATTRIBUTES = pa.field("attributes", pa.string())

LONGEST_WORD = 200
"""Characters of a text that records are grouped by: an index takes no more than 2,704 bytes."""
LONGEST_LINE = 2_000
"""Characters of a text that is only read."""
MOST_SEATS = 10_000_000
MOST_ATTEMPTS = 10_000
"""What is added up over a customer's records stays within an integer."""


def _identifier(name: str) -> Field:
    return Field(name, FieldKind.identifier, required=True)


def _text(*names: str, fixed: bool = False, longest: int = LONGEST_WORD) -> tuple[Field, ...]:
    return tuple(Field(name, FieldKind.text, fixed=fixed, longest=longest) for name in names)


def _times(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, FieldKind.timestamp) for name in names)


def _version(key: str) -> tuple[Field, ...]:
    return (
        _identifier(key),
        Field("updated_at", FieldKind.timestamp, required=True),
        Field("is_deleted", FieldKind.boolean, default=False),
    )


CUSTOMERS = Entity(
    "customers",
    "customer_id",
    (
        *_version("customer_id"),
        *_text("name", "email", longest=LONGEST_LINE),
        *_text("phone", "status", "plan"),
        Field("seats", FieldKind.integer, minimum=0, maximum=MOST_SEATS),
        Field("monthly_price", FieldKind.money, minimum=0),
        *_text("country", fixed=True),
        *_text("currency", "time_zone"),
        *_text("signup_channel", fixed=True),
        Field("is_test", FieldKind.boolean, default=False),
        Field("created_at", FieldKind.timestamp, required=True, fixed=True),
        *_times("cancelled_at", "contract_end_at", "paused_at", "resumes_at"),
    ),
)

TICKETS = Entity(
    "tickets",
    "ticket_id",
    (
        *_version("ticket_id"),
        Field("customer_id", FieldKind.identifier, required=True, fixed=True),
        *_text("subject", longest=LONGEST_LINE),
        *_text("category", "priority", "status", "channel"),
        Field("satisfaction", FieldKind.integer, minimum=1, maximum=5),
        Field("opened_at", FieldKind.timestamp, required=True, fixed=True),
        *_times("first_response_at", "resolved_at", "reopened_at"),
    ),
)

PAYMENTS = Entity(
    "payments",
    "payment_id",
    (
        *_version("payment_id"),
        Field("customer_id", FieldKind.identifier, required=True, fixed=True),
        Field("kind", FieldKind.text, required=True, fixed=True, choices=("charge", "refund")),
        Field("status", FieldKind.text, choices=("pending", "succeeded", "failed", "void")),
        Field("amount", FieldKind.money, required=True, minimum=0),
        Field("discount_amount", FieldKind.money, minimum=0),
        *_text("currency", "method"),
        Field("failed_attempts", FieldKind.integer, minimum=0, maximum=MOST_ATTEMPTS),
        Field("issued_at", FieldKind.timestamp, required=True, fixed=True),
        *_times("due_at", "paid_at", "failed_at"),
    ),
)

EVENTS = Entity(
    "events",
    "event_id",
    (
        *_version("event_id"),
        Field("customer_id", FieldKind.identifier, required=True, fixed=True),
        Field("name", FieldKind.text, required=True, fixed=True, longest=LONGEST_WORD),
        # A measure of whatever the event counts, so that it may be negative, unlike a payment's.
        Field("amount", FieldKind.money),
        Field("occurred_at", FieldKind.timestamp, required=True, fixed=True),
    ),
    never_changes=True,
)

CAMPAIGNS = Entity(
    "campaigns",
    "campaign_id",
    (
        *_version("campaign_id"),
        *_text("name", longest=LONGEST_LINE),
        *_text("channel", "kind"),
        Field("cost_per_send", FieldKind.money, minimum=0),
        Field("discount_share", FieldKind.money, minimum=0, maximum=1),
        Field("starts_at", FieldKind.timestamp, required=True, fixed=True),
        *_times("ends_at"),
    ),
)

SENDS = Entity(
    "sends",
    "send_id",
    (
        *_version("send_id"),
        Field("campaign_id", FieldKind.identifier, required=True, fixed=True),
        Field("customer_id", FieldKind.identifier, required=True, fixed=True),
        Field("revenue", FieldKind.money, minimum=0),
        # A customer whom chance left out of the campaign: `sent_at` is when the others were sent it.
        Field("is_control", FieldKind.boolean, fixed=True, default=False),
        Field("sent_at", FieldKind.timestamp, required=True, fixed=True),
        *_times("opened_at", "clicked_at", "responded_at", "unsubscribed_at"),
    ),
)

ENTITIES: dict[str, Entity] = {
    entity.name: entity for entity in (CUSTOMERS, TICKETS, PAYMENTS, EVENTS, CAMPAIGNS, SENDS)
}


@dataclass(frozen=True)
class SeenColumns:
    """Which columns a run of records had.

    filled: contract columns in which any record had a value. absent: contract columns that no record had, with the
    name that the source would give them. unmapped: the source's columns that become attributes. has_header: every
    record had the same columns, as in a table, so that one that is absent is not merely left empty.
    has_attribute_header: so for what becomes attributes.
    """

    filled: frozenset[str]
    absent: Mapping[str, str]
    unmapped: frozenset[str]
    has_header: bool = True
    has_attribute_header: bool = True


@dataclass(frozen=True)
class TimeExample:
    """A time as the source gave it, and what it was read as; `time_zone` is where it counts without an offset."""

    column: str
    given: str
    read_as: datetime
    time_zone: str


@dataclass(frozen=True)
class Chunk:
    """A run of records as a source gave them, ordered by updated_at from chunk to chunk.

    accepted: a table of the entity's schema, of one moment in the source's order. rejected: what broke the contract,
    with reasons. received: records that came, repeated and rejected ones included. ahead: records newer than the
    company's own clock, left for a later load. cursor: the newest updated_at that was read, whether accepted or not;
    None where no record of the chunk had a readable one. is_stamped: updated_at is the source's own; else it is the
    company's now. listed: the ids of all records, of rejected ones and of those ahead too. unnamed: records whose id
    cannot be read. clashing: records that say otherwise than one before them of the same id and updated_at.
    columns: one for each table or page that the chunk was made from. understood: how the source was read, in
    sentences; remarks: what is doubtful about it, such as records in two files. examples: some times, as given and as
    read. expected: how many records the source says this reading has in all, as far as it has said.
    """

    accepted: pa.Table
    rejected: tuple[RejectedRecord, ...]
    received: int
    cursor: datetime | None
    ahead: int = 0
    is_stamped: bool = True
    listed: pa.Array | None = None
    unnamed: int = 0
    clashing: int = 0
    columns: tuple[SeenColumns, ...] = ()
    understood: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    examples: tuple[TimeExample, ...] = ()
    expected: int | None = None


@dataclass(frozen=True)
class Totals:
    """How many records the source itself says it holds."""

    live: int
    deleted: int


class Source(Protocol):
    """Where a company's records come from."""

    def read(self, entity: Entity, updated_since: datetime | None, chunk_rows: int) -> Iterator[Chunk]:
        """The newest version of every record with `updated_at >= updated_since` (None: all); older ones may come too.

        Ordered by updated_at; a chunk holds about `chunk_rows` records. Raises ConnectorError.
        """
        ...

    def totals(self, entity: Entity) -> Totals | None:
        """The source's own count, or None where it cannot tell. Raises ConnectorError."""
        ...

    def close(self) -> None:
        """Let go of connections and memory."""
        ...


@runtime_checkable
class ListedSource(Source, Protocol):
    """A source that also says what its lists are worth, so that vanished records are noticed."""

    def is_complete(self, entity: Entity) -> bool:
        """Whether what the source lists is all there is, so that a record which it lacks was deleted."""
        ...

    def reads_whole(self, entity: Entity) -> bool:
        """Whether `read` hands over all records in any case."""
        ...


@runtime_checkable
class IndexedSource(ListedSource, Protocol):
    """One in which ids cost less than records: it lists them, and looks records up by them."""

    def listing(self, entity: Entity, chunk_rows: int) -> Iterator[pa.Table]:
        """Columns record_id and updated_at of all versions, in any order. Raises ConnectorError."""
        ...

    def fetch(self, entity: Entity, record_ids: Sequence[str]) -> Iterator[Chunk]:
        """All versions of these records, in any order. Raises ConnectorError."""
        ...


@runtime_checkable
class SparingSource(ListedSource, Protocol):
    """One of which some entities cost too much to be read again without need."""

    def is_reread(self, entity: Entity) -> bool:
        """Whether all of it is read again once a week, for what was passed over."""
        ...
