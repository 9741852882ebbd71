"""What of Zendesk becomes what, and how its changes are noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.pipeline.connectors.stand_ins.companies import PRESETS, Account, account
from tests.integration.pipeline.connectors.stand_ins.server import Answer, Asked
from tests.integration.pipeline.connectors.stand_ins.zendesk import at
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse

LATER = timedelta(days=1)


@pytest.fixture
def zendesk(warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path) -> Iterator[Account]:
    with account(PRESETS["zendesk"], warehouse, add_company, tmp_path) as opened:
        yield opened


def test_a_ticket_with_its_metrics(zendesk: Account) -> None:
    zendesk.sync()
    row = zendesk.newest("tickets")["1001"]
    assert (row["customer_id"], row["satisfaction"], row["channel"]) == ("12", 5, "email")
    assert row["first_response_at"] - row["opened_at"] == timedelta(minutes=90)
    assert row["resolved_at"] == datetime.fromisoformat(at(30))


def test_agents_are_no_customers(zendesk: Account) -> None:
    zendesk.sync()
    customers = zendesk.newest("customers")
    assert {number for number, row in customers.items() if not row["is_deleted"]} == set(map(str, range(1, 36)))


def test_who_becomes_an_agent_is_a_customer_no_longer(zendesk: Account) -> None:
    zendesk.sync()
    zendesk.vendor.now += LATER
    zendesk.vendor.users[9] |= {"role": "agent", "updated_at": at(-0.5)}
    zendesk.sync(later=LATER)
    assert zendesk.newest("customers")["9"]["is_deleted"]


def test_deleted_and_merged_tickets_and_deleted_users_are_deletions(zendesk: Account) -> None:
    zendesk.vendor.users[5] |= {"active": False, "updated_at": at(1)}
    zendesk.sync()
    tickets = zendesk.newest("tickets")
    assert {number for number, row in tickets.items() if row["is_deleted"]} == {"1003", "1004"}
    assert zendesk.newest("customers")["5"]["is_deleted"]


def test_only_what_changed_comes_again_and_what_zendesk_itself_changed_too(zendesk: Account) -> None:
    zendesk.sync()
    zendesk.vendor.now += LATER
    zendesk.vendor.put_ticket(1010, -0.5, updated_at=at(30), status="closed")
    zendesk.vendor.asked.clear()
    _, tickets = zendesk.sync(later=LATER)
    assert (tickets.loaded, tickets.error) == (1, None)
    assert zendesk.newest("tickets")["1010"]["status"] == "closed"
    assert len(zendesk.vendor.asked) == 2, "one request for each entity"


def test_an_interrupted_export_goes_on_from_where_it_was(zendesk: Account) -> None:
    """Ten requests a minute: to begin again each time would never end."""

    def stop(asked: Asked, _: int) -> Answer | None:
        given = [each for each in zendesk.vendor.asked if "tickets" in each.path]
        return (400, {}, {}) if len(given) == 4 else None

    zendesk.vendor.misbehave = stop
    zendesk.sync()
    zendesk.vendor.misbehave = lambda *_: None
    zendesk.vendor.asked.clear()
    zendesk.sync()
    first = next(asked for asked in zendesk.vendor.asked if "tickets" in asked.path)
    assert int(first.params["start_time"]) > 0
    assert len(zendesk.newest("tickets")) == 47


def test_its_rate_limit_is_waited_out(zendesk: Account) -> None:
    zendesk.vendor.refused_each = 4
    assert [result.error for result in zendesk.sync()] == [None, None]


def test_what_is_changed_while_pages_are_read_comes_with_the_next_sync(zendesk: Account) -> None:
    def change(page: int) -> None:
        if page == 7:
            zendesk.vendor.put_ticket(1001, -0.0001, subject="Changed")

    zendesk.vendor.before_page = change
    zendesk.sync()
    zendesk.vendor.now += LATER
    zendesk.sync(later=LATER)
    assert zendesk.newest("tickets")["1001"]["subject"] == "Changed"


def test_nothing_is_read_again_each_week(zendesk: Account) -> None:
    zendesk.sync()
    zendesk.vendor.asked.clear()
    zendesk.vendor.now += timedelta(days=8)
    zendesk.sync(later=timedelta(days=8))
    assert len(zendesk.vendor.asked) == 2
