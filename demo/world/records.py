"""What a simulator hands on: tickets, payments, events and changes of customers as columns. No rules here."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from demo.world.moments import NEVER, Bools, Ints

#: Columns of the truth: one row per customer and month start.
Truth = dict[str, npt.NDArray[Any]]


@dataclass
class Columns:
    """Equally long arrays, one per field."""

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts, one after the other."""
        names = [each.name for each in fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def rows(self, chosen: Ints | Bools) -> Self:
        """The chosen rows, by index or by mask."""
        return type(self)(**{each.name: getattr(self, each.name)[chosen] for each in fields(self)})

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))


@dataclass
class Tickets(Columns):
    """Tickets with everything that will ever happen to them; a moment is NEVER where it does not happen."""

    customer: Ints
    opened_at: Ints
    first_response_at: Ints
    first_resolved_at: Ints
    reopened_at: Ints
    resolved_at: Ints
    satisfaction: Ints
    satisfaction_at: Ints


@dataclass
class Payments(Columns):
    """Charges and refunds with everything that will ever happen to them.

    Amounts are hundredths; `discount` was taken off before, 0 for most.
    """

    customer: Ints
    created_at: Ints
    due_at: Ints
    paid_at: Ints
    failed_at: Ints
    voided_at: Ints
    failed_attempts: Ints
    amount: Ints
    discount: Ints
    is_refund: Bools


@dataclass
class Events(Columns):
    """What customers did in the product. `kind` indexes usage.EVENT_NAMES; amounts are hundredths, 0 for none."""

    customer: Ints
    occurred_at: Ints
    kind: Ints
    amount: Ints

    @classmethod
    def none(cls) -> Self:
        """The events of a company that records none."""
        return cls(**{each.name: np.empty(0, dtype=np.int64) for each in fields(cls)})


@dataclass
class Campaigns(Columns):
    """Campaigns, in the order in which they start. `kind` indexes campaigns.KINDS."""

    announced_at: Ints
    starts_at: Ints
    ends_at: Ints
    kind: Ints

    @classmethod
    def none(cls) -> Self:
        """The campaigns of a company that has none."""
        return cls(**{each.name: np.empty(0, dtype=np.int64) for each in fields(cls)})


@dataclass
class Sends(Columns):
    """What campaigns sent to whom, controls among them, with everything that will ever happen to it.

    `campaign` is its position among the company's campaigns; `revenue` is in hundredths of the company's currency.
    """

    customer: Ints
    campaign: Ints
    sent_at: Ints
    opened_at: Ints
    clicked_at: Ints
    responded_at: Ints
    unsubscribed_at: Ints
    revenue: Ints
    is_control: Bools

    @classmethod
    def none(cls) -> Self:
        """The sends of a company that has no campaigns."""
        empty: dict[str, Any] = {each.name: np.empty(0, dtype=np.int64) for each in fields(cls)}
        return cls(**empty | {"is_control": np.empty(0, dtype=np.bool_)})


@dataclass
class Changes(Columns):
    """New values of one field of customers: `value` holds from `at` on. `seen_at`: when the CRM was told."""

    customer: Ints
    seen_at: Ints
    value: Ints


@dataclass
class History:
    """One company's customers, simulated to the world's end.

    `changes` has a key per mutable customer field; `truth` has one row per customer and month start, `campaign_truth`
    one per customer and campaign.
    """

    created_at: Ints
    changes: dict[str, Changes]
    tickets: Tickets
    payments: Payments
    events: Events
    truth: Truth
    campaigns: Campaigns = field(default_factory=Campaigns.none)
    sends: Sends = field(default_factory=Sends.none)
    campaign_truth: Truth = field(default_factory=dict)


def nevers(count: int) -> Ints:
    """`count` moments that do not come."""
    return np.full(count, NEVER, dtype=np.int64)


def first_event_after(event_customer: Ints, event_at: Ints, customer: Ints, at: Ints) -> Ints:
    """For each pair of customer and moment, that customer's first event at or after it; NEVER where none."""
    order = np.lexsort((event_at, event_customer))
    keys = np.append(_composite(event_customer[order], event_at[order]), NEVER)
    events = np.append(event_at[order], NEVER)
    owners = np.append(event_customer[order], -1)
    position = np.searchsorted(keys, _composite(customer, at))
    return np.where(owners[position] == customer, events[position], NEVER)


def last_event_before(event_customer: Ints, event_at: Ints, customer: Ints, at: Ints) -> Ints:
    """For each pair of customer and moment, that customer's last event strictly before it; -1 where none."""
    order = np.lexsort((event_at, event_customer))
    keys = _composite(event_customer[order], event_at[order])
    position = np.searchsorted(keys, _composite(customer, at)) - 1
    clipped = np.maximum(position, 0)
    is_own = (position >= 0) & (event_customer[order][clipped] == customer)
    return np.where(is_own, event_at[order][clipped], -1)


def value_at(changes: Changes, customer: Ints, at: Ints) -> Ints:
    """For each pair of customer and moment, the value of the last change the CRM had been told of by then.

    Every customer must have a change at or before each moment asked for.
    """
    order = np.lexsort((changes.seen_at, changes.customer))
    keys = _composite(changes.customer[order], changes.seen_at[order])
    return changes.value[order][np.searchsorted(keys, _composite(customer, at), side="right") - 1]


def _composite(customer: Ints, at: Ints) -> Ints:
    """One sortable number of customer and moment: moments here take less than 33 bits."""
    return customer.astype(np.int64) * (1 << 33) + at
