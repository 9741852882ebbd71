"""Applying the real dashboards to a strict stand-in for Metabase, over real HTTP."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.integrations.metabase.apply import apply_dashboards
from pipeline.integrations.metabase.changes import ApplyResult, CardsFailed
from pipeline.integrations.metabase.definitions import DASHBOARDS_DIRECTORY, Definitions
from pipeline.integrations.metabase.desired import OWNERSHIP_NOTE
from pipeline.integrations.metabase.errors import DefinitionError, MetabaseUnreachable
from tests.integration.pipeline.integrations.metabase.applying import (
    AMANI,
    COMPANIES,
    PASSWORD,
    USERNAME,
    WAREHOUSE_PASSWORD,
    FakeLogins,
    apply,
    cards_of,
    overview_of,
    settings,
    tables_of,
)
from tests.integration.pipeline.integrations.metabase.stand_in.server import Address, StandIn


def test_a_fresh_metabase_is_set_up_and_holds_everything_after_one_apply(
    metabase: StandIn, url: str, definitions: Definitions
) -> None:
    result = apply(url)

    made: dict[str, int] = {}
    for change in result.changes:
        if change.action == "created":
            made[change.kind] = made.get(change.kind, 0) + 1
    for_companies = sum("company" in dashboard.audience for dashboard in definitions.dashboards)
    assert made == {
        "collection": 1 + 2 + 3 * 2,
        "group": 1 + 2 * 2,
        "database": 3,
        "card": cards_of(definitions),
        "dashboard": len(definitions.dashboards) + 2 * for_companies,
        "subscription": 1,
        "alert": 1,
    }
    assert metabase.users == {USERNAME: PASSWORD}
    dashboard = overview_of(metabase, "Amani Media")
    assert len(dashboard["dashcards"]) == len(definitions.dashboards[0].dashcards)
    assert result.dashboard_urls["Amani Media: Churn overview"] == f"{url}/dashboard/{dashboard['id']}"
    assert result.metabase_version == "v0.58.34"
    assert result.skipped is None
    assert result.notes == []


@pytest.mark.parametrize("legacy_queries", [False, True])
def test_a_second_apply_changes_nothing(metabase: StandIn, url: str, logins: FakeLogins, legacy_queries: bool) -> None:
    metabase.legacy_queries = legacy_queries
    apply(url, logins=logins)
    before, writes = metabase.content(), len(metabase.writes_to_content())

    assert apply(url, logins=logins, plan=True).changes == []
    again = apply(url, logins=logins)

    assert again.changes == []
    assert metabase.content() == before
    assert len(metabase.writes_to_content()) == writes


def test_a_plan_says_what_an_apply_does_and_writes_nothing(metabase: StandIn, url: str, logins: FakeLogins) -> None:
    fresh = apply(url, logins=logins, plan=True)
    assert fresh.changes == []
    assert "is fresh" in (fresh.skipped or "")
    metabase.add_user(USERNAME, PASSWORD)
    before = metabase.content()

    planned = apply(url, logins=logins, plan=True)

    assert metabase.content() == before
    assert logins.opened == set()
    done = apply(url, logins=logins)
    kinds = ("collection", "group", "database", "card", "dashboard")

    def made(result: ApplyResult) -> list[str]:
        return [str(change) for change in result.changes if change.action == "created" and change.kind in kinds]

    assert made(planned) == made(done)


@pytest.mark.usefixtures("applied")
def test_what_nobody_edited_since_is_not_read_again(metabase: StandIn, url: str, logins: FakeLogins) -> None:
    def read(*, is_plan: bool = True) -> list[str]:
        metabase.requests.clear()
        assert apply(url, logins=logins, plan=is_plan).changes == []
        return [path for _, path in metabase.requests if re.fullmatch(r"/api/(dashboard|card)/\d+", path)]

    assert sorted(read()) == sorted(f"/api/dashboard/{number}" for number in metabase.dashboards)
    assert read() == []
    per_scope = {"/healthcheck": 1, "/metadata": 1, "/items": 2}
    for ending, times in per_scope.items():
        assert sum(path.endswith(ending) for _, path in metabase.requests) == times * (len(COMPANIES) + 1), ending
    assert len(metabase.requests) <= 4 * (len(COMPANIES) + 1) + 14
    card = next(card for card in metabase.cards.values() if card["name"] == "Who is this?")
    card["cache_ttl"] = 7
    (number,) = {
        dashboard["id"]
        for dashboard in metabase.dashboards.values()
        if card["id"] in {dashcard["card_id"] for dashcard in dashboard["dashcards"]}
    }
    assert read() == [f"/api/dashboard/{number}"]
    metabase.version = "v0.59.1"
    assert len(read()) == len(metabase.dashboards), "an upgrade may have changed what is stored"
    assert read() == []


def test_an_apply_killed_after_any_write_is_finished_by_the_next(
    definitions: Definitions, address: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those dashboards that have every kind of thing: mails, an alert, clicks that lead from one to another."""
    some = [
        dashboard
        for dashboard in definitions.dashboards
        if dashboard.key in {"overview", "at_risk", "customer", "operations"}
    ]
    few = definitions.model_copy(update={"dashboards": some})
    monkeypatch.setattr("pipeline.integrations.metabase.apply.load_definitions", lambda _: few)
    tables = tables_of(definitions)

    def shape(state: StandIn) -> Any:
        named_things = [
            sorted(item["name"] for item in store.values())
            for store in (state.collections, state.databases, state.cards, state.dashboards, state.groups_by_id)
        ]
        locked = [sorted(level for level in levels.values()) for levels in state.collection_graph.values()]
        return [
            *named_things,
            sorted(locked),
            sorted(len(dashboard["dashcards"]) for dashboard in state.dashboards.values()),
        ]

    address.metabase = whole = StandIn(tables, WAREHOUSE_PASSWORD, polls_until_synced=0)
    apply(address.url, companies=[AMANI], run_cards=False)
    assert whole.writes > cards_of(few, [AMANI])
    moments: dict[str, int] = {}
    # The first and the last of each kind of write, and every write of the frame that keeps people out.
    for number, (method, path) in enumerate(whole.writes_to_content(), start=1):
        kind = f"{method} {re.sub('[0-9]+', '0', path)}"
        moments.setdefault(f"first {kind}", number)
        moments[f"last {kind}" if "graph" not in path else f"{kind} {number}"] = number
    for killed_after in sorted(set(moments.values())):
        address.metabase = state = StandIn(
            tables, WAREHOUSE_PASSWORD, polls_until_synced=0, drop_after_write=killed_after
        )
        ours = {"companies": [AMANI], "logins": FakeLogins(), "run_cards": False, "home": tmp_path / str(killed_after)}
        with contextlib.suppress(MetabaseUnreachable, CardsFailed):
            apply(address.url, **ours)
        apply(address.url, **ours)
        assert shape(state) == shape(whole), f"killed after write {killed_after}"
        assert apply(address.url, **ours, plan=True).changes == []


def test_without_a_metabase_the_result_says_so_and_no_login_is_made() -> None:
    logins = FakeLogins()

    result = apply_dashboards(settings(None), COMPANIES, logins)

    assert result.skipped is not None
    assert "CHURN_METABASE_URL is not set" in result.skipped
    assert result.changes == []
    assert logins.opened == set()


def test_a_wrong_file_is_told_before_any_request(metabase: StandIn, url: str, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(DASHBOARDS_DIRECTORY, tmp_path / "dashboards"))
    (directory / "warehouse.yaml").write_text("colection: {}")

    with pytest.raises(DefinitionError, match=r"warehouse\.yaml: colection: is not a known key"):
        apply(url, directory)

    assert metabase.requests == []


def test_a_card_that_does_not_run_fails_the_apply_with_its_error(
    metabase: StandIn, url: str, definitions: Definitions
) -> None:
    name = definitions.cards()[0].name
    metabase.broken_sql[name] = 'relation "analytics.customer_overview" does not exist'

    with pytest.raises(CardsFailed, match=f"{name}.*does not exist") as failed:
        apply(url)

    assert failed.value.result.failed_cards.keys() == {name, f"Zawadi Stationers: {name}", f"Amani Media: {name}"}
    assert failed.value.result.changes


@pytest.mark.usefixtures("applied")
def test_readers_and_the_next_apply_can_tell_what_is_ours(metabase: StandIn, url: str) -> None:
    assert all(OWNERSHIP_NOTE in collection["description"] for collection in metabase.collections.values())
    assert all(OWNERSHIP_NOTE in dashboard["description"] for dashboard in metabase.dashboards.values())


def test_tabs_keep_their_ids_and_every_card_its_tab(
    metabase: StandIn, url: str, tmp_path: Path, logins: FakeLogins
) -> None:
    directory = Path(shutil.copytree(DASHBOARDS_DIRECTORY, tmp_path / "dashboards"))
    file = directory / "overview" / "dashboard.yaml"
    content = yaml.safe_load(file.read_text())
    content["tabs"] = ["Now", "Words"]
    for dashcard in content["dashcards"]:
        dashcard["tab"] = "Now" if "card" in dashcard else "Words"
    file.write_text(yaml.safe_dump(content))
    apply(url, directory, logins=logins)

    def tabs() -> list[tuple[int, str]]:
        return [(tab["id"], tab["name"]) for tab in overview_of(metabase, "Amani Media")["tabs"]]

    first = tabs()
    assert [name for _, name in first] == ["Now", "Words"]
    assert apply(url, directory, logins=logins).changes == []

    content["dashcards"][0]["row"] += 50
    file.write_text(yaml.safe_dump(content))
    changes = [str(change) for change in apply(url, directory, logins=logins).changes]
    assert "updated dashboard 'Amani Media: Churn overview' (dashcards)" in changes
    assert len(changes) == 3
    assert tabs() == first

    back = apply(url, logins=logins)
    assert {change.parts for change in back.changes} == {("tabs", "dashcards")}
    assert tabs() == []


@pytest.mark.usefixtures("applied")
def test_a_click_leads_to_the_same_readers_dashboard(metabase: StandIn, url: str) -> None:
    at_risk = [dashboard for dashboard in metabase.dashboards.values() if dashboard["name"] == "Customers at risk"]
    customers = {
        dashboard["collection_id"]: dashboard["id"]
        for dashboard in metabase.dashboards.values()
        if dashboard["name"] == "One customer"
    }
    assert len(at_risk) == 3
    for dashboard in at_risk:
        sent = json.dumps(dashboard["dashcards"])
        assert set(re.findall(r'"targetId": (\d+)', sent)) == {str(customers[dashboard["collection_id"]])}
    everybody = next(dashboard for dashboard in at_risk if len(dashboard["parameters"]) == 6)
    assert {parameter["id"] for parameter in everybody["parameters"]} >= {"company", "risk_level", "reason"}
