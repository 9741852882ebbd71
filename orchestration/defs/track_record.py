"""The track record as an asset per task. What it does lives in ``pipeline.prediction.track_record``; no logic here."""

from collections.abc import Iterator

import dagster as dg

from orchestration import keys
from orchestration.company_work import every_company, figures, for_each_company
from orchestration.partitions import companies
from orchestration.resources import WarehouseResource
from pipeline.prediction.tasks import TaskBinding
from pipeline.prediction.track_record.recording import record_company
from pipeline.prediction.track_record.replaying import Replayer


def track_record(binding: TaskBinding) -> dg.AssetsDefinition:
    """What would have been said of past months, and what came of it."""
    task = keys.TASKS[binding.name]

    @dg.multi_asset(
        name=f"record_{binding.name}_months",
        specs=[
            dg.AssetSpec(
                task.ml(table),
                # After publishing: nobody's scores wait for the past.
                deps=[task.feature_matrix, task.label_versions, task.ml("training_runs"), task.publications],
                group_name=keys.Group.watching,
                owners=[keys.Owner.data_science],
                description=description,
                kinds={"scikitlearn", "postgres"},
            )
            for table, description in (
                ("track_record", "Scores as they would have been published for past months; published nowhere."),
                ("track_record_months", "Which past months were replayed, by which model, from what was known."),
                ("track_record_grades", "How good replayed scores turned out to be, and what acting on them had met."),
            )
        ],
        check_specs=[every_company(task.ml("track_record"))],
        partitions_def=companies,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def record_months(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        """Replay past months that are missing, the newest first, for as long as the settings allow; then grade them."""
        settings = warehouse.settings()
        with warehouse.open() as opened:
            replayer = Replayer.from_settings(binding, opened, settings)
            outcomes = for_each_company(
                context,
                opened,
                stage="record",
                task=binding.name,
                work=lambda company: record_company(settings, opened, binding, replayer, company),
                counts=lambda recorded: {"months": recorded.months, "scores": recorded.scores},
            )
        for slug, recorded in outcomes.results.items():
            context.add_asset_metadata(figures(recorded), task.ml("track_record"), slug)
        for key in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=key)
        yield outcomes.check(task.ml("track_record"))

    return record_months
