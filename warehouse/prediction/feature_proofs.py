"""The live proof of the rule of time: a past date's matrix, rebuilt today, against the rows that are stored.

Building the date anew is dbt's work (`pipeline.features.proof`); here the two are compared and the result kept.
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
from warehouse.relations import Relation

_NOT_FEATURES = {"company_id", "customer_id", "as_of_date", "feature_version", "rates_version", "custom_attributes"}


@dataclass(frozen=True)
class Proof:
    """One date rebuilt. ``differing`` gives each feature's rows, of ``rows``, that are not what is stored."""

    company_id: int
    as_of_date: date
    feature_version: str
    rows: int
    differing: Mapping[str, int]

    @property
    def failed(self) -> dict[str, int]:
        """The features that moved, and in how many rows."""
        return {feature: count for feature, count in self.differing.items() if count}


def past_dates(conn: psycopg.Connection[Any], company_id: int) -> list[date]:
    """The dates that the company's matrix holds, the newest first, without the newest: it is not past yet."""
    rows = conn.execute(
        sql.SQL("select distinct as_of_date from {} where company_id = %s order by 1 desc").format(
            relations.CHURN_FEATURE_MATRIX.identifier
        ),
        [company_id],
    ).fetchall()
    return [as_of_date for (as_of_date,) in rows[1:]]


def compare_with_stored(
    conn: psycopg.Connection[Any],
    rebuilt: Relation,
    company_id: int,
    as_of_date: date,
    attributes: Sequence[CustomAttribute],
) -> Proof:
    """Compare one date's stored matrix with the rebuilt one, column by column (`is distinct from`).

    A row that only one of the two has differs in every feature. Raises FeaturesNotBuilt where there is nothing to
    compare: no rows, or stored rows of another feature version than the project's.
    """
    stored_version = _version(conn, relations.CHURN_FEATURE_MATRIX, company_id, as_of_date)
    rebuilt_version = _version(conn, rebuilt, company_id, as_of_date)
    version = stored_version or rebuilt_version
    if version is None:
        raise FeaturesNotBuilt(f"Company {company_id} has no feature rows for {as_of_date}, stored or rebuilt.")
    if stored_version and rebuilt_version and stored_version != rebuilt_version:
        raise FeaturesNotBuilt(
            f"The stored rows of {as_of_date} are of feature version {stored_version}, and the project and the "
            f"company's settings now make {rebuilt_version}: they can be proved after the next build."
        )
    columns = {
        name: (sql.Identifier("stored", name), sql.Identifier("rebuilt", name))
        for name in built_columns(conn)
        if name not in _NOT_FEATURES
    } | {attribute_feature(chosen): _attribute_columns(chosen) for chosen in attributes}
    counts = conn.execute(
        sql.SQL(
            "select count(*), {differing}"
            " from (select * from {matrix} where company_id = %(company_id)s and as_of_date = %(as_of_date)s) as stored"
            " full join"
            " (select * from {rebuilt} where company_id = %(company_id)s and as_of_date = %(as_of_date)s) as rebuilt"
            " on stored.customer_id = rebuilt.customer_id"
        ).format(
            differing=sql.SQL(", ").join(
                sql.SQL(
                    "count(*) filter (where stored.customer_id is null or rebuilt.customer_id is null"
                    " or {} is distinct from {})"
                ).format(*pair)
                for pair in columns.values()
            ),
            matrix=relations.CHURN_FEATURE_MATRIX.identifier,
            rebuilt=rebuilt.identifier,
        ),
        {"company_id": company_id, "as_of_date": as_of_date},
    ).fetchone()
    assert counts is not None  # noqa: S101  (an aggregate gives one row)
    return Proof(company_id, as_of_date, version, counts[0], dict(zip(columns, counts[1:], strict=True)))


def record_proof(conn: psycopg.Connection[Any], proof: Proof) -> None:
    """Keep a proof, one row per feature."""
    with conn.cursor() as cursor:
        cursor.executemany(
            sql.SQL(
                "insert into {} (company_id, as_of_date, feature, feature_version, rows_compared, rows_differing)"
                " values (%s, %s, %s, %s, %s, %s)"
            ).format(relations.FEATURE_PROOFS.identifier),
            [
                (proof.company_id, proof.as_of_date, feature, proof.feature_version, proof.rows, count)
                for feature, count in proof.differing.items()
            ],
        )


def _version(conn: psycopg.Connection[Any], matrix: Relation, company_id: int, as_of_date: date) -> str | None:
    row = conn.execute(
        sql.SQL("select max(feature_version) from {} where company_id = %s and as_of_date = %s").format(
            matrix.identifier
        ),
        [company_id, as_of_date],
    ).fetchone()
    return row[0] if row else None


def _attribute_columns(attribute: CustomAttribute) -> tuple[sql.Composable, sql.Composable]:
    stored, rebuilt = (
        sql.SQL("{}.custom_attributes -> {}").format(sql.Identifier(side), sql.Literal(attribute.name))
        for side in ("stored", "rebuilt")
    )
    return stored, rebuilt
