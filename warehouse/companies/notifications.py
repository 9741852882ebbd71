"""What a company says of its notifications: who is told what, and when."""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

AlertName = Literal[
    "high_risk", "late_publication", "held_publication", "late_source", "shrinking_source", "failed_run", "model"
]

STRICT = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)

URL_WITH_PASSWORD = re.compile(r"://[^/@\s:]*:[^/@\s]+@")


class Notifications(BaseModel):
    """What the people at a company's notification_addresses are told, and when."""

    model_config = STRICT

    tell: tuple[AlertName, ...] = Field(
        default=get_args(AlertName),
        description=f"a list of {', '.join(get_args(AlertName))}: what is told; all of it if left out",
    )
    owner: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        default="", description="who acts on customers at risk, as people call them; named in each message"
    )
    customers_shown: int = Field(
        default=10,
        ge=1,
        le=100,
        description="a whole number, 1 to 100: customers listed in a message, the rest counted",
    )
    smallest_value: float = Field(
        default=0, ge=0, description="0 or more, in the company's currency: customers with less at stake are left out"
    )
    cooldown_days: int = Field(
        default=14, ge=0, description="a whole number, 0 or more: days before a customer is told of again"
    )
    shrink_share: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="a share above 0 to 1: a source that lost so much of its records is shrinking",
    )
    quiet_hours: tuple[str, str] | None = Field(
        default=None,
        description='["20:00", "07:00"], in the company\'s time zone: what happens then is told when they end',
    )
    weekly_report_on: Weekday | None = Field(
        default="monday", description="monday to sunday, or null for no weekly report"
    )
    customer_link: str | None = Field(
        default=None,
        description="an http(s) address with {customer_id} in it: the customer's page in the CRM or on a dashboard",
    )
    dashboard_link: str | None = Field(default=None, description="an http(s) address of the company's dashboards")

    @field_validator("tell")
    @classmethod
    def _each_alert_once(cls, tell: tuple[AlertName, ...]) -> tuple[AlertName, ...]:
        return tuple(name for name in get_args(AlertName) if name in tell)

    @field_validator("quiet_hours")
    @classmethod
    def _times_of_day(cls, hours: tuple[str, str] | None) -> tuple[str, str] | None:
        if hours is not None and (not all(map(TIME_OF_DAY.fullmatch, hours)) or hours[0] == hours[1]):
            raise ValueError("must be two different times of day as HH:MM, 00:00 to 23:59")
        return hours

    @field_validator("customer_link", "dashboard_link")
    @classmethod
    def _web_address(cls, link: str | None) -> str | None:
        if link is None:
            return None
        if not link.startswith(("http://", "https://")) or URL_WITH_PASSWORD.search(link) or set(link) & set(" <>\"'"):
            raise ValueError("must be an http or https address without a password, blanks or quotes")
        return link

    @field_validator("customer_link")
    @classmethod
    def _names_the_customer(cls, link: str | None) -> str | None:
        if link is not None and (link.count("{customer_id}") != 1 or "{" in link.replace("{customer_id}", "")):
            raise ValueError("must hold {customer_id} once, and no other braces")
        return link
