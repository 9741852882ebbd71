"""Subscriptions and alerts, which are never sent."""

from __future__ import annotations

import copy

from tests.integration.pipeline.integrations.metabase.stand_in.answers import Json, Refusal, find, need
from tests.integration.pipeline.integrations.metabase.stand_in.holdings import Holdings


class Deliveries(Holdings):
    """What goes out by mail."""

    def list_pulses(self, query: dict[str, list[str]]) -> list[Json]:
        is_archived = query.get("archived") == ["true"]
        return copy.deepcopy([pulse for pulse in self.pulses.values() if pulse["archived"] == is_archived])

    def add_pulse(self, body: Json) -> Json:
        need(body, "name", "dashboard_id", "cards", "channels")
        self._check_pulse(body, body["dashboard_id"])
        new = {"id": next(self.ids), "creator_id": self.asking, "archived": False, "skip_if_empty": False} | body
        self.pulses[new["id"]] = self._stored_pulse(new)
        return new

    def change_pulse(self, pulse_id: int, body: Json) -> Json:
        pulse = find(self.pulses, pulse_id)
        if "dashboard_id" in body:
            raise Refusal(400, "the dashboard of a subscription cannot be changed")
        self._check_pulse(body, pulse["dashboard_id"])
        # What is left out falls back to its default.
        pulse.update({"archived": False, "skip_if_empty": False} | body)
        self.pulses[pulse_id] = self._stored_pulse(pulse)
        return pulse

    def _check_pulse(self, body: Json, dashboard_id: int) -> None:
        if not self.has_mail:
            raise Refusal(400, "without a mail server this would never be sent, and nobody would be told")
        if body.get("parameters"):
            raise Refusal(402, "filter values of a subscription are a paid feature")
        places = {card["id"]: card["card_id"] for card in find(self.dashboards, dashboard_id)["dashcards"]}
        for card in body.get("cards", []):
            need(card, "id", "include_csv", "include_xls", "dashboard_card_id")
            if places.get(card["dashboard_card_id"]) != card["id"]:
                raise Refusal(400, "dashboard_card_id is not where that card stands on this dashboard")
        for channel in body.get("channels", []):
            need(channel, "channel_type", "schedule_type", "enabled", "recipients")
            wanted = {"hourly": [], "daily": ["hour"], "weekly": ["hour", "day"], "monthly": ["hour", "frame"]}
            if any(channel.get(f"schedule_{part}") is None for part in wanted[channel["schedule_type"]]):
                raise Refusal(400, {"errors": {"channels": "the schedule is not complete"}})
            if not channel["recipients"] or any(
                not recipient.keys() & {"id", "email"} for recipient in channel["recipients"]
            ):
                raise Refusal(400, {"errors": {"channels": "recipients must have an id or an email"}})

    def _stored_pulse(self, pulse: Json) -> Json:
        """With names and ids of its own, as it is handed out; archiving switches its channels off."""
        cards = [self._pulse_card(card["id"], card["dashboard_card_id"]) | card for card in pulse["cards"]]
        channels = [
            {"id": next(self.ids), "details": {}} | channel | ({"enabled": False} if pulse["archived"] else {})
            for channel in pulse["channels"]
        ]
        return pulse | {"cards": cards, "channels": channels}

    def _pulse_card(self, card_id: int, place: int) -> Json:
        name = find(self.cards, card_id)["name"]
        return {
            "id": card_id,
            "name": name,
            "dashboard_card_id": place,
            "include_csv": False,
            "include_xls": False,
        }

    def list_alerts(self, query: dict[str, list[str]]) -> list[Json]:
        if query.get("payload_type") != ["notification/card"]:
            raise Refusal(400, "the list would hold Metabase's own notifications, too")
        return copy.deepcopy([alert for alert in self.alerts.values() if alert["active"]])

    def add_alert(self, body: Json) -> Json:
        self._check_alert(body)
        new = {"id": next(self.ids), "creator_id": self.asking, "active": True} | copy.deepcopy(body)
        for part in [new["payload"], *self._parts_of_alert(new)]:
            part["id"] = next(self.ids)
        self.alerts[new["id"]] = new
        return new

    def change_alert(self, alert_id: int, body: Json) -> Json:
        alert = find(self.alerts, alert_id)
        self._check_alert(body)
        known = {part["id"] for part in [alert["payload"], *self._parts_of_alert(alert)]}
        sent = [body["payload"], *body["subscriptions"], *body["handlers"]]
        if body.get("id") != alert_id or any(part.get("id") not in known for part in sent):
            raise Refusal(400, "without their ids all of it would be deleted and made again under other ids")
        if body["payload"]["card_id"] != alert["payload"]["card_id"]:
            raise Refusal(400, "the card of an alert cannot be changed")
        alert.update(copy.deepcopy(body))
        for part in self._parts_of_alert(alert):
            part.setdefault("id", next(self.ids))
        return alert

    def _parts_of_alert(self, alert: Json) -> list[Json]:
        recipients = [recipient for handler in alert["handlers"] for recipient in handler["recipients"]]
        return [*alert["subscriptions"], *alert["handlers"], *recipients]

    def _check_alert(self, body: Json) -> None:
        if not self.has_mail:
            raise Refusal(400, "without a mail server this would never be sent, and nobody would be told")
        need(body, "payload_type", "payload", "subscriptions", "handlers")
        need(body["payload"], "card_id", "send_condition", "send_once")
        card = find(self.cards, body["payload"]["card_id"])
        goal = card["visualization_settings"].get("graph.goal_value")
        if body["payload"]["send_condition"] != "has_result" and goal is None:
            raise Refusal(400, "the card has no goal, so that the alert would never go off")
        for subscription in body["subscriptions"]:
            need(subscription, "type", "cron_schedule")
            fields = subscription["cron_schedule"].split()
            if len(fields) != 7 or (fields[3] == "?") == (fields[5] == "?"):
                raise Refusal(400, {"errors": {"cron_schedule": "value must be a valid Quartz cron schedule string"}})
        for handler in body["handlers"]:
            need(handler, "channel_type", "recipients")
            for recipient in handler["recipients"]:
                if recipient["type"] == "notification-recipient/group":
                    find(self.groups_by_id, recipient["permissions_group_id"])
