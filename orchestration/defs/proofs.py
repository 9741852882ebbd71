"""Proofs of the features as an asset. How one is made lives in ``pipeline.features.proof``."""

from collections.abc import Iterator

import dagster as dg

from orchestration import keys
from orchestration.company_work import every_company, for_each_company
from orchestration.partitions import companies
from orchestration.resources import WarehouseResource
from pipeline.features.proof import describe_failure, prove_tasks


# It names no dependency, though it reads the matrix: the catalogue reads the proofs, and with both of them named
# every daily run would start dbt a third time.
@dg.asset(
    key=keys.FEATURE_PROOFS,
    group_name=keys.Group.proofs,
    owners=[keys.Owner.analytics_engineering],
    description="A past date of each company's tasks, rebuilt from what is loaded today: in how many rows what moved.",
    kinds={"postgres", "dbt"},
    check_specs=[every_company(keys.FEATURE_PROOFS)],
    partitions_def=companies,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def feature_proofs(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> Iterator[dg.MaterializeResult[None]]:
    """Prove the features of each company; a company whose past moved fails, with the features' names."""
    settings = warehouse.settings()
    with warehouse.open() as opened:
        outcomes = for_each_company(
            context,
            opened,
            stage="prove",
            work=lambda company: prove_tasks(settings, opened, company),
            counts=lambda proofs: {
                "rows": sum(proof.rows for proof in proofs),
                "features": sum(len(proof.differing) for proof in proofs),
                "moved": sum(len(proof.failed) for proof in proofs),
            },
            failure=describe_failure,
        )
    for slug, proofs in outcomes.results.items():
        for proof in proofs:
            metadata = {
                "as_of_date": str(proof.as_of_date),
                f"{proof.task} rows": proof.rows,
                f"{proof.task} moved": len(proof.failed),
            }
            context.add_asset_metadata(metadata, keys.FEATURE_PROOFS, slug)
    yield dg.MaterializeResult(asset_key=keys.FEATURE_PROOFS, check_results=[outcomes.check(keys.FEATURE_PROOFS)])
