"""Grades, drift, holds and replays as assets and checks, per task. What is measured lives in ``pipeline.watching``."""

from collections.abc import Iterator

import dagster as dg

from orchestration import keys
from orchestration.company_work import every_company, figures, for_each_company
from orchestration.partitions import companies
from orchestration.resources import WarehouseResource
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.scoring import Scorer
from pipeline.prediction.tasks import TaskBinding
from pipeline.publication.replay import replay_held_dates
from pipeline.watching.grades_and_drift import grade_company, measure_company
from pipeline.watching.verdicts import WatchVerdict, broken_promises, drifted_companies, open_holds
from warehouse.clock import Clock


def watched_scores(binding: TaskBinding) -> dg.AssetsDefinition:
    """Grades of a task's scores, and drift of its features."""
    task = keys.TASKS[binding.name]

    # It names no publication, though it reads the published scores: those of today come after it.
    @dg.multi_asset(
        name=f"watch_{binding.name}_scores",
        specs=[
            dg.AssetSpec(
                task.ml("grades"),
                deps=[task.label_versions],
                group_name=keys.Group.watching,
                owners=[keys.Owner.data_science],
                description="What became of published scores: promised against kept, by month, segment and model.",
                kinds={"scikitlearn", "postgres"},
            ),
            dg.AssetSpec(
                task.ml("shadow_grades"),
                deps=[task.label_versions],
                group_name=keys.Group.watching,
                owners=[keys.Owner.data_science],
                description="What became of challengers' scores, beside the published ones of the same rows.",
                kinds={"scikitlearn", "postgres"},
            ),
            dg.AssetSpec(
                task.ml("feature_drift"),
                deps=[task.feature_matrix],
                group_name=keys.Group.watching,
                owners=[keys.Owner.data_science],
                description="How far features and scores are from training, beside what a stable past shows.",
                kinds={"scipy", "postgres"},
            ),
        ],
        check_specs=[every_company(task.ml("grades")), every_company(task.ml("feature_drift"))],
        partitions_def=companies,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def watch_scores(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        """Grade what has matured, and hold today's features against those that the champion learned from."""
        settings = warehouse.settings()
        clock = Clock.from_settings(settings)
        with warehouse.open() as opened:
            registry = ModelRegistry(opened, settings.home)
            graded = for_each_company(
                context,
                opened,
                stage="grade",
                task=binding.name,
                work=lambda company: grade_company(opened, binding, company, clock.for_company(company)),
                counts=lambda done: {"graded": done.graded, "corrected": done.corrected},
            )
            measured = for_each_company(
                context,
                opened,
                stage="drift",
                task=binding.name,
                work=lambda company: measure_company(opened, registry, binding, company, clock.for_company(company)),
                counts=lambda done: {"features": done.features, "drifted": done.drifted},
            )
        for slug, grades in graded.results.items():
            context.add_asset_metadata(figures(grades), task.ml("grades"), slug)
            context.add_asset_metadata({"challengers": grades.challengers}, task.ml("shadow_grades"), slug)
        for slug, drift in measured.results.items():
            context.add_asset_metadata(figures(drift), task.ml("feature_drift"), slug)
        for key in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=key)
        yield graded.check(task.ml("grades"))
        yield measured.check(task.ml("feature_drift"))

    return watch_scores


def replays(binding: TaskBinding) -> dg.AssetsDefinition:
    """Held dates of a task, published after the repair of their source."""
    task = keys.TASKS[binding.name]

    @dg.asset(
        key=task.ml("replays"),
        group_name=keys.Group.watching,
        owners=[keys.Owner.operations],
        description="Past dates that were held, published as they would have been had the source been read in time.",
        kinds={"postgres", "dbt"},
        check_specs=[every_company(task.ml("replays"))],
        partitions_def=companies,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def replay_dates(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Replay the held dates of each company; one that is still held fails, with the gate's reasons."""
        settings = warehouse.settings()
        with warehouse.open() as opened:
            scorer = Scorer.from_settings(binding, opened, settings)
            outcomes = for_each_company(
                context,
                opened,
                stage="replay",
                task=binding.name,
                work=lambda company: replay_held_dates(settings, opened, binding, scorer, company),
                counts=lambda done: {"published": len(done.published), "held": len(done.held)},
                failure=lambda done: done.describe_failure(),
            )
        for slug, done in outcomes.results.items():
            metadata = {"published": ", ".join(map(str, done.published)) or "none", "held": len(done.held)}
            context.add_asset_metadata(metadata, task.ml("replays"), slug)
        yield dg.MaterializeResult(asset_key=task.ml("replays"), check_results=[outcomes.check(task.ml("replays"))])

    return replay_dates


def watching_checks(binding: TaskBinding) -> list[dg.AssetChecksDefinition]:
    """What an operator should look at of a task's published scores."""
    task = keys.TASKS[binding.name]

    @dg.asset_check(
        asset=task.ml("grades"),
        name="promises_are_kept",
        description="Over all graded scores, each company's mean probability lies within the interval of what was.",
    )
    def promises_are_kept(warehouse: WarehouseResource) -> dg.AssetCheckResult:
        """Names the companies whose scores promised more or less than came true."""
        with warehouse.open() as opened, opened.connect() as conn:
            return _warning(broken_promises(conn, binding.name))

    @dg.asset_check(
        asset=task.ml("feature_drift"),
        name="features_are_as_in_training",
        description="Neither all features together nor the score are further from training than a stable past shows.",
    )
    def features_are_as_in_training(warehouse: WarehouseResource) -> dg.AssetCheckResult:
        """Names the companies that drifted, and their heaviest features that did."""
        with warehouse.open() as opened, opened.connect() as conn:
            return _warning(drifted_companies(conn, binding.name))

    @dg.asset_check(
        asset=task.ml("publication_holds"),
        name="nothing_is_held",
        description="No company has a date that is held back from publication.",
    )
    def nothing_is_held(warehouse: WarehouseResource) -> dg.AssetCheckResult:
        """Names the companies with held dates, how many entities' risk level these would have changed, and why."""
        with warehouse.open() as opened, opened.connect() as conn:
            return _warning(open_holds(conn, binding.name))

    return [promises_are_kept, features_are_as_in_training, nothing_is_held]


def _warning(verdict: WatchVerdict) -> dg.AssetCheckResult:
    """The verdict as Dagster's check: a warning, for it asks for a look and stops nothing."""
    return dg.AssetCheckResult(
        passed=not verdict.faults,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{slug}: {fault}" for slug, fault in verdict.faults.items()) or None,
        metadata=dict(verdict.figures),
    )
