"""A new CHURN_SECRET_KEY while syncs run and companies are changed: nothing fails, and no secret is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from pipeline.companies import parse_definition
from pipeline.loading.sync import LoadResult, sync_company
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY, StandIn, crm, payment
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.companies.key_rotation import rotate_secrets
from warehouse.companies.registry import change_company, get_company
from warehouse.connection import Warehouse
from warehouse.errors import SecretNotFound
from warehouse.secrets import encrypt_secret, resolve_secret
from warehouse.settings import Settings

PAGES = 6


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Settings, Settings]:
    """Settings under the old key, and under a new one that still opens what the old one made."""
    old, new = (SecretStr(Fernet.generate_key().decode()) for _ in range(2))
    before = Settings(home=tmp_path, secret_key=old)
    return before, Settings(home=tmp_path, secret_key=new, secret_key_previous=old)


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    payments = [payment(number, f"2025-02-01T00:{number:02}:00Z") for number in range(PAGES * 5)]
    with crm({"payments": payments}) as running:
        yield running


@pytest.fixture
def company(add_company: Callable[..., Company], keys: tuple[Settings, Settings], stand_in: StandIn) -> Company:
    secret = encrypt_secret(API_KEY, keys[0], "acme")
    connection: dict[str, Any] = {"base_url": stand_in.url, "api_key": secret, "page_size": 5}
    entities = ["customers", "payments"]
    return add_company("acme", connector="habari_api", connector_settings=connection, entities=entities)


def sync(warehouse: Warehouse, settings: Settings, results: list[LoadResult]) -> None:
    """As a process that has just started: it reads the registry, and then the source."""
    with warehouse.connect() as connection:
        company = get_company(connection, "acme")
    results += sync_company(warehouse, company, Clock(None), settings, ["payments"], chunk_rows=5)


def test_a_sync_that_runs_while_the_key_changes_goes_on_and_so_does_the_next(
    warehouse: Warehouse, company: Company, keys: tuple[Settings, Settings], stand_in: StandIn
) -> None:
    before, after = keys
    in_the_middle, rotated = threading.Event(), threading.Event()

    def wait_at_the_third_page(path: str, _: dict[str, str], __: int) -> None:
        if path.endswith("/payments") and len(stand_in.asked("payments")) == 3:
            in_the_middle.set()
            assert rotated.wait(30)

    stand_in.misbehave = wait_at_the_third_page
    results: list[LoadResult] = []
    running = threading.Thread(target=sync, args=(warehouse, before, results))
    running.start()
    assert in_the_middle.wait(30)
    with warehouse.connect() as connection:
        assert rotate_secrets(connection, after, "tests") == {"acme": ["connector_settings.api_key"]}
    rotated.set()
    running.join(60)
    (first,) = results
    assert (first.status, first.received) == ("succeeded", PAGES * 5)
    sync(warehouse, after, results)
    assert (results[-1].status, results[-1].loaded) == ("succeeded", 0)
    sync(warehouse, after.model_copy(update={"secret_key_previous": None}), results)
    assert results[-1].status == "succeeded"
    sync(warehouse, before, results)
    assert results[-1].status == "failed"
    assert "Set the key it was made with" in str(results[-1].error)


def test_thirty_rotations_beside_ten_syncs_disturb_neither(
    warehouse: Warehouse, company: Company, keys: tuple[Settings, Settings]
) -> None:
    before, _ = keys
    results: list[LoadResult] = []
    both = before.model_copy(update={"secret_key_previous": SecretStr(Fernet.generate_key().decode())})
    swapped = both.model_copy(update={"secret_key": both.secret_key_previous, "secret_key_previous": both.secret_key})

    def syncs() -> None:
        for _ in range(10):
            sync(warehouse, both, results)

    running = threading.Thread(target=syncs)
    running.start()
    for turn in range(30):
        with warehouse.connect() as connection:
            assert rotate_secrets(connection, (swapped, both)[turn % 2], "tests")
    running.join(120)
    assert [result.status for result in results] == ["succeeded"] * 10


def concurrently(first: Callable[[], object], second: Callable[[], object]) -> list[BaseException]:
    """Run both at once; returns what they raised."""
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(work) for work in (first, second)]
    return [error for run in runs if (error := run.exception())]


@pytest.mark.parametrize("rotation_begins", [True, False])
def test_a_change_and_a_rotation_at_once_undo_neither(
    warehouse: Warehouse, company: Company, keys: tuple[Settings, Settings], rotation_begins: bool
) -> None:
    _, after = keys
    first_is_done, second_is_done = threading.Event(), threading.Event()

    def rotate(connection: Any) -> None:
        rotate_secrets(connection, after, "tests")

    def change(connection: Any) -> None:
        change_company(connection, "acme", {"connector_settings.page_size": 7}, "tests", parse_definition)

    def begin(work: Callable[[Any], None]) -> None:
        with warehouse.connect() as connection, connection.transaction():
            work(connection)
            first_is_done.set()
            assert not second_is_done.wait(2)

    def follow(work: Callable[[Any], None]) -> None:
        assert first_is_done.wait(30)
        with warehouse.connect() as connection:
            work(connection)
            second_is_done.set()

    works = (rotate, change) if rotation_begins else (change, rotate)
    assert concurrently(lambda: begin(works[0]), lambda: follow(works[1])) == []
    with warehouse.connect() as connection:
        settings = get_company(connection, "acme").connector_settings
    today = after.model_copy(update={"secret_key_previous": None})
    assert resolve_secret(settings["api_key"], today, "acme") == API_KEY
    assert settings["page_size"] == 7


def test_a_rotation_that_fails_for_one_company_changes_none(
    warehouse: Warehouse, company: Company, add_company: Callable[..., Company], keys: tuple[Settings, Settings]
) -> None:
    before, after = keys
    stranger = before.model_copy(update={"secret_key": SecretStr(Fernet.generate_key().decode())})
    add_company(
        "other",
        connector="habari_api",
        connector_settings=company.connector_settings | {"api_key": encrypt_secret("x", stranger, "other")},
    )
    with warehouse.connect() as connection, pytest.raises(SecretNotFound, match="No secret was changed"):
        rotate_secrets(connection, after, "tests")
    with warehouse.connect() as connection:
        kept = get_company(connection, "acme").connector_settings["api_key"]
    assert resolve_secret(kept, before, "acme") == API_KEY
