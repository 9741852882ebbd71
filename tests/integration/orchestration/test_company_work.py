"""A stage over companies: who fails is named, who is sound goes on, and a Postgres that was away is waited for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from orchestration.company_work import INTERRUPTED, CompanyOutcomes, SideBySide, for_each_company
from orchestration.crm_pools import LocalPools
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse

KEY = dg.AssetKey(["raw", "load_log"])
SLUGS = ["acme", "birch", "cedar"]


def run(
    warehouse: Warehouse, work: Callable[[Company], int], slugs: list[str], threads: SideBySide | None = None
) -> CompanyOutcomes[int]:
    context: Any = SimpleNamespace(
        partition_keys=slugs,
        run_id="run",
        log=logging.getLogger("tests"),
        selected_asset_keys=[],
        add_asset_metadata=lambda *_: None,
    )
    return for_each_company(context, warehouse, stage="sync", work=work, counts=lambda _: {}, threads=threads)


@pytest.fixture
def companies(add_company: Callable[..., Company]) -> list[Company]:
    """Three of them."""
    return [add_company(slug) for slug in SLUGS]


def rows(warehouse: Warehouse) -> dict[str, tuple[str, str | None]]:
    with warehouse.connect() as connection:
        return {
            slug: (status, error)
            for slug, status, error in connection.execute(
                "select slug, status, error from ops.run_log join ops.companies using (company_id) where stage = 'sync'"
            )
        }


@pytest.mark.usefixtures("companies")
def test_one_that_is_sound_goes_on_although_all_others_fail(warehouse: Warehouse) -> None:
    def work(company: Company) -> int:
        if company.slug != "cedar":
            raise ValueError(f"{company.slug} is broken")
        return 7

    outcomes = run(warehouse, work, SLUGS)
    assert outcomes.results == {"cedar": 7}
    check = outcomes.check(KEY)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert check.description == "acme: ValueError: acme is broken; birch: ValueError: birch is broken"
    assert {slug: status for slug, (status, _) in rows(warehouse).items()} == {
        "acme": "failed",
        "birch": "failed",
        "cedar": "succeeded",
    }
    with pytest.raises(dg.Failure, match="failed for 1 of 1 company"):
        run(warehouse, work, ["acme"])


@pytest.mark.usefixtures("companies")
def test_one_that_hangs_holds_up_nobody(warehouse: Warehouse) -> None:
    hung = threading.Event()

    def work(company: Company) -> int:
        if company.slug == "acme":
            hung.wait(60)
        return 1

    begun = time.monotonic()
    outcomes = run(warehouse, work, SLUGS, SideBySide(2, timedelta(seconds=1), LocalPools().slot))
    assert time.monotonic() - begun < 10
    assert outcomes.results == {"birch": 1, "cedar": 1}
    assert "took longer than 1 s" in outcomes.failures["acme"]
    assert "CHURN_COMPANY_SECONDS" in outcomes.failures["acme"]
    hung.set()


@pytest.mark.parametrize("threads", [None, SideBySide(3, timedelta(minutes=1), LocalPools().slot)])
@pytest.mark.usefixtures("companies")
def test_work_that_lost_its_connection_is_done_again(warehouse: Warehouse, threads: SideBySide | None) -> None:
    cut: dict[str, int] = dict.fromkeys(SLUGS, 0)

    def work(company: Company) -> int:
        with warehouse.connect() as connection:
            cut[company.slug] += 1
            if cut[company.slug] == 1:
                with warehouse.connect() as other:
                    other.execute("select pg_terminate_backend(%s)", [connection.info.backend_pid])
            connection.execute("select 1")
        return 1

    outcomes = run(warehouse, work, SLUGS, threads)
    assert outcomes.results == dict.fromkeys(SLUGS, 1)
    assert cut == dict.fromkeys(SLUGS, 2)


@pytest.mark.usefixtures("companies")
def test_work_that_loses_its_connection_each_time_fails_in_the_end(warehouse: Warehouse) -> None:
    tries = 0

    def work(company: Company) -> int:
        nonlocal tries
        if company.slug != "acme":
            return 1
        tries += 1
        with warehouse.connect() as connection:
            connection.execute("select pg_terminate_backend(pg_backend_pid())")
        return 1

    outcomes = run(warehouse, work, SLUGS)
    assert tries == 3
    assert "Lost the warehouse" in outcomes.failures["acme"]
    assert outcomes.results == {"birch": 1, "cedar": 1}


@pytest.mark.usefixtures("companies")
def test_a_request_to_stop_is_noted_in_a_sentence_and_ends_the_stage(warehouse: Warehouse) -> None:
    worked: list[str] = []

    def work(company: Company) -> int:
        worked.append(company.slug)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(warehouse, work, SLUGS)
    assert worked == ["acme"]
    assert rows(warehouse) == {"acme": ("failed", INTERRUPTED)}
