"""What stands in a reader's collections: cards, dashboards, and what of them goes out by mail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.integrations.metabase.changes import NOT_THERE_YET, Change, Work
from pipeline.integrations.metabase.definitions import CardDefinition, DashboardDefinition
from pipeline.integrations.metabase.deliveries import Deliveries, alert_step, left_over, subscription_step
from pipeline.integrations.metabase.desired import (
    FieldIds,
    card_body,
    card_drift,
    dashboard_body,
    dashboard_drift,
    shell_body,
)
from pipeline.integrations.metabase.scopes import Scope, distinct_cards, subscribers


class Contents:
    """Makes them, and changes what differs from the files.

    `card_ids` are the ids of all cards known so far, by entity id. `waiting_mails` counts the subscriptions and alerts
    that wait for a mail server.
    """

    def __init__(self, work: Work, deliveries: Deliveries, groups: Mapping[str, int], operators: Sequence[str]) -> None:
        self._work = work
        self._deliveries = deliveries
        self._groups = groups
        self._operators = operators
        self.waiting_mails = 0
        self.card_ids = {
            entity_id: int(card["id"])
            for known in work.state.scopes.values()
            for entity_id, card in known.cards.items()
        }

    def fill(
        self,
        scope: Scope,
        dashboards: Sequence[DashboardDefinition],
        collections: Mapping[str, int],
        database_id: int,
        fields: FieldIds,
    ) -> dict[str, int]:
        """Cards and dashboards of one reader, in its collections (ids by part); returns the dashboards' ids by key."""
        card_ids = {
            card.entity_id: self._card(scope, card, card_body(card, database_id, collections["cards"], fields))
            for card in distinct_cards(dashboards)
        }
        self.card_ids.update(card_ids)
        # First an empty dashboard for each, so that clicks can lead to any; then their contents.
        dashboard_ids = {
            dashboard.key: self._empty_dashboard(scope, dashboard, collections["dashboards"])
            for dashboard in dashboards
        }
        for dashboard in dashboards:
            stands = self._dashboard(scope, dashboard, dashboard_ids, card_ids)
            self._deliver(scope, dashboard, dashboard_ids[dashboard.key], stands, card_ids)
        return dashboard_ids

    def _card(self, scope: Scope, card: CardDefinition, wanted: Mapping[str, Any]) -> int:
        card_id = self.card_ids.get(card.entity_id)
        label = scope.labelled(card.name)
        if card_id is None:
            change = Change("created", "card", label)
            answer = self._work.changes.send("POST", "/api/card", wanted, change=change, scope=scope)
            return int(answer.get("id", NOT_THERE_YET))
        drift = card_drift(self._work.state.scopes[scope.key].cards[card.entity_id], dict(wanted))
        if drift:
            change = Change("updated", "card", label, tuple(drift))
            self._work.changes.send("PUT", f"/api/card/{card_id}", wanted, change=change, scope=scope)
        return card_id

    def _empty_dashboard(self, scope: Scope, dashboard: DashboardDefinition, collection_id: int) -> int:
        reference = scope.dashboard_reference(dashboard)
        existing = self._work.state.scopes[scope.key].dashboards.get(reference)
        if existing is not None:
            return int(existing["id"])
        change = Change("created", "dashboard", scope.labelled(dashboard.name))
        body = shell_body(dashboard, collection_id, reference)
        answer = self._work.changes.send("POST", "/api/dashboard", body, change=change, scope=scope)
        return int(answer.get("id", NOT_THERE_YET))

    def _dashboard(
        self,
        scope: Scope,
        dashboard: DashboardDefinition,
        dashboard_ids: Mapping[str, int],
        card_ids: Mapping[str, int],
    ) -> Mapping[str, Any]:
        """Fill the dashboard; returns how it then stands, which of a plan is what would be sent."""
        reference = scope.dashboard_reference(dashboard)
        existing = self._work.state.scopes[scope.key].dashboards.get(reference)
        wanted = dashboard_body(
            dashboard, reference=reference, existing=existing or {}, card_ids=card_ids, dashboard_ids=dashboard_ids
        )
        drift = dashboard_drift(existing or {}, wanted)
        if existing is not None and not drift:
            return existing
        label = scope.labelled(dashboard.name)
        change = None if existing is None else Change("updated", "dashboard", label, tuple(drift))
        path = f"/api/dashboard/{dashboard_ids[dashboard.key]}"
        return self._work.changes.send("PUT", path, wanted, change=change, scope=scope) or wanted

    def _deliver(
        self,
        scope: Scope,
        dashboard: DashboardDefinition,
        dashboard_id: int,
        stands: Mapping[str, Any],
        card_ids: Mapping[str, int],
    ) -> None:
        """The dashboard's subscription and its cards' alerts, where a mail server is there to send them."""
        addresses = subscribers(scope, dashboard, self._operators)
        if not self._deliveries.has_mail:
            self.waiting_mails += dashboard.subscription is not None and bool(addresses)
            self.waiting_mails += sum(card.alert is not None for card in dashboard.own_cards())
            return
        roles = scope.groups(self._work.definitions)
        steps = {dashboard.name: subscription_step(self._deliveries, dashboard, dashboard_id, stands, addresses)}
        for card in dashboard.own_cards():
            readers = [self._groups[roles[role]] for role in card.alert.roles] if card.alert else []
            steps[card.name] = alert_step(self._deliveries, card.alert, card_ids[card.entity_id], readers)
        for name, step in steps.items():
            if step is None:
                continue
            is_new = step.item_id is None
            change = Change("created" if is_new else "updated", step.kind, scope.labelled(name), step.parts)
            # A mail that changed makes no card worth running again, so it touches no scope.
            self._work.changes.send("POST" if is_new else "PUT", step.path, step.body, change=change, scope=None)
        for thing in left_over(self._deliveries, dashboard, dashboard_id, card_ids):
            self._work.changes.result.notes.append(
                f"In no file, and left alone: {scope.labelled(thing)} of this account."
            )
