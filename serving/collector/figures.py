"""What the operator's Prometheus reads of a collector: on a port of its own, which the internet does not reach."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Figures:
    """The collector's counters; none has a label that a sender could choose."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.answers = Counter(
            "churn_collector_answers", "Requests, by the status of the answer.", ["status"], registry=self.registry
        )
        self.answer_seconds = Histogram(
            "churn_collector_answer_seconds", "Until the answer.", buckets=_SECONDS, registry=self.registry
        )
        self.events = Counter(
            "churn_collector_events", "Events, by what became of them.", ["company", "outcome"], registry=self.registry
        )
        self.commit_seconds = Histogram(
            "churn_collector_commit_seconds", "One COPY, merge and commit.", buckets=_SECONDS, registry=self.registry
        )
        self.failed_commits = Counter(
            "churn_collector_failed_commits", "Groups that were not committed.", registry=self.registry
        )

    def watch(self, waiting: Callable[[], int], is_ready: Callable[[], bool]) -> None:
        """Read these two with each scrape."""
        Gauge("churn_collector_waiting_events", "Not committed yet.", registry=self.registry).set_function(waiting)
        Gauge("churn_collector_ready", "Whether the warehouse takes events.", registry=self.registry).set_function(
            is_ready
        )
