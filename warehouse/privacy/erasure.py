"""Forgetting a person: every row of a customer goes, a receipt without personal data stays.

Which tables hold customers is read from the catalog, so that a new one needs no word here. Followers of the feed are
told by a delete, which alone goes on naming the customer until it is compacted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, LiteralString

import orjson
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from warehouse import relations
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.decisions.publication import CONTRACT as DECISIONS
from warehouse.developers import BUILT_BY_DEVELOPERS, drop_built_of_companies
from warehouse.errors import WarehouseError
from warehouse.landing import tracked
from warehouse.landing.erased import Hashes, names_in, read_erased, read_hashes, withhold
from warehouse.landing.version_log import hold_off_loads
from warehouse.logs.operations import record_audit
from warehouse.prediction.task_relations import TaskRelations
from warehouse.publication.feed import withdraw_entity
from warehouse.relations import ENTITY_RELATIONS, REJECTED_RECORDS, TRACKED_EVENTS, Relation

Connection = psycopg.Connection[Any]

PUBLISHED = "predictions"
_RECORD_ENTITIES = ("tickets", "payments", "events", "sends")

_TABLES: LiteralString = f"""
    select pg_namespace.nspname, pg_class.relname, array_agg(pg_attribute.attname::text)
    from pg_attribute
    inner join pg_class on pg_class.oid = pg_attribute.attrelid
    inner join pg_namespace on pg_namespace.oid = pg_class.relnamespace
    where pg_attribute.attnum > 0
        and not pg_attribute.attisdropped
        and pg_class.relkind in ('r', 'p')
        and not pg_class.relispartition
        and pg_namespace.nspname not in ('pg_catalog', 'information_schema')
        and pg_namespace.nspname not like 'pg\\_%%'
        and not ({BUILT_BY_DEVELOPERS})
    group by 1, 2
    having 'company_id' = any (array_agg(pg_attribute.attname::text))
    order by 1, 2
"""  # noqa: S608 - fixed text


class CustomerUnknown(WarehouseError):
    """The warehouse holds nothing of this customer."""


@dataclass(frozen=True)
class CustomerTable:
    """A table with rows of customers: by customer_id, or by entity_id where the row's task is asked about customers.

    A feed's deletes are no rows of the customer: they stay until they are compacted.
    """

    relation: Relation
    is_of_tasks: bool
    is_feed: bool

    @property
    def column(self) -> sql.Identifier:
        """The column of the customer's id."""
        return sql.Identifier("entity_id" if self.is_of_tasks else "customer_id")

    @property
    def condition(self) -> sql.Composed:
        """Which rows count, besides the company's."""
        of_customers = relations.compose(" and task in (select task from {tasks} where entity = 'customer')")
        return sql.Composed(
            [
                of_customers if self.is_of_tasks else sql.SQL(""),
                sql.SQL(" and operation <> 'delete'" if self.is_feed else ""),
            ]
        )


@dataclass(frozen=True)
class Places:
    """Where a customer's rows are: tables by customer, and those that know only the records' ids."""

    by_customer: list[CustomerTable]
    by_record: list[tuple[Relation, str]]


@dataclass(frozen=True)
class ModelThatSaw:
    """A model version that learned from the customer, and when its successor is trained."""

    model: str
    version: str
    retrained_at: datetime


@dataclass(frozen=True)
class Receipt:
    """What an erasure did: rows that went, by relation, models that had learned from the customer, and the tables of
    developers that were dropped."""

    erasure_id: int
    rows: Mapping[str, int]
    models: Sequence[ModelThatSaw]
    dropped: Sequence[str]


def places(conn: Connection) -> Places:
    """Every table that holds customers, or records of theirs, but for what developers built."""
    by_customer: list[CustomerTable] = []
    by_record: list[tuple[Relation, str]] = []
    record_keys = [f"{entity.removesuffix('s')}_id" for entity in _RECORD_ENTITIES]
    for schema, name, columns in conn.execute(_TABLES):
        relation = Relation(schema, name)
        if {"customer_id"} & {*columns} or {"entity_id", "task"} <= {*columns}:
            by_customer.append(
                CustomerTable(relation, is_of_tasks="customer_id" not in columns, is_feed="change_reason" in columns)
            )
        by_record += [(relation, key) for key in record_keys if key in columns]
    return Places(by_customer, by_record)


def rows_of_customer(conn: Connection, company_id: int, customer_id: str) -> dict[str, int]:
    """How many rows there are of a customer, by table, tables without any left out."""
    counts: dict[str, int] = {}
    for table in places(conn).by_customer:
        query = sql.SQL("select count(*) from {} where company_id = %s and {} = %s{}").format(
            table.relation.identifier, table.column, table.condition
        )
        (count,) = conn.execute(query, (company_id, customer_id)).fetchone() or (0,)
        if count:
            counts[str(table.relation)] = count
    traces = tracked.count_traces(conn, company_id, customer_id)
    if traces:
        counts[str(TRACKED_EVENTS)] = counts.get(str(TRACKED_EVENTS), 0) + traces
    rejected = _rejected_of(conn, company_id, customer_id, _record_ids(conn, company_id, customer_id))
    if rejected:
        counts[str(REJECTED_RECORDS)] = len(rejected)
    return counts


def models_that_saw(
    conn: Connection, tasks: Sequence[TaskRelations], company: Company, customer_id: str, next_training: datetime
) -> list[ModelThatSaw]:
    """The models trained on labels of the customer, newest first: those of trainings after the first one was mature."""
    seen: list[ModelThatSaw] = []
    for task in tasks:
        settings = company.tasks.get(task.name)
        first = _first_label(conn, task, company.company_id, customer_id)
        if settings is None or first is None:
            continue
        rows = conn.execute(
            relations.compose("""
            select model_name, model_version from {training_runs}
            where company_id = %s and task = %s and as_of_date > %s and model_version is not null
            group by model_name, model_version order by max(training_run_id) desc
            """),
            [company.company_id, task.name, first + timedelta(days=settings["horizon_days"])],
        )
        seen += [ModelThatSaw(model, version, next_training) for model, version in rows]
    return seen


def _first_label(conn: Connection, task: TaskRelations, company_id: int, customer_id: str) -> date | None:
    built = conn.execute("select to_regclass(%s) is not null", [str(task.labels)]).fetchone()
    if built is None or not built[0]:
        return None
    row = conn.execute(
        sql.SQL("select min(as_of_date) from {} where company_id = %s and customer_id = %s").format(
            task.labels.identifier
        ),
        [company_id, customer_id],
    ).fetchone()
    return row[0] if row else None


def forget_customer(
    warehouse: Warehouse,
    tasks: Sequence[TaskRelations],
    company: Company,
    customer_id: str,
    *,
    actor: str,
    now: datetime,
    next_training: datetime,
) -> Receipt:
    """Erase a customer of a company, keep the records out from now on, and write the receipt.

    ``tasks`` are those that are asked about customers. Rows, receipt and the ban on the records are one transaction,
    with the company's loads held off; of each task, the published scores and the delete to the feed's followers are
    the next, and then what developers built of companies is dropped. Killed between, or repeated, it does the rest.
    Raises CustomerUnknown, LoadInProgress and PublisherBusy.
    """
    with warehouse.connect() as conn:
        with conn.transaction():
            hold_off_loads(conn, company.company_id, [*ENTITY_RELATIONS, tracked.ENTITY])
            rows = rows_of_customer(conn, company.company_id, customer_id)
            if not rows:
                if read_erased(conn, company.company_id).is_erased(customer_id):
                    drop_built_of_companies(warehouse)
                raise CustomerUnknown(_nothing(conn, company, customer_id))
            models = models_that_saw(conn, tasks, company, customer_id, next_training)
            hashes = read_hashes(conn, company.company_id)
            _erase(conn, hashes, customer_id)
            erasure_id = _write_receipt(conn, hashes.customer(customer_id), company.company_id, rows, models, actor)
            record_audit(
                conn,
                actor=actor,
                action="customer.forgotten",
                company_id=company.company_id,
                after={"erasure_id": erasure_id, "rows_erased": rows},
            )
        conn.commit()
        for task in tasks:
            withdraw_entity(conn, task.contract, company.company_id, customer_id, now)
        withdraw_entity(conn, DECISIONS, company.company_id, customer_id, now)
    return Receipt(erasure_id, rows, models, drop_built_of_companies(warehouse))


def _nothing(conn: Connection, company: Company, customer_id: str) -> str:
    if read_erased(conn, company.company_id).is_erased(customer_id):
        return f"This customer of {company.slug} was forgotten before, and nothing of theirs has come back."
    return f"{company.slug} has no customer {customer_id!r}; ids are those of its CRM, letter by letter."


def _erase(conn: Connection, hashes: Hashes, customer_id: str) -> None:
    company_id = hashes.company_id
    holdings = places(conn)
    records = _record_ids(conn, company_id, customer_id)
    rejected = _rejected_of(conn, company_id, customer_id, records)
    conn.execute(relations.compose("delete from {rejected_records} where rejected_id = any(%s)"), [rejected])
    visitors = tracked.visitors_of(conn, company_id, customer_id)
    tracked.erase_traces(conn, company_id, customer_id)
    withhold(conn, company_id, tracked.VISITORS, [hashes.record(tracked.VISITORS, visitor) for visitor in visitors])
    for table in holdings.by_customer:
        # What is published the publisher takes back, together with the delete that followers are sent.
        if table.relation.schema != PUBLISHED:
            conn.execute(
                sql.SQL("delete from {} where company_id = %s and {} = %s{}").format(
                    table.relation.identifier, table.column, table.condition
                ),
                [company_id, customer_id],
            )
    with_customers = {table.relation for table in holdings.by_customer if not table.is_of_tasks}
    for relation, key in holdings.by_record:
        # Where a record went over to another customer, the versions that name that one stay.
        nobodys = sql.SQL(" and customer_id is null") if relation in with_customers else sql.SQL("")
        conn.execute(
            sql.SQL("delete from {} where company_id = %s and {} = any(%s){}").format(
                relation.identifier, sql.Identifier(key), nobodys
            ),
            [company_id, records[f"{key.removesuffix('_id')}s"]],
        )
    withhold(conn, company_id, "customers", [hashes.record("customers", customer_id)])
    for entity, ids in records.items():
        withhold(conn, company_id, entity, [hashes.record(entity, record_id) for record_id in ids])


def _record_ids(conn: Connection, company_id: int, customer_id: str) -> dict[str, list[str]]:
    ids = {}
    for entity in _RECORD_ENTITIES:
        query = sql.SQL("select distinct {} from {} where company_id = %s and customer_id = %s").format(
            sql.Identifier(f"{entity.removesuffix('s')}_id"), ENTITY_RELATIONS[entity].identifier
        )
        ids[entity] = [record_id for (record_id,) in conn.execute(query, [company_id, customer_id])]
    return ids


def _rejected_of(conn: Connection, company_id: int, customer_id: str, records: Mapping[str, list[str]]) -> list[int]:
    """The rejected records that name the customer, or are of a record of theirs."""
    rows = conn.execute(
        relations.compose(
            "select rejected_id, entity, record_id, payload::text from {rejected_records}"
            " where company_id = %(company)s and (position(%(needle)s in payload::text) > 0"
            " or record_id = %(customer)s or record_id = any(%(records)s))"
        ),
        {
            "company": company_id,
            "customer": customer_id,
            "needle": orjson.dumps(customer_id).decode()[1:-1],
            "records": [record_id for ids in records.values() for record_id in ids],
        },
    ).fetchall()
    return [
        rejected_id
        for rejected_id, entity, record_id, payload in rows
        if record_id in records.get(entity, ()) or customer_id in names_in(entity, record_id, payload or "null")
    ]


def _write_receipt(
    conn: Connection,
    customer_hash: bytes,
    company_id: int,
    rows: Mapping[str, int],
    models: Sequence[ModelThatSaw],
    actor: str,
) -> int:
    seen = [
        {"model": model.model, "version": model.version, "retrained_at": str(model.retrained_at)} for model in models
    ]
    row = conn.execute(
        relations.compose(
            "insert into {erasures} (company_id, customer_hash, actor, rows_erased, models)"
            " values (%s, %s, %s, %s, %s) returning erasure_id"
        ),
        [company_id, customer_hash, actor, Jsonb(dict(rows)), Jsonb(seen)],
    ).fetchone()
    assert row is not None  # noqa: S101  (returning gives the inserted row)
    return int(row[0])


def customers_who_came_back(conn: Connection) -> dict[str, int]:
    """Rows of forgotten customers, by relation: what a run that was under way wrote after they were forgotten."""
    rows: dict[str, int] = {}
    companies = conn.execute(relations.compose("select distinct company_id from {erasures}")).fetchall()
    for (company_id,) in companies:
        erased = read_erased(conn, company_id)
        for table in places(conn).by_customer:
            query = sql.SQL("select {}, count(*) from {} where company_id = %s{} group by 1").format(
                table.column, table.relation.identifier, table.condition
            )
            for customer_id, count in conn.execute(query, [company_id]):
                if customer_id is not None and erased.is_erased(customer_id):
                    rows[str(table.relation)] = rows.get(str(table.relation), 0) + count
    return rows
