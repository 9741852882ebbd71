"""From the settings to a Metabase that reads the real warehouse with a login of its own."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from metabase_stand_in import StandIn, served
from pydantic import SecretStr

from orchestration.integrations.metabase.apply import apply_dashboards
from orchestration.integrations.metabase.definitions import load_definitions
from orchestration.integrations.metabase.login import PASSWORD_FILE, kept_password, metabase_connection
from warehouse.connection import Warehouse
from warehouse.settings import Settings

# The login belongs to the whole server: no other test may make it anew meanwhile.
pytestmark = pytest.mark.xdist_group("dashboards_marts")


def settings(home: Path, url: str | None = None) -> Settings:
    return Settings(
        home=home,
        metabase_url=url,
        metabase_username="admin@churn.test",
        metabase_password=SecretStr("a-long-admin-password"),
    )


def test_metabase_gets_a_login_that_opens_the_warehouse(warehouse: Warehouse, tmp_path: Path) -> None:
    columns: dict[tuple[str, str], list[str]] = {}
    for schema, table, column in load_definitions().columns_filtered():
        columns.setdefault((schema, table), []).append(column)
    state = StandIn(columns, warehouse_password=None)
    with served(state) as url:
        used = settings(tmp_path / "home", url)
        first = apply_dashboards(used, lambda: metabase_connection(warehouse, used), sleep=lambda _: None)
        again = apply_dashboards(used, lambda: metabase_connection(warehouse, used))

        assert len(first.changes) > 10
        assert again.changes == []

        # The home folder is lost: a new password is made, and handed on.
        elsewhere = settings(tmp_path / "another", url)
        mended = apply_dashboards(elsewhere, lambda: metabase_connection(warehouse, elsewhere))
    assert [str(change) for change in mended.changes] == [
        "updated database 'Churn Warehouse (all companies)' (password)"
    ]
    (database,) = state.databases.values()
    assert database["details"]["user"] == "churn_metabase"
    assert database["details"]["host"] == "127.0.0.1"


def test_two_first_calls_at_once_agree_on_one_password(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(kept_password(tmp_path / PASSWORD_FILE))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(found[0]) >= 32
    assert [path.name for path in tmp_path.iterdir()] == [PASSWORD_FILE]
