"""Applying the real dashboards to a strict stand-in for Metabase, over real HTTP."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from pipeline.integrations.metabase.api_key import make_api_key
from pipeline.integrations.metabase.apply import apply_dashboards
from pipeline.integrations.metabase.changes import ApplyResult, CardsFailed
from pipeline.integrations.metabase.definition_files import load_definitions
from pipeline.integrations.metabase.definitions import DASHBOARDS_DIRECTORY, Definitions
from pipeline.integrations.metabase.desired import OWNERSHIP_NOTE, WarehouseConnection
from pipeline.integrations.metabase.errors import (
    DefinitionError,
    MetabaseError,
    MetabaseNotOurs,
    MetabaseNotReady,
    MetabaseRefused,
    MetabaseUnreachable,
    WarehouseNotSeen,
)
from pipeline.integrations.metabase.memory import FILE as MEMORY
from pipeline.integrations.metabase.scopes import CompanyFacts, Scope, distinct_cards, scopes_of, tailored_dashboards
from tests.integration.pipeline.integrations.metabase.metabase_stand_in import Address, StandIn, served
from warehouse.settings import Settings

USERNAME = "admin@churn.test"
PASSWORD = "a-long-admin-password"
WAREHOUSE_PASSWORD = "a-long-warehouse-password"
ALL_USERS = "1"
ZAWADI = CompanyFacts(1, "zawadi", "Zawadi Stationers", "KES")
AMANI = CompanyFacts(2, "amani", "Amani Media", "EUR", ("success@amani.test", "boss@amani.test"))
COMPANIES = (ZAWADI, AMANI)
FACTS = {"host": "postgres", "port": 5432, "dbname": "churn"}


@dataclass
class FakeLogins:
    """Logins that nobody needs to make; remembers which are open."""

    password: str = WAREHOUSE_PASSWORD
    facts: dict[str, Any] = field(default_factory=lambda: dict(FACTS))
    opened: set[str] = field(default_factory=set)

    def connection(self, scope: Scope) -> WarehouseConnection:
        user = "churn_metabase" if scope.company is None else f"company_{scope.company.company_id}_metabase"
        return WarehouseConnection(**self.facts, user=user)

    def is_open(self, scope: Scope) -> bool:
        return scope.key in self.opened

    def close(self, scope: Scope) -> SecretStr:
        self.opened.discard(scope.key)
        return SecretStr(self.password)

    def open(self, scope: Scope) -> SecretStr:
        self.opened.add(scope.key)
        return SecretStr(self.password)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the apply remembers what it read."""
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return load_definitions()


@pytest.fixture(autouse=True)
def read_once(definitions: Definitions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of applies of the same files; a test's own are read each time."""

    def load(directory: Path) -> Definitions:
        return definitions if directory == DASHBOARDS_DIRECTORY else load_definitions(directory)

    monkeypatch.setattr("pipeline.integrations.metabase.apply.load_definitions", load)


@pytest.fixture
def metabase(definitions: Definitions) -> StandIn:
    return StandIn(warehouse_tables=tables_of(definitions), warehouse_password=WAREHOUSE_PASSWORD)


@pytest.fixture
def logins() -> FakeLogins:
    return FakeLogins()


def tables_of(definitions: Definitions) -> dict[tuple[str, str], list[str]]:
    tables: dict[tuple[str, str], list[str]] = {("raw", "customers"): ["email"]}
    for schema, table, column in sorted(definitions.columns_filtered()):
        tables.setdefault((schema, table), []).append(column)
    return tables


@pytest.fixture(scope="module")
def address(definitions: Definitions) -> Iterator[Address]:
    with served(StandIn(tables_of(definitions), WAREHOUSE_PASSWORD)) as address:
        yield address


@pytest.fixture
def url(address: Address, metabase: StandIn) -> str:
    address.metabase = metabase
    return address.url


@dataclass(frozen=True)
class FirstApply:
    """What it left behind."""

    metabase: StandIn
    logins: FakeLogins
    memory: bytes


@pytest.fixture(scope="module")
def first_apply(address: Address, definitions: Definitions, tmp_path_factory: pytest.TempPathFactory) -> FirstApply:
    home, logins = tmp_path_factory.mktemp("home"), FakeLogins()
    address.metabase = StandIn(tables_of(definitions), WAREHOUSE_PASSWORD)
    apply(address.url, logins=logins, home=home)
    return FirstApply(address.metabase, logins, (home / MEMORY).read_bytes())


@pytest.fixture
def applied(first_apply: FirstApply, url: str, metabase: StandIn, logins: FakeLogins, tmp_path: Path) -> None:
    """A Metabase, its logins and our memory of it as the first apply left them, for what comes after it."""
    metabase.become(first_apply.metabase)
    logins.opened |= first_apply.logins.opened
    (tmp_path / MEMORY).write_bytes(first_apply.memory)


def settings(url: str | None, **changes: Any) -> Settings:
    access = {"metabase_username": USERNAME, "metabase_password": SecretStr(PASSWORD)}
    return Settings(metabase_url=url, **(access | changes))


def do_not_wait(_: float) -> None:
    """In place of time.sleep."""


def apply(
    url: str,
    directory: Path = DASHBOARDS_DIRECTORY,
    *,
    companies: Sequence[CompanyFacts] = COMPANIES,
    logins: FakeLogins | None = None,
    run_cards: bool = True,
    plan: bool = False,
    **changes: Any,
) -> ApplyResult:
    return apply_dashboards(
        settings(url, **changes),
        companies,
        logins or FakeLogins(),
        directory=directory,
        run_cards=run_cards,
        plan=plan,
        sleep=do_not_wait,
    )


def cards_of(definitions: Definitions, companies: Sequence[CompanyFacts] = COMPANIES) -> int:
    return sum(len(distinct_cards(tailored_dashboards(definitions, scope))) for scope in scopes_of(companies))


def named(store: dict[int, Any], name: str, *, among: int | None = None) -> Any:
    (item,) = [item for item in store.values() if item["name"] == name and among in (None, item.get("collection_id"))]
    return item


def overview_of(metabase: StandIn, company: str) -> Any:
    return named(metabase.dashboards, "Churn overview", among=named(metabase.collections, company)["id"])


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


def test_nobody_may_see_anything_before_it_is_locked(metabase: StandIn, url: str) -> None:
    metabase.add_user(USERNAME, PASSWORD)
    marketing = str(metabase.add_group({"name": "Marketing"})["id"])
    metabase.collection_graph[marketing]["root"] = "write"

    apply(url)

    for group in (ALL_USERS, marketing):
        assert {metabase.collection_graph[group][str(one)] for one in metabase.collections} == {"none"}
        assert {metabase.data_graph[group][str(one)]["create-queries"] for one in metabase.databases} == {"no"}
    writes = metabase.writes_to_content()
    graph = [place for place, write in enumerate(writes) if write == ("PUT", "/api/collection/graph")]
    made = [place for place, write in enumerate(writes) if write == ("POST", "/api/collection")]
    assert made[0] < graph[0] < made[1], "what is made inside a locked collection is born locked"
    assert max(graph) < writes.index(("POST", "/api/database"))
    assert writes.index(("PUT", "/api/permissions/graph")) < writes.index(("POST", "/api/card"))


@pytest.mark.usefixtures("applied")
def test_a_company_reads_its_own_collections_and_asks_its_own_connection_only(metabase: StandIn, url: str) -> None:
    def group(name: str) -> str:
        return str(named(metabase.groups_by_id, name)["id"])

    def levels(name: str) -> dict[str, str]:
        found = metabase.collection_graph[group(name)]
        return {
            metabase.collections[int(number)]["name"]: level
            for number, level in found.items()
            if level != "none" and number != "root"
        }

    def may_ask(name: str) -> dict[str, str]:
        return {
            metabase.databases[int(number)]["name"]: level["create-queries"]
            for number, level in metabase.data_graph[group(name)].items()
            if level["create-queries"] != "no"
        }

    assert levels("Churn viewers: Amani Media") == {
        "Amani Media": "read",
        "Questions": "read",
        "Saved by Amani Media": "read",
    }
    assert levels("Churn managers: Amani Media")["Saved by Amani Media"] == "write"
    assert may_ask("Churn viewers: Amani Media") == {}
    assert may_ask("Churn managers: Amani Media") == {"Churn Warehouse (Amani Media)": "query-builder"}
    assert set(may_ask("Churn admins").values()) == {"query-builder-and-native"}
    assert len(may_ask("Churn admins")) == 3
    readers = {
        card["dataset_query"]["database"]
        for card in metabase.cards.values()
        if metabase.collections[card["collection_id"]]["description"].count("Amani Media")
    }
    assert readers == {named(metabase.databases, "Churn Warehouse (Amani Media)")["id"]}


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
        return [str(one) for one in result.changes if one.action == "created" and one.kind in kinds]

    assert made(planned) == made(done)


def test_a_new_company_touches_nothing_of_the_others(metabase: StandIn, url: str, logins: FakeLogins) -> None:
    apply(url, companies=[ZAWADI], logins=logins)
    before, writes = metabase.content(), len(metabase.writes_to_content())

    result = apply(url, companies=COMPANIES, logins=logins)

    assert result.changes
    assert all("Amani Media" in str(change) or change.name == "Questions" for change in result.changes)
    after = metabase.content()
    for store in ("cards", "dashboards", "databases", "collections", "groups"):
        assert {key: after[store][key] for key in before[store]} == before[store], store
    touched = [
        path for method, path in metabase.writes_to_content()[writes:] if method == "PUT" and "graph" not in path
    ]
    own = {f"/api/dashboard/{number}" for number in after["dashboards"].keys() - before["dashboards"].keys()}
    assert set(touched) == own
    old = before["collections"].keys()
    for group, levels in before["collection_graph"].items():
        assert {key: after["collection_graph"][group][key] for key in levels} == levels, old


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


def test_two_companies_of_one_name_have_connections_and_groups_of_their_own(metabase: StandIn, url: str) -> None:
    apply(url, companies=[ZAWADI, CompanyFacts(9, "zawadi_two", "Zawadi Stationers", "EUR")])

    assert {database["name"] for database in metabase.databases.values()} >= {
        "Churn Warehouse (Zawadi Stationers) [zawadi]",
        "Churn Warehouse (Zawadi Stationers) [zawadi_two]",
    }
    assert len({group["name"] for group in metabase.groups_by_id.values()}) == 2 + 1 + 4


def test_a_company_of_the_same_name_is_not_held_up_by_the_other(
    metabase: StandIn, url: str, logins: FakeLogins
) -> None:
    metabase.refused_users = {"company_1_metabase"}
    namesake = CompanyFacts(9, "zawadi_two", "Zawadi Stationers", "EUR")

    with pytest.raises(CardsFailed) as failed:
        apply(url, companies=[ZAWADI, namesake], logins=logins)

    assert failed.value.result.failed_companies.keys() == {"Zawadi Stationers [zawadi]"}
    assert named(metabase.databases, "Churn Warehouse (Zawadi Stationers) [zawadi_two]")
    assert sum(one["name"] == "Churn overview" for one in metabase.dashboards.values()) == 2


def test_a_company_whose_connection_fails_does_not_hold_up_the_others(
    metabase: StandIn, url: str, logins: FakeLogins
) -> None:
    metabase.refused_users = {"company_1_metabase"}

    with pytest.raises(CardsFailed, match=r"Zawadi Stationers: .*authentication failed"):
        apply(url, logins=logins)

    assert overview_of(metabase, "Amani Media")["dashcards"]
    metabase.refused_users = set()
    apply(url, logins=logins)
    assert overview_of(metabase, "Zawadi Stationers")["dashcards"]
    assert apply(url, logins=logins).changes == []


def test_people_get_an_account_and_their_group_and_nobody_is_taken_out(
    metabase: StandIn, url: str, tmp_path: Path, logins: FakeLogins
) -> None:
    directory = Path(shutil.copytree(DASHBOARDS_DIRECTORY, tmp_path / "dashboards"))
    person = {
        "email": "Bob@amani.test",
        "first_name": "Bob",
        "last_name": "Brown",
        "role": "viewer",
        "company": "amani",
    }
    (directory / "people.yaml").write_text(
        yaml.safe_dump({"people": [person, person | {"email": "x@y.z", "company": "gone"}]})
    )

    result = apply(url, directory, logins=logins)

    assert [str(change) for change in result.changes if change.action == "added"] == [
        "added person 'Bob@amani.test' (Churn viewers: Amani Media)"
    ]
    assert any("x@y.z: no active company gone" in note for note in result.notes)
    (account,) = metabase.accounts.values()
    assert account["email"] == "Bob@amani.test"
    assert apply(url, directory, logins=logins).changes == []
    assert apply(url, logins=logins).changes == []
    assert len(metabase.memberships) == 1


def test_an_apply_killed_after_any_write_is_finished_by_the_next(
    definitions: Definitions, address: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those dashboards that have every kind of thing: mails, an alert, clicks that lead from one to another."""
    some = [one for one in definitions.dashboards if one.key in {"overview", "at_risk", "customer", "operations"}]
    few = definitions.model_copy(update={"dashboards": some})
    monkeypatch.setattr("pipeline.integrations.metabase.apply.load_definitions", lambda _: few)
    tables = tables_of(definitions)

    def shape(state: StandIn) -> Any:
        named_things = [
            sorted(item["name"] for item in store.values())
            for store in (state.collections, state.databases, state.cards, state.dashboards, state.groups_by_id)
        ]
        locked = [sorted(level for level in levels.values()) for levels in state.collection_graph.values()]
        return [*named_things, sorted(locked), sorted(len(one["dashcards"]) for one in state.dashboards.values())]

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


@pytest.mark.usefixtures("applied")
def test_drift_made_by_hand_is_planned_repaired_and_reported(metabase: StandIn, url: str, logins: FakeLogins) -> None:
    wanted = metabase.content()
    dashboard, collection = overview_of(metabase, "Amani Media"), named(metabase.collections, "Amani Media")
    card = next(iter(metabase.cards.values()))
    card["name"] = "Renamed by hand"
    card["dataset_query"]["stages"][0]["native"] = "select 1"
    collection["description"] += " And more."
    named(metabase.databases, "Churn Warehouse (Amani Media)")["details"]["schema-filters-type"] = "all"
    dashboard["dashcards"][0]["row"] += 1
    dashboard["dashcards"].append(
        dashboard["dashcards"][-1] | {"id": 99_999, "visualization_settings": {"virtual_card": {}}}
    )
    dashboard["parameters"][0]["name"] = "Renamed by hand"
    metabase.collection_graph[ALL_USERS][str(collection["id"])] = "read"
    drifted = metabase.content()

    planned = apply(url, logins=logins, plan=True)
    assert metabase.content() == drifted
    result = apply(url, logins=logins)

    assert {(change.action, change.kind, change.parts) for change in result.changes} == {
        ("updated", "collection", ("description",)),
        ("locked", "collection", ("All Users: none",)),
        ("updated", "database", ("schema-filters-type",)),
        ("updated", "card", ("name", "query")),
        ("updated", "dashboard", ("parameters", "dashcards")),
    }
    assert set(map(str, planned.changes)) == set(map(str, result.changes))
    assert metabase.content() == wanted
    assert apply(url, logins=logins).changes == []


@pytest.mark.usefixtures("applied")
def test_a_card_put_into_the_trash_is_made_anew_and_what_comes_out_of_it_again_is_taken_back(
    metabase: StandIn, url: str, logins: FakeLogins
) -> None:
    card = next(card for card in metabase.cards.values() if card["name"] == "Who is this?")
    card["archived"] = True

    result = apply(url, logins=logins)

    assert {(change.action, change.kind) for change in result.changes} == {
        ("created", "card"),
        ("updated", "dashboard"),
    }
    assert apply(url, logins=logins).changes == []
    card["archived"] = False
    assert {(change.action, change.kind) for change in apply(url, logins=logins).changes} == {("updated", "dashboard")}
    notes = apply(url, logins=logins).notes
    assert sum("Made by hand" in note and "'Who is this?'" in note for note in notes) == 1


@pytest.mark.usefixtures("applied")
def test_a_dashcard_deleted_by_hand_comes_back_and_the_others_keep_their_ids(
    metabase: StandIn, url: str, logins: FakeLogins
) -> None:
    dashboard = overview_of(metabase, "Amani Media")
    deleted = dashboard["dashcards"].pop(0)
    kept = {dashcard["id"] for dashcard in dashboard["dashcards"]}

    apply(url, logins=logins)

    ids = {dashcard["id"] for dashcard in overview_of(metabase, "Amani Media")["dashcards"]}
    assert kept < ids
    assert deleted["id"] not in ids


@pytest.mark.usefixtures("applied")
def test_a_company_with_addresses_gets_its_overview_by_mail_and_admins_what_needs_somebody(
    metabase: StandIn, url: str
) -> None:
    overview = overview_of(metabase, "Amani Media")
    (subscription,) = metabase.pulses.values()
    assert subscription["dashboard_id"] == overview["id"]
    places = {(card["id"], card["dashboard_card_id"]) for card in subscription["cards"]}
    assert places == {(one["card_id"], one["id"]) for one in overview["dashcards"] if one["card_id"] is not None}
    (channel,) = subscription["channels"]
    assert [channel[f"schedule_{part}"] for part in ("type", "day", "hour")] == ["weekly", "mon", 7]
    assert [one["email"] for one in channel["recipients"]] == ["boss@amani.test", "success@amani.test"]
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
def test_a_subscription_that_nobody_shall_get_any_more_is_archived_and_comes_back(
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
    for one in (*metabase.pulses.values(), *metabase.alerts.values()):
        one["creator_id"] = 77
    assert apply(url, logins=logins).changes == []

    for one in (*metabase.pulses.values(), *metabase.alerts.values()):
        one["creator_id"] = 1
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


@pytest.mark.usefixtures("applied")
def test_what_others_made_is_reported_and_not_touched(
    metabase: StandIn, url: str, definitions: Definitions, logins: FakeLogins
) -> None:
    collection_id, database_id = named(metabase.collections, "Amani Media")["id"], next(iter(metabase.databases))
    query = {"database": database_id, "stages": [{"lib/type": "mbql.stage/native", "native": "select 1"}]}
    by_hand = {"display": "table", "visualization_settings": {}, "dataset_query": query}
    metabase.add_card(by_hand | {"name": "Mine", "collection_id": collection_id})
    same_name = definitions.cards()[0].name
    metabase.add_card(by_hand | {"name": same_name, "collection_id": None})
    metabase.add_dashboard({"name": "Churn overview", "description": "By hand", "collection_id": collection_id})
    metabase.add_collection({"name": "Amani Media", "parent_id": None})
    before = metabase.content()

    result = apply(url, logins=logins)

    assert result.changes == []
    assert result.notes == [
        "Made by hand, and left alone: Amani Media: card 'Mine'.",
        "Made by hand, and left alone: Amani Media: dashboard 'Churn overview'.",
    ]
    assert metabase.content() == before


@pytest.mark.usefixtures("applied")
def test_a_copy_made_to_play_with_is_left_alone_though_it_bears_our_reference(
    metabase: StandIn, url: str, logins: FakeLogins
) -> None:
    ours = overview_of(metabase, "Amani Media")
    copied = {key: ours[key] for key in ("description", "collection_id", "parameters")}
    copy = metabase.add_dashboard(copied | {"name": "Churn overview - Duplicate"})
    before = metabase.content()

    result = apply(url, logins=logins)

    assert result.changes == []
    assert "Made by hand, and left alone: Amani Media: dashboard 'Churn overview - Duplicate'." in result.notes
    assert metabase.content() == before
    assert copy["id"] > ours["id"]


@pytest.mark.usefixtures("applied")
def test_a_collection_moved_by_hand_is_put_back(metabase: StandIn, url: str, logins: FakeLogins) -> None:
    before = metabase.content()
    elsewhere = metabase.add_collection({"name": "Elsewhere", "parent_id": None})
    moved = named(metabase.collections, "Amani Media")
    metabase.change_collection(moved["id"], {"parent_id": elsewhere["id"]})

    result = apply(url, logins=logins)

    assert [str(change) for change in result.changes] == ["updated collection 'Amani Media' (place)"]
    after = metabase.content()["collections"]
    assert {key: after[key] for key in before["collections"]} == before["collections"]


@pytest.mark.usefixtures("applied")
def test_what_a_company_leaves_behind_is_reported_and_kept(metabase: StandIn, url: str, logins: FakeLogins) -> None:
    before = metabase.content()

    result = apply(url, companies=[ZAWADI], logins=logins)

    assert result.changes == []
    assert any(
        "'Amani Media' (churn/company/2) is of a company that is no longer active" in note for note in result.notes
    )
    assert metabase.content() == before


def test_a_collection_of_the_same_name_made_by_others_stops_the_apply(
    metabase: StandIn, url: str, definitions: Definitions
) -> None:
    metabase.add_user(USERNAME, PASSWORD)
    name = definitions.warehouse.collection.name
    metabase.add_collection({"name": name, "description": "Marketing's own", "parent_id": None})
    before = metabase.content()

    with pytest.raises(MetabaseNotOurs, match="was not made from these files"):
        apply(url)

    assert metabase.content() == before


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


def test_an_api_key_is_enough_for_a_metabase_that_is_set_up(metabase: StandIn, url: str) -> None:
    key = metabase.add_api_key()
    access = {"metabase_username": None, "metabase_password": None}

    logins = FakeLogins()
    assert apply(url, logins=logins, metabase_api_key=SecretStr(key), **access).changes
    assert apply(url, logins=logins, metabase_api_key=SecretStr(key), **access).changes == []


def test_a_key_of_our_own_takes_the_place_of_the_password_and_a_new_one_ends_it(metabase: StandIn, url: str) -> None:
    first = make_api_key(settings(url))
    assert metabase.has_user  # a fresh Metabase is set up first
    access = {"metabase_username": None, "metabase_password": None}
    logins = FakeLogins()
    assert apply(url, logins=logins, metabase_api_key=SecretStr(first), **access).changes

    second = make_api_key(settings(url, metabase_api_key=SecretStr("lost")))

    assert [known["name"] for known in metabase.api_keys.values()] == ["Churn Warehouse"]
    assert apply(url, logins=logins, metabase_api_key=SecretStr(second), **access).changes == []
    with pytest.raises(MetabaseRefused, match="CHURN_METABASE_API_KEY"):
        apply(url, logins=logins, metabase_api_key=SecretStr(first), **access)
    with pytest.raises(MetabaseNotReady, match="CHURN_METABASE_URL is not set"):
        make_api_key(settings(None))


def test_a_fresh_metabase_without_an_account_says_what_to_set(url: str) -> None:
    with pytest.raises(MetabaseNotReady, match="Set CHURN_METABASE_USERNAME"):
        apply(url, metabase_username=None, metabase_password=None)


def test_an_old_metabase_is_refused_and_a_very_new_one_is_noted(metabase: StandIn, url: str) -> None:
    metabase.version = "v0.57.4"
    with pytest.raises(MetabaseNotReady, match=r"v0\.57\.4 is older than 0\.58"):
        apply(url)
    metabase.version = "v1.99.0"
    assert any("v1.99.0 is newer" in note for note in apply(url).notes)


def test_errors_carry_the_body_and_never_a_secret(metabase: StandIn, url: str) -> None:
    metabase.add_user(USERNAME, "another-long-password")
    with pytest.raises(MetabaseRefused) as refused:
        apply(url)
    assert refused.value.status == 401
    assert "did not match stored password ***" in str(refused.value)
    assert "CHURN_METABASE_PASSWORD" in str(refused.value)
    assert PASSWORD not in str(refused.value)

    metabase.users[USERNAME] = PASSWORD
    metabase.warehouse_password = "changed"
    with pytest.raises(MetabaseRefused, match="password authentication failed") as refused:
        apply(url)
    assert WAREHOUSE_PASSWORD not in str(refused.value)


@pytest.mark.usefixtures("applied")
def test_a_changed_warehouse_password_is_given_to_metabase(metabase: StandIn, url: str, logins: FakeLogins) -> None:
    metabase.warehouse_password = logins.password = "a-new-warehouse-password"

    result = apply(url, logins=logins)

    assert [(change.kind, change.parts) for change in result.changes] == [("database", ("password",))] * 3
    assert apply(url, logins=logins).changes == []


@pytest.mark.usefixtures("applied")
def test_a_moved_warehouse_is_followed(metabase: StandIn, url: str, logins: FakeLogins) -> None:
    logins.facts = FACTS | {"host": "elsewhere", "port": 6543}

    result = apply(url, logins=logins)

    assert [(change.kind, change.parts) for change in result.changes] == [("database", ("host", "port"))] * 3


def test_a_passing_fault_is_waited_out_and_a_lasting_one_is_told(metabase: StandIn, url: str) -> None:
    waits: list[float] = []
    metabase.answers_ahead = [(503, "starting", {}), (429, "slow down", {"Retry-After": "7"})]
    assert apply_dashboards(settings(url), COMPANIES, FakeLogins(), sleep=waits.append).changes
    assert waits[:2] == [0.5, 7.0]

    metabase.answers_ahead = [(503, "Metabase is still starting", {})] * 4
    with pytest.raises(MetabaseRefused, match="status 503: Metabase is still starting"):
        apply(url)


def test_a_post_is_never_repeated(metabase: StandIn, url: str) -> None:
    metabase.drop_after_write = 1
    with pytest.raises(MetabaseUnreachable, match="POST /api/setup"):
        apply(url)
    assert metabase.requests.count(("POST", "/api/setup")) == 1


def test_an_address_where_nothing_or_something_else_answers_is_told(metabase: StandIn, url: str) -> None:
    metabase.answers_ahead = [(200, "<html>welcome</html>", {})]
    with pytest.raises(MetabaseRefused, match="no Metabase answers there"):
        apply(url)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(MetabaseUnreachable, match="Check CHURN_METABASE_URL"):
            apply(f"http://127.0.0.1:{unused.getsockname()[1]}")


def test_a_permission_graph_that_others_change_meanwhile_is_read_again(metabase: StandIn, url: str) -> None:
    metabase.graph_writers_ahead = 2
    assert apply(url).changes

    metabase.collection_graph[ALL_USERS] = dict.fromkeys(metabase.collection_graph[ALL_USERS], "write")
    metabase.graph_writers_ahead = 3
    with pytest.raises(MetabaseRefused, match="409"):
        apply(url)


def test_a_card_that_does_not_run_fails_the_apply_with_its_error(
    metabase: StandIn, url: str, definitions: Definitions
) -> None:
    name = definitions.cards()[0].name
    metabase.broken_sql[name] = 'relation "analytics.customer_overview" does not exist'

    with pytest.raises(CardsFailed, match=f"{name}.*does not exist") as failed:
        apply(url)

    assert failed.value.result.failed_cards.keys() == {name, f"Zawadi Stationers: {name}", f"Amani Media: {name}"}
    assert failed.value.result.changes


def test_a_sync_that_metabase_drops_without_a_word_is_asked_for_again(metabase: StandIn, url: str) -> None:
    metabase.syncs_swallowed = 2
    assert apply(url).changes
    asked = [path for method, path in metabase.requests if method == "POST" and path.endswith("/sync_schema")]
    assert len(asked) == len(metabase.databases) + 2


def test_columns_that_metabase_does_not_see_are_named(metabase: StandIn, url: str) -> None:
    missing = next(iter(metabase.warehouse_tables))
    column = metabase.warehouse_tables[("analytics", "customer_overview")].pop()
    assert missing

    with pytest.raises(WarehouseNotSeen, match=rf"analytics\.customer_overview\.{column}"):
        apply(url)


@pytest.mark.usefixtures("applied")
def test_readers_and_the_next_apply_can_tell_what_is_ours(metabase: StandIn, url: str) -> None:
    assert all(OWNERSHIP_NOTE in one["description"] for one in metabase.collections.values())
    assert all(OWNERSHIP_NOTE in one["description"] for one in metabase.dashboards.values())


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
    at_risk = [one for one in metabase.dashboards.values() if one["name"] == "Customers at risk"]
    customers = {
        one["collection_id"]: one["id"] for one in metabase.dashboards.values() if one["name"] == "One customer"
    }
    assert len(at_risk) == 3
    for dashboard in at_risk:
        sent = json.dumps(dashboard["dashcards"])
        assert set(re.findall(r'"targetId": (\d+)', sent)) == {str(customers[dashboard["collection_id"]])}
    everybody = next(one for one in at_risk if len(one["parameters"]) == 6)
    assert {parameter["id"] for parameter in everybody["parameters"]} >= {"company", "risk_level", "reason"}


@pytest.mark.usefixtures("applied")
def test_the_stand_in_refuses_what_metabase_refuses(metabase: StandIn, url: str) -> None:
    assert issubclass(MetabaseRefused, MetabaseError)
    dashboard_id = next(iter(metabase.dashboards))
    headers = {"X-Metabase-Session": next(iter(metabase.sessions))}

    def status(method: str, path: str, body: dict[str, Any]) -> int:
        return metabase.answer(method, path, headers, body)[0]

    card = {"name": "X", "display": "table", "dataset_query": {}}
    assert status("POST", "/api/card", card) == 400
    assert status("POST", "/api/card", card | {"visualization_settings": {}}) == 500
    assert status("POST", f"/api/dashboard/{dashboard_id}/cards", {}) == 404
    assert status("PUT", f"/api/dashboard/{dashboard_id}/cards", {}) == 404
    dashcard = {"id": -1, "card_id": next(iter(metabase.cards)), "row": 0, "col": 0, "size_x": 4, "size_y": 4}
    mapping = {"parameter_id": "plan", "target": ["dimension", ["template-tag", "plan"]]}
    path = f"/api/dashboard/{dashboard_id}"
    assert status("PUT", path, {"dashcards": [dashcard | {"parameter_mappings": [mapping]}]}) == 400
    assert status("PUT", path, {"dashcards": [dashcard], "tabs": [{"id": -1, "name": "Now"}]}) == 400
    graph = {"revision": 0, "groups": {}}
    assert status("PUT", "/api/collection/graph", graph) == 409
    assert metabase.answer("GET", "/api/card/1", {}, {})[0] == 401
    alert = next(iter(metabase.alerts.values()))
    bare = {key: alert[key] for key in ("payload_type", "payload", "subscriptions", "handlers")}
    five_fields = [{"type": "notification-subscription/cron", "cron_schedule": "0 8 * * *"}]
    assert status("POST", "/api/notification", bare | {"subscriptions": five_fields}) == 400
    assert status("PUT", f"/api/notification/{alert['id']}", bare) == 400
    pulse = next(iter(metabase.pulses.values()))
    wrong_place = [pulse["cards"][0] | {"dashboard_card_id": pulse["cards"][0]["id"]}]
    body = {key: pulse[key] for key in ("name", "dashboard_id", "cards", "channels")}
    assert status("POST", "/api/pulse", body | {"cards": wrong_place}) == 400
    assert status("POST", "/api/pulse", body | {"parameters": [{"id": "plan", "value": ["Team"]}]}) == 402
    outsider = {"x-api-key": metabase.make_api_key({"group_id": 1, "name": "outsider"})["unmasked_key"]}
    assert metabase.answer("POST", f"/api/card/{next(iter(metabase.cards))}/query", outsider, {})[0] == 403
