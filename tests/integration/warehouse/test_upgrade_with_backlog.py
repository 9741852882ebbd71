"""A warehouse of release 0.1.0 is upgraded in the middle of its work: what waited goes on, once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from pipeline.companies import parse_definition
from pipeline.loading.sync import sync_company
from pipeline.prediction.tasks import CONTRACTS, task_named
from pipeline.publication.publishing import publish_company
from tests.conftest import TestServer
from tests.integration.company_folders import put_secret
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY, crm
from tests.integration.warehouse.release_dump import restore_release
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.companies.registry import change_company, get_company
from warehouse.connection import Warehouse
from warehouse.migrate import migrate
from warehouse.settings import Settings

SLUG = "seedling"
CHURN = task_named("churn").relations.contract
NOW = Clock(datetime(2026, 11, 7, 6, tzinfo=UTC))

KILLED_LOAD = """
    insert into ops.load_log (company_id, entity, is_backfill, updated_since, known_at, status, received, loaded)
    select company_id, 'customers', false, now(), '2026-11-07T05:00Z', 'running', 7, 7
    from ops.companies where slug = %s
"""
STAGED = """
    insert into ml.staged_scores (company_id, customer_id, as_of_date, churn_probability, risk_level, percentile,
        baseline_log_odds, reasons, model_version, evidence_level, row_hash, scored_at, staged_at)
    select company_id, customer_id, '2026-11-07', 0.625, 'high', 50, 0, reasons, model_version, evidence_level,
        'waiting', '2026-11-07T06:00Z', '2026-11-07T06:00Z'
    from predictions.churn_scores_v1 inner join ops.companies using (company_id)
    where slug = %s and as_of_date = '2026-11-06'
"""
PASSED = """
    insert into ml.publication_gates (company_id, as_of_date, staged_at, checked_at, is_passed, checks)
    select company_id, '2026-11-07', '2026-11-07T06:00Z', now(), true, '[]' from ops.companies where slug = %s
"""
"""Scored and judged by the release, and not published yet."""


NEWEST_CUSTOMERS = """
    select distinct on (customer_id) customer_id, is_deleted, attributes, to_jsonb(version)
    from raw.customers as version where company_id = %s order by customer_id, updated_at desc, revision desc
"""
OURS = {"company_id", "customer_id", "known_at", "is_backfill", "is_deleted", "load_id", "revision", "made_at"}
OURS |= {"is_vanished", "attributes"}


def as_the_crm_says(
    customer_id: str, is_deleted: bool, attributes: dict[str, Any], row: dict[str, Any]
) -> dict[str, Any]:
    """A version as the CRM gave it."""
    fields = {name: value for name, value in row.items() if name not in OURS and value is not None}
    return {
        **(attributes or {}),
        **fields,
        "updated_at": f"{row['updated_at'][:19]}Z",
        "id": customer_id,
        "deleted": is_deleted,
    }


@pytest.fixture(scope="module")
def upgraded(postgres: TestServer, template_database: str) -> Iterator[Warehouse]:
    with postgres.database("template1") as url:
        restore_release(postgres, str(make_url(url).database))
        warehouse = Warehouse(url)
        with warehouse.connect() as connection:
            for waiting in (KILLED_LOAD, STAGED, PASSED):
                connection.execute(waiting, [SLUG])
        migrate(warehouse, CONTRACTS)
        yield warehouse


def company(warehouse: Warehouse) -> Company:
    with warehouse.connect() as connection:
        return get_company(connection, SLUG)


def test_scores_that_waited_are_published_once(upgraded: Warehouse, tmp_path: Path) -> None:
    of = company(upgraded)
    settings = Settings(home=tmp_path)
    published = publish_company(upgraded, settings, CHURN, of)
    assert published is not None
    assert (str(published.as_of_date), published.scores) == ("2026-11-07", 94)
    with upgraded.connect() as connection:
        rows = connection.execute(
            "select count(*), count(distinct customer_id), min(churn_probability) from predictions.churn_current"
            " where company_id = %s and as_of_date = '2026-11-07'",
            [of.company_id],
        ).fetchone()
    assert rows == (94, 94, 0.625)
    assert publish_company(upgraded, settings, CHURN, of) is None


def test_a_sync_goes_on_from_the_releases_cursor_and_closes_the_load_that_was_killed(
    upgraded: Warehouse, tmp_path: Path
) -> None:
    of = company(upgraded)
    put_secret(tmp_path, SLUG, "key", API_KEY)
    with upgraded.connect() as connection:
        (cursor,) = connection.execute(
            "select cursor_updated_at from ops.sync_cursors where company_id = %s and entity = 'customers'",
            [of.company_id],
        ).fetchone() or (None,)
        known = connection.execute(NEWEST_CUSTOMERS, [of.company_id]).fetchall()
    assert cursor is not None
    waiting = [{"id": each, "created_at": "2026-11-05", "updated_at": "2026-11-05T08:00:00Z"} for each in ("w1", "w2")]
    with crm({"customers": [as_the_crm_says(*row) for row in known] + waiting}) as stand_in:
        source = {"connector_settings.base_url": stand_in.url, "connector_settings.api_key": "file:key"}
        with upgraded.connect() as connection:
            change_company(connection, SLUG, source, "tests", parse_definition)
        (result,) = sync_company(upgraded, company(upgraded), NOW, Settings(home=tmp_path), ["customers"])
        asked = stand_in.asked("customers")[0]["updated_since"]
    assert result.status == "succeeded", result
    assert result.received == result.loaded + result.unchanged + result.rejected
    # Also where ids are compared for the first time, which reads all of them, only what waited is new.
    assert (result.loaded, result.late, result.vanished, result.unaccounted) == (len(waiting), 0, 0, 0)
    assert asked.startswith(f"{cursor.astimezone(UTC):%Y-%m-%d}")
    with upgraded.connect() as connection:
        loads = connection.execute(
            "select status from ops.load_log where company_id = %s and entity = 'customers'"
            " order by load_id desc limit 2",
            [of.company_id],
        ).fetchall()
        (new,) = connection.execute(
            "select count(*) from raw.customers where company_id = %s and customer_id in ('w1', 'w2')", [of.company_id]
        ).fetchone() or (0,)
    assert loads == [("succeeded",), ("failed",)]
    assert new == len(waiting)
