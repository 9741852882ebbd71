"""What Dagster does unasked: onboarding new companies, logging its runs; and the pools of CRMs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from orchestration import crm_pools
from orchestration.automation import log_run, onboard_new_companies
from orchestration.resources import WarehouseResource
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse


@pytest.fixture
def instance(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("CHURN_DATABASE_URL", warehouse.url("postgresql"))
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    with dg.instance_for_test(overrides={"concurrency": {"pools": {"default_limit": 1}}}) as instance:
        yield instance


def test_a_company_that_is_registered_is_onboarded_once(
    instance: dg.DagsterInstance, warehouse: Warehouse, add_company: Callable[..., Company]
) -> None:
    def tick() -> list[dg.RunRequest | dg.SkipReason]:
        resources = {"warehouse": WarehouseResource()}
        with dg.build_sensor_context(instance=instance, resources=resources) as context:
            return list(onboard_new_companies(context))  # type: ignore[arg-type, call-overload]

    assert isinstance(tick()[0], dg.SkipReason)
    company = add_company("acme")
    (request,) = tick()
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == f"onboard:{company.company_id}"
    assert set(request.tags.values()) == {"acme"}
    assert list(instance.get_dynamic_partitions("company")) == ["acme"]
    with warehouse.connect() as conn:
        conn.execute(
            "insert into predictions.churn_publications_v1 (company_id, as_of_date, model_version, evidence_level,"
            " scores, published_at) values (%s, '2026-10-01', 'm', 'rule', 1, now())",
            (company.company_id,),
        )
    assert isinstance(tick()[0], dg.SkipReason)


def test_a_run_that_failed_and_one_that_did_not_are_in_the_run_log(
    instance: dg.DagsterInstance, warehouse: Warehouse
) -> None:
    @dg.job(name="sync_and_score")
    def job() -> None:
        pass

    run = job.execute_in_process(instance=instance)
    context = dg.build_run_status_sensor_context(
        sensor_name="log",
        dagster_instance=instance,
        dagster_run=run.dagster_run,
        dagster_event=run.all_events[-1],
    )
    for error in ("Postgres went away", None):
        log_run(context, WarehouseResource(), error=error)
    with warehouse.connect() as conn:
        rows = conn.execute("select company_id, stage, status, error from ops.run_log order by run_log_id").fetchall()
    assert rows == [
        (None, "sync_and_score", "failed", "Postgres went away"),
        (None, "sync_and_score", "succeeded", None),
    ]


def test_a_crm_has_one_pool_whichever_companies_it_holds(add_company: Callable[..., Company]) -> None:
    first = add_company("first", connector_settings={"base_url": "https://crm.example/api"})
    second = add_company("second", connector_settings={"base_url": "https://crm.example/other"})
    third = add_company("third", connector="files")
    assert crm_pools.pool_of(first) == crm_pools.pool_of(second) == "crm:crm.example"
    assert crm_pools.pool_of(third) == "crm:files:third"


def test_two_runs_read_one_crm_one_after_the_other_and_two_crms_at_once(
    instance: dg.DagsterInstance, add_company: Callable[..., Company], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crm_pools, "_POLL_SECONDS", 0.05)
    crm = {"connector_settings": {"base_url": "https://crm.example"}}
    first, second, other = add_company("first", **crm), add_company("second", **crm), add_company("other")
    begun = threading.Event()

    def read() -> None:
        with crm_pools.slot(instance, "run 2", second):
            begun.set()

    with crm_pools.slot(instance, "run 1", first):
        waiting = threading.Thread(target=read)
        waiting.start()
        with crm_pools.slot(instance, "run 3", other):
            time.sleep(0.3)
        assert not begun.is_set()
    waiting.join(timeout=10)
    assert begun.is_set()
