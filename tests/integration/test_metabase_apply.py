"""Applying the real dashboards to a strict stand-in for Metabase, over real HTTP."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from metabase_stand_in import StandIn, served
from pydantic import SecretStr

from orchestration.integrations.metabase.apply import ApplyResult, CardsFailed, apply_dashboards
from orchestration.integrations.metabase.definitions import (
    DASHBOARDS_DIRECTORY,
    Definitions,
    load_definitions,
)
from orchestration.integrations.metabase.desired import OWNERSHIP_NOTE, WarehouseConnection
from orchestration.integrations.metabase.errors import (
    DefinitionError,
    MetabaseError,
    MetabaseNotOurs,
    MetabaseNotReady,
    MetabaseRefused,
    MetabaseUnreachable,
    WarehouseNotSeen,
)
from warehouse.settings import Settings

USERNAME = "admin@churn.test"
PASSWORD = "a-long-admin-password"
WAREHOUSE_PASSWORD = "a-long-warehouse-password"
ALL_USERS = "1"


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return load_definitions()


@pytest.fixture
def metabase(definitions: Definitions) -> StandIn:
    tables: dict[tuple[str, str], list[str]] = {("raw", "customers"): ["email"]}
    for schema, table, column in sorted(definitions.columns_filtered()):
        tables.setdefault((schema, table), []).append(column)
    return StandIn(warehouse_tables=tables, warehouse_password=WAREHOUSE_PASSWORD)


@pytest.fixture
def url(metabase: StandIn) -> Iterator[str]:
    with served(metabase) as address:
        yield address


def connection(**changes: Any) -> WarehouseConnection:
    facts = {
        "host": "postgres",
        "port": 5432,
        "dbname": "churn",
        "user": "churn_metabase",
        "password": SecretStr(WAREHOUSE_PASSWORD),
    }
    return WarehouseConnection(**(facts | changes))


def settings(url: str | None, **changes: Any) -> Settings:
    access = {"metabase_username": USERNAME, "metabase_password": SecretStr(PASSWORD)}
    return Settings(metabase_url=url, **(access | changes))


def do_not_wait(_: float) -> None:
    """In place of time.sleep."""


def apply(url: str, directory: Path = DASHBOARDS_DIRECTORY, *, run_cards: bool = True, **changes: Any) -> ApplyResult:
    return apply_dashboards(
        settings(url, **changes),
        connection(),
        directory=directory,
        run_cards=run_cards,
        sleep=do_not_wait,
    )


def only(store: dict[int, Any]) -> Any:
    (item,) = store.values()
    return item


def test_a_fresh_metabase_is_set_up_and_holds_everything_after_one_apply(
    metabase: StandIn, url: str, definitions: Definitions
) -> None:
    result = apply(url)

    made = [(change.action, change.kind) for change in result.changes]
    assert made == [
        ("created", "collection"),
        ("locked", "collection"),
        ("created", "database"),
        ("locked", "database"),
        *[("created", "card")] * len(definitions.cards()),
        ("created", "dashboard"),
    ]
    assert metabase.users == {USERNAME: PASSWORD}
    dashboard = only(metabase.dashboards)
    assert len(dashboard["dashcards"]) == len(definitions.dashboards[0].dashcards)
    assert result.dashboard_urls == {dashboard["name"]: f"{url}/dashboard/{dashboard['id']}"}
    assert result.metabase_version == "v0.58.34"
    assert result.skipped is None


def test_all_users_are_locked_out_before_there_is_anything_to_see(metabase: StandIn, url: str) -> None:
    apply(url)

    collection, database = only(metabase.collections), only(metabase.databases)
    assert metabase.collection_graph[ALL_USERS][str(collection["id"])] == "none"
    assert metabase.data_graph[ALL_USERS][str(database["id"])]["create-queries"] == "no"
    writes = metabase.writes_to_content()
    first_card = writes.index(("POST", "/api/card"))
    assert writes.index(("PUT", "/api/collection/graph")) < writes.index(("POST", "/api/database"))
    assert writes.index(("PUT", "/api/permissions/graph")) < first_card


@pytest.mark.parametrize("legacy_queries", [False, True])
def test_a_second_apply_changes_nothing(metabase: StandIn, url: str, legacy_queries: bool) -> None:
    metabase.legacy_queries = legacy_queries
    apply(url)
    before, writes = metabase.content(), len(metabase.writes_to_content())

    again = apply(url)

    assert again.changes == []
    assert metabase.content() == before
    assert len(metabase.writes_to_content()) == writes


def test_an_apply_killed_after_any_write_is_finished_by_the_next(definitions: Definitions) -> None:
    tables: dict[tuple[str, str], list[str]] = {}
    for schema, table, column in sorted(definitions.columns_filtered()):
        tables.setdefault((schema, table), []).append(column)

    def shape(state: StandIn) -> Any:
        return [
            sorted(item["name"] for item in store.values())
            for store in (state.collections, state.databases, state.cards, state.dashboards)
        ] + [len(dashboard["dashcards"]) for dashboard in state.dashboards.values()]

    whole = StandIn(tables, WAREHOUSE_PASSWORD, polls_until_synced=0)
    with served(whole) as address:
        apply(address, run_cards=False)
    assert whole.writes > len(definitions.cards())
    for killed_after in range(1, whole.writes + 1):
        state = StandIn(tables, WAREHOUSE_PASSWORD, polls_until_synced=0, drop_after_write=killed_after)
        with served(state) as address:
            with contextlib.suppress(MetabaseUnreachable):
                apply(address, run_cards=False)
            apply(address, run_cards=False)
            assert shape(state) == shape(whole), f"killed after write {killed_after}"
            assert apply(address, run_cards=False).changes == []


def test_drift_made_by_hand_is_repaired_and_reported(metabase: StandIn, url: str) -> None:
    apply(url)
    wanted = metabase.content()
    dashboard, collection = only(metabase.dashboards), only(metabase.collections)
    card = next(iter(metabase.cards.values()))
    card["name"], card["archived"] = "Renamed by hand", True
    card["dataset_query"]["stages"][0]["native"] = "select 1"
    collection["description"] += " And more."
    only(metabase.databases)["details"]["schema-filters-type"] = "all"
    dashboard["dashcards"][0]["row"] += 1
    dashboard["dashcards"].append(
        dashboard["dashcards"][-1] | {"id": 99_999, "visualization_settings": {"virtual_card": {}}}
    )
    dashboard["parameters"][0]["name"] = "Renamed by hand"
    metabase.collection_graph[ALL_USERS][str(collection["id"])] = "read"

    result = apply(url)

    assert {(change.action, change.kind, change.parts) for change in result.changes} == {
        ("updated", "collection", ("description",)),
        ("locked", "collection", ("All Users: none",)),
        ("updated", "database", ("schema-filters-type",)),
        ("updated", "card", ("name", "query", "archived")),
        ("updated", "dashboard", ("parameters", "dashcards")),
    }
    assert metabase.content() == wanted
    assert apply(url).changes == []


def test_a_dashcard_deleted_by_hand_comes_back_and_the_others_keep_their_ids(metabase: StandIn, url: str) -> None:
    apply(url)
    dashboard = only(metabase.dashboards)
    deleted = dashboard["dashcards"].pop(0)
    kept = {dashcard["id"] for dashcard in dashboard["dashcards"]}

    apply(url)

    ids = {dashcard["id"] for dashcard in only(metabase.dashboards)["dashcards"]}
    assert kept < ids
    assert deleted["id"] not in ids


def test_what_others_made_is_not_touched(metabase: StandIn, url: str, definitions: Definitions) -> None:
    apply(url)
    collection_id, database_id = next(iter(metabase.collections)), next(iter(metabase.databases))
    query = {"database": database_id, "stages": [{"lib/type": "mbql.stage/native", "native": "select 1"}]}
    by_hand = {"display": "table", "visualization_settings": {}, "dataset_query": query}
    metabase.add_card(by_hand | {"name": "Mine", "collection_id": collection_id})
    same_name = definitions.cards()[0].name
    metabase.add_card(by_hand | {"name": same_name, "collection_id": None})
    metabase.add_dashboard({"name": "Mine", "collection_id": collection_id})
    metabase.add_dashboard({"name": definitions.dashboards[0].name, "collection_id": None})
    metabase.add_collection({"name": "Mine", "parent_id": None})
    before = metabase.content()

    assert apply(url).changes == []
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
    def no_login() -> WarehouseConnection:
        raise AssertionError("not needed")

    result = apply_dashboards(settings(None), no_login)

    assert result.skipped is not None
    assert "CHURN_METABASE_URL is not set" in result.skipped
    assert result.changes == []


def test_a_wrong_file_is_told_before_any_request(metabase: StandIn, url: str, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(DASHBOARDS_DIRECTORY, tmp_path / "dashboards"))
    (directory / "warehouse.yaml").write_text("colection: {}")

    with pytest.raises(DefinitionError, match=r"warehouse\.yaml: colection: is not a known key"):
        apply(url, directory)

    assert metabase.requests == []


def test_an_api_key_is_enough_for_a_metabase_that_is_set_up(metabase: StandIn, url: str) -> None:
    key = metabase.add_api_key()
    access = {"metabase_username": None, "metabase_password": None}

    assert apply(url, metabase_api_key=SecretStr(key), **access).changes
    assert apply(url, metabase_api_key=SecretStr(key), **access).changes == []


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


def test_a_changed_warehouse_password_is_given_to_metabase(metabase: StandIn, url: str) -> None:
    apply(url)
    metabase.warehouse_password = "a-new-warehouse-password"
    fresh = connection(password=SecretStr("a-new-warehouse-password"))

    result = apply_dashboards(settings(url), fresh, sleep=do_not_wait)

    assert [(change.kind, change.parts) for change in result.changes] == [("database", ("password",))]
    assert apply_dashboards(settings(url), fresh).changes == []


def test_a_moved_warehouse_is_followed(metabase: StandIn, url: str) -> None:
    apply(url)

    result = apply_dashboards(settings(url), connection(host="elsewhere", port=6543))

    assert [(change.kind, change.parts) for change in result.changes] == [("database", ("host", "port"))]


def test_a_passing_fault_is_waited_out_and_a_lasting_one_is_told(metabase: StandIn, url: str) -> None:
    waits: list[float] = []
    metabase.answers_ahead = [(503, "starting", {}), (429, "slow down", {"Retry-After": "7"})]
    assert apply_dashboards(settings(url), connection(), sleep=waits.append).changes
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

    assert failed.value.result.failed_cards.keys() == {name}
    assert failed.value.result.changes


def test_columns_that_metabase_does_not_see_are_named(metabase: StandIn, url: str) -> None:
    missing = next(iter(metabase.warehouse_tables))
    column = metabase.warehouse_tables[("analytics", "customer_overview")].pop()
    assert missing

    with pytest.raises(WarehouseNotSeen, match=rf"analytics\.customer_overview\.{column}"):
        apply(url)


def test_readers_and_the_next_apply_can_tell_what_is_ours(metabase: StandIn, url: str) -> None:
    apply(url)
    assert OWNERSHIP_NOTE in only(metabase.collections)["description"]
    assert OWNERSHIP_NOTE in only(metabase.dashboards)["description"]


def test_tabs_keep_their_ids_and_every_card_its_tab(metabase: StandIn, url: str, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(DASHBOARDS_DIRECTORY, tmp_path / "dashboards"))
    file = directory / "overview" / "dashboard.yaml"
    content = yaml.safe_load(file.read_text())
    content["tabs"] = ["Now", "Words"]
    for dashcard in content["dashcards"]:
        dashcard["tab"] = "Now" if "card" in dashcard else "Words"
    file.write_text(yaml.safe_dump(content))
    apply(url, directory)
    tabs = [(tab["id"], tab["name"]) for tab in only(metabase.dashboards)["tabs"]]
    assert [name for _, name in tabs] == ["Now", "Words"]
    assert apply(url, directory).changes == []

    content["dashcards"][0]["row"] += 50
    file.write_text(yaml.safe_dump(content))
    assert [str(change) for change in apply(url, directory).changes] == [
        "updated dashboard 'Churn overview' (dashcards)"
    ]
    assert [(tab["id"], tab["name"]) for tab in only(metabase.dashboards)["tabs"]] == tabs

    back = apply(url)
    assert [change.parts for change in back.changes] == [("tabs", "dashcards")]
    assert only(metabase.dashboards)["tabs"] == []


def test_dashboards_can_link_to_each_other_on_the_first_apply(metabase: StandIn, url: str, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(DASHBOARDS_DIRECTORY, tmp_path / "dashboards"))
    second = directory / "actions"
    second.mkdir()
    for suffix in ("yaml", "sql"):
        (directory / "overview" / f"customers_to_call.{suffix}").rename(second / f"list.{suffix}")
    parameters = [{"id": "plan", "name": "Plan", "slug": "plan", "type": "string/=", "sectionId": "string"}]
    link = {"type": "link", "linkType": "dashboard", "parameterMapping": {"plan": "plan_name"}}
    place = {"row": 0, "col": 0, "size_x": 24, "size_y": 9}
    card = yaml.safe_load((second / "list.yaml").read_text())
    card["template-tags"] = {"plan": card["template-tags"]["plan"]}
    (second / "list.yaml").write_text(yaml.safe_dump(card))
    sql = (second / "list.sql").read_text()
    (second / "list.sql").write_text(re.sub(r"\[\[and \{\{(?!plan).*", "", sql))
    mapping = {"parameter_id": "plan", "target": ["dimension", ["template-tag", "plan"]]}
    there = {
        "card": "list",
        **place,
        "parameter_mappings": [mapping],
        "column_click_behavior": {"plan_name": link | {"target": "overview"}},
    }
    content = {"name": "Actions", "description": "What to do.", "parameters": parameters, "dashcards": [there]}
    (second / "dashboard.yaml").write_text(yaml.safe_dump(content))
    file = directory / "overview" / "dashboard.yaml"
    overview = yaml.safe_load(file.read_text())
    overview["dashcards"] = [
        dashcard for dashcard in overview["dashcards"] if dashcard.get("card") != "customers_to_call"
    ]
    for dashcard in overview["dashcards"]:
        if dashcard.get("card") == "customers_by_plan":
            dashcard["click_behavior"] = link | {"target": "actions", "parameterMapping": {"plan": "plan"}}
    file.write_text(yaml.safe_dump(overview))

    apply(url, directory)

    ids = {dashboard["name"]: dashboard["id"] for dashboard in metabase.dashboards.values()}
    sent = json.dumps([dashboard["dashcards"] for dashboard in metabase.dashboards.values()])
    assert {f'"targetId": {number}' for number in ids.values()} <= set(re.findall(r'"targetId": \d+', sent))
    assert apply(url, directory).changes == []


def test_the_stand_in_refuses_what_metabase_refuses(metabase: StandIn, url: str) -> None:
    apply(url)
    assert issubclass(MetabaseRefused, MetabaseError)
    dashboard_id = only(metabase.dashboards)["id"]
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
