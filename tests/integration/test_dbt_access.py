"""What the marts that dbt builds open, and to whom; what a company sees of them is in test_isolation."""

from __future__ import annotations

import psycopg
import pytest

from tests.integration.conftest import SCORED, TwoCompanies
from warehouse.roles import Role, relations_open_to_all_companies

pytestmark = pytest.mark.xdist_group("two_companies")


def test_every_mart_forces_row_level_security_with_policies_for_all_its_readers(two_companies: TwoCompanies) -> None:
    with two_companies.warehouse.connect() as connection:
        tables = connection.execute(
            "select relname, relrowsecurity and relforcerowsecurity,"
            " (select count(*) from pg_policy where polrelid = pg_class.oid),"
            " has_table_privilege('churn_company', oid, 'select'), has_table_privilege('churn_ml', oid, 'select')"
            " from pg_class where relnamespace = 'analytics'::regnamespace and relkind in ('r', 'v', 'm') order by 1"
        ).fetchall()
        assert len(tables) >= 10
        assert tables == [(mart, True, 3, True, False) for mart, *_ in tables]
        assert relations_open_to_all_companies(connection) == []


def test_the_overview_shows_the_reasons_that_raise_the_risk_and_what_is_at_stake(
    two_companies: TwoCompanies,
) -> None:
    with two_companies.warehouse.connect() as connection:
        rows = connection.execute(
            "select first_reason, second_reason, third_reason, churn_probability, value_at_stake,"
            " round(0.25 * greatest(revenue_90d, 0), 2) from analytics.customer_overview where risk_level is not null"
        ).fetchall()
        unscored = connection.execute(
            "select count(*) from analytics.customer_overview where risk_level is null and value_at_stake is null"
        ).fetchone()
    assert len(rows) >= 2 * SCORED - 1  # Another test forgets one.
    for first, second, third, probability, at_stake, expected in rows:
        assert (first, second, third) == ("2 tickets are open", "An invoice is overdue", None)
        assert probability == 0.25
        assert abs(at_stake - expected) <= 0.01
    assert unscored > (0,)


def test_the_machine_learning_role_reads_features_and_no_raw_record(
    two_companies: TwoCompanies,
) -> None:
    with two_companies.warehouse.connect(Role.ml) as connection:
        assert connection.execute("select count(*) from features.churn_feature_matrix").fetchone() > (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select name from raw.customers")
