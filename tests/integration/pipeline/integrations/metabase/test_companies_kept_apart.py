"""Each company reads its own and nothing else, and does not stand in another's way."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from pipeline.integrations.metabase.changes import CardsFailed
from pipeline.integrations.metabase.definitions import DASHBOARDS_DIRECTORY
from pipeline.integrations.metabase.scopes import CompanyFacts
from tests.integration.pipeline.integrations.metabase.applying import (
    ALL_USERS,
    COMPANIES,
    PASSWORD,
    USERNAME,
    ZAWADI,
    FakeLogins,
    apply,
    named,
    overview_of,
)
from tests.integration.pipeline.integrations.metabase.stand_in.server import StandIn


def test_nobody_may_see_anything_before_it_is_locked(metabase: StandIn, url: str) -> None:
    metabase.add_user(USERNAME, PASSWORD)
    marketing = str(metabase.add_group({"name": "Marketing"})["id"])
    metabase.collection_graph[marketing]["root"] = "write"

    apply(url)

    for group in (ALL_USERS, marketing):
        assert {metabase.collection_graph[group][str(collection)] for collection in metabase.collections} == {"none"}
        assert {metabase.data_graph[group][str(database)]["create-queries"] for database in metabase.databases} == {
            "no"
        }
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
        graph = metabase.collection_graph[group(name)]
        return {
            metabase.collections[int(number)]["name"]: level
            for number, level in graph.items()
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
    assert sum(dashboard["name"] == "Churn overview" for dashboard in metabase.dashboards.values()) == 2


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


@pytest.mark.usefixtures("applied")
def test_what_a_company_leaves_behind_is_reported_and_kept(metabase: StandIn, url: str, logins: FakeLogins) -> None:
    before = metabase.content()

    result = apply(url, companies=[ZAWADI], logins=logins)

    assert result.changes == []
    assert any(
        "'Amani Media' (churn/company/2) is of a company that is no longer active" in note for note in result.notes
    )
    assert metabase.content() == before
