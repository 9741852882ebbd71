"""No company ever sees another one's row: every relation, every login, every door that Postgres has."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.conftest import TestServer
from tests.integration.conftest import DOORS, Door, TwoCompanies, group_of, login_of
from tests.integration.crm_history import END
from warehouse.companies.registry import list_companies
from warehouse.privacy.erasure import Receipt, forget_customer, rows_of_customer
from warehouse.roles import Role, company_login, relations_open_to_all_companies

pytestmark = pytest.mark.xdist_group("two_companies")

EVERY_RELATION = """
    select nspname || '.' || quote_ident(relname), nspname in ('pg_catalog', 'information_schema'),
        exists (select from pg_attribute where attrelid = pg_class.oid and attname = 'company_id')
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where relkind in ('r', 'p', 'v', 'm', 'f') and nspname not like 'pg\\_toast%' and nspname not like 'pg\\_temp%'
    order by 1
"""
READABLE = {Role.company: ("analytics", "predictions"), Role.company_sync: ("predictions",)}
# Errors of the installation's own runs are nothing for a company.
FOR_OPERATORS = {"analytics.run_history"}
# What two publications in one month, made by no model, and a clean source leave without rows.
EMPTY_HERE = {
    "analytics.risk_movements_by_month",
    "analytics.rejected_records_by_reason",
    "analytics.score_moves",
}
LOGINS = [(position, door) for position in (0, 1) for door in DOORS]


def relations(companies: TwoCompanies, *, ours: bool) -> list[tuple[str, bool]]:
    """Every relation (of ours, or of Postgres), and whether it has a company_id."""
    with companies.warehouse.connect() as connection:
        found = connection.execute(EVERY_RELATION).fetchall()
    return [(name, of_companies) for name, is_system, of_companies in found if is_system != ours]


def counts(connection: psycopg.Connection[Any], relation: str) -> dict[int, int]:
    query = f"select company_id, count(*) from {relation} group by company_id"
    return dict(connection.execute(query).fetchall())  # type: ignore[call-overload]


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
                found = connection.execute(statement)  # type: ignore[call-overload]
                if found.description is None or found.fetchall():
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
    """A pool that hands a connection on between roles is our own mistake; Postgres plans anew all the same."""
    with two_companies.warehouse.connect() as owner:
        (database,) = owner.execute("select current_database()").fetchone() or ("",)
    with psycopg.connect(postgres.server.url(database=database, superuser=True)) as connection:
        connection.execute("set plan_cache_mode = force_generic_plan")
        connection.execute("prepare theirs as select distinct company_id from predictions.churn_scores")
        for company_id in two_companies.company_ids * 2:
            connection.execute(f"set role {company_login(company_id, Role.company)}")  # type: ignore[call-overload]
            assert connection.execute("execute theirs").fetchall() == [(company_id,)]


def test_a_company_can_neither_hold_up_publications_nor_fill_the_disk(two_companies: TwoCompanies) -> None:
    one = two_companies.company_ids[0]
    with two_companies.login(one) as mine:
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


@dataclass
class Poller:
    """A company's login that reads everything that it may, again and again, and notes what it should not see."""

    companies: TwoCompanies
    wrong: list[str] = field(default_factory=list)
    polls: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        company_id = self.companies.company_ids[0]
        marts = [
            name for name, _ in relations(self.companies, ours=True) if name.split(".")[0] in READABLE[Role.company]
        ]
        readable = [name for name in marts if name != "predictions.churn_sent" and name not in FOR_OPERATORS]
        with self.companies.login(company_id) as reader, self.companies.warehouse.connect(autocommit=True) as owner:
            while not self.over.is_set():
                for name in readable:
                    self._read(reader, name, company_id)
                self.wrong += [f"{name} is open" for name in relations_open_to_all_companies(owner)]
                self.polls += 1

    def _read(self, reader: psycopg.Connection[Any], name: str, company_id: int) -> None:
        try:
            seen = set(counts(reader, name))
        except (psycopg.errors.UndefinedTable, psycopg.errors.LockNotAvailable):
            return  # Renamed under our hands: nothing was shown.
        if seen - {company_id}:
            self.wrong.append(f"{name} showed {seen}")


@dataclass(frozen=True)
class Rebuilt:
    """What was seen while everything was built anew, one customer having been forgotten before."""

    poller: Poller
    forgotten: str
    receipt: Receipt


@pytest.fixture(scope="module")
def rebuilt(postgres: TestServer, two_companies: TwoCompanies) -> Rebuilt:
    company_id = two_companies.company_ids[0]
    with two_companies.warehouse.connect() as connection:
        (company,) = [one for one in list_companies(connection) if one.company_id == company_id]
        row = connection.execute(
            "select customer_id from features.churn_labels as labels"
            " join predictions.churn_current using (company_id, customer_id)"
            " where company_id = %s order by labels.as_of_date, customer_id limit 1",
            [company_id],
        ).fetchone()
        assert row
        customer = str(row[0])
        connection.execute(
            "insert into raw.rejected_records (company_id, entity, load_id, record_id, reason, payload, payload_hash)"
            " select %s, 'payments', 1, 'p-new', 'no date', jsonb_build_object('customer', %s::text), 'x'",
            [company_id, customer],
        )
        connection.execute(
            "insert into ml.training_runs (task, company_id, rung, status, model_name, model_version, as_of_date)"
            " values ('churn', %(id)s, 'own_model', 'promoted', 'churn-subscriptions', '1', '2024-04-02'),"
            " ('churn', %(id)s, 'own_model', 'promoted', 'churn-subscriptions', '2', '2025-07-20')",
            {"id": company_id},
        )
    _fill_what_is_empty(postgres, two_companies, company_id, customer)
    receipt = forget_customer(
        two_companies.warehouse,
        company,
        customer,
        actor="tests",
        now=END,
        next_training=END + timedelta(days=7),
    )
    poller = Poller(two_companies)
    thread = threading.Thread(target=poller.run)
    thread.start()
    try:
        two_companies.dbt.run("build", "--full-refresh", "--exclude-resource-type", "unit_test", "test")
    finally:
        poller.over.set()
        thread.join()
    return Rebuilt(poller, customer, receipt)


def _fill_what_is_empty(postgres: TestServer, companies: TwoCompanies, company_id: int, customer: str) -> None:
    """A row of the customer in each table of customers that has none: a new table is in the proof from the start."""
    values = {
        "text": "'low'",
        "integer": "1",
        "bigint": "1",
        "double precision": "0.5",
        "numeric": "0.5",
        "boolean": "true",
        "date": "'2025-07-01'",
        "timestamp with time zone": "now()",
        "json": "'[]'",
        "jsonb": "'[]'",
        "text[]": "'{low}'",
    }
    with companies.warehouse.connect() as owner:
        (database,) = owner.execute("select current_database()").fetchone() or ("",)
    with psycopg.connect(postgres.server.url(database=database, superuser=True)) as connection:
        connection.execute("set session_replication_role = replica")  # Rows that others refer to are not needed.
        _fill(connection, company_id, customer, values)


def _fill(connection: psycopg.Connection[Any], company_id: int, customer: str, values: dict[str, str]) -> None:
    tables = connection.execute(
        "select attrelid::regclass::text from pg_attribute join pg_class on pg_class.oid = attrelid"
        " where attname = 'customer_id' and relkind in ('r', 'p') order by 1"
    ).fetchall()
    for (table,) in tables:
        there = connection.execute(
            f"select from {table} where company_id = %s and customer_id = %s limit 1", [company_id, customer]
        ).fetchone()
        if there is not None:
            continue
        columns = connection.execute(
            "select attname, format_type(atttypid, null) from pg_attribute where attrelid = %s::regclass and attnum > 0"
            " and not attisdropped and attidentity = ''"
            " and (attnotnull and not atthasdef or attname in ('company_id', 'customer_id'))",
            [table],
        ).fetchall()
        given = {"company_id": str(company_id), "customer_id": f"'{customer}'"}
        names = ", ".join(name for name, _ in columns)
        row = ", ".join(given.get(name) or values.get(kind, "'1'") for name, kind in columns)
        _insert_unchecked(connection, table, f"insert into {table} ({names}) values ({row})")


def _insert_unchecked(connection: psycopg.Connection[Any], table: str, insert: str) -> None:
    """What a made-up row breaks is taken from the table: this is about where rows are, not what is in them."""
    while True:
        try:
            with connection.transaction():
                connection.execute(insert)  # type: ignore[call-overload]
            return
        except psycopg.errors.CheckViolation as error:
            connection.execute(f"alter table {table} drop constraint {error.diag.constraint_name}")  # type: ignore[call-overload]


def test_while_everything_is_built_anew_no_poll_sees_an_open_table_or_another_companys_row(rebuilt: Rebuilt) -> None:
    assert rebuilt.poller.wrong == []
    assert rebuilt.poller.polls > 20


def test_a_forgotten_customer_is_in_no_table_after_everything_was_built_anew(
    two_companies: TwoCompanies, rebuilt: Rebuilt
) -> None:
    company_id = two_companies.company_ids[0]
    marks = f"Person {rebuilt.forgotten} of {company_id}|^{rebuilt.forgotten}@{company_id}"
    left = []
    with two_companies.warehouse.connect() as connection:
        assert rows_of_customer(connection, company_id, rebuilt.forgotten) == {}
        for relation, of_companies in relations(two_companies, ours=True):
            of_customers = connection.execute(
                "select from pg_attribute where attrelid = %s::regclass and attname = 'customer_id'", [relation]
            ).fetchone()
            named = f"told.company_id = {company_id} and told.customer_id = '{rebuilt.forgotten}'"
            told = f"to_jsonb(told)::text ~ '({marks})'" + (f" or {named}" if of_customers and of_companies else "")
            for (row,) in connection.execute(f"select to_jsonb(told) from {relation} as told where {told}"):  # type: ignore[call-overload]
                if row.get("operation") != "delete":
                    left.append((relation, row))
        deletes = connection.execute(
            "select operation, reasons, churn_probability from predictions.churn_changes"
            " where company_id = %s and customer_id = %s",
            [company_id, rebuilt.forgotten],
        ).fetchall()
    assert left == []
    assert deletes == [("delete", None, None)]


def test_the_receipt_names_no_person_and_the_models_that_learned_from_him(
    two_companies: TwoCompanies, rebuilt: Rebuilt
) -> None:
    assert {"raw.customers", "raw.rejected_records", "features.churn_labels", "predictions.churn_scores_v1"} <= set(
        rebuilt.receipt.rows
    )
    assert {"ml.shadow_scores", "ml.staged_scores", "analytics.customer_overview"} <= set(rebuilt.receipt.rows)
    learned = {(model.model, model.version) for model in rebuilt.receipt.models}
    assert learned == {("churn-subscriptions", "2")} | {("churn-x", version) for version in "123"}
    with two_companies.warehouse.connect() as connection:
        (receipt,) = connection.execute("select to_jsonb(erasures) from ops.erasures").fetchone() or ({},)
    assert "Person" not in str(receipt)
    assert re.fullmatch(r"\\x[0-9a-f]{64}", receipt["customer_hash"])
    assert rebuilt.forgotten.encode().hex() not in receipt.pop("customer_hash")
    assert f"'{rebuilt.forgotten}'" not in str(receipt)
    (trained,) = [model for model in receipt["models"] if model["model"] == "churn-subscriptions"]
    assert trained["retrained_at"].startswith("2025-07-27")


def test_the_rest_of_the_company_is_where_it_was(two_companies: TwoCompanies, rebuilt: Rebuilt) -> None:
    one, two = two_companies.company_ids
    with two_companies.warehouse.connect() as connection:
        customers = counts(connection, "(select distinct company_id, customer_id from raw.customers) as customers")
    assert customers == {one: 39, two: 40}
