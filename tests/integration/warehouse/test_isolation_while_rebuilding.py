"""While everything is built from scratch no company sees another one's row, and who was forgotten stays so."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from pipeline.prediction.tasks import CONTRACTS, CUSTOMER_TASKS
from tests.conftest import TestServer
from tests.integration.column_values import VALUES
from tests.integration.conftest import DOORS, Door, TwoCompanies, group_of
from tests.integration.crm_history import END
from tests.integration.warehouse.relations_seen import FOR_OPERATORS, READABLE, counts, relations
from warehouse.companies.registry import list_companies
from warehouse.privacy.erasure import Receipt, forget_customer, rows_of_customer
from warehouse.roles import Role, relations_open_to_all_companies

pytestmark = pytest.mark.xdist_group("two_companies")


@dataclass
class Poller:
    """A login of a company that reads everything that it may, again and again, and notes what it should not see."""

    companies: TwoCompanies
    door: Door
    read: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    polls: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        company_id = self.companies.company_ids[0]
        readable = [
            name
            for name, _ in relations(self.companies, ours=True)
            if name.split(".")[0] in READABLE[group_of(self.door)] and name not in FOR_OPERATORS
        ]
        with (
            self.companies.login(company_id, self.door) as reader,
            self.companies.warehouse.connect(autocommit=True) as owner,
        ):
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
        self.read.add(name)
        if seen - {company_id}:
            self.wrong.append(f"{name} showed {seen}")


@dataclass(frozen=True)
class Rebuilt:
    """What was seen while everything was built again, one customer having been forgotten before."""

    pollers: list[Poller]
    forgotten: str
    receipt: Receipt


@pytest.fixture(scope="module")
def rebuilt(postgres: TestServer, two_companies: TwoCompanies) -> Rebuilt:
    company_id = two_companies.company_ids[0]
    with two_companies.warehouse.connect() as connection:
        (company,) = [company for company in list_companies(connection) if company.company_id == company_id]
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
        CUSTOMER_TASKS,
        company,
        customer,
        actor="tests",
        now=END,
        next_training=END + timedelta(days=7),
    )
    pollers = [Poller(two_companies, door) for door in DOORS]
    threads = [threading.Thread(target=poller.run) for poller in pollers]
    for thread in threads:
        thread.start()
    try:
        two_companies.dbt.run("build", "--full-refresh", "--exclude-resource-type", "unit_test", "test")
    finally:
        for poller in pollers:
            poller.over.set()
        for thread in threads:
            thread.join()
    return Rebuilt(pollers, customer, receipt)


def _fill_what_is_empty(postgres: TestServer, companies: TwoCompanies, company_id: int, customer: str) -> None:
    """A row of the customer in each table of customers that has none: a new table is in the proof from the start."""
    with companies.warehouse.connect() as owner:
        (database,) = owner.execute("select current_database()").fetchone() or ("",)
    with psycopg.connect(postgres.server.url(database=database, superuser=True)) as connection:
        connection.execute("set session_replication_role = replica")  # Rows that others refer to are not needed.
        _fill(connection, company_id, customer)


def _fill(connection: psycopg.Connection[Any], company_id: int, customer: str) -> None:
    tables = connection.execute(
        "select attrelid::regclass::text, attname from pg_attribute join pg_class on pg_class.oid = attrelid"
        " where attname in ('customer_id', 'entity_id') and relkind in ('r', 'p') order by 1"
    ).fetchall()
    for table, key in tables:
        there = connection.execute(
            f"select from {table} where company_id = %s and {key} = %s limit 1", [company_id, customer]
        ).fetchone()
        if there is not None:
            continue
        columns = connection.execute(
            "select attname, format_type(atttypid, null) from pg_attribute where attrelid = %s::regclass and attnum > 0"
            " and not attisdropped and attidentity = ''"
            " and (attnotnull and not atthasdef or attname in ('company_id', 'customer_id', 'entity_id', 'task'))",
            [table],
        ).fetchall()
        given = {"company_id": str(company_id), "customer_id": f"'{customer}'", "entity_id": f"'{customer}'"}
        given["task"] = "'churn'"
        names = ", ".join(name for name, _ in columns)
        row = ", ".join(given.get(name) or VALUES.get(kind, "'1'") for name, kind in columns)
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
    for poller in rebuilt.pollers:
        assert poller.wrong == [], poller.door
        assert poller.polls > 20, poller.door


def test_what_was_polled_is_every_relation_of_every_task(two_companies: TwoCompanies, rebuilt: Rebuilt) -> None:
    published = {
        str(relation)
        for contract in CONTRACTS
        for relation in (contract.scores, contract.scores_v1, contract.current, contract.changes, contract.snapshot)
    }
    marts = {name for name, _ in relations(two_companies, ours=True) if name.startswith("analytics.")} - FOR_OPERATORS
    for poller in rebuilt.pollers:
        assert published | (marts if group_of(poller.door) is Role.company else set()) <= poller.read, poller.door


def test_a_forgotten_customer_is_in_no_table_after_everything_was_built_anew(
    two_companies: TwoCompanies, rebuilt: Rebuilt
) -> None:
    company_id = two_companies.company_ids[0]
    marks = f"Person {rebuilt.forgotten} of {company_id}|^{rebuilt.forgotten}@{company_id}"
    left = []
    with two_companies.warehouse.connect() as connection:
        assert rows_of_customer(connection, company_id, rebuilt.forgotten) == {}
        for relation, of_companies in relations(two_companies, ours=True):
            keys = connection.execute(
                "select attname from pg_attribute where attrelid = %s::regclass"
                " and attname in ('customer_id', 'entity_id')",
                [relation],
            ).fetchall()
            told = f"to_jsonb(told)::text ~ '({marks})'"
            for (key,) in keys if of_companies else ():
                told += f" or told.company_id = {company_id} and told.{key} = '{rebuilt.forgotten}'"
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
    first, second = two_companies.company_ids
    with two_companies.warehouse.connect() as connection:
        customers = counts(connection, "(select distinct company_id, customer_id from raw.customers) as customers")
    assert customers == {first: 39, second: 40}
