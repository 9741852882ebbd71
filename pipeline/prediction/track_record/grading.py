"""How good the replayed scores turned out to be, month by month and over the newest twelve, and that in a sentence."""

from dataclasses import dataclass
from datetime import datetime

import pandas as pd
import pyarrow as pa

from foundation.counting import counted
from ml_assets.judging.grading import grade_as_whole
from ml_assets.judging.warned import judge_warnings
from pipeline.prediction.tasks import TaskBinding
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.prediction.track_record import (
    GRADES,
    RecordGrade,
    read_record_grades,
    record_with_outcomes,
    refresh_outcomes,
    write_record_grades,
)
from warehouse.roles import Role

MONTHS = 12
"""Over how many graded months, the newest, the track record speaks as a whole."""

FEWEST_OUTCOMES = 10
"""Of fewer who left no shares are said: they would be chance."""


@dataclass(frozen=True)
class RecordGraded:
    """How many months have a grade, and figures of the newest twelve; None before the first."""

    months: int
    scores: int | None = None
    outcomes: int | None = None
    high_risk_kept: float | None = None
    named_share: float | None = None


def grade_record(warehouse: Warehouse, binding: TaskBinding, company: Company, now: datetime) -> RecordGraded:
    """Grade the company's replayed scores where an outcome came or was corrected since the last time."""
    company_id, task = company.company_id, binding.name
    with warehouse.connect(Role.ml) as conn:
        changed = refresh_outcomes(conn, company_id, binding.relations)
    if changed:
        grades = record_grades(record_with_outcomes(warehouse, company_id, task).to_pandas())
        grades = grades.assign(company_id=company_id, task=task, computed_at=pd.Timestamp(now))
        table = pa.Table.from_pandas(grades.reindex(columns=GRADES.names), schema=GRADES, preserve_index=False)
        with warehouse.connect(Role.ml) as conn:
            write_record_grades(conn, company_id, task, table)
    with warehouse.connect(Role.ml) as conn:
        graded = read_record_grades(conn, company_id, task)
    if not graded:
        return RecordGraded(0)
    whole = graded[0]
    return RecordGraded(len(graded) - 1, whole.scores, whole.outcomes, whole.high_risk_kept, whole.named_share)


def record_grades(rows: pd.DataFrame) -> pd.DataFrame:
    """Grades of replayed scores with outcomes: a row over the newest MONTHS months (as_of_month None), one per month.

    ``rows``: entity_id, as_of_date (the first of a month), probability, risk_level, value_at_stake, outcome.
    """
    months = sorted(rows["as_of_date"].unique())
    newest = rows[rows["as_of_date"].isin(months[-MONTHS:])]
    slices = [(None, newest), *((month, rows[rows["as_of_date"] == month]) for month in months)]
    return pd.DataFrame(
        [
            {
                "as_of_month": month,
                "first_month": part["as_of_date"].min(),
                "last_month": part["as_of_date"].max(),
                **grade_as_whole(part),
                **judge_warnings(part),
            }
            for month, part in slices
            if not part.empty
        ]
    )


def describe_record(grade: RecordGrade, binding: TaskBinding, horizon_days: int) -> str:
    """The track record of the newest months in words, which say that it was replayed."""
    entity, did, within = binding.task.entity, binding.wording.did, counted(horizon_days, "day")
    span = f"Replayed, {grade.first_month:%b %Y}"
    if grade.last_month > grade.first_month:
        span += f" to {grade.last_month:%b %Y}"
    if grade.named_share is None or grade.entities_with_outcome < FEWEST_OUTCOMES:
        return f"{span}: {counted(grade.entities_with_outcome, entity)} {did} within {within}, too few to judge by."
    if grade.high_risk_kept is None:
        left = counted(grade.entities_with_outcome, entity)
        return f"{span}: {left} {did} within {within}, and none would have been put at high risk."
    named, low, high = _ends(grade.named_share, grade.named_share_low, grade.named_share_high)
    kept, least, most = _ends(grade.high_risk_kept, grade.high_risk_kept_low, grade.high_risk_kept_high)
    return (
        f"{span}: of the {entity}s that would have been put at high risk in a month, {kept:.0%} ({least:.0%} to "
        f"{most:.0%}) {did} within {within}; of 100 who {did}, {100 * named:.0f} ({100 * low:.0f} to "
        f"{100 * high:.0f}) would have been named."
    )


def _ends(share: float, low: float | None, high: float | None) -> tuple[float, float, float]:
    """The share with its interval, which is the share itself where there is none."""
    return share, share if low is None else low, share if high is None else high
