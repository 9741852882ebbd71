"""dbt models as assets: staging, intermediate, features and analytics in one project."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets
from pydantic import Field

from orchestration.dbt_assets import LayeredTranslator, dbt_project
from orchestration.dbt_build import CompaniesBuild
from orchestration.resources import WarehouseResource
from pipeline.features.dbt import dbt_vars, prepare_manifest, vars_argument, write_profile
from warehouse.prediction.feature_store import refuse_never_built
from warehouse.settings import load_settings

_settings = load_settings()
_project = dbt_project(_settings)

# dbt would write its manifest twice in each run, which takes a second; ours is what `prepare_manifest` parsed.
WITHOUT_ARTIFACTS = ("--no-write-json",)
# They test the SQL, not the data: `make test` and an analytics engineer's own `dbt build` run them.
WITHOUT_UNIT_TESTS = ("--exclude-resource-types", "unit_test")


class TransformConfig(dg.Config):
    """Which dates are built."""

    as_of_dates: list[str] = Field(
        default=[],
        description="Dates to build again, such as 2025-03-01, all in this one run; empty: those that are missing.",
    )

    def variables(self) -> dict[str, list[str]]:
        """dbt's variables: none where no date is asked for. Raises ValueError, which names what is no date."""
        dates = [date.fromisoformat(day).isoformat() for day in self.as_of_dates]
        return {"as_of_dates": dates} if dates else {}


@dbt_assets(
    manifest=prepare_manifest(_settings),
    project=_project,
    dagster_dbt_translator=LayeredTranslator(),
    name="dbt_models",
)
def dbt_models(
    context: dg.AssetExecutionContext, config: TransformConfig, dbt: DbtCliResource, warehouse: WarehouseResource
) -> Iterator[Any]:
    """Build and test the selected models for the dates that are missing; a company that this fails on is left out."""
    settings = warehouse.settings()
    warehouse.write_alone(f"Dagster's {context.job_name} {context.run_id[:8]}", context.log.warning)
    with warehouse.open() as opened:
        write_profile(settings, opened, Path(_project.profiles_dir))
        variables = config.variables()
        if variables:
            refuse_never_built(opened)
        arguments = vars_argument({**dbt_vars(settings), **variables})
        build = ["build", *WITHOUT_ARTIFACTS, *WITHOUT_UNIT_TESTS, *arguments]
        yield from CompaniesBuild(context, settings, opened, dbt, build, variables).events()
