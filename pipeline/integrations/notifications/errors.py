"""What can go wrong between us and those who are to be told."""

from __future__ import annotations

from foundation.errors import ChurnError


class NotificationError(ChurnError):
    """Base of every error that this integration raises."""


class WrongAddress(NotificationError):
    """An address leads nowhere: its reference is not set, its form is unknown, or there is no mail server for it."""


class NotDelivered(NotificationError):
    """Messages did not arrive, or may not have; the message holds a line for each."""

    advice = "`churn notify test SLUG` tries each address; docs/runbook.md, Messages do not arrive."
