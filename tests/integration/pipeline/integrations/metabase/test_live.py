"""On a real Metabase, where METABASE_URL names one: set up, apply twice, and compare what it shows with SQL.

METABASE_USERNAME and METABASE_PASSWORD are its administrator's; a fresh one gets them. It must reach this machine's
Postgres. What is made there stays there.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline.integrations.metabase.apply import apply_dashboards
from pipeline.integrations.metabase.definition_files import marts_read
from pipeline.integrations.metabase.login import WarehouseLogins
from pipeline.integrations.metabase.verify import verify_dashboards
from tests.contract.conftest import build_marts
from tests.contract.test_dashboards_marts import OURS, THEIRS, fill
from warehouse.connection import Warehouse
from warehouse.roles import ensure_company_logins
from warehouse.settings import Settings

pytestmark = [
    pytest.mark.xdist_group("dashboards_marts"),
    pytest.mark.skipif("METABASE_URL" not in os.environ, reason="METABASE_URL names no Metabase to try it on"),
]


def test_a_real_metabase_shows_what_sql_says(warehouse: Warehouse, tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path / "home",
        metabase_url=os.environ["METABASE_URL"],
        metabase_username=os.environ.get("METABASE_USERNAME", "admin@churn.example"),
        metabase_password=SecretStr(os.environ.get("METABASE_PASSWORD", "a-long-admin-Passw0rd")),
    )
    build_marts(warehouse, tmp_path)
    with warehouse.connect() as connection:
        for mart in marts_read():
            fill(connection, mart)
        for company in (OURS, THEIRS):
            ensure_company_logins(connection, company.company_id)
    logins = WarehouseLogins(warehouse, settings)

    apply_dashboards(settings, (OURS, THEIRS), logins)

    assert apply_dashboards(settings, (OURS, THEIRS), logins, plan=True).changes == []
    lines = verify_dashboards(settings, (OURS, THEIRS), warehouse)
    assert all(line.endswith(("0 faults", "no mail server")) for line in lines)
