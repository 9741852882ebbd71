"""The first start of the stack: a fresh Metabase before there are marts, and links as people's browsers know it."""

from __future__ import annotations

from pathlib import Path

from pipeline.telling.dashboards import NO_MARTS, apply_dashboards
from tests.integration.pipeline.integrations.metabase.applying import apply, settings
from tests.integration.pipeline.integrations.metabase.stand_in.server import StandIn
from warehouse.connection import Warehouse


def test_before_the_first_run_metabase_gets_its_administrator_and_nothing_else(
    url: str, metabase: StandIn, warehouse: Warehouse, tmp_path: Path
) -> None:
    given = settings(url, home=tmp_path)
    assert apply_dashboards(given, warehouse, plan=True) == [NO_MARTS]
    assert not metabase.has_user
    assert apply_dashboards(given, warehouse) == [NO_MARTS]
    assert metabase.has_user, "else whoever comes first is the administrator"
    assert not metabase.dashboards
    assert not metabase.databases
    assert apply_dashboards(given, warehouse) == [NO_MARTS]


def test_links_are_the_address_that_metabase_says_of_itself(url: str, metabase: StandIn) -> None:
    metabase.site_url = "https://bi.example.com/"
    urls = apply(url, run_cards=False).dashboard_urls.values()
    assert urls
    assert all(link.startswith("https://bi.example.com/dashboard/") for link in urls)
