"""CRM tables into the version logs. Reading and landing live in ``pipeline.loading.sync``; no logic here."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta

import dagster as dg

from orchestration import crm_pools, keys
from orchestration.company_work import SideBySide, every_company, figures, for_each_company
from orchestration.partitions import companies
from orchestration.resources import WarehouseResource
from pipeline.connectors.contract import ENTITIES
from pipeline.loading.sync import LoadResult
from warehouse.companies.definition import Company
from warehouse.settings import load_settings

SPARE = 30
"""Seconds that a source which its own limit did not stop gets on top; then nobody waits for it any more."""

crm_tables = [
    dg.AssetSpec(
        keys.crm(entity),
        group_name=keys.Group.crm,
        owners=[keys.Owner.operations],
        description=f"The {entity} in each company's CRM: Habari over HTTP, a SQL database, or files.",
        kinds={"crm"},
    )
    for entity in ENTITIES
]

registry = dg.AssetSpec(
    keys.COMPANIES,
    group_name=keys.Group.crm,
    owners=[keys.Owner.operations],
    description="The registry of companies: `churn company` writes it.",
    kinds={"postgres"},
)

registry_of_tasks = dg.AssetSpec(
    keys.COMPANY_TASKS,
    group_name=keys.Group.crm,
    owners=[keys.Owner.operations],
    description="What is predicted for each company, and with which settings: `churn company` writes it.",
    kinds={"postgres"},
)

own_rates = dg.AssetSpec(
    keys.EXCHANGE_RATES,
    group_name=keys.Group.crm,
    owners=[keys.Owner.operations],
    description="A company's own rates by day, which people write; they go before those of the seed.",
    kinds={"postgres"},
)

run_log = dg.AssetSpec(
    keys.RUN_LOG,
    group_name=keys.Group.raw,
    owners=[keys.Owner.operations],
    description="One row per run of a stage: every stage writes its own.",
    kinds={"postgres"},
)


def _written_by_sync(key: dg.AssetKey, description: str, entities: Iterable[str] = ENTITIES) -> dg.AssetSpec:
    return dg.AssetSpec(
        key,
        deps=[keys.COMPANIES, *(keys.crm(entity) for entity in entities)],
        group_name=keys.Group.raw,
        owners=[keys.Owner.operations],
        description=description,
        kinds={"postgres", "python"},
    )


@dg.multi_asset(
    name="sync_crm",
    specs=[
        *(
            _written_by_sync(
                keys.raw(entity), f"Every version of the {entity} that the CRM has shown us, append-only.", [entity]
            )
            for entity in ENTITIES
        ),
        _written_by_sync(keys.REJECTED_RECORDS, "Records that broke the entity contract, with reason and payload."),
        _written_by_sync(keys.LOAD_LOG, "What each load asked for, received, loaded and rejected."),
        _written_by_sync(keys.SYNC_CURSORS, "How far each company's tables have been read."),
    ],
    check_specs=[
        every_company(keys.LOAD_LOG),
        *(
            dg.AssetCheckSpec(
                name,
                asset=keys.raw(entity),
                description=description,
            )
            for entity in ENTITIES
            for name, description in (
                (
                    "reconciled",
                    "The warehouse holds as many records as the CRM says it has, rejected ones accounted for.",
                ),
                ("records_accepted", "No record broke the entity contract; raw.rejected_records holds those that did."),
            )
        ),
    ],
    partitions_def=companies,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def sync_crm(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Pull what is new from each company's CRM, several side by side."""
    from pipeline.loading.progress import told_now_and_then
    from pipeline.loading.sync import LoadResult, sync_company
    from warehouse.clock import Clock

    # Not the run's, whose clock stays in one day: what is read after midnight is known after midnight.
    settings = load_settings()
    progress = told_now_and_then(context.log.info)
    with warehouse.open() as opened:
        local_pools = crm_pools.LocalPools()

        def sync(company: Company) -> Sequence[LoadResult]:
            return sync_company(
                opened,
                company,
                Clock.from_settings(settings),
                settings,
                dagster_run_id=context.run_id,
                progress=progress,
            )

        def turn(company: Company) -> AbstractContextManager[None]:
            if settings.database_url:
                return crm_pools.slot(context.instance, context.run_id, company)
            return local_pools.slot(company)

        outcomes = for_each_company(
            context,
            opened,
            stage="sync",
            work=sync,
            counts=lambda loads: {load.entity: load.loaded for load in loads},
            failure=failed_loads,
            # What comes of it may be what mends the company.
            quarantined_too=True,
            threads=SideBySide(settings.companies_at_once, timedelta(seconds=settings.company_seconds + SPARE), turn),
        )
    for slug, loads in outcomes.results.items():
        for load in loads:
            context.add_asset_metadata(figures(load), keys.raw(load.entity), slug)
    for key in context.selected_asset_keys:
        yield dg.MaterializeResult(asset_key=key)
    yield outcomes.check(keys.LOAD_LOG)
    for entity in ENTITIES:
        loads = [load for loads in outcomes.results.values() for load in loads if load.entity == entity]
        yield reconciliation(loads).on(keys.raw(entity), "reconciled")
        yield acceptance(loads).on(keys.raw(entity), "records_accepted")


@dataclass(frozen=True)
class Verdict:
    """A check's outcome over all companies: which figure each one has that is not as it should be.

    `figures` are what was looked at, so that a green check shows what it is green about.
    """

    faults: dict[str, int]
    subject: str
    figures: dict[str, int]

    def on(self, asset_key: dg.AssetKey, check_name: str) -> dg.AssetCheckResult:
        """The verdict as Dagster's check result: a warning, since the data that did arrive is good."""
        named = ", ".join(f"{company} {count:,}" for company, count in self.faults.items())
        return dg.AssetCheckResult(
            asset_key=asset_key,
            check_name=check_name,
            passed=not self.faults,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{self.subject}: {named}" if named else None,
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
