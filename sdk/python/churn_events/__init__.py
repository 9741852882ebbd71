"""Events for a Churn Warehouse collector, by a queue on disk."""

from churn_events.client import Client, Stats, new_anonymous_id

__all__ = ["Client", "Stats", "new_anonymous_id"]
