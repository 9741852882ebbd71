"""How we get in, what goes wrong between us and Metabase, and what is said then."""

from __future__ import annotations

import socket

import pytest
from pydantic import SecretStr

from pipeline.integrations.metabase.api_key import make_api_key
from pipeline.integrations.metabase.apply import apply_dashboards
from pipeline.integrations.metabase.errors import (
    MetabaseNotReady,
    MetabaseRefused,
    MetabaseUnreachable,
    WarehouseNotSeen,
)
from tests.integration.pipeline.integrations.metabase.applying import (
    ALL_USERS,
    COMPANIES,
    FACTS,
    PASSWORD,
    USERNAME,
    WAREHOUSE_PASSWORD,
    FakeLogins,
    apply,
    settings,
)
from tests.integration.pipeline.integrations.metabase.stand_in.server import StandIn


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
