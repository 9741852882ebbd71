"""dbt over all companies, none of which stops the others: those that it fails on are left out, and it runs again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
from dagster_dbt import DbtCliResource

from orchestration import keys
from orchestration.dbt_assets import dagster_events
from pipeline.development.building import keep_state
from pipeline.features.catalogue import target_directory
from pipeline.features.culprits import FailedNode, failed_node, find_culprits
from pipeline.features.dbt import DbtFailed, project_fingerprint
from warehouse.companies.quarantine import (
    Quarantine,
    begin_quarantines,
    companies_at_work,
    end_outdated_quarantines,
    open_quarantines,
)
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.logs.operations import companies_failed_last, failed_runs, record_run
from warehouse.lost_connection import TRIES, comes_back, says_lost
from warehouse.settings import Settings

STAGE = "transform"
RELEASE_ADVICE = "It is tried again once its records or settings have changed, or after `churn company release {slug}`."
FIRST_MODEL = keys.dbt_model("intermediate", "int_companies__clocks")
"""What every other model of a company rests on."""


@dataclass(frozen=True)
class CompaniesBuild:
    """A build by dbt in one Dagster step."""

    context: dg.AssetExecutionContext
    settings: Settings
    warehouse: Warehouse
    dbt: DbtCliResource
    arguments: Sequence[str]
    variables: Mapping[str, object]

    def events(self) -> Iterator[Any]:
        """Run dbt until no company stops it; yields Dagster's events, of each check the last result only.

        Raises DbtFailed, cause first, where a model or test fails that no company can be blamed for.
        """
        self._try_again_what_changed()
        told: set[str] = set()
        tries_left = TRIES
        while True:
            invocation = self.dbt.cli(
                self.arguments, context=self.context, target_path=self._target, raise_on_error=False
            )
            checks: list[Any] = []
            failed: list[FailedNode] = []
            for message in invocation.stream_raw_events():
                if (node := failed_node(message.raw_event)) is not None:
                    failed.append(node)
                for event in dagster_events(invocation, message):
                    if not isinstance(event, dg.Output):
                        checks.append(event)
                    elif event.output_name not in told:
                        told.add(event.output_name)
                        yield event
            error = invocation.get_error() if invocation.process.returncode != 0 else None
            if error is not None and self._lost_connection(error, failed) and (tries_left := tries_left - 1):
                self.context.log.warning("dbt lost the warehouse; it answers again, and dbt runs again.")
                continue
            if not failed and error is not None:
                raise DbtFailed("dbt ended before it built anything") from error
            if failed and self._leave_out_culprits(failed):
                continue
            yield from checks
            if failed:
                raise DbtFailed(describe_failures(failed, self.warehouse))
            self._tell_who_is_in_again()
            keep_state(self.settings)
            return

    def _lost_connection(self, error: Exception, failed: Sequence[FailedNode]) -> bool:
        """Whether dbt failed for Postgres was gone, and it has come back."""
        words = "\n".join([str(error), *(node.message for node in failed)])
        return says_lost(words) and comes_back(self.warehouse, self.context.log.warning)

    @property
    def _target(self) -> Path:
        return target_directory(self.settings)

    def _try_again_what_changed(self) -> None:
        # A step that begins further down would read of such a company what no step above has built.
        begins_at_the_top = FIRST_MODEL in self.context.selected_asset_keys
        with self.warehouse.connect() as conn:
            again = (
                end_outdated_quarantines(conn, made_by=project_fingerprint(self.settings)) if begins_at_the_top else []
            )
            self._leave_out_unreadable(conn)
            left_out = open_quarantines(conn)
        for slug in again:
            self.context.log.info(f"{slug} was left out, and is tried again.")
        self._tell(left_out)

    def _tell_who_is_in_again(self) -> None:
        """So that the next failure of such a company is news again."""
        now = datetime.now(UTC)
        with self.warehouse.connect() as conn:
            for company_id in companies_failed_last(conn, STAGE):
                record_run(
                    conn,
                    stage=STAGE,
                    status="succeeded",
                    started_at=now,
                    finished_at=now,
                    company_id=company_id,
                    dagster_run_id=self.context.run_id,
                )

    def _leave_out_unreadable(self, conn: psycopg.Connection[Any]) -> None:
        """What the registry cannot say of a company, no step can work with."""
        reasons = {
            company.company_id: ("reading its definition", "; ".join(company.unreadable.values()))
            for company in list_companies(conn, active_only=False)
            if company.is_active and company.unreadable
        }
        begin_quarantines(conn, reasons, made_by=project_fingerprint(self.settings), dagster_run_id=self.context.run_id)

    def _leave_out_culprits(self, failed: Sequence[FailedNode]) -> bool:
        """Whether somebody is left out of the next attempt who was in this one, and somebody is still there."""
        self.context.log.warning(
            "dbt failed; looking for the companies that it fails on. "
            + "; ".join(f"{node.step}: {node.cause}" for node in failed)
        )
        with self.warehouse.connect() as conn:
            companies = companies_at_work(conn)
        culprits = find_culprits(self.settings, self.warehouse, failed, companies, self.variables)
        if not culprits:
            return False
        with self.warehouse.connect() as conn:
            left_out = begin_quarantines(
                conn, culprits, made_by=project_fingerprint(self.settings), dagster_run_id=self.context.run_id
            )
        self._tell(left_out)
        return True

    def _tell(self, left_out: Sequence[Quarantine]) -> None:
        """Each company that is left out counts as failed in this run, once."""
        with self.warehouse.connect() as conn:
            told = {run.slug for run in failed_runs(conn, self.context.run_id) if run.stage == STAGE}
            for quarantine in left_out:
                if quarantine.slug in told:
                    continue
                now = datetime.now(UTC)
                error = (
                    f"left out since {quarantine.begun_at:%Y-%m-%d}: {quarantine.step} fails on it: "
                    f"{quarantine.reason}. {RELEASE_ADVICE.format(slug=quarantine.slug)}"
                )
                self.context.log.error(f"{quarantine.slug} is {error}")
                record_run(
                    conn,
                    stage=STAGE,
                    status="failed",
                    started_at=now,
                    finished_at=now,
                    company_id=quarantine.company_id,
                    dagster_run_id=self.context.run_id,
                    error=error,
                )


def describe_failures(failed: Sequence[FailedNode], warehouse: Warehouse) -> str:
    """What failed and why, a line each; and who holds what, where a statement waited for a lock in vain."""
    lines = [f"{node.step}: {node.cause}" for node in failed]
    if any(node.waited_for_a_lock for node in failed):
        lines.append(str(warehouse.lock_held()))
    return "\n".join(lines)
