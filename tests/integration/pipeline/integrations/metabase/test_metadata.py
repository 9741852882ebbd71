"""Descriptions, types, keys and hidden columns, from a dbt manifest into a stand-in for Metabase by dbt-metabase."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pipeline.features.catalogue import PROJECT_DIRECTORY
from pipeline.integrations.metabase.apply import apply_dashboards
from pipeline.integrations.metabase.changes import ApplyResult
from pipeline.integrations.metabase.client import MetabaseClient
from pipeline.integrations.metabase.definition_files import load_definitions
from pipeline.integrations.metabase.errors import MetabaseError, MetabaseRefused, MetabaseUnreachable
from tests.integration.pipeline.integrations.metabase.applying import (
    PASSWORD,
    USERNAME,
    WAREHOUSE_PASSWORD,
    ZAWADI,
    FakeLogins,
    do_not_wait,
    settings,
    tables_of,
)
from tests.integration.pipeline.integrations.metabase.stand_in.server import StandIn, served

TABLES = {**tables_of(load_definitions()), ("analytics", "score_history"): ["customer_id"]}
INTERNAL, COMPANYS = "Churn Warehouse (all companies)", "Churn Warehouse (Zawadi Stationers)"
OVERVIEW = ("analytics", "customer_overview")
SAID_OF_COLUMNS: dict[tuple[str, str], dict[str, str]] = {
    ("customer_overview", "customer_id"): {"metabase.semantic_type": "type/PK"},
    ("customer_overview", "country"): {"metabase.semantic_type": "type/Country"},
    ("customer_overview", "plan_name"): {"metabase.visibility_type": "sensitive"},
    ("score_history", "customer_id"): {
        "metabase.fk_target_table": "customer_overview",
        "metabase.fk_target_field": "customer_id",
    },
}


def manifest_of(tables: dict[tuple[str, str], list[str]]) -> dict[str, Any]:
    """dbt's manifest, as far as it is read: these tables, and one that no connection sees."""
    nodes = {}
    for (schema, table), columns in {**tables, ("staging", "stg_crm__customers"): ["email"]}.items():
        key = f"model.churn_warehouse.{table}"
        nodes[key] = {
            "unique_id": key,
            "resource_type": "model",
            "database": "churn",
            "schema": schema,
            "name": table,
            "description": f"All about {table}.",
            "config": {"materialized": "table"},
            "columns": {
                name: {
                    "name": name,
                    "description": f"The {name} of {table}.",
                    "meta": SAID_OF_COLUMNS.get((table, name), {}),
                }
                for name in columns
            },
        }
    return {"nodes": nodes, "sources": {}, "child_map": {key: [] for key in nodes}}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest_of(TABLES)))
    return path


@pytest.fixture
def metabase(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    # The library waits that many seconds for a sync, which here is over at once.
    monkeypatch.setattr("dbtmetabase._models._SYNC_PERIOD", 0)
    return StandIn(warehouse_tables=TABLES, warehouse_password=WAREHOUSE_PASSWORD)


@pytest.fixture
def url(metabase: StandIn) -> Iterator[str]:
    with served(metabase) as address:
        yield address.url


def apply(url: str, manifest: Path, logins: FakeLogins, *, plan: bool = False) -> ApplyResult:
    return apply_dashboards(
        settings(url), (ZAWADI,), logins, manifest=manifest, run_cards=False, plan=plan, sleep=do_not_wait
    )


def table_of(metabase: StandIn, database: str, table: tuple[str, str]) -> dict[str, Any]:
    (number,) = [entry["id"] for entry in metabase.databases.values() if entry["name"] == database]
    metadata: dict[str, Any] = metabase.tables[(number, *table)]
    return metadata


def column_of(metabase: StandIn, database: str, table: str, column: str) -> dict[str, Any]:
    fields = table_of(metabase, database, ("analytics", table))["fields"]
    return next(field for field in fields if field["name"] == column)


@pytest.mark.parametrize("database", [INTERNAL, COMPANYS])
def test_every_connection_tells_what_dbt_says_of_its_tables_and_columns(
    metabase: StandIn, url: str, manifest: Path, database: str
) -> None:
    apply(url, manifest, FakeLogins())

    assert table_of(metabase, database, OVERVIEW)["description"] == "All about customer_overview."
    assert column_of(metabase, database, "customer_overview", "country")["semantic_type"] == "type/Country"
    assert column_of(metabase, database, "customer_overview", "plan_name")["visibility_type"] == "sensitive"
    reference = column_of(metabase, database, "score_history", "customer_id")
    assert reference["description"] == "The customer_id of score_history."


def keys_of(metabase: StandIn, database: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The customer's id in the overview and in the history."""
    return (
        column_of(metabase, database, "customer_overview", "customer_id"),
        column_of(metabase, database, "score_history", "customer_id"),
    )


def test_a_companys_connection_can_follow_a_customers_id_to_the_customer(
    metabase: StandIn, url: str, manifest: Path
) -> None:
    apply(url, manifest, FakeLogins())

    key, reference = keys_of(metabase, COMPANYS)
    assert key["semantic_type"] == "type/PK"
    assert (reference["semantic_type"], reference["fk_target_field_id"]) == ("type/FK", key["id"])


def test_the_connection_for_all_companies_is_told_of_no_key_and_loses_one_given_by_hand(
    metabase: StandIn, url: str, manifest: Path
) -> None:
    logins = FakeLogins()
    apply(url, manifest, logins)
    key, reference = keys_of(metabase, INTERNAL)
    assert [key["semantic_type"], reference["semantic_type"]] == [None, None]
    assert reference["fk_target_field_id"] is None

    reference.update({"semantic_type": "type/FK", "fk_target_field_id": key["id"]})
    key["semantic_type"] = "type/PK"
    (change,) = apply(url, manifest, logins).changes

    assert (change.name, change.parts) == (INTERNAL, ("2 descriptions",))
    assert [column["semantic_type"] for column in keys_of(metabase, INTERNAL)] == [None, None]
    assert apply(url, manifest, logins).changes == []


def test_a_key_that_somebody_pointed_elsewhere_is_put_right(metabase: StandIn, url: str, manifest: Path) -> None:
    logins = FakeLogins()
    apply(url, manifest, logins)
    key, reference = keys_of(metabase, COMPANYS)
    reference["fk_target_field_id"] = column_of(metabase, COMPANYS, "customer_overview", "plan_name")["id"]

    (change,) = apply(url, manifest, logins).changes

    assert (change.name, change.parts) == (COMPANYS, ("1 description",))
    assert reference["fk_target_field_id"] == key["id"]


def described_marts() -> list[dict[str, Any]]:
    """The marts that dashboards read, as their YAML describes them."""
    files = sorted((PROJECT_DIRECTORY / "models" / "analytics").glob("_*__models.yml"))
    return [model for file in files for model in yaml.safe_load(file.read_text())["models"]]


def test_types_of_columns_are_those_that_metabase_knows_for_such_data() -> None:
    types = {"text": {"Name", "Country", "Category", "PK"}, "integer": {"Score"}, "double precision": {"Percentage"}}
    types["timestamp with time zone"] = {"CreationTimestamp", "CancelationTimestamp"}
    said = [
        (f"{model['name']}.{column['name']}", column["data_type"], meta["metabase.semantic_type"].removeprefix("type/"))
        for model in described_marts()
        for column in model["columns"]
        if "metabase.semantic_type" in (meta := column.get("config", {}).get("meta", {}))
    ]

    assert len(said) > 10
    assert [column for column, data_type, kind in said if kind not in types[data_type]] == []


def test_every_mart_with_a_customers_id_leads_to_the_customer() -> None:
    said = {
        model["name"]: column.get("config", {}).get("meta", {})
        for model in described_marts()
        for column in model["columns"]
        if column["name"] == "customer_id"
    }

    assert said.pop("customer_overview") == {"metabase.semantic_type": "type/PK"}
    assert said
    to_the_customer = {"metabase.fk_target_table": "customer_overview", "metabase.fk_target_field": "customer_id"}
    assert {name for name, meta in said.items() if not to_the_customer.items() <= meta.items()} == set()


def test_a_second_apply_describes_nothing_and_what_was_changed_by_hand_comes_back(
    metabase: StandIn, url: str, manifest: Path
) -> None:
    logins = FakeLogins()
    apply(url, manifest, logins)
    before, writes = metabase.content(), metabase.writes
    assert apply(url, manifest, logins).changes == []
    assert metabase.writes == writes

    table_of(metabase, "Churn Warehouse (Zawadi Stationers)", OVERVIEW)["description"] = "Changed by hand"
    (planned,) = apply(url, manifest, logins, plan=True).changes
    assert str(planned) == str(*apply(url, manifest, logins).changes)
    assert (planned.action, planned.parts) == ("described", ("1 description",))
    assert metabase.content() == before


def test_a_column_that_the_connection_does_not_see_is_told_without_a_password(
    metabase: StandIn, url: str, manifest: Path
) -> None:
    more = {**TABLES, OVERVIEW: [*TABLES[OVERVIEW], "not_built_yet"]}
    manifest.write_text(json.dumps(manifest_of(more)))

    with pytest.raises(MetabaseError, match="could not describe the tables of 'Churn Warehouse") as failure:
        apply(url, manifest, FakeLogins())

    assert USERNAME in metabase.users
    assert PASSWORD not in str(failure.value)


def test_a_password_that_changes_before_the_library_signs_in_is_told_without_it(
    metabase: StandIn, url: str, manifest: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It ended in a traceback, and the library logged Metabase's answer as it was."""
    known = MetabaseClient.credentials

    def credentials_that_changed(client: MetabaseClient) -> dict[str, str]:
        metabase.users[USERNAME] = "a-newer-one-1"
        return known(client)

    monkeypatch.setattr(MetabaseClient, "credentials", credentials_that_changed)

    with pytest.raises(
        MetabaseRefused, match=r"POST /api/session with status 401: .*stored password \*\*\*"
    ) as refused:
        apply(url, manifest, FakeLogins())

    assert "CHURN_METABASE_PASSWORD" in str(refused.value)
    assert PASSWORD not in str(refused.value) + caplog.text


def test_a_metabase_that_dies_before_the_library_signs_in_is_told(
    url: str, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setattr(MetabaseClient, "credentials", lambda _: {"metabase_url": gone, "metabase_api_key": "key"})
        with pytest.raises(MetabaseUnreachable, match="which describes the tables of 'Churn Warehouse"):
            apply(url, manifest, FakeLogins())


def test_connections_wait_for_the_library_side_by_side(
    metabase: StandIn, url: str, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(2, timeout=10)
    monkeypatch.setattr("dbtmetabase._models.time", SimpleNamespace(time=time.time, sleep=lambda _: together.wait()))

    result = apply(url, manifest, FakeLogins())

    assert [change.name for change in result.changes if change.action == "described"] == [
        "Churn Warehouse (all companies)",
        "Churn Warehouse (Zawadi Stationers)",
    ]
