"""The published relations of a task, by one template: what `predictions.churn_*` is for churn.

Churn's own relations were made by the migrations and are never touched here; a test holds the two to one shape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from warehouse import relations
from warehouse.publication.estimates import keep_values_out_of_estimates
from warehouse.relations import Relation
from warehouse.rights import TableRights, ensure_table_rights

SCHEMA = "predictions"
_WRITER = "churn_publisher"
READERS = ("churn_ml", "churn_publisher", "churn_operator", "churn_company", "churn_company_sync")


@dataclass(frozen=True)
class Contract:
    """What a task publishes: relations by name, the entity's id and the probability as its readers call them.

    `outcome` ends the sentence "Calibrated probability, 0 to 1, that ...".
    """

    task: str
    entity: str
    outcome: str

    @property
    def entity_id(self) -> str:
        """The column of the entity's id."""
        return f"{self.entity}_id"

    @property
    def probability(self) -> str:
        """The column of the published probability."""
        return f"{self.task}_probability"

    @cached_property
    def scores(self) -> Relation:
        """Every published score, by entity and date."""
        return self._named("scores")

    @cached_property
    def current(self) -> Relation:
        """The scores of each company's newest publication."""
        return self._named("current")

    @cached_property
    def publications(self) -> Relation:
        """One row per published set."""
        return self._named("publications")

    @cached_property
    def changes(self) -> Relation:
        """The change feed."""
        return self._named("changes")

    @cached_property
    def snapshot(self) -> Relation:
        """What a follower of the feed holds after its last row."""
        return self._named("snapshot")

    @cached_property
    def cursors(self) -> Relation:
        """How far each company's feed goes, and how far back it is complete."""
        return self._named("cursors")

    @cached_property
    def scores_v1(self) -> Relation:
        """What is written where readers see `scores`."""
        return self._named("scores_v1")

    @cached_property
    def publications_v1(self) -> Relation:
        """What is written where readers see `publications`."""
        return self._named("publications_v1")

    @cached_property
    def changes_v1(self) -> Relation:
        """What is written where readers see `changes`."""
        return self._named("changes_v1")

    @cached_property
    def cursors_v1(self) -> Relation:
        """What is written where readers see `cursors`."""
        return self._named("cursors_v1")

    @cached_property
    def sent_v1(self) -> Relation:
        """The publisher's own note of what the feed last said; no part of what readers see."""
        return self._named("sent_v1")

    def compose(self, text: LiteralString, **more: sql.Composable) -> sql.Composed:
        """SQL that names, in braces, relations of this contract, its id and probability, and the task; and those of
        `warehouse.relations`: ``select {entity_id} from {scores_v1} where ...``. ``more`` gives further names.
        """
        own = {
            name: getattr(self, name).identifier
            for name in (
                *("scores", "current", "publications", "changes", "snapshot", "cursors"),
                *("scores_v1", "publications_v1", "changes_v1", "cursors_v1", "sent_v1"),
            )
        }
        columns = {"entity_id": sql.Identifier(self.entity_id), "probability": sql.Identifier(self.probability)}
        return relations.compose(text, **own, **columns, task=sql.Literal(self.task), **more)

    def _named(self, what: str) -> Relation:
        return Relation(SCHEMA, f"{self.task}_{what}")


def ensure_contract(conn: psycopg.Connection[Any], contract: Contract) -> None:
    """Register the task, and make its relations where they are missing: churn's, under its own names.

    What is there stays as it is, but for rights and policies that it lacks, and what the planner samples. Needs the
    owner, in a transaction.
    """
    conn.execute(
        relations.compose("insert into {tasks} (task, entity) values (%s, %s) on conflict (task) do nothing"),
        [contract.task, contract.entity],
    )
    exists = conn.execute("select to_regclass(%s) is not null", [str(contract.scores_v1)]).fetchone()
    if not (exists and exists[0]):
        for table in _TABLES:
            _make_table(conn, contract, table)
        for view in _VIEWS:
            _make_view(conn, contract, view)
    for table in _TABLES:
        ensure_policies(conn, Relation(SCHEMA, f"{contract.task}_{table}"))
        keep_values_out_of_estimates(conn, Relation(SCHEMA, f"{contract.task}_{table}"))
    ensure_table_rights(conn, _rights(contract))


def column_types(conn: psycopg.Connection[Any], relation: Relation) -> dict[str, str]:
    """A relation's columns and their types, in its own order."""
    return dict(
        conn.execute(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute"
            " where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
            [str(relation)],
        ).fetchall()
    )


_TEMPLATE = "churn"
_TABLES = ("scores_v1", "publications_v1", "changes_v1", "cursors_v1", "sent_v1")
_VIEWS = (
    *("scores", "publications", "changes", "cursors"),
    *("current_v1", "current", "snapshot_v1", "snapshot"),
)
_POLICIES: Mapping[str, LiteralString] = {
    "owner_sees_all": "to current_user using (true) with check (true)",
    "publisher_writes_all": "to churn_publisher using (true) with check (true)",
    "services_read_all": "for select to churn_ml, churn_operator using (true)",
    "company_reads_its_own": "for select to churn_company, churn_company_sync"
    " using (company_id = split_part(current_user, '_', 2)::int)",
}


def _make_table(conn: psycopg.Connection[Any], contract: Contract, name: str) -> None:
    template, table = Relation(SCHEMA, f"{_TEMPLATE}_{name}"), Relation(SCHEMA, f"{contract.task}_{name}")
    conn.execute(sql.SQL("create table {} (like {} including all)").format(table.identifier, template.identifier))
    _copy_storage(conn, template, table)
    for before, after in (("customer_id", contract.entity_id), (f"{_TEMPLATE}_probability", contract.probability)):
        if before in column_types(conn, table) and before != after:
            conn.execute(
                sql.SQL("alter table {} rename column {} to {}").format(
                    table.identifier, sql.Identifier(before), sql.Identifier(after)
                )
            )
    _describe(conn, contract, "table", template, table)


def ensure_policies(conn: psycopg.Connection[Any], table: Relation) -> None:
    """Row-level security, forced, and each policy of published tables that is not there. Needs the owner."""
    is_closed = "select relrowsecurity and relforcerowsecurity from pg_class where oid = %s::regclass"
    if conn.execute(is_closed, [str(table)]).fetchone() != (True,):
        conn.execute(sql.SQL("alter table {} enable row level security").format(table.identifier))
        conn.execute(sql.SQL("alter table {} force row level security").format(table.identifier))
    rows = conn.execute("select polname from pg_policy where polrelid = %s::regclass", [str(table)]).fetchall()
    for name in sorted({*_POLICIES} - {name for (name,) in rows}):
        conn.execute(
            sql.SQL("create policy {} on {} {}").format(
                sql.Identifier(name), table.identifier, sql.SQL(_POLICIES[name])
            )
        )


def _rights(contract: Contract) -> TableRights:
    """Every reader reads all of it; the publisher writes the tables."""
    tables, views = ([Relation(SCHEMA, f"{contract.task}_{name}") for name in names] for names in (_TABLES, _VIEWS))
    read: dict[Relation, tuple[LiteralString, ...]] = dict.fromkeys([*tables, *views], ("select",))
    write = read | dict.fromkeys(tables, ("select", "insert", "update", "delete"))
    return dict.fromkeys(READERS, read) | {_WRITER: write}


def _copy_storage(conn: psycopg.Connection[Any], template: Relation, table: Relation) -> None:
    """What `like` leaves out: the table's storage parameters."""
    row = conn.execute("select reloptions from pg_class where oid = %s::regclass", [str(template)]).fetchone()
    for option in (row[0] if row else None) or []:
        name, _, value = option.partition("=")
        conn.execute(
            sql.SQL("alter table {} set ({} = {})").format(table.identifier, sql.Identifier(name), sql.Literal(value))
        )


def _make_view(conn: psycopg.Connection[Any], contract: Contract, name: str) -> None:
    """From the template's definition, in which only relations, the id and the probability are called otherwise."""
    template, view = Relation(SCHEMA, f"{_TEMPLATE}_{name}"), Relation(SCHEMA, f"{contract.task}_{name}")
    row = conn.execute("select pg_get_viewdef(%s::regclass)", [str(template)]).fetchone()
    assert row is not None  # noqa: S101 - a function gives a row
    definition = _renamed_for(contract, str(row[0]))
    conn.execute(
        sql.SQL("create view {} with (security_invoker = true) as {}").format(
            view.identifier,
            sql.SQL(definition),  # the server's own text of a view of ours
        )
    )
    _describe(conn, contract, "view", template, view)


def _renamed_for(contract: Contract, definition: str) -> str:
    named = re.sub(rf"\b{_TEMPLATE}_", f"{contract.task}_", definition)
    return re.sub(r"\bcustomer_id\b", contract.entity_id, named)


def _describe(
    conn: psycopg.Connection[Any], contract: Contract, kind: LiteralString, template: Relation, relation: Relation
) -> None:
    """Comments; what churn's comments say of customers is said of the entity."""
    texts = dict(
        conn.execute(
            "select coalesce(attribute.attname, ''), description.description from pg_description as description"
            " left join pg_attribute as attribute"
            " on attribute.attrelid = description.objoid and attribute.attnum = description.objsubid"
            " and attribute.attnum > 0"
            " where description.objoid = %s::regclass and description.classoid = 'pg_class'::regclass",
            [str(template)],
        ).fetchall()
    )
    whole = _comment(contract, texts.pop("", ""))
    conn.execute(sql.SQL("comment on {} {} is {}").format(sql.SQL(kind), relation.identifier, sql.Literal(whole)))
    for column, text in texts.items():
        own = {"customer_id": contract.entity_id, f"{_TEMPLATE}_probability": contract.probability}.get(column, column)
        conn.execute(
            sql.SQL("comment on column {} is {}").format(
                sql.Identifier(relation.schema, relation.name, str(own)), sql.Literal(_comment(contract, text))
            )
        )


def _comment(contract: Contract, text: str) -> str:
    """Churn's comment on a column, with the outcome, the entity and the names of this task."""
    for before, after in (
        ("the customer churns within the company's horizon", contract.outcome),
        ("how many of them churned", "of how many of them the outcome came true"),
        ("Published churn scores", f"Published {contract.task} scores"),
        (f"{_TEMPLATE}_", f"{contract.task}_"),
    ):
        text = text.replace(before, after)
    if contract.entity == "customer":
        return text
    return text.replace("customer", contract.entity).replace("Customer", contract.entity.capitalize())
