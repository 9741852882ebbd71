"""What a company can do for a customer: an action with its costs, its limits and what is believed of its effect."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, StringConstraints, model_validator

from warehouse.companies.notifications import STRICT

ValueSegment = Literal["vip", "steady", "at_risk", "prospect", "lost"]
RiskLevel = Literal["high", "medium", "low"]
Period = Literal["week", "month", "quarter"]

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class SavedShare(BaseModel):
    """Of 100 customers who would leave, how many (as a share) stay because of the action, while nothing is measured."""

    model_config = STRICT

    low: float = Field(ge=0, le=1, description="a share of 0 to 1: what the action surely brings; money rests on it")
    likely: float = Field(ge=0, le=1, description="a share of 0 to 1, at least low")
    high: float = Field(ge=0, le=1, description="a share of 0 to 1, at least likely")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low <= self.likely <= self.high:
            raise ValueError("low, likely and high must not fall")
        return self


class Eligibility(BaseModel):
    """For whom an action is meant; what is left out asks nothing."""

    model_config = STRICT

    segments: tuple[ValueSegment, ...] = Field(
        default=(), description="a list of vip, steady, at_risk, prospect, lost (docs/lifetime-value.md)"
    )
    risk_levels: tuple[RiskLevel, ...] = Field(default=(), description="a list of high, medium, low")
    smallest_risk: float = Field(
        default=0, ge=0, le=1, description="a probability of 0 to 1: customers below it are left out"
    )
    plans: tuple[_Text, ...] = Field(
        default=(), max_length=100, description="a list of at most 100 plans, as the source calls them"
    )
    smallest_value: float = Field(
        default=0,
        ge=0,
        description="0 or more, in the company's currency: customers expected to bring less are left out",
    )


class Action(BaseModel):
    """Something that a company can do for a customer. As a standing programme it has a control group."""

    model_config = STRICT

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")] = Field(
        description="small letters, digits and underscores, at most 40, a letter first; another name is another "
        "programme, with a control group of its own"
    )
    label: _Text = Field(description="what people read")
    channel: _Text = Field(description="how the customer is reached, such as call or email")
    owner: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        default="", description="who does it, as people call them"
    )
    cost_fixed: float = Field(
        default=0,
        ge=0,
        description="0 or more, in the company's currency: what a period costs in which it is done at all",
    )
    cost_per_contact: float = Field(
        default=0, ge=0, description="0 or more, in the company's currency: what doing it for one customer costs"
    )
    gives_price_share: float = Field(
        default=0, ge=0, le=1, description="a share of 0 to 1: how much of the price is given away"
    )
    gives_months: int = Field(
        default=0, ge=0, le=60, description="a whole number, 0 to 60: the months for which it is given away"
    )
    period: Period = Field(default="month", description="week, month or quarter: what budget and capacity are for")
    budget: float = Field(ge=0, description="0 or more, in the company's currency: what may be spent in a period")
    capacity: int | None = Field(
        default=None, ge=0, le=100_000_000, description="a whole number: customers that can be reached in a period"
    )
    cooldown_days: int = Field(
        default=90, ge=1, le=3_650, description="a whole number, 1 to 3650: days before it is done for a customer again"
    )
    eligible: Eligibility = Field(
        default_factory=Eligibility,
        description=f"for whom it is meant: a mapping of {', '.join(Eligibility.model_fields)}",
    )
    saved_share: SavedShare = Field(
        description="of those who would leave, the share that it keeps, as believed: a mapping of low, likely, high"
    )
    control_share: float = Field(
        default=0.1, ge=0.01, le=0.5, description="a share of 0.01 to 0.5: whom chance leaves alone, to learn by them"
    )
    explore_share: float = Field(
        default=0,
        ge=0,
        le=0.5,
        description="a share of 0 to 0.5 of budget and capacity: spent to learn, where only the likely effect earns",
    )
    stops_at_loss: bool = Field(
        default=True, description="true or false: does it stop by itself once it surely costs more than it brings?"
    )

    @model_validator(mode="after")
    def _gives_both_or_nothing(self) -> Self:
        if (self.gives_price_share > 0) != (self.gives_months > 0):
            raise ValueError("gives_price_share and gives_months belong together: give both or neither")
        return self
