"""Proving features: dbt builds one past date of one company anew, beside what is stored, and the two are compared.

dbt writes into schemas of their own (its variable `schema_suffix`), which are dropped afterwards. The models are
those of every day, unchanged: what is proven is what runs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import LiteralString

from psycopg import sql

from pipeline.features.catalogue import target_directory
from pipeline.features.dbt import profiles_directory, run_dbt
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.prediction.feature_proofs import Proof, compare_with_stored, past_dates, record_proof
from warehouse.prediction.feature_store import FeaturesNotBuilt
from warehouse.relations import CHURN_FEATURE_MATRIX, Relation
from warehouse.roles import Role
from warehouse.settings import Settings

SUFFIX: LiteralString = "_proof"
SCHEMAS = ("staging", "intermediate", "features")
_LOCK = 7_231_002


def prove_features(
    settings: Settings, warehouse: Warehouse, company: Company, as_of_date: date | None = None
) -> Proof | None:
    """Rebuild a past date of the company from what is loaded today, compare every feature, and keep the result.

    Without a date it is the last one before the newest; None for a company that has no past date yet. Raises
    FeaturesNotBuilt where the date is not stored, and DbtFailed with dbt's words where it cannot be
    built.
    """
    with warehouse.connect() as conn:
        dates = past_dates(conn, company.company_id)
    if as_of_date is None and not dates:
        return None
    if as_of_date and as_of_date not in dates:
        known = ", ".join(map(str, dates[:12])) or "none"
        raise FeaturesNotBuilt(f"{company.slug} has no past date {as_of_date} to prove; it has: {known}.")
    chosen = as_of_date or dates[0]
    with built_beside(settings, warehouse, company, [chosen]) as rebuilt, warehouse.connect() as conn:
        proof = compare_with_stored(conn, rebuilt, company.company_id, chosen, company.custom_attributes)
        record_proof(conn, proof)
    return proof


def words_of_failure(proof: Proof | None) -> str | None:
    """Which features moved, the worst first; None where none did."""
    if proof is None or not proof.failed:
        return None
    worst = sorted(proof.failed.items(), key=lambda item: (-item[1], item[0]))
    return f"of {proof.rows} rows of {proof.as_of_date}, rebuilt today, differ: " + ", ".join(
        f"{feature} {count}" for feature, count in worst
    )


@contextmanager
def built_beside(
    settings: Settings,
    warehouse: Warehouse,
    company: Company,
    as_of_dates: Sequence[date],
    *,
    as_the_source_said: bool = False,
) -> Iterator[Relation]:
    """The matrix of some dates of one company, built anew beside what is stored; it is gone when the context ends.

    One at a time. With ``as_the_source_said`` what was loaded late counts from when the source made it. Raises
    DbtFailed with dbt's words.
    """
    with _scratch_schemas(warehouse):
        warehouse.write_dbt_profile(profiles_directory(settings))
        variables = {
            "schema_suffix": SUFFIX,
            "company_ids": [company.company_id],
            "as_of_dates": [as_of_date.isoformat() for as_of_date in as_of_dates],
            "as_the_source_said": as_the_source_said,
        }
        build = ["build", "--select", "+churn_feature_matrix", "--exclude-resource-types", "test", "unit_test"]
        # A folder of its own, so that the next ordinary run finds its own parse.
        target = target_directory(settings).with_name("target_proof")
        run_dbt(settings, build, target_path=target, variables=variables)
        rebuilt = Relation(CHURN_FEATURE_MATRIX.schema + SUFFIX, CHURN_FEATURE_MATRIX.name)
        with warehouse.connect() as conn:
            conn.execute(
                sql.SQL("grant usage on schema {} to {}").format(
                    sql.Identifier(rebuilt.schema), sql.Identifier(Role.ml)
                )
            )
        yield rebuilt


@contextmanager
def _scratch_schemas(warehouse: Warehouse) -> Iterator[None]:
    """One proof at a time; what a killed one left behind goes first."""
    with warehouse.connect() as conn:
        conn.execute("select pg_advisory_lock(%s)", [_LOCK])
        conn.commit()
        try:
            _drop(warehouse)
            yield
        finally:
            _drop(warehouse)


def _drop(warehouse: Warehouse) -> None:
    with warehouse.connect() as conn:
        for schema in SCHEMAS:
            conn.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema + SUFFIX)))
