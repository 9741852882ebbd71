"""No company ever sees another one's row: every relation, every login, every door that Postgres has."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest

from tests.conftest import TestServer
from tests.integration.conftest import DOORS, Door, TwoCompanies, group_of, login_of
from tests.integration.warehouse.relations_seen import FOR_OPERATORS, READABLE, counts, relations
from warehouse.roles import Role, company_login

pytestmark = pytest.mark.xdist_group("two_companies")

# What two publications in one month, made by no model, and a clean source leave without rows.
EMPTY_HERE = {
    "analytics.risk_movements_by_month",
    "analytics.rejected_records_by_reason",
    "analytics.score_moves",
}
LOGINS = [(position, door) for position in (0, 1) for door in DOORS]


@pytest.mark.parametrize(("position", "door"), LOGINS)
def test_of_every_relation_a_login_sees_exactly_its_own_rows_or_nothing_at_all(
    two_companies: TwoCompanies, position: int, door: Door
) -> None:
    company_id = two_companies.company_ids[position]
    readable = READABLE[group_of(door)]
    read = 0
    with two_companies.login(company_id, door) as connection, two_companies.warehouse.connect() as owner:
        for relation, of_companies in relations(two_companies, ours=True):
            if relation.split(".")[0] not in readable or relation in FOR_OPERATORS:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(f"select from {relation} limit 1")  # type: ignore[call-overload]
                continue
            assert of_companies, f"{relation} is readable and has no company_id"
            everybody = counts(owner, relation)
            if relation not in EMPTY_HERE:
                assert set(everybody) == set(two_companies.company_ids), f"{relation} must hold rows of both"
            mine = {company_id: everybody[company_id]} if company_id in everybody else {}
            assert counts(connection, relation) == mine, relation
            read += 1
    assert read >= (13 if door is Role.company_sync else 23)


@pytest.mark.parametrize("door", DOORS)
def test_nothing_in_postgres_own_catalogs_and_statistics_names_another_companys_customer(
    two_companies: TwoCompanies, door: Door
) -> None:
    """Names of customers end like "of <company_id>", addresses like "@<company_id>.example": no such word is there."""
    company_id, other = two_companies.company_ids
    with two_companies.warehouse.connect(autocommit=True) as owner:
        owner.execute("analyze")
        seen_by_owner = owner.execute(
            "select count(*) from pg_stats where histogram_bounds::text ~ %s", [f"of {other}"]
        )
        assert seen_by_owner.fetchone() != (0,), "the statistics hold what is looked for"
        busy = two_companies.login(other, door)
        busy.execute(f"select 'of {other}' as what_another_company_asks, pg_sleep(0)")  # type: ignore[call-overload]
    leaking, refused = [], []
    with two_companies.login(company_id, door) as connection:
        for relation, _ in relations(two_companies, ours=False):
            try:
                query = f"select count(*) from {relation} as told where told::text ~ '(of |@){other}'"
                if connection.execute(query).fetchone() != (0,):  # type: ignore[call-overload]
                    leaking.append(relation)
            except psycopg.errors.InsufficientPrivilege:
                refused.append(relation)
    busy.close()
    assert leaking == []
    assert "pg_catalog.pg_statistic" in refused
    assert "pg_catalog.pg_authid" in refused
    assert "pg_catalog.pg_largeobject" in refused


def test_estimates_say_nothing_of_the_names_of_another_companys_customers(two_companies: TwoCompanies) -> None:
    """A histogram would: whoever asks for plans with `name < ...` again and again finds its bounds."""
    company_id, _ = two_companies.company_ids
    with two_companies.warehouse.connect(autocommit=True) as owner:
        owner.execute("analyze")
        kept = owner.execute(
            "select schemaname || '.' || tablename, attname, coalesce(array_length(histogram_bounds, 1), 0)"
            " + coalesce(array_length(most_common_freqs, 1), 0) from pg_stats"
            " where schemaname in ('analytics', 'predictions') and attname in ('customer_id', 'customer_name')"
        ).fetchall()
    assert [row for row in kept if row[2] > 3 or row[1] == "customer_name"] == []
    with two_companies.login(company_id) as connection:
        estimates = {
            connection.execute(
                f"explain (format json) select from analytics.customer_overview where customer_name < '{bound}'"  # type: ignore[arg-type]
            ).fetchone()[0][0]["Plan"]["Plan Rows"]  # type: ignore[index]
            for bound in ("A", "Person c1", "Person c3", "Person c9", "Z")
        }
    assert len(estimates) == 1


TRICKS = [
    "set role {other}",
    "set role churn_company",
    "set role churn_operator",
    "set role churn_owner",
    "set session authorization {other}",
    "set local role {other}",
    "select set_config('role', '{other}', false)",
    "select set_config('session_authorization', '{other}', false)",
    "alter role {me} rename to company_me",
    "alter role {me} inherit bypassrls",
    "grant churn_operator to {me}",
    "grant churn_company to {other} with set true",
    "alter role {other} rename to company_x",
    "grant {other} to current_user",
    "create schema mine",
    "create table public.mine (id int)",
    "create temporary table mine (id int)",
    "create function public.leak(text) returns bool language sql cost 0.0001 as 'select true'",
    "create function pg_temp.leak(text) returns bool language plpgsql cost 0.0001 as 'begin return true; end'",
    "create view public.leak as select * from predictions.churn_scores",
    "create rule leak as on select to predictions.churn_scores do instead select 1",
    "create policy all_of_it on predictions.churn_scores_v1 using (true)",
    "alter view predictions.churn_scores set (security_invoker = false)",
    "alter table analytics.customer_overview no force row level security",
    "alter table analytics.customer_overview owner to current_user",
    "copy analytics.customer_overview from stdin",
    "copy (select 1) to '/tmp/mine'",
    "copy (select 1) to program 'cat'",
    "select pg_read_file('postgresql.conf')",
    "select pg_ls_dir('.')",
    "select lo_import('/etc/hostname')",
    "select pg_stat_reset()",
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = '{other}'",
    "select query from pg_stat_activity where usename = '{other}' and query <> '<insufficient privilege>'",
    "load 'auto_explain'",
    "create extension dblink",
    "cluster analytics.customer_overview",
    "do $$ begin lock table analytics.customer_overview in access exclusive mode; end $$",
    "select * from analytics.customer_overview for update",
    "select nextval('ops.companies_company_id_seq')",
    "select ops.without_secrets('{{}}')",
]


@pytest.mark.parametrize("door", DOORS)
def test_a_login_becomes_nobody_else_and_makes_nothing_that_others_might_run(
    two_companies: TwoCompanies, door: Door
) -> None:
    company_id, other = two_companies.company_ids
    done = []
    with (
        two_companies.login(other, door) as _,
        two_companies.login(company_id, door) as connection,
    ):
        connection.execute("set default_transaction_read_only = off")
        for trick in TRICKS:
            statement = trick.format(other=login_of(other, door), me=login_of(company_id, door))
            with suppress(
                psycopg.errors.InsufficientPrivilege,
                psycopg.errors.UndefinedObject,
                psycopg.errors.FeatureNotSupported,
                psycopg.errors.ObjectNotInPrerequisiteState,
                psycopg.errors.WrongObjectType,
                psycopg.errors.UndefinedTable,
                psycopg.errors.UndefinedFile,
            ):
                answer = connection.execute(statement)  # type: ignore[call-overload]
                if answer.description is None or answer.fetchall():
                    done.append(statement)
        assert connection.execute("select current_user, session_user").fetchone() == (login_of(company_id, door),) * 2
    assert done == []


def test_metabases_login_starts_read_only_with_a_timeout_and_is_a_member_of_nothing_else(
    two_companies: TwoCompanies,
) -> None:
    with two_companies.login(two_companies.company_ids[0], "metabase") as connection:
        for setting, value in (("default_transaction_read_only", "on"), ("statement_timeout", "1min")):
            assert connection.execute("select current_setting(%s)", [setting]).fetchone() == (value,)
        groups = connection.execute(
            "select rolname, pg_has_role(oid, 'set') from pg_roles where pg_has_role(oid, 'usage') and"
            " rolname <> current_user"
        ).fetchall()
        limit = connection.execute("select rolconnlimit from pg_roles where rolname = current_user").fetchone()
    assert groups == [(Role.company, False)]
    assert limit == (20,)


SETTINGS = [
    "set row_security = off",
    "set search_path = analytics, predictions, pg_temp",
    "select set_config('churn.company_id', '{other}', false)",
    "select set_config('app.company_id', '{other}', false)",
    "set application_name = '{other}'",
    "set default_transaction_read_only = off",
    "set statement_timeout = 0",
    "set role none",
    "reset session authorization",
    "reset all",
    "discard all",
    "set enable_seqscan = off",
    "set plan_cache_mode = force_generic_plan",
    "set transform_null_equals = on",
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_setting_of_a_session_shows_more(two_companies: TwoCompanies, setting: str) -> None:
    company_id, other = two_companies.company_ids
    with two_companies.login(company_id) as connection:
        connection.execute(setting.format(other=other))  # type: ignore[call-overload]
        for relation in ("analytics.customer_overview", "predictions.churn_scores", "predictions.churn_changes_v1"):
            try:
                assert set(counts(connection, relation)) == {company_id}
            except psycopg.errors.InsufficientPrivilege:
                assert "row_security" in setting


LEAKY = [
    "select count(*) from {relation} where 1 / (company_id - {other}) > -2",
    "select count(*) from {relation} where (case when company_id = {other} then 'not a number' else '1' end)::int = 1",
    "select count(*) from {relation} where company_id = {other} and customer_id::int > 0",
    "select count(*) from {relation} where pg_catalog.pg_typeof(customer_id)::text || 1 / (company_id - {other}) <> ''",
    "select 1 from {relation} where company_id = {other} or 1 / nullif(company_id - {other}, 0) > 5 limit 1",
    "select count(*) from {relation} as mine join {relation} as theirs on 1 / (theirs.company_id - {other}) > -2"
    " where theirs.customer_id = mine.customer_id",
]


@pytest.mark.parametrize("question", LEAKY)
@pytest.mark.parametrize("relation", ["analytics.customer_overview", "predictions.churn_scores"])
def test_no_error_comes_of_a_row_that_one_may_not_see(
    two_companies: TwoCompanies, question: str, relation: str
) -> None:
    company_id, other = two_companies.company_ids
    with two_companies.login(company_id) as connection:
        connection.execute(question.format(relation=relation, other=other))  # type: ignore[call-overload]


def test_prepared_statements_cursors_and_copy_show_ones_own_rows_only(two_companies: TwoCompanies) -> None:
    company_id, _ = two_companies.company_ids
    with two_companies.login(company_id) as connection:
        connection.execute("set plan_cache_mode = force_generic_plan")
        connection.execute("prepare mine as select distinct company_id from analytics.customer_overview")
        for _ in range(3):
            assert connection.execute("execute mine").fetchall() == [(company_id,)]
        with connection.transaction():
            connection.execute("declare walk cursor for select distinct company_id from predictions.churn_changes")
            assert connection.execute("fetch all from walk").fetchall() == [(company_id,)]
        for source in ("analytics.customer_overview", "(select * from predictions.churn_scores)"):
            with connection.cursor().copy(f"copy {source} to stdout") as copy:  # type: ignore[arg-type]
                lines = b"".join(map(bytes, copy)).splitlines()
            assert lines
            assert {line.split(b"\t")[0] for line in lines} == {str(company_id).encode()}


def test_a_plan_made_for_one_company_is_not_run_for_the_next(postgres: TestServer, two_companies: TwoCompanies) -> None:
    """A pool that hands a connection on between roles is our own mistake; Postgres plans again all the same."""
    with two_companies.warehouse.connect() as owner:
        (database,) = owner.execute("select current_database()").fetchone() or ("",)
    with psycopg.connect(postgres.server.url(database=database, superuser=True)) as connection:
        connection.execute("set plan_cache_mode = force_generic_plan")
        connection.execute("prepare theirs as select distinct company_id from predictions.churn_scores")
        for company_id in two_companies.company_ids * 2:
            connection.execute(f"set role {company_login(company_id, Role.company)}")  # type: ignore[call-overload]
            assert connection.execute("execute theirs").fetchall() == [(company_id,)]


def test_a_company_can_neither_hold_up_publications_nor_fill_the_disk(two_companies: TwoCompanies) -> None:
    company_id = two_companies.company_ids[0]
    with two_companies.login(company_id) as mine:
        locks = mine.execute(
            "select oid::regprocedure::text, has_function_privilege(oid, 'execute') from pg_proc"
            " where pronamespace = 'pg_catalog'::regnamespace and proname like '%advisory%'"
        ).fetchall()
        assert len(locks) >= 20
        assert [name for name, is_allowed in locks if is_allowed] == []
        mine.execute("set default_transaction_read_only = off")
        mine.commit()
        for creation in ("lo_from_bytea(0, 'mine')", "lo_create(0)", "lo_creat(-1)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                mine.execute(f"select {creation}")  # type: ignore[call-overload]
            mine.rollback()


def test_nothing_of_ours_notifies_so_that_a_company_hears_nothing_of_others(two_companies: TwoCompanies) -> None:
    with two_companies.login(two_companies.company_ids[1]) as theirs:
        theirs.execute("listen churn")
        with two_companies.warehouse.connect() as owner:
            owner.execute("update predictions.churn_cursors_v1 set newest_cursor = newest_cursor")
        assert list(theirs.notifies(timeout=0.1)) == []
