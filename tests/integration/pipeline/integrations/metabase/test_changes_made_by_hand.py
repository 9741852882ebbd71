"""What people do in Metabase by hand: ours is repaired, theirs is left alone and reported."""

from __future__ import annotations

import pytest

from pipeline.integrations.metabase.definitions import Definitions
from pipeline.integrations.metabase.errors import MetabaseNotOurs
from tests.integration.pipeline.integrations.metabase.applying import (
    ALL_USERS,
    PASSWORD,
    USERNAME,
    FakeLogins,
    apply,
    named,
    overview_of,
)
from tests.integration.pipeline.integrations.metabase.stand_in.server import StandIn


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
def test_a_card_put_into_the_trash_is_made_again_and_what_comes_out_of_it_again_is_taken_back(
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
