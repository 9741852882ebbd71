"""The kinds of alert there are, and what one alert says. docs/runbook.md has a section for each kind, by its title."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import get_args

from warehouse.companies.notifications import AlertName
from warehouse.logs.notifications import Claim


@dataclass(frozen=True)
class AlertKind:
    """One kind of alert: its title in messages, who is to act, and whether the operators are told of it too."""

    name: AlertName
    title: str
    owner: str
    for_operators: bool = True


KINDS = {
    kind.name: kind
    for kind in (
        AlertKind("high_risk", "Customers newly at high risk", "the company", for_operators=False),
        AlertKind("late_publication", "No new scores", "operations"),
        AlertKind("held_publication", "Held publication", "data science"),
        AlertKind("late_source", "Late source", "operations"),
        AlertKind("shrinking_source", "Shrinking source", "operations"),
        AlertKind("failed_run", "Failed run", "operations"),
        AlertKind("model", "Promoted or degraded model", "data science"),
    )
}
"""In the order of a message: what earns or loses money first."""

assert tuple(KINDS) == get_args(AlertName)  # noqa: S101  (the registry's names are these)


@dataclass(frozen=True)
class CustomerAtRisk:
    """A customer to call. `value_at_stake` is in `currency`; `reasons` are sentences on what raises the risk."""

    customer_id: str
    name: str
    probability: float
    value_at_stake: Decimal
    currency: str
    reasons: tuple[str, ...]
    plan: str | None = None
    link: str | None = None


@dataclass(frozen=True)
class Alert:
    """Something to tell, once: `key` names it within its company.

    `company_id` and `company` (its name) are None where the warehouse itself is meant.
    """

    kind: AlertName
    key: str
    sentence: str
    company_id: int | None
    company: str | None
    customer: CustomerAtRisk | None = None

    @property
    def claim(self) -> Claim:
        """What the log remembers of it."""
        return Claim(self.company_id, self.key, self.customer.customer_id if self.customer else None)
