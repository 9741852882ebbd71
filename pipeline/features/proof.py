"""Proving features: dbt builds one past date of one company again, beside what is stored, and the two are compared.

dbt writes into schemas of their own (its variable `schema_suffix`), which are dropped afterwards. The models are
those of every day, unchanged: what is proven is what runs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import LiteralString

from psycopg import sql

from foundation.counting import counted
from pipeline.features.catalogue import target_directory
from pipeline.features.dbt import run_dbt, write_profile
from pipeline.prediction.tasks import tasks_of
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.prediction.feature_proofs import Proof, compare_with_stored, past_dates, record_proof
from warehouse.prediction.feature_store import FeaturesNotBuilt
from warehouse.prediction.task_relations import TaskRelations
from warehouse.relations import Relation
from warehouse.roles import Role
from warehouse.settings import Settings

SUFFIX: LiteralString = "_proof"
SCHEMAS = ("staging", "intermediate", "features")
_LOCK = 7_231_002


def prove_features(
    settings: Settings,
    warehouse: Warehouse,
    task: TaskRelations,
    company: Company,
    as_of_date: date | None = None,
) -> Proof | None:
    """Rebuild a past date of a task's matrix from what is loaded today, compare every feature, and keep the result.

    Without a date it is the last one before the newest; None for a company that has no past date yet. Raises
    FeaturesNotBuilt where the date is not stored, and DbtFailed with dbt's message where it cannot be
    built.
    """
    with warehouse.connect() as conn:
        dates = past_dates(conn, task, company.company_id)
    if as_of_date is None and not dates:
        return None
    if as_of_date and as_of_date not in dates:
        known = ", ".join(map(str, dates[:12])) or "none"
        raise FeaturesNotBuilt(f"{company.slug} has no past date {as_of_date} to prove; it has: {known}.")
    chosen = as_of_date or dates[0]
    with built_beside(settings, warehouse, task, company, [chosen]) as rebuilt, warehouse.connect() as conn:
        proof = compare_with_stored(conn, task, rebuilt, company.company_id, chosen, company.custom_attributes)
        record_proof(conn, proof)
    return proof


def prove_tasks(settings: Settings, warehouse: Warehouse, company: Company) -> list[Proof]:
    """Prove the last past date of each task that the company has, as ``prove_features`` does."""
    proofs = [prove_features(settings, warehouse, binding.relations, company) for binding in tasks_of(company)]
    return [proof for proof in proofs if proof]


def describe_failure(proofs: Sequence[Proof]) -> str | None:
    """Which features moved, the worst first; None where none did."""
    failed = [proof for proof in proofs if proof.failed]
    return "; ".join(map(_moved, failed)) or None


def _moved(proof: Proof) -> str:
    worst = sorted(proof.failed.items(), key=lambda item: (-item[1], item[0]))
    return (
        f"of {counted(proof.rows, 'row')} of {proof.task} at {proof.as_of_date}, rebuilt today, differ: "
        + ", ".join(f"{feature} {count}" for feature, count in worst)
    )


@contextmanager
def built_beside(
    settings: Settings,
    warehouse: Warehouse,
    task: TaskRelations,
    company: Company,
    as_of_dates: Sequence[date],
    *,
    as_the_source_said: bool = False,
) -> Iterator[Relation]:
    """A task's matrix of some dates of one company, built beside what is stored; it is gone when the context ends.

    One at a time. With ``as_the_source_said`` what was loaded late counts from when the source made it. Raises
    DbtFailed with dbt's message.
    """
    with _scratch_schemas(warehouse):
        write_profile(settings, warehouse)
        variables = {
            "schema_suffix": SUFFIX,
            "company_ids": [company.company_id],
            "as_of_dates": [as_of_date.isoformat() for as_of_date in as_of_dates],
            "as_the_source_said": as_the_source_said,
        }
        build = ["build", "--select", f"+{task.matrix.name}", "--exclude-resource-types", "test", "unit_test"]
        # A folder of its own, so that the next ordinary run finds its own parse.
        target = target_directory(settings).with_name("target_proof")
        run_dbt(settings, build, target_path=target, variables=variables)
        rebuilt = Relation(task.matrix.schema + SUFFIX, task.matrix.name)
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
        conn.execute("set local lock_timeout = '1h'")
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
