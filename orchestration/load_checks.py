"""What an operator should know of a sync's loads: failures, reconciliation with the CRM, rejected records."""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from pipeline.loading.sync import LoadResult


@dataclass(frozen=True)
class Verdict:
    """A check's outcome over all companies: which figure each one has that is not as it should be.

    `figures` are what was looked at, so that a green check shows what it is green about.
    """

    faults: dict[str, int]
    words: str
    figures: dict[str, int]

    def on(self, asset_key: dg.AssetKey, check_name: str) -> dg.AssetCheckResult:
        """The verdict as Dagster's check result: a warning, since the data that did arrive is good."""
        named = ", ".join(f"{company} {count:,}" for company, count in self.faults.items())
        return dg.AssetCheckResult(
            asset_key=asset_key,
            check_name=check_name,
            passed=not self.faults,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{self.words}: {named}" if named else None,
            metadata={**self.figures, **{f"fault: {company}": count for company, count in self.faults.items()}},
        )


def failed_loads(loads: Sequence[LoadResult]) -> str | None:
    """The errors of a company's failed loads in one line, or None if all succeeded."""
    return "; ".join(f"{load.entity}: {load.error}" for load in loads if load.status == "failed") or None


def reconciliation(loads: Sequence[LoadResult]) -> Verdict:
    """Companies whose warehouse and CRM differ by more records than were rejected."""
    return Verdict(
        {load.company: load.unaccounted for load in loads if load.unaccounted},
        "records in which warehouse and CRM differ",
        {f"in warehouse: {load.company}": load.warehouse_live for load in loads if load.warehouse_live is not None},
    )


def acceptance(loads: Sequence[LoadResult]) -> Verdict:
    """Companies of which this sync rejected records."""
    return Verdict(
        {load.company: load.rejected for load in loads if load.rejected},
        "records that broke the contract, kept in raw.rejected_records",
        {f"received: {load.company}": load.received for load in loads},
    )
