"""What the CRM answers, as models: they make the OpenAPI description. Moments carry any UTC offset."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Money = Annotated[str, Field(pattern=r"^\d+\.\d\d$", examples=["49.00"], description="Decimal text, two places.")]


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(extra="forbid")


class Tombstone(Answer):
    """A deleted record: nothing else of it is left."""

    id: str
    updated_at: AwareDatetime = Field(description="When it was deleted.")
    deleted: Literal[True]


class Customer(Answer):
    """A customer's latest version."""

    id: str = Field(examples=["cus_0000042"])
    name: str
    email: str | None
    phone: str | None
    status: Literal["active", "cancelled"]
    plan: str | None = Field(description="Null where the company sells without contracts.")
    seats: int | None
    monthly_price: Money | None = Field(description="Per seat and month, in the customer's currency.")
    country: str | None = Field(description="ISO 3166 alpha-2.")
    currency: str = Field(description="ISO 4217; the customer's payments are in it.")
    time_zone: str | None
    signup_channel: str | None
    is_test: bool = Field(description="An account of the company's own, for trying things out.")
    created_at: AwareDatetime
    cancelled_at: AwareDatetime | None = Field(
        description="When the customer left; null again for one who came back. May lie before updated_at by days."
    )
    contract_end_at: AwareDatetime | None
    custom: dict[str, Any] = Field(description="Fields of the company's own.")
    updated_at: AwareDatetime
    deleted: Literal[False]


class Ticket(Answer):
    """A support ticket's latest version."""

    id: str = Field(examples=["tic_00000042"])
    customer_id: str
    subject: str
    category: str | None
    priority: Literal["low", "normal", "high", "urgent"] | None
    status: Literal["open", "pending", "resolved"]
    channel: str
    created_at: AwareDatetime = Field(description="When it was opened; can lie before the customer's created_at.")
    first_response_at: AwareDatetime | None
    resolved_at: AwareDatetime | None = Field(description="The last resolution; null while open again.")
    reopened_at: AwareDatetime | None
    satisfaction: Annotated[int, Field(ge=1, le=5)] | None
    updated_at: AwareDatetime
    deleted: Literal[False]


class Payment(Answer):
    """A charge's or a refund's latest version."""

    id: str = Field(examples=["pay_00000042"])
    customer_id: str
    type: Literal["charge", "refund"]
    status: Literal["pending", "succeeded", "failed", "void"]
    amount: Money = Field(description="Never negative; a refund's amount went back to the customer.")
    discount: Money | None = Field(description="What was taken off before, in the same currency; null without one.")
    currency: str
    method: str | None
    failed_attempts: int
    created_at: AwareDatetime
    due_at: AwareDatetime | None
    paid_at: AwareDatetime | None
    failed_at: AwareDatetime | None = Field(description="The last failure; kept when a later attempt succeeds.")
    updated_at: AwareDatetime
    deleted: Literal[False]


class Event(Answer):
    """A thing that a customer did in the product."""

    id: str = Field(examples=["evt_000000042"])
    customer_id: str
    name: str = Field(examples=["session"])
    amount: Money | None = Field(description="Minutes, of a session; null for other events.")
    created_at: AwareDatetime = Field(description="When it happened; can lie before updated_at by days.")
    custom: dict[str, Any] = Field(description="Fields of the company's own.")
    updated_at: AwareDatetime
    deleted: Literal[False]


class Campaign(Answer):
    """A campaign's latest version."""

    id: str = Field(examples=["cam_00003"])
    name: str
    channel: str = Field(examples=["email"])
    kind: str = Field(examples=["offer"])
    cost_per_send: Money = Field(description="In the company's currency.")
    discount_share: Money = Field(description="The share of the price that it gives away, 0.00 to 1.00.")
    starts_at: AwareDatetime = Field(description="A planned one lies ahead.")
    ends_at: AwareDatetime
    updated_at: AwareDatetime
    deleted: Literal[False]


class Send(Answer):
    """What a campaign sent to a customer, or whom it left out by chance."""

    id: str = Field(examples=["snd_000000042"])
    campaign_id: str
    customer_id: str
    is_control: bool = Field(description="Left out by chance: nothing was sent.")
    revenue: Money | None = Field(description="Of the answer, in the company's currency; null without one.")
    sent_at: AwareDatetime = Field(description="Of a control, when the others were sent theirs.")
    opened_at: AwareDatetime | None
    clicked_at: AwareDatetime | None
    responded_at: AwareDatetime | None = Field(description="The first payment within 14 days that followed a click.")
    unsubscribed_at: AwareDatetime | None
    updated_at: AwareDatetime
    deleted: Literal[False]


class CustomerPage(Answer):
    """A page of customers."""

    data: list[Customer | Tombstone]
    next_cursor: str | None = Field(description="Pass it back as `cursor`; null on the last page.")
    total: int = Field(description="Records that match updated_since, on all pages.")


class TicketPage(Answer):
    """A page of tickets."""

    data: list[Ticket | Tombstone]
    next_cursor: str | None = Field(description="Pass it back as `cursor`; null on the last page.")
    total: int = Field(description="Records that match updated_since, on all pages.")


class PaymentPage(Answer):
    """A page of payments."""

    data: list[Payment | Tombstone]
    next_cursor: str | None = Field(description="Pass it back as `cursor`; null on the last page.")
    total: int = Field(description="Records that match updated_since, on all pages.")


class EventPage(Answer):
    """A page of events."""

    data: list[Event | Tombstone]
    next_cursor: str | None = Field(description="Pass it back as `cursor`; null on the last page.")
    total: int = Field(description="Records that match updated_since, on all pages.")


class CampaignPage(Answer):
    """A page of campaigns."""

    data: list[Campaign | Tombstone]
    next_cursor: str | None = Field(description="Pass it back as `cursor`; null on the last page.")
    total: int = Field(description="Records that match updated_since, on all pages.")


class SendPage(Answer):
    """A page of sends."""

    data: list[Send | Tombstone]
    next_cursor: str | None = Field(description="Pass it back as `cursor`; null on the last page.")
    total: int = Field(description="Records that match updated_since, on all pages.")


class Count(Answer):
    """How many records of an entity there are, tombstones apart."""

    live: int
    deleted: int


class Totals(Answer):
    """Counts for reconciliation; both together equal `total` of an unfiltered list."""

    customers: Count
    tickets: Count
    payments: Count
    events: Count
    campaigns: Count
    sends: Count


class ErrorDetail(Answer):
    """What went wrong."""

    code: Literal[
        "unauthorized",
        "invalid_parameter",
        "invalid_cursor",
        "too_many_requests",
        "unavailable",
        "not_found",
        "method_not_allowed",
    ]
    message: str


class ErrorAnswer(Answer):
    """The body of every error."""

    error: ErrorDetail


class Health(Answer):
    """The CRM is up, and what its clock shows."""

    status: Literal["ok"]
    now: AwareDatetime


class Clock(Answer):
    """What the CRM's clock shows."""

    now: AwareDatetime


class ClockMove(BaseModel):
    """Where to move the clock: by days or to a moment, one of the two."""

    model_config = ConfigDict(extra="forbid")

    advance_days: int | None = Field(default=None, ge=0, le=1000)
    now: AwareDatetime | None = None
