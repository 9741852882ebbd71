"""Subscriptions and alerts: made, mended, ended, and those of other people left alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pipeline.integrations.metabase.definitions import DASHBOARDS_DIRECTORY
from pipeline.integrations.metabase.scopes import CompanyFacts
from tests.integration.pipeline.integrations.metabase.applying import (
    AMANI,
    ZAWADI,
    FakeLogins,
    apply,
    named,
    overview_of,
)
from tests.integration.pipeline.integrations.metabase.stand_in.server import StandIn


@pytest.mark.usefixtures("applied")
def test_a_company_with_addresses_gets_its_overview_by_mail_and_admins_what_needs_somebody(
    metabase: StandIn, url: str
) -> None:
    overview = overview_of(metabase, "Amani Media")
    (subscription,) = metabase.pulses.values()
    assert subscription["dashboard_id"] == overview["id"]
    places = {(card["id"], card["dashboard_card_id"]) for card in subscription["cards"]}
    assert places == {
        (dashcard["card_id"], dashcard["id"]) for dashcard in overview["dashcards"] if dashcard["card_id"] is not None
    }
    (channel,) = subscription["channels"]
    assert [channel[f"schedule_{part}"] for part in ("type", "day", "hour")] == ["weekly", "mon", 7]
    assert [recipient["email"] for recipient in channel["recipients"]] == ["boss@amani.test", "success@amani.test"]
    assert channel["enabled"] is True
    (alert,) = metabase.alerts.values()
    assert metabase.cards[alert["payload"]["card_id"]]["name"] == "What needs somebody now?"
    (recipient,) = alert["handlers"][0]["recipients"]
    assert recipient["permissions_group_id"] == named(metabase.groups_by_id, "Churn admins")["id"]


def test_without_a_mail_server_the_plan_says_so_and_mails_wait_for_one(
    metabase: StandIn, url: str, logins: FakeLogins
) -> None:
    metabase.has_mail = False
    (note,) = apply(url, logins=logins).notes
    assert "no mail server" in note
    assert "2 of ours wait" in note
    assert "MB_EMAIL_SMTP_HOST" in note
    assert metabase.pulses == metabase.alerts == {}
    assert apply(url, logins=logins, plan=True).notes == [note]

    metabase.has_mail = True
    wanted = [
        "created alert 'What needs somebody now?'",
        "created subscription 'Amani Media: Churn overview'",
    ]
    assert [str(change) for change in apply(url, logins=logins, plan=True).changes] == wanted
    assert [str(change) for change in apply(url, logins=logins).changes] == wanted
    assert apply(url, logins=logins).changes == []


@pytest.mark.usefixtures("applied")
def test_mails_changed_by_hand_are_mended_under_their_ids_and_those_of_people_left_alone(
    metabase: StandIn, url: str, logins: FakeLogins
) -> None:
    (subscription,), (alert,) = metabase.pulses.values(), metabase.alerts.values()
    theirs = subscription | {"id": 5, "creator_id": 77, "channels": [subscription["channels"][0] | {"id": 7}]}
    theirs["channels"][0]["recipients"] = [{"email": "somebody@amani.test"}]
    metabase.pulses[5] = theirs
    metabase.alerts[6] = json.loads(json.dumps(alert)) | {"id": 6, "creator_id": 77}
    metabase.alerts[6]["subscriptions"][0]["cron_schedule"] = "0 0 9 * * ? *"
    subscription["channels"][0] |= {"schedule_hour": 23, "recipients": [{"email": "gone@amani.test"}]}
    subscription["skip_if_empty"] = False
    alert["subscriptions"][0]["cron_schedule"] = "0 0 * * * ? *"
    alert["handlers"][0]["recipients"] = []
    before = json.dumps([theirs, metabase.alerts[6]])

    planned = apply(url, logins=logins, plan=True)
    result = apply(url, logins=logins)

    assert {(change.kind, change.parts) for change in result.changes} == {
        ("subscription", ("skip_if_empty", "schedule", "recipients")),
        ("alert", ("schedule", "recipients")),
    }
    assert planned.changes == result.changes
    assert metabase.pulses.keys() == {subscription["id"], 5}
    assert metabase.alerts.keys() == {alert["id"], 6}
    assert json.dumps([metabase.pulses[5], metabase.alerts[6]]) == before
    assert apply(url, logins=logins).changes == []


def test_who_gets_a_weekly_report_of_ours_gets_no_weekly_mail_from_metabase(
    metabase: StandIn, url: str, logins: FakeLogins
) -> None:
    reported = replace(AMANI, has_weekly_report=True)
    apply(url, companies=[reported], logins=logins)
    assert metabase.pulses == {}
    assert apply(url, companies=[reported], logins=logins).changes == []

    (made,) = apply(url, companies=[AMANI], logins=logins).changes
    assert str(made) == "created subscription 'Amani Media: Churn overview'"
    (ended,) = apply(url, companies=[reported], logins=logins).changes
    assert (ended.kind, ended.parts) == ("subscription", ("archived",))


@pytest.mark.usefixtures("applied")
def test_a_subscription_that_nobody_gets_any_longer_is_archived_and_comes_back(
    metabase: StandIn, url: str, logins: FakeLogins
) -> None:
    nobody = CompanyFacts(2, "amani", "Amani Media", "EUR")

    result = apply(url, companies=[ZAWADI, nobody], logins=logins)

    assert [(change.kind, change.parts) for change in result.changes] == [("subscription", ("archived",))]
    assert apply(url, companies=[ZAWADI, nobody], logins=logins).changes == []
    again = apply(url, logins=logins)
    assert [str(change) for change in again.changes] == ["created subscription 'Amani Media: Churn overview'"]


@pytest.mark.usefixtures("applied")
def test_a_mail_that_does_what_is_wanted_is_taken_whoever_made_it_and_one_in_no_file_is_told(
    metabase: StandIn, url: str, logins: FakeLogins, tmp_path: Path
) -> None:
    for delivery in (*metabase.pulses.values(), *metabase.alerts.values()):
        delivery["creator_id"] = 77
    assert apply(url, logins=logins).changes == []

    for delivery in (*metabase.pulses.values(), *metabase.alerts.values()):
        delivery["creator_id"] = 1
    directory = Path(shutil.copytree(DASHBOARDS_DIRECTORY, tmp_path / "dashboards"))
    for file, key in (("overview/dashboard.yaml", "subscription"), ("operations/needs_somebody.yaml", "alert")):
        content = yaml.safe_load((directory / file).read_text())
        del content[key]
        (directory / file).write_text(yaml.safe_dump(content))
    result = apply(url, directory, logins=logins)
    assert result.changes == []
    assert result.notes == [
        "In no file, and left alone: alert 'What needs somebody now?' of this account.",
        "In no file, and left alone: Amani Media: subscription 'Churn overview' of this account.",
    ]
