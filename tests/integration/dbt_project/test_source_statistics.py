"""What Python wrote has statistics before dbt reads it: without, a mart of a second's work takes minutes in a loop."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from pipeline.prediction.tasks import CONTRACTS
from tests.integration.dbt_project.dbt_runs import PROJECT, DbtRuns
from tests.integration.published import Score, publish
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse

pytestmark = pytest.mark.xdist_group("dbt_staging")

READ_BY_DBT = ("raw", "ops", "ml", "predictions")
UNKNOWN = """
    select nspname || '.' || relname from pg_class inner join pg_namespace on pg_namespace.oid = relnamespace
    where nspname = any(%s) and relkind = 'r' and reltuples < 0 order by 1
"""
ROWS = "select reltuples::int from pg_class where oid = %s::regclass"


def test_every_table_that_python_writes_is_analysed_before_a_build_and_again_when_it_has_grown(
    warehouse: Warehouse, tmp_path: Path, add_company: object
) -> None:
    company: Company = add_company("acme")  # type: ignore[operator]
    warehouse.write_dbt_profile(tmp_path)
    dbt = DbtRuns(PROJECT, tmp_path)
    today = date(2026, 2, 1)
    for contract in CONTRACTS:
        publish(warehouse, company.company_id, today, {f"c{n}": Score(0.5) for n in range(100)}, contract=contract)
    dbt.run("run", "--select", "stg_crm__customer_versions")
    with warehouse.connect() as connection:
        assert connection.execute(UNKNOWN, [list(READ_BY_DBT)]).fetchall() == []
        for contract in CONTRACTS:
            assert connection.execute(ROWS, [str(contract.scores_v1)]).fetchone() == (100,)
        connection.execute(
            "insert into ops.load_log (company_id, entity, is_backfill, known_at, status)"
            " select %s, 'customers', false, %s, 'succeeded' from generate_series(1, 500)",
            [company.company_id, datetime(2026, 2, 1, tzinfo=UTC)],
        )
    dbt.run("run", "--select", "stg_crm__customer_versions")
    with warehouse.connect() as connection:
        assert connection.execute(ROWS, ["ops.load_log"]).fetchone() == (500,)
