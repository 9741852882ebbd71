"""The shape of a decision, as the API answers it."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

EXAMPLE: dict[str, Any] = {
    "as_of_date": "2026-03-01",
    "action": "call",
    "is_control": False,
    "propensity": 0.9,
    "net_value_low": 12.0,
    "net_value": 85.0,
    "net_value_high": 160.0,
    "cost": 25.0,
    "rests_on": "believed",
    "decided_on": "2026-03-01",
    "reasons": ["call is expected to bring 85 more than it costs"],
    "value_segment": "at_risk",
    "expected_value": 900.0,
    "expected_low": 400.0,
    "expected_high": 1500.0,
    "value_at_risk": 279.0,
}


class Decision(BaseModel):
    """What is best done for a customer within the company's budgets; columns as in the contract of decisions."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    as_of_date: date = Field(description="The date of the score that it rests on.")
    action: str | None = Field(description="By the name it has among the company's actions; null: nothing.")
    is_control: bool = Field(description="Chance leaves this customer alone: do nothing.")
    propensity: float | None = Field(description="With which probability a customer like this one is treated.")
    net_value_low: float | None
    net_value: float | None = Field(description="What it is expected to bring, less its cost; the company's currency.")
    net_value_high: float | None
    cost: float | None
    rests_on: str | None = Field(description="believed, or measured on treated and controls.")
    decided_on: date
    reasons: list[str] = Field(description="Why this, or why nothing; what weighed most first.")
    value_segment: str | None
    expected_value: float | None = Field(description="Margin to expect in the next twelve months.")
    expected_low: float | None
    expected_high: float | None
    value_at_risk: float | None
