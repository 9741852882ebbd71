"""What holds for every preset, against the stand-in of its vendor and a real warehouse."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.companies import parse_definition
from pipeline.connectors.rest_reading import presets
from pipeline.connectors.rest_reading.settings import RestSettings
from pipeline.loading.check import check_company
from pipeline.loading.sync import sync_company
from tests.integration.pipeline.connectors.stand_ins.companies import PRESETS, Account, account
from tests.integration.pipeline.connectors.stand_ins.server import Answer, Asked, served
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.companies.registry import add_company as add_company_to
from warehouse.connection import Warehouse
from warehouse.settings import Settings

ROOT = Path(__file__).parents[4]


@pytest.fixture(params=PRESETS)
def vendors(
    request: pytest.FixtureRequest, warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path
) -> Iterator[Account]:
    with account(PRESETS[request.param], warehouse, add_company, tmp_path) as opened:
        yield opened


def test_every_preset_has_a_stand_in_and_a_page() -> None:
    assert {preset.name for preset in PRESETS.values()} == set(presets.PRESETS)
    for name in presets.PRESETS:
        assert (ROOT / "docs" / "sources" / f"{name}.md").is_file()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_complete_but_for_the_key(preset: str) -> None:
    settings = PRESETS[preset].settings("https://example.com")
    assert set(RestSettings.model_validate(settings).entities) >= set(PRESETS[preset].entities)


def test_a_load_adds_up_and_a_second_one_finds_nothing_new(vendors: Account) -> None:
    for result in vendors.sync():
        assert result.error is None
        assert result.received == result.loaded + result.unchanged + result.rejected
        assert result.loaded > 0
        assert result.rejected == 0
    for result in vendors.sync(later=timedelta(hours=1)):
        assert (result.status, result.loaded, result.vanished) == ("succeeded", 0, 0), result.entity


@pytest.mark.parametrize("seed", [1, 2])
def test_a_load_after_any_interruption_equals_one_clean_load(vendors: Account, seed: int) -> None:
    vendors.sync("calm")
    whole = len(vendors.vendor.asked)
    chance = random.Random(seed)
    statuses: list[str] = []
    for _ in range(3):
        stop_at = len(vendors.vendor.asked) + chance.randint(1, max(2, whole - 1))

        def stop(_: Asked, number: int, last: int = stop_at) -> Answer | None:
            return (400, {}, {}) if number >= last else None

        vendors.vendor.misbehave = stop
        statuses += [result.status for result in vendors.sync("stormy")]
    assert "failed" in statuses
    vendors.vendor.misbehave = lambda *_: None
    assert {result.status for result in vendors.sync("stormy")} == {"succeeded"}
    assert vendors.differences("calm", "stormy") == []


@pytest.mark.parametrize("name", presets.PRESETS)
def test_the_company_of_its_page_is_checked_and_loads(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    preset = PRESETS[name]
    page = (ROOT / "docs" / "sources" / f"{name}.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    vendor = preset.world()
    with served(vendor):
        described = yaml.safe_load(text)
        described["connector_settings"] |= {"base_url": vendor.url, "rate": {"per_minute": None}}
        for reference, secret in zip(re.findall(r"env:(\w+)", text), preset.page_secrets, strict=True):
            monkeypatch.setenv(reference, secret)
        settings, clock = Settings(home=tmp_path), Clock(preset.now)
        definition = parse_definition(described)
        check = check_company(definition, settings, clock)
        assert check.failures == ()
        assert {entity.entity: entity.rejected for entity in check.entities} == dict.fromkeys(definition.entities, 0)
        with warehouse.connect() as connection:
            company = add_company_to(connection, definition, "test")
        results = sync_company(warehouse, company, clock, settings)
    assert [(result.error, result.loaded > 0) for result in results] == [(None, True)] * len(definition.entities)


def test_429_amid_a_load_is_waited_out(vendors: Account) -> None:
    def slow_down(_: Asked, number: int) -> Answer | None:
        return (429, {"Retry-After": "1"}, {}) if number == 3 else None

    vendors.vendor.misbehave = slow_down
    assert {result.status for result in vendors.sync()} == {"succeeded"}


def test_a_refused_key_names_where_it_comes_from_and_is_not_shown(vendors: Account) -> None:
    def refuse(asked: Asked, _: int) -> Answer:
        return 401, {}, {"error": {"message": f"no {asked.headers} {asked.body}"}, "message": str(asked.headers)}

    vendors.vendor.misbehave = refuse
    secrets: dict[str, Any] = vendors._preset.secrets
    for result in vendors.sync():
        assert result.error is not None
        assert "connector_settings.auth (" in result.error or "401" in result.error
        assert not any(secret in result.error for secret in secrets.values())
