"""The live proof of the rule of time: a past date's matrix, rebuilt today, against the rows that are stored.

Building the date again is dbt's work (`pipeline.features.proof`); here the two are compared and the result kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg
from psycopg import sql

from warehouse import relations
from warehouse.companies.definition import CustomAttribute
from warehouse.prediction.feature_store import FeaturesNotBuilt, attribute_feature, built_columns
from warehouse.prediction.task_relations import TaskRelations
from warehouse.relations import Relation

_NOT_FEATURES = {
    *("company_id", "as_of_date", "feature_version", "matrix_version", "rates_version", "custom_attributes"),
}


@dataclass(frozen=True)
class Proof:
    """One date of a task's matrix rebuilt. ``differing`` gives each feature's rows, of ``rows``, not as stored."""

    company_id: int
    task: str
    as_of_date: date
    feature_version: str
    matrix_version: str
    rows: int
    differing: Mapping[str, int]

    @property
    def failed(self) -> dict[str, int]:
        """The features that moved, and in how many rows."""
        return {feature: count for feature, count in self.differing.items() if count}


def past_dates(conn: psycopg.Connection[Any], task: TaskRelations, company_id: int) -> list[date]:
    """The dates that the company's matrix holds, the newest first, without the newest: it is not past yet."""
    rows = conn.execute(
        sql.SQL("select distinct as_of_date from {} where company_id = %s order by 1 desc").format(
            task.matrix.identifier
        ),
        [company_id],
    ).fetchall()
    return [as_of_date for (as_of_date,) in rows[1:]]


def compare_with_stored(
    conn: psycopg.Connection[Any],
    task: TaskRelations,
    rebuilt: Relation,
    company_id: int,
    as_of_date: date,
    attributes: Sequence[CustomAttribute],
) -> Proof:
    """Compare one date's stored matrix with the rebuilt one, column by column (`is distinct from`).

    A row that only one of the two has differs in every feature. Raises FeaturesNotBuilt where there is nothing to
    compare: no rows, or stored rows of another feature version than the project's.
    """
    stored_version = _versions(conn, task.matrix, company_id, as_of_date)
    rebuilt_version = _versions(conn, rebuilt, company_id, as_of_date)
    versions = stored_version or rebuilt_version
    if versions is None:
        raise FeaturesNotBuilt(f"There are no feature rows for {as_of_date}, stored or rebuilt.")
    if stored_version and rebuilt_version and stored_version != rebuilt_version:
        raise FeaturesNotBuilt(
            f"The stored rows of {as_of_date} are of feature version {stored_version[0]}, and the project and the "
            f"company's settings now make {rebuilt_version[0]}: they can be proved after the next build."
        )
    columns = {
        name: (sql.Identifier("stored", name), sql.Identifier("rebuilt", name))
        for name in built_columns(conn, task.matrix)
        if name not in {*_NOT_FEATURES, task.contract.entity_id}
    } | {attribute_feature(chosen): _attribute_columns(chosen) for chosen in attributes}
    entity = sql.Identifier(task.contract.entity_id)
    counts = conn.execute(
        sql.SQL(
            "select count(*), {differing}"
            " from (select * from {matrix} where company_id = %(company_id)s and as_of_date = %(as_of_date)s) as stored"
            " full join"
            " (select * from {rebuilt} where company_id = %(company_id)s and as_of_date = %(as_of_date)s) as rebuilt"
            " on stored.{entity} = rebuilt.{entity}"
        ).format(
            differing=sql.SQL(", ").join(
                sql.SQL(
                    "count(*) filter (where stored.{entity} is null or rebuilt.{entity} is null"
                    " or {now} is distinct from {then})"
                ).format(entity=entity, now=pair[1], then=pair[0])
                for pair in columns.values()
            ),
            entity=entity,
            matrix=task.matrix.identifier,
            rebuilt=rebuilt.identifier,
        ),
        {"company_id": company_id, "as_of_date": as_of_date},
    ).fetchone()
    assert counts is not None  # noqa: S101  (an aggregate gives one row)
    differing = dict(zip(columns, counts[1:], strict=True))
    return Proof(company_id, task.name, as_of_date, *versions, counts[0], differing)


def record_proof(conn: psycopg.Connection[Any], proof: Proof) -> None:
    """Keep a proof, one row per feature."""
    with conn.cursor() as cursor:
        cursor.executemany(
            sql.SQL(
                "insert into {} (company_id, task, as_of_date, feature, feature_version, matrix_version, rows_compared,"
                " rows_differing) values (%s, %s, %s, %s, %s, %s, %s, %s)"
            ).format(relations.FEATURE_PROOFS.identifier),
            [
                (
                    *(proof.company_id, proof.task, proof.as_of_date, feature),
                    *(proof.feature_version, proof.matrix_version, proof.rows, count),
                )
                for feature, count in proof.differing.items()
            ],
        )


def _versions(
    conn: psycopg.Connection[Any], matrix: Relation, company_id: int, as_of_date: date
) -> tuple[str, str] | None:
    """The versions of a date's rows, its own and that of the features below; None where it has no rows."""
    row = conn.execute(
        sql.SQL(
            "select max(feature_version), max(matrix_version) from {} where company_id = %s and as_of_date = %s"
        ).format(matrix.identifier),
        [company_id, as_of_date],
    ).fetchone()
    return (row[0], row[1]) if row and row[0] else None


def _attribute_columns(attribute: CustomAttribute) -> tuple[sql.Composable, sql.Composable]:
    stored, rebuilt = (
        sql.SQL("{}.custom_attributes -> {}").format(sql.Identifier(side), sql.Literal(attribute.name))
        for side in ("stored", "rebuilt")
    )
    return stored, rebuilt
