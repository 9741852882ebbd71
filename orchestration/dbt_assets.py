"""The dbt project as Dagster sees it: where it is, how its names become asset keys, when to parse it again."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliEventMessage, DbtCliInvocation, DbtCliResource, DbtProject
from dagster_dbt.compat import DBT_PYTHON_VERSION

from orchestration import keys
from pipeline.features.catalogue import target_directory
from pipeline.features.dbt import dbt_command, hand_over, profiles_directory
from pipeline.features.own_project import project_directory
from pipeline.features.versions import sql_version
from warehouse.settings import Settings

ROWS_WRITTEN = "rows written"
_WRITTEN = re.compile(r"(?:INSERT 0|SELECT) (\d+)")
_GROUPS = {
    "staging": keys.Group.staging,
    "intermediate": keys.Group.features,
    "features": keys.Group.features,
    "tasks": keys.Group.features,
    "seeds": keys.Group.staging,
    "analytics": keys.Group.analytics,
}

BESIDE_LOADS = {keys.COMPANIES, keys.COMPANY_TASKS, keys.EXCHANGE_RATES, keys.FEATURE_PROOFS, keys.RUN_LOG}
_OF_PREDICTION = {"ml", "predictions"}


class LayeredTranslator(DagsterDbtTranslator):
    """Keys carry the layer, so that a source and a mart of one name stay apart."""

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        """Made once, as dagster-dbt's own is: it asks again for each test that has run, and for each parent."""
        # Kept by the spec that it is made from, which dagster-dbt keeps per manifest.
        spec = super().get_asset_spec(manifest, unique_id, project)
        if id(spec) not in self._layered:
            self._layered[id(spec)] = self._layer(spec, manifest, unique_id)
        return self._layered[id(spec)]

    @cached_property
    def _layered(self) -> dict[int, dg.AssetSpec]:
        return {}

    def _layer(self, spec: dg.AssetSpec, manifest: Mapping[str, Any], unique_id: str) -> dg.AssetSpec:
        node = manifest["nodes"].get(unique_id)
        if node is None or node["resource_type"] not in {"model", "seed", "snapshot"}:
            return spec
        deps = list(spec.deps)
        if {dep.asset_key for dep in deps} <= BESIDE_LOADS:
            # What hangs on no loaded table would run before the sync, at the cost of one more start of dbt.
            deps.append(dg.AssetDep(keys.LOAD_LOG))
        if any(dep.asset_key.path[0] in _OF_PREDICTION for dep in deps) and keys.FEATURE_PROOFS not in {
            dep.asset_key for dep in deps
        }:
            # These come last, and what shows the others would start dbt once more before them.
            deps += [dg.AssetDep(key) for key in (*keys.of_all_tasks("track_record"), keys.DECISIONS)]
        deps = list({each.asset_key: each for dep in deps for each in _of_each_task(dep)}.values())
        layer = node["fqn"][1] if node["resource_type"] == "model" else "seeds"
        if layer in {"features", "tasks"}:
            # Not the model's own text alone: views, macros and promises above it make its rows too.
            spec = spec.replace_attributes(code_version=sql_version(manifest, unique_id))
        return spec.replace_attributes(
            key=keys.dbt_model(node["schema"], node["name"]),
            deps=deps,
            group_name=_GROUPS.get(layer, keys.Group.features),
            owners=[keys.Owner.analytics_engineering],
        )


def _of_each_task(dep: dg.AssetDep) -> list[dg.AssetDep]:
    """A table of ml that all tasks write is one source to dbt, and an asset per task here."""
    for table in keys.TASK_TABLES:
        if dep.asset_key == keys.shared(table):
            return [dg.AssetDep(key) for key in keys.of_all_tasks(table)]
    return [dep]


def dagster_events(invocation: DbtCliInvocation, event: DbtCliEventMessage) -> Iterator[Any]:
    """What dbt did, as Dagster's events; a table's materialization says how many rows this run wrote into it."""
    rows = rows_written(event.raw_event)
    for made in event.to_default_asset_events(
        manifest=invocation.manifest,
        dagster_dbt_translator=invocation.dagster_dbt_translator,
        context=invocation.context,
        target_path=invocation.target_path,
        project=invocation.project,
    ):
        is_table = rows is not None and isinstance(made, dg.Output)
        yield made.with_metadata({**made.metadata, ROWS_WRITTEN: rows}) if is_table else made


def rows_written(raw_event: Mapping[str, Any]) -> int | None:
    """How many rows a dbt model wrote, by what Postgres answered; None for a view, and for what is no model's end."""
    if raw_event["info"]["name"] != "LogModelResult":
        return None
    answer = _WRITTEN.fullmatch(raw_event["data"].get("status") or "")
    return int(answer[1]) if answer else None


def dbt_project(settings: Settings) -> DbtProject:
    """The project with this warehouse's profile; what dbt writes goes to the warehouse's own folder."""
    return DbtProject(
        project_dir=project_directory(settings),
        profiles_dir=profiles_directory(settings),
        target_path=target_directory(settings),
    )


class QuickDbt(DbtCliResource):
    """dbt as a program, started at once: dagster-dbt's own preparations took seven seconds of every daily run."""

    @cached_property
    def _cli_version(self) -> Any:
        # The program stands beside this Python, so it is of the package's version: `dbt --version` need not say so.
        return DBT_PYTHON_VERSION

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:  # noqa: ARG002
        # It would serve to fetch columns and row counts after a build, which nobody asks for.
        return None


def dbt_resource(settings: Settings) -> DbtCliResource:
    """dbt as it is installed with this Python, whether or not the environment is activated."""
    hand_over(settings)
    program, *arguments = dbt_command()
    return QuickDbt(
        project_dir=dbt_project(settings),  # type: ignore[arg-type]  # dagster-dbt's own __init__ takes a project
        dbt_executable=program,
        global_config_flags=arguments,
    )
