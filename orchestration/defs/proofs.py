"""Proofs of the features as an asset. How one is made lives in ``pipeline.features.proof``."""

import dagster as dg

from orchestration import keys
from orchestration.company_work import for_each_company
from orchestration.partitions import companies
from orchestration.resources import WarehouseResource
from pipeline.features.proof import prove_features, words_of_failure


# It names no dependency, though it reads the matrix: the catalogue reads the proofs, and with both of them named
# every daily run would start dbt a third time.
@dg.asset(
    key=keys.FEATURE_PROOFS,
    group_name=keys.Group.proofs,
    owners=[keys.Owner.analytics_engineering],
    description="A past date of each company, rebuilt from what is loaded today: of how many rows each feature moved.",
    kinds={"postgres", "dbt"},
    partitions_def=companies,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def feature_proofs(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult[None]:
    """Prove the features of each company; a company whose past moved fails, with the features' names."""
    settings = warehouse.settings()
    with warehouse.open() as opened:
        outcomes = for_each_company(
            context,
            opened,
            stage="prove",
            work=lambda company: prove_features(settings, opened, company),
            counts=lambda proof: (
                {"rows": proof.rows, "features": len(proof.differing), "moved": len(proof.failed)} if proof else {}
            ),
            failure=words_of_failure,
        )
    for slug, proof in outcomes.results.items():
        if proof:
            shown = {"as_of_date": str(proof.as_of_date), "rows": proof.rows, "moved": len(proof.failed)}
            context.add_asset_metadata(shown, keys.FEATURE_PROOFS, slug)
    return dg.MaterializeResult(asset_key=keys.FEATURE_PROOFS)
