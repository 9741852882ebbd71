"""What can go wrong between us and those who are to be told."""

from __future__ import annotations


class NotificationError(Exception):
    """Base of every error that this integration raises."""


class WrongAddress(NotificationError):
    """An address leads nowhere: its reference is not set, its form is unknown, or there is no mail server for it."""
