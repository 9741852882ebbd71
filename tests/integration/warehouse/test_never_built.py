"""A past date is built in a warehouse that a run has built before."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.integration.conftest import Churn
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.prediction.feature_store import NeverBuilt, refuse_never_built


def test_where_no_run_has_built_anything_a_date_is_refused_with_what_builds_all(warehouse: Warehouse) -> None:
    with pytest.raises(NeverBuilt, match="Nothing has been built in this warehouse yet") as refused:
        refuse_never_built(warehouse)
    assert "`churn run` builds it" in refused.value.advice


def test_a_warehouse_that_has_features_takes_a_date(warehouse: Warehouse) -> None:
    with psycopg.connect(warehouse.url("postgresql"), autocommit=True) as connection:
        connection.execute("create schema if not exists features")
        connection.execute("create table features.customer_features (company_id integer)")
    refuse_never_built(warehouse)


# Dagster's own, of what it calls preview or deprecated, where nothing in this process has loaded it before.
@pytest.mark.filterwarnings("ignore")
def test_the_command_ends_with_that_and_not_with_the_text_of_dbt(
    churn: Churn, add_company: Callable[..., Company]
) -> None:
    add_company("acme")
    ended = churn("backfill", "2026-01-01")
    assert ended.exit_code == 1
    assert "Nothing has been built in this warehouse yet" in str(ended.exception)
    assert "`churn run` builds it" in str(ended.exception)
