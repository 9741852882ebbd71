"""A developer's place: what is built there, what is seen there, and that production is as it was."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from psycopg import sql

from pipeline.development import places
from pipeline.development.differences import find_differences
from tests.integration.conftest import TwoCompanies
from tests.integration.dbt_project.dbt_runs import copy_project
from warehouse.companies.registry import list_companies
from warehouse.dbt_targets import DEVELOPMENT_TARGET
from warehouse.developers import (
    Developer,
    DeveloperRefused,
    DeveloperUnknown,
    drop_built_of_companies,
    drop_place,
    give_back,
    list_places,
    make_place,
    place_of,
)
from warehouse.relations import Relation
from warehouse.roles import Role, company_login

pytestmark = pytest.mark.xdist_group("two_companies")

NAME = "tested"
CHANGED = "tickets_opened_7d"


@dataclass
class Place:
    """A place of one company's, a copy of the project to change, and dbt as it is typed by hand."""

    two: TwoCompanies
    project: Path
    folder: Path
    password: str

    @property
    def developer(self) -> Developer:
        with self.two.warehouse.connect() as connection:
            return place_of(connection, NAME)

    def dbt(self, *arguments: str, target: str = DEVELOPMENT_TARGET) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(Path(sys.executable).with_name("dbt"), "--no-use-colors", *arguments, "--target", target),
                *("--project-dir", self.project, "--profiles-dir", self.folder, "--state", self.folder / "state"),
                *("--target-path", self.folder / "target", "--log-path", self.folder / "logs"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
        )

    def says(self, *arguments: str, ends_with: int = 0) -> str:
        process = self.dbt(*arguments)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == ends_with, said
        return said

    def login(self) -> psycopg.Connection[Any]:
        address = psycopg.conninfo.conninfo_to_dict(self.two.warehouse.url("postgresql"))
        return psycopg.connect(**{**address, "user": f"dev_{NAME}", "password": self.password}, autocommit=True)

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.project / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def place(two_companies: TwoCompanies, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The project with one feature changed, and production's manifest from before."""
    folder = tmp_path_factory.mktemp("place")
    project = copy_project(folder / "project")
    (folder / "state").mkdir()
    shutil.copy(two_companies.dbt.folder / "target" / "manifest.json", folder / "state" / "manifest.json")
    with two_companies.warehouse.connect() as connection:
        password = make_place(connection, NAME, two_companies.company_ids[:1], 2)
    two_companies.warehouse.write_dbt_profile(folder, developers={f"dev_{NAME}": password}, default=DEVELOPMENT_TARGET)
    made = Place(two_companies, project, folder, password)
    made.edit("models/features/ticket_features.sql", "'days_since_opened', 7)", "'days_since_opened', 25)")
    yield made
    with two_companies.warehouse.connect() as connection:
        drop_place(connection, NAME)


def production(two: TwoCompanies) -> dict[str, Any]:
    """Every row, right, policy and definition of production."""
    state: dict[str, Any] = {}
    with two.warehouse.connect() as connection:
        relations = connection.execute(
            "select nspname, relname, relkind::text, relacl::text, reloptions::text, relrowsecurity,"
            " relforcerowsecurity, case when relkind = 'v' then pg_get_viewdef(pg_class.oid) end,"
            " array(select row(polname, polcmd, polroles, pg_get_expr(polqual, polrelid))::text"
            " from pg_policy where polrelid = pg_class.oid order by 1),"
            " array(select row(attname, format_type(atttypid, null), attacl, attstattarget)::text"
            " from pg_attribute where attrelid = pg_class.oid and attnum > 0 order by attnum)"
            " from pg_class inner join pg_namespace on pg_namespace.oid = relnamespace"
            " where relkind in ('r', 'v', 'i') and nspname !~ '^(pg_|information_schema|dev_)'"
            " and relname not in ('developers', 'developer_companies')"
        ).fetchall()
        for schema, name, kind, *rest in relations:
            state[f"{schema}.{name}"] = (kind, rest)
            if kind != "i":
                query = sql.SQL("select count(*), sum(hash_record_extended(t, 0)::numeric) from {} as t").format(
                    sql.Identifier(schema, name)
                )
                try:
                    with connection.transaction():
                        state[f"rows of {schema}.{name}"] = connection.execute(query).fetchone()
                except psycopg.errors.UndefinedFunction:  # a column of type json
                    query = sql.SQL("select md5(string_agg(t::text, ',' order by t::text)) from {} as t").format(
                        sql.Identifier(schema, name)
                    )
                    state[f"rows of {schema}.{name}"] = connection.execute(query).fetchone()
        state["schemas"] = connection.execute(
            "select nspname, nspacl::text from pg_namespace where nspname !~ '^(pg_|dev_)' order by 1"
        ).fetchall()
    return state


def test_a_session_of_development_leaves_production_as_it_was(place: Place) -> None:
    before = production(place.two)
    place.says("build", "--select", "state:modified", "--defer")
    place.says("build", "--select", "ticket_features", "--defer", "--full-refresh")
    place.says("seed", "--full-refresh")
    place.edit(
        "models/features/_ticket_features.yml",
        "    data_tests:",
        "    data_tests:\n      - holds: {arguments: {condition: '1 = 2'}}",
    )
    said = place.says("test", "--select", "ticket_features", "--store-failures", ends_with=1)
    assert "holds_ticket_features_1_2" in said
    place.edit("models/features/_ticket_features.yml", "\n      - holds: {arguments: {condition: '1 = 2'}}", "")
    place.edit("models/features/payment_features.sql", "with\n", "with nonsense\n")
    place.says("build", "--select", "payment_features", "--defer", ends_with=1)
    place.edit("models/features/payment_features.sql", "with nonsense\n", "with\n")
    killed = place.dbt("build", "--select", "customer_features+", "--defer", "--full-refresh")
    _wait_for_a_build(place)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert production(place.two) == before


def _wait_for_a_build(place: Place) -> None:
    end = time.monotonic() + 60
    with place.two.warehouse.connect(autocommit=True) as connection:
        while time.monotonic() < end:
            row = connection.execute(
                "select count(*) from pg_stat_activity where usename = %s and backend_xid is not null", [f"dev_{NAME}"]
            ).fetchone()
            if row and row[0]:
                return
            time.sleep(0.05)
    raise AssertionError("dbt began no build")


def test_what_was_built_is_of_the_companies_and_dates_that_it_shows(place: Place) -> None:
    place.says("build", "--select", "ticket_features", "--defer", "--exclude-resource-type", "unit_test")
    first = place.two.company_ids[0]
    with place.login() as connection:
        for relation in ("features.ticket_features", "features.customer_features"):
            rows = connection.execute(
                f"select company_id, count(distinct as_of_date) from dev_{NAME}_{relation} group by 1".encode()
            ).fetchall()
            assert rows == [(first, 2)], relation
        for relation in ("raw.customers", "predictions.churn_scores", "analytics.customer_overview", "ops.companies"):
            ids = connection.execute(f"select distinct company_id from dev_{NAME}_{relation}".encode()).fetchall()
            assert ids == [(first,)], relation
        # A condition that is cheap to ask is not asked of rows that are not shown.
        connection.execute(
            "create function pg_temp.told(text, integer) returns boolean language plpgsql cost 0.0001 as"
            " $$ begin raise exception 'told % of %', $1, $2; end $$"
        )
        told = f"select from dev_{NAME}_raw.customers where pg_temp.told(customer_id, company_id)"
        with pytest.raises(psycopg.errors.RaiseException, match=f"of {first}"):
            connection.execute(told.encode())


@pytest.mark.parametrize(
    "statement",
    [
        "select 1 from features.ticket_features",
        "select 1 from raw.customers",
        "select 1 from ops.developers",
        "drop view staging.stg_crm__customers",
        "create table features.mine (a int)",
        "create schema mine",
        "select ops.open_windows('tested')",
        "insert into dev_tested_raw.customers select * from dev_tested_raw.customers",
        "alter table dev_tested_features.customer_features owner to dev_tested",
        "set role churn_operator",
        "set role churn_owner",
        "grant churn_ml to dev_tested",
    ],
)
def test_a_developer_may_do_nothing_outside_the_place(place: Place, statement: str) -> None:
    with (
        place.login() as connection,
        pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable)),
    ):
        connection.execute(statement.encode())


def test_no_companys_login_looks_into_a_place(place: Place) -> None:
    with place.two.warehouse.connect() as connection:
        rows = connection.execute(
            "select role, nspname from pg_namespace, unnest(%s::text[]) as role"
            " where nspname ~ '^dev_' and has_schema_privilege(role, oid, 'usage')",
            [[*Role, *(company_login(company_id, Role.company) for company_id in place.two.company_ids)]],
        ).fetchall()
    assert rows == []
    for company_id in place.two.company_ids:
        with place.two.login(company_id) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"select 1 from dev_{NAME}_features.ticket_features".encode())


def test_the_difference_is_told_row_by_row_and_by_who_reads_it(place: Place) -> None:
    place.says("build", "--select", "ticket_features", "--defer", "--exclude-resource-type", "unit_test")
    manifest = place.folder / "target" / "manifest.json"
    (difference,) = find_differences(
        place.two.warehouse,
        place.developer,
        ["features.ticket_features"],
        orjson.loads(manifest.read_bytes()),
        place.folder / "target" / "compiled",
    )
    first = place.two.company_ids[0]
    with place.two.warehouse.connect() as connection:
        (slug,) = [company.slug for company in list_companies(connection) if company.company_id == first]
        (changed, seen) = connection.execute(
            f"select count(*) filter (where before.{CHANGED} <> after.{CHANGED}), count(*)"
            f" from features.ticket_features as before inner join dev_{NAME}_features.ticket_features as after"
            " using (company_id, customer_id, as_of_date)".encode()
        ).fetchone() or (0, 0)
    assert changed > 0
    rows = difference.rows[slug]
    assert (rows.added, rows.removed, rows.changed, rows.same) == (0, 0, changed, seen - changed)
    assert [column.name for column in difference.columns] == [CHANGED]
    assert difference.key == ("company_id", "as_of_date", "customer_id")
    assert any(CHANGED in feature for feature in difference.readers.features)
    assert difference.examples[0].changes.keys() == {CHANGED}


def test_what_was_built_of_companies_goes_with_an_erasure_and_is_built_again(place: Place) -> None:
    table = f"dev_{NAME}_features.ticket_features"
    for _ in range(2):
        place.says("build", "--select", "ticket_features", "--defer", "--exclude-resource-type", "unit_test")
        assert table in drop_built_of_companies(place.two.warehouse)
        with place.two.warehouse.connect() as connection:
            assert connection.execute("select to_regclass(%s)", [table]).fetchone() == (None,)


def test_what_production_takes_along_is_told_and_comes_back_only_when_it_is_given_back(place: Place) -> None:
    relation = Relation("staging", "stg_crm__tickets")
    place.edit("models/staging/crm/stg_crm__tickets.sql", "select", "select -- changed\n")
    place.says("run", "--select", "stg_crm__tickets", "--defer")
    with place.two.warehouse.connect() as connection:
        connection.execute(f"drop view dev_{NAME}_staging.stg_crm__tickets".encode())
        connection.execute(f"drop view dev_{NAME}_staging.stg_crm__customers".encode())
    said = place.says("compile", "--select", "stg_crm__customers")
    assert f"Your {relation} is gone" in said
    assert "churn dev revert stg_crm__tickets" in said
    with place.login() as connection:
        assert connection.execute(f"select 1 from dev_{NAME}_staging.stg_crm__customers limit 1".encode()).fetchone()
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute(f"select 1 from dev_{NAME}_staging.stg_crm__tickets".encode())
    with place.two.warehouse.connect() as connection:
        assert give_back(connection, NAME, relation)
        assert not give_back(connection, NAME, relation)
    with place.login() as connection:
        assert connection.execute(f"select 1 from dev_{NAME}_staging.stg_crm__tickets limit 1".encode()).fetchone()


def test_without_a_place_dbt_by_hand_says_how_to_get_one(place: Place, tmp_path: Path) -> None:
    place.two.warehouse.write_dbt_profile(tmp_path, default=DEVELOPMENT_TARGET)
    nowhere = Place(place.two, place.project, tmp_path, "")
    process = nowhere.dbt("build", "--select", "ticket_features")
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "churn dev start" in said
    assert "--target prod" in said


def test_places_are_listed_and_names_that_cannot_be_are_refused(place: Place) -> None:
    with place.two.warehouse.connect() as connection:
        listed = {each.name: each for each in list_places(connection)}
        (slug,) = [
            company.slug for company in list_companies(connection) if company.company_id == place.two.company_ids[0]
        ]
        assert listed[NAME].companies == (slug,)
        assert listed[NAME].newest_dates == 2
        for name in ("Anna", "a b", "", "a_b", "x" * 21, "1a", "a;drop"):
            with pytest.raises(DeveloperRefused):
                make_place(connection, name, None, None)
        with pytest.raises(DeveloperUnknown, match="tested"):
            place_of(connection, "nobody")


def test_a_usual_name_is_one_that_a_place_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    for user, name in (("Anna.Berg", "annaberg"), ("42", "me"), ("7of9", "of9"), ("x" * 30, "x" * 20)):
        monkeypatch.setattr("getpass.getuser", lambda user=user: user)
        assert places.usual_name() == name
