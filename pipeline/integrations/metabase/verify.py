"""Does everybody see in Metabase what SQL says, and nobody what is another's? Every card is run as every reader.

A key that lives as long as the check puts us into one reader's group after the other: what runs then runs as a viewer
of that company would run it. Nothing else is written.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
from pydantic import SecretStr

from foundation.counting import counted
from pipeline.integrations.metabase import state
from pipeline.integrations.metabase.client import MetabaseAccess, MetabaseClient, access_of
from pipeline.integrations.metabase.definition_files import load_definitions
from pipeline.integrations.metabase.definitions import CardDefinition, DashboardDefinition
from pipeline.integrations.metabase.definitions import Role as Reader
from pipeline.integrations.metabase.deliveries import Deliveries, alert_step, read_deliveries, subscription_step
from pipeline.integrations.metabase.errors import MetabaseError, MetabaseRefused
from pipeline.integrations.metabase.filled_sql import filled_sql
from pipeline.integrations.metabase.scopes import (
    CompanyFacts,
    Scope,
    distinct_cards,
    scopes_of,
    subscribers,
    tailored_dashboards,
)
from warehouse.connection import Warehouse
from warehouse.roles import Role, take_on_company_login
from warehouse.settings import Settings

MOST_ROWS = 2000
"""Metabase hands out no more rows than this of a card that it runs."""


class VerifyFailed(MetabaseError):
    """What somebody sees in Metabase is not what it should be; `faults` holds a line each."""

    advice = "`churn dashboards apply` brings Metabase in line with the files."

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = list(faults)
        listed = "\n".join(f"- {fault}" for fault in faults)
        super().__init__(f"What Metabase shows is not what it should be:\n{listed}")


def verify_dashboards(
    settings: Settings,
    companies: Sequence[CompanyFacts],
    warehouse: Warehouse,
    *,
    operators: Sequence[str] = (),
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Run every card as every reader, and compare its rows with what SQL says under that reader's own role.

    Also: each card is on the reader's own connection, one of every other company's cards is refused, and subscriptions
    and alerts go to whom they should, where Metabase can send mail. Returns a line per reader. Raises VerifyFailed
    with every fault, and other MetabaseError children.
    """
    definitions = load_definitions()
    if settings.metabase_url is None:
        return ["CHURN_METABASE_URL is not set: no Metabase to verify"]
    scopes = scopes_of(companies)
    dashboards = {scope.key: tailored_dashboards(definitions, scope) for scope in scopes}
    cards = {key: distinct_cards(group) for key, group in dashboards.items()}
    lines, faults = [], []
    access = access_of(settings)
    with MetabaseClient(access, sleep=sleep) as client, ExitStack() as stack:
        client.sign_in(site_name=definitions.warehouse.site_name)
        present = state.read_state(client)
        items = {scope.key: list(_items(client, present, scope)) for scope in scopes}
        known = {
            entity_id: int(item["id"])
            for key, group in cards.items()
            for entity_id, item in state.cards_by_entity_id(items[key], [card.entity_id for card in group]).items()
        }
        mails = read_deliveries(client)
        eyes = Eyes(client, access, sleep, stack)
        for scope in scopes:
            reader = "All companies" if scope.company is None else scope.reader
            group = list(scope.groups(definitions).values())[-1]
            database = present.databases.get(scope.database_name(definitions))
            if (
                database is None
                or group not in present.groups
                or scope.collection_references()["cards"] not in present.collections
            ):
                faults.append(f"{reader}: not there yet: churn dashboards apply")
                continue
            others = [
                (other, known[cards[other.key][0].entity_id])
                for other in scopes
                if other is not scope and scope.company is not None and cards[other.key][0].entity_id in known
            ]
            reader_eyes = eyes.of(int(present.groups[group]["id"]))
            with connected_as(warehouse, scope) as connection:
                mine = list(card_faults(client, reader_eyes, connection, cards[scope.key], known, int(database["id"])))
                mine.extend(
                    f"may read a card of {other.key}" for other, card_id in others if may_read(reader_eyes, card_id)
                )
            if mails.has_mail:
                roles = scope.groups(definitions)
                groups = {
                    role: int(present.groups[name]["id"]) for role, name in roles.items() if name in present.groups
                }
                mailed = {
                    scope.dashboard_reference(dashboard)
                    for dashboard in dashboards[scope.key]
                    if dashboard.subscription
                }
                stand = state.dashboards_in(client, items[scope.key], mailed)
                for dashboard in dashboards[scope.key]:
                    addresses = subscribers(scope, dashboard, operators)
                    there = stand.get(scope.dashboard_reference(dashboard))
                    mine.extend(mail_faults(mails, dashboard, there, addresses, known, groups))
            faults.extend(f"{reader}: {fault}" for fault in mine)
            lines.append(
                f"{reader}: {counted(len(cards[scope.key]), 'card')} run and compared, {counted(len(mine), 'fault')}"
            )
    if not mails.has_mail:
        lines.append("Subscriptions and alerts: not looked at, Metabase has no mail server")
    if faults:
        raise VerifyFailed(faults)
    return lines


def _items(client: MetabaseClient, present: state.MetabaseState, scope: Scope) -> Iterator[dict[str, Any]]:
    for part in ("dashboards", "cards"):
        collection = present.collections.get(scope.collection_references()[part])
        if collection is not None:
            yield from state.items_of(client, int(collection["id"]))


def mail_faults(
    mails: Deliveries,
    dashboard: DashboardDefinition,
    stands: Mapping[str, Any] | None,
    addresses: Sequence[str],
    known: Mapping[str, int],
    groups: Mapping[Reader, int],
) -> Iterator[str]:
    """What is wrong with a dashboard's subscription and its cards' alerts, a line each."""
    if dashboard.subscription is not None and stands is not None:
        step = subscription_step(mails, dashboard, int(stands["id"]), stands, addresses)
        if step is not None:
            yield f"subscription {dashboard.name!r}: {', '.join(step.parts) or 'missing'}: churn dashboards apply"
    for card in dashboard.own_cards():
        if card.alert is None or card.entity_id not in known:
            continue
        readers = [groups[role] for role in card.alert.roles if role in groups]
        step = alert_step(mails, card.alert, known[card.entity_id], readers)
        if step is not None:
            yield f"alert {card.name!r}: {', '.join(step.parts) or 'missing'}: churn dashboards apply"


class Eyes:
    """A key of our own that is put from group to group, and deleted when `stack` is left.

    One for all: Metabase keeps an account of each key that ever was.
    """

    def __init__(
        self, client: MetabaseClient, access: MetabaseAccess, sleep: Callable[[float], None], stack: ExitStack
    ) -> None:
        self._client = client
        self._access = access
        self._sleep = sleep
        self._key_id: int | None = None
        self._stack = stack

    def of(self, group_id: int) -> MetabaseClient:
        """A client that sees what this group sees."""
        if self._key_id is None:
            name = f"churn verify {secrets.token_hex(4)}"
            made = self._client.post("/api/api-key", {"group_id": group_id, "name": name})
            self._key_id = int(made["id"])
            self._stack.callback(self._client.delete, f"/api/api-key/{self._key_id}")
            key = SecretStr(str(made["unmasked_key"]))
            self._client.hide(key)
            access = MetabaseAccess(self._access.url, api_key=key)
            self._reader = self._stack.enter_context(MetabaseClient(access, sleep=self._sleep))
            self._reader.sign_in(site_name="")
        else:
            self._client.put(f"/api/api-key/{self._key_id}", {"group_id": group_id})
        return self._reader


@contextmanager
def connected_as(warehouse: Warehouse, scope: Scope) -> Iterator[psycopg.Connection[Any]]:
    """A connection of our own that sees what the reader's login sees."""
    if scope.company is None:
        with warehouse.connect(Role.operator) as connection:
            yield connection
    else:
        with warehouse.connect() as connection:
            take_on_company_login(connection, scope.company.company_id, Role.company)
            connection.commit()
            yield connection


def card_faults(
    client: MetabaseClient,
    eyes: MetabaseClient,
    connection: psycopg.Connection[Any],
    cards: Sequence[CardDefinition],
    known: Mapping[str, int],
    database_id: int,
) -> Iterator[str]:
    """What is wrong with a reader's cards, a line each."""
    for card in cards:
        if card.entity_id not in known:
            yield f"{card.name!r} is missing: churn dashboards apply"
            continue
        path = f"/api/card/{known[card.entity_id]}"
        used = client.get(path).get("dataset_query", {}).get("database")
        if used != database_id:
            yield f"{card.name!r} asks connection {used}, not its own ({database_id})"
            continue
        fault = difference(eyes, connection, card, path)
        # The marts may have been rebuilt between the two questions.
        if fault is not None and difference(eyes, connection, card, path) is not None:
            yield f"{card.name!r}: {fault}"


def difference(
    eyes: MetabaseClient, connection: psycopg.Connection[Any], card: CardDefinition, path: str
) -> str | None:
    """How what Metabase answers differs from what SQL says; None when it does not."""
    try:
        answer = eyes.post(f"{path}/query")
    except MetabaseRefused as refusal:
        return str(refusal)
    if answer.get("status") != "completed":
        return f"does not run: {answer.get('error') or answer.get('status')}"
    answer_rows = answer["data"]["rows"]
    rows = connection.execute(filled_sql(card)).fetchall()
    connection.rollback()
    if len(answer_rows) != min(len(rows), MOST_ROWS):
        return f"shows {counted(len(answer_rows), 'row')}, SQL says {len(rows)}"
    if len(rows) <= MOST_ROWS and Counter(map(comparable_row, answer_rows)) != Counter(map(comparable_row, rows)):
        return "shows other values than SQL says"
    return None


def may_read(eyes: MetabaseClient, card_id: int) -> bool:
    """Whether a card that is another's can be run."""
    try:
        eyes.post(f"/api/card/{card_id}/query")
    except MetabaseRefused as refusal:
        if refusal.status in {403, 404}:
            return False
        raise
    return True


def comparable_row(row: Sequence[Any]) -> tuple[str, ...]:
    """A row in a form in which JSON's values and Postgres' are the same."""
    return tuple(comparable(value) for value in row)


def comparable(value: Any) -> str:
    """Numbers to nine digits, moments in UTC to the second, dates as such."""
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, int | float | Decimal):
        number = float(value)
        return f"{number:.9g}" if math.isfinite(number) else repr(number)
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, date):
        return f"{value.isoformat()} 00:00:00"
    return moment_of(str(value)) or str(value)


def moment_of(text: str) -> str | None:
    """The moment that a text such as 2026-10-01T00:00:00Z names, as `comparable` writes it; None for other texts."""
    if len(text) < 10 or text[4] != "-" or text[7] != "-":
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment.astimezone(UTC) if moment.tzinfo else moment).strftime("%Y-%m-%d %H:%M:%S")
