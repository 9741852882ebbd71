"""What an apply changes in Metabase: sent and recorded, or (of a plan) recorded only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from foundation.counting import agreeing, counted
from pipeline.integrations.metabase.client import MetabaseClient
from pipeline.integrations.metabase.definitions import Definitions
from pipeline.integrations.metabase.errors import MetabaseError, MetabaseRefused
from pipeline.integrations.metabase.scopes import Scope
from pipeline.integrations.metabase.state import MetabaseState

Action = Literal["created", "updated", "locked", "granted", "described", "added"]
NOT_THERE_YET = -1
"""The id, in a plan, of what an apply would make."""
STALE_GRAPH_ATTEMPTS = 3


@dataclass(frozen=True)
class Change:
    """One thing made or changed in Metabase; `parts` says what about it, when it was there before."""

    action: Action
    kind: str
    name: str
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        detail = f" ({', '.join(self.parts)})" if self.parts else ""
        return f"{self.action} {self.kind} {self.name!r}{detail}"


@dataclass
class ApplyResult:
    """What an apply did, or (of a plan) would do.

    `skipped` says why nothing was done, and is None otherwise. `dashboard_urls` is keyed by reader and dashboard.
    `failed_cards` maps a card's name to the error that Metabase gave when the card was run at the end.
    `failed_companies` maps a company's name to what stopped its part; the others were done.
    """

    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: str | None = None
    metabase_version: str | None = None
    cards: int = 0
    dashboard_urls: dict[str, str] = field(default_factory=dict)
    failed_cards: dict[str, str] = field(default_factory=dict)
    failed_companies: dict[str, str] = field(default_factory=dict)


class CardsFailed(MetabaseError):
    """Everything that could be applied was, but some cards do not run or a company's part failed."""

    def __init__(self, result: ApplyResult) -> None:
        self.result = result
        sentences = []
        if result.failed_companies:
            failures = "; ".join(f"{name}: {error}" for name, error in result.failed_companies.items())
            sentences.append(
                f"The dashboards of {counted(len(result.failed_companies), 'company')} were not applied: {failures}."
            )
        if result.failed_cards:
            failures = "; ".join(f"{name!r}: {error}" for name, error in result.failed_cards.items())
            sentences.append(
                f"The dashboards were applied, but {len(result.failed_cards)} of "
                f"{counted(result.cards, 'card')} {agreeing(len(result.failed_cards), 'fail')} in "
                f"Metabase: {failures}. Are the analytics marts built (churn run)?"
            )
        super().__init__(" ".join(sentences))


class Changes:
    """Sends what changes something and records it in `result`; a plan only records it.

    `touched` holds the keys of the scopes of which something changed.
    """

    def __init__(self, client: MetabaseClient, result: ApplyResult, *, is_plan: bool) -> None:
        self._client = client
        self.result = result
        self.is_plan = is_plan
        self.touched: set[str] = set()

    def send(
        self,
        method: Literal["POST", "PUT"],
        path: str,
        body: Mapping[str, Any],
        *,
        change: Change | None,
        scope: Scope | None,
    ) -> Any:
        """Send the body and record the change; returns the answer, or {} where there is none, as in a plan."""
        request = self._client.post if method == "POST" else self._client.put
        answer = {} if self.is_plan else request(path, body)
        self.record(change, scope)
        return answer or {}

    def record(self, change: Change | None, scope: Scope | None = None) -> None:
        """Record a change, and that something of this scope changed."""
        if change is not None:
            self.result.changes.append(change)
        if scope is not None:
            self.touched.add(scope.key)

    def send_graph(
        self,
        path: str,
        differences: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        graph: dict[str, Any],
    ) -> dict[str, Any]:
        """Send what differs of a permission graph; read it again where somebody else was quicker (409).

        Returns the graph as it then is. A plan leaves it as it was.
        """
        if self.is_plan:
            return graph
        for attempt in range(1, STALE_GRAPH_ATTEMPTS + 1):
            groups = differences(graph)
            if not groups:
                return graph
            try:
                return dict(self._client.put(path, {"revision": graph.get("revision"), "groups": groups}))
            except MetabaseRefused as refusal:
                if refusal.status != 409 or attempt == STALE_GRAPH_ATTEMPTS:
                    raise
                graph = self._client.get(path)
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def isolate_failure(self, scope: Scope) -> Iterator[None]:
        """A company's failure is recorded and does not hold up the others; that of all companies together does."""
        try:
            yield
        except MetabaseError as error:
            if scope.company is None:
                raise
            self.result.failed_companies[scope.distinct_name] = str(error)

    def has_failed(self, scope: Scope) -> bool:
        """Whether this company's part has failed already."""
        return scope.company is not None and scope.distinct_name in self.result.failed_companies


@dataclass(frozen=True)
class Work:
    """What every step of one apply works on."""

    client: MetabaseClient
    definitions: Definitions
    scopes: Sequence[Scope]
    state: MetabaseState
    changes: Changes

    def administrators(self, groups: Mapping[str, int]) -> list[int]:
        """Ids of the groups of those who look after all companies."""
        names = Scope().groups(self.definitions).values()
        return [groups[name] for name in names if name in groups]
