"""One company's track record: past months replayed for as long as a run may take, then graded, then in words."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.prediction.tasks import TaskBinding
from pipeline.prediction.track_record.grading import grade_record
from pipeline.prediction.track_record.replaying import Replayer
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.logs.operations import longest_run
from warehouse.settings import Settings


@dataclass(frozen=True)
class Recorded:
    """What was done for a company: months and scores made, months still to be done, and months with a grade."""

    months: int
    scores: int
    waiting: int
    graded: int


def record_company(
    settings: Settings, warehouse: Warehouse, binding: TaskBinding, replayer: Replayer, company: Company
) -> Recorded:
    """Replay and grade within the settings' share of the company's longest training; a run later goes on from there."""
    with warehouse.connect() as conn:
        longest = longest_run(conn, company.company_id, f"train {binding.name}")
    replayed = replayer.replay(company, seconds=settings.track_record_share * longest)
    graded = grade_record(warehouse, binding, company, Clock.from_settings(settings).for_company(company))
    return Recorded(replayed.months, replayed.scores, replayed.waiting, graded.months)
