"""Subscriptions (a dashboard as mail, at set times) and alerts (a card as mail, when it has something to say).

Metabase gives neither a place for a mark of ours: a subscription bears its dashboard's name whatever it was called,
and an alert none. So ours is what the account that we sign in with has made where a file asks for one; one that already
does exactly what is wanted is taken as it is, whoever made it. What other people set up is never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.integrations.metabase.definitions import AlertDefinition, DashboardDefinition, SubscriptionDefinition
from pipeline.integrations.metabase.state import as_list

if TYPE_CHECKING:
    from pipeline.integrations.metabase.client import MetabaseClient

Body = dict[str, Any]
Item = Mapping[str, Any]
NO_MAIL = (
    "Metabase has no mail server, and would take subscriptions and alerts without ever sending them: {count} of ours "
    "wait. Set one up under Admin > Settings > Email, or with MB_EMAIL_SMTP_HOST, and apply again."
)


@dataclass
class Deliveries:
    """What there is: subscriptions by dashboard and alerts by card. Without a mail server nothing is read."""

    has_mail: bool = False
    account: int | None = None
    subscriptions: dict[int, list[Item]] = field(default_factory=dict)
    alerts: dict[int, list[Item]] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """What brings one subscription or alert in line; `item_id` is None for one that has to be made."""

    kind: str
    item_id: int | None
    parts: tuple[str, ...]
    body: Body

    @property
    def path(self) -> str:
        """Where the body goes."""
        base = "/api/pulse" if self.kind == "subscription" else "/api/notification"
        return base if self.item_id is None else f"{base}/{self.item_id}"


def read_deliveries(client: MetabaseClient) -> Deliveries:
    """Everybody's subscriptions and alerts, in three requests."""
    if not client.has_mail():
        return Deliveries()
    deliveries = Deliveries(has_mail=True, account=int(client.get("/api/user/current")["id"]))
    for pulse in as_list(client.get("/api/pulse")):
        if pulse.get("dashboard_id") is not None:
            deliveries.subscriptions.setdefault(int(pulse["dashboard_id"]), []).append(pulse)
    for alert in as_list(client.get("/api/notification", payload_type="notification/card")):
        if alert.get("payload"):
            deliveries.alerts.setdefault(int(alert["payload"]["card_id"]), []).append(alert)
    return deliveries


def subscription_step(
    deliveries: Deliveries, dashboard: DashboardDefinition, dashboard_id: int, stands: Item, addresses: Sequence[str]
) -> Step | None:
    """What a dashboard's subscription lacks. `stands` is the dashboard as Metabase holds it.

    A subscription that nobody shall get any more is archived.
    """
    there = deliveries.subscriptions.get(dashboard_id, [])
    if dashboard.subscription is None:
        return None
    if not addresses:
        ours = of_ours(there, deliveries.account)
        return None if ours is None else Step("subscription", int(ours["id"]), ("archived",), archived(ours))
    wanted = subscription_body(dashboard, dashboard.subscription, dashboard_id, stands, addresses)
    step = nearest("subscription", there, deliveries.account, lambda item: subscription_drift(item, wanted), wanted)
    if step is not None and step.item_id is not None:
        kept = {key: value for key, value in wanted.items() if key != "dashboard_id"}
        # What a PUT leaves out falls back to its default.
        return Step(step.kind, step.item_id, step.parts, kept | {"archived": False})
    return step


def alert_step(
    deliveries: Deliveries, alert: AlertDefinition | None, card_id: int, groups: Sequence[int]
) -> Step | None:
    """What a card's alert lacks."""
    if alert is None:
        return None
    there = deliveries.alerts.get(card_id, [])
    wanted = alert_body(alert, card_id, groups)
    step = nearest("alert", there, deliveries.account, lambda item: alert_drift(item, wanted), wanted)
    if step is not None and step.item_id is not None:
        existing = next(item for item in there if int(item["id"]) == step.item_id)
        return Step(step.kind, step.item_id, step.parts, merged_alert(existing, wanted))
    return step


def left_over(
    deliveries: Deliveries, dashboard: DashboardDefinition, dashboard_id: int, card_ids: Mapping[str, int]
) -> Iterator[str]:
    """What our account has made, or a person with it, and no file asks for."""
    if dashboard.subscription is None and of_ours(deliveries.subscriptions.get(dashboard_id, []), deliveries.account):
        yield f"subscription {dashboard.name!r}"
    for card in dashboard.own_cards():
        if card.alert is None and of_ours(deliveries.alerts.get(card_ids[card.entity_id], []), deliveries.account):
            yield f"alert {card.name!r}"


def nearest(
    kind: str, there: Sequence[Item], account: int | None, drift: Callable[[Item], list[str]], wanted: Body
) -> Step | None:
    """None where one does what is wanted already, else our own to be changed, else a new one."""
    if any(not drift(item) for item in there):
        return None
    ours = of_ours(there, account)
    if ours is None:
        return Step(kind, None, (), wanted)
    return Step(kind, int(ours["id"]), tuple(drift(ours)), wanted)


def of_ours(there: Sequence[Item], account: int | None) -> Item | None:
    """The oldest that our account has made."""
    mine = [item for item in there if item.get("creator_id") == account]
    return min(mine, key=lambda item: int(item["id"]), default=None)


def subscription_body(
    dashboard: DashboardDefinition,
    subscription: SubscriptionDefinition,
    dashboard_id: int,
    stands: Item,
    addresses: Sequence[str],
) -> Body:
    """Body of POST /api/pulse. Its name is the dashboard's: whenever that is written, Metabase names it so."""
    return {
        "name": dashboard.name,
        "dashboard_id": dashboard_id,
        "cards": [
            {
                "id": dashcard["card_id"],
                "dashboard_card_id": dashcard["id"],
                "include_csv": False,
                "include_xls": False,
            }
            for dashcard in stands.get("dashcards") or []
            if dashcard.get("card_id") is not None
        ],
        "channels": [
            {
                "channel_type": "email",
                # A channel that does not say so is made switched off.
                "enabled": True,
                "schedule_type": subscription.schedule_type,
                "schedule_hour": subscription.schedule_hour,
                "schedule_day": subscription.schedule_day,
                "schedule_frame": subscription.schedule_frame,
                "recipients": [{"email": address} for address in sorted(set(addresses))],
            }
        ],
        "skip_if_empty": subscription.skip_if_empty,
    }


def subscription_drift(existing: Item, wanted: Item) -> list[str]:
    """Names of the parts of a subscription that differ."""
    drift = [key for key in ("name", "skip_if_empty") if existing.get(key) != wanted[key]]
    if cards_of(existing) != cards_of(wanted):
        drift.append("cards")
    there = [channel for channel in existing.get("channels") or [] if channel.get("enabled")]
    (ours,) = wanted["channels"]
    if len(there) != 1:
        return [*drift, "channels"]
    schedule = ("channel_type", "schedule_type", "schedule_hour", "schedule_day", "schedule_frame")
    if any(there[0].get(key) != ours[key] for key in schedule):
        drift.append("schedule")
    if recipients_of(there[0]) != recipients_of(ours):
        drift.append("recipients")
    return drift


def cards_of(subscription: Item) -> list[tuple[Any, ...]]:
    """The cards in a form that can be compared."""
    keys = ("id", "dashboard_card_id", "include_csv", "include_xls")
    return sorted(tuple(card.get(key) for key in keys) for card in subscription.get("cards") or [])


def recipients_of(channel: Item) -> set[str]:
    """Who gets it: an account's address is as good as the bare one."""
    return {str(recipient.get("email")).lower() for recipient in channel.get("recipients") or []}


def archived(existing: Item) -> Body:
    """Body of the PUT that ends a subscription."""
    return {"archived": True, "skip_if_empty": bool(existing.get("skip_if_empty"))}


def alert_body(alert: AlertDefinition, card_id: int, groups: Sequence[int]) -> Body:
    """Body of POST /api/notification."""
    return {
        "payload_type": "notification/card",
        "payload": {"card_id": card_id, "send_condition": alert.send_condition, "send_once": alert.send_once},
        "subscriptions": [{"type": "notification-subscription/cron", "cron_schedule": alert.cron_schedule}],
        "handlers": [
            {
                "channel_type": "channel/email",
                "recipients": [
                    {"type": "notification-recipient/group", "permissions_group_id": group} for group in sorted(groups)
                ],
            }
        ],
    }


def alert_drift(existing: Item, wanted: Item) -> list[str]:
    """Names of the parts of an alert that differ."""
    drift = [key for key, value in wanted["payload"].items() if (existing.get("payload") or {}).get(key) != value]
    if [schedule.get("cron_schedule") for schedule in existing.get("subscriptions") or []] != [
        schedule["cron_schedule"] for schedule in wanted["subscriptions"]
    ]:
        drift.append("schedule")
    if handlers_of(existing) != handlers_of(wanted):
        drift.append("recipients")
    if existing.get("active") is False:
        drift.append("switched off")
    return drift


def handlers_of(alert: Item) -> list[tuple[Any, ...]]:
    """Channels and recipients in a form that can be compared."""
    return sorted(
        (
            handler.get("channel_type"),
            tuple(
                sorted(
                    (
                        str(recipient.get("type")),
                        recipient.get("permissions_group_id") or recipient.get("user_id") or 0,
                        str((recipient.get("details") or {}).get("value", "")),
                    )
                    for recipient in handler.get("recipients") or []
                )
            ),
        )
        for handler in alert.get("handlers") or []
    )


def merged_alert(existing: Item, wanted: Body) -> Body:
    """Body of PUT /api/notification/:id: what is there, with what is wanted in it.

    The server compares ids: what comes without the id that it has is deleted and made again under another.
    """
    (subscription, *_), (handler, *_) = existing["subscriptions"] or [{}], existing["handlers"] or [{}]
    return {
        **existing,
        "active": True,
        "payload": {**existing["payload"], **wanted["payload"]},
        "subscriptions": [{**subscription, **wanted["subscriptions"][0]}],
        "handlers": [{**handler, **wanted["handlers"][0]}],
    }
