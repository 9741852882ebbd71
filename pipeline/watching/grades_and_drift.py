"""Watching a company's published scores of a task: grading them when their labels mature, and looking for drift.

What is measured lives in ``ml_assets``, where it is kept in ``warehouse``; here one is handed to the other.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Literal

import pandas as pd
import pyarrow as pa

from ml_assets.errors import FeatureVersionError
from ml_assets.judging.base_rate import DateOutcomes
from ml_assets.judging.drift import BASE_RATE, TOGETHER, WHOLE, DriftReference, describe_training, measure_drift
from ml_assets.judging.grading import grade, grade_as_whole
from ml_assets.model.trained import TrainedModel
from ml_assets.task import PROBABILITY
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.tasks import TaskBinding
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.prediction.drift_log import (
    DriftRow,
    is_measured,
    keep_reference,
    read_drift,
    read_reference,
    record_drift,
)
from warehouse.prediction.feature_store import (
    FeaturesNotBuilt,
    attribute_feature,
    built_columns,
    labelled_rows,
    outcomes_after,
    rows_at,
)
from warehouse.prediction.model_log import chosen_model
from warehouse.prediction.score_grades import (
    GRADES,
    Grade,
    grade_new_outcomes,
    graded_scores,
    read_grades,
    write_grades,
)
from warehouse.prediction.shadow_grades import SHADOW_GRADES, challengers_of, shadowed_scores, write_shadow_grades
from warehouse.roles import Role


@dataclass(frozen=True)
class Graded:
    """What grading did for a company, and how its scores fared over all months; None before the first grade.

    challengers: how many models that scored in shadow were graded beside them.
    """

    graded: int
    corrected: int
    scores: int | None = None
    outcomes: int | None = None
    promised: float | None = None
    kept: float | None = None
    kept_low: float | None = None
    kept_high: float | None = None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    challengers: int = 0


@dataclass(frozen=True)
class Measured:
    """What looking for drift did for a company. ``status`` is measured, already_measured or not_measured."""

    status: Literal["measured", "already_measured", "not_measured"]
    note: str = ""
    as_of_date: date | None = None
    features: int = 0
    drifted: int = 0
    is_drifted: bool = False
    score_is_drifted: bool = False
    base_rate_is_drifted: bool = False
    drifted_features: str = ""


def grade_company(warehouse: Warehouse, binding: TaskBinding, company: Company, now: datetime) -> Graded:
    """Grade the company's published scores whose labels have matured or were corrected since the last time.

    What challengers said of the same entities and dates is graded beside it, in a table of its own.
    """
    with warehouse.connect(Role.ml) as conn:
        new = grade_new_outcomes(conn, company.company_id, binding.relations, now)
    if new.months:
        scores = graded_scores(warehouse, company.company_id, binding.name).to_pandas()
        grades = grade(scores, months=new.months).assign(
            company_id=company.company_id, task=binding.name, computed_at=pd.Timestamp(now)
        )
        columns = grades.reindex(columns=GRADES.names)
        with warehouse.connect(Role.ml) as conn:
            write_grades(
                conn,
                company.company_id,
                binding.name,
                pa.Table.from_pandas(columns, schema=GRADES, preserve_index=False),
                new.months,
            )
    challengers = _grade_challengers(warehouse, binding, company, new.months, now)
    with warehouse.connect(Role.ml) as conn:
        whole = whole_grade(read_grades(conn, company.company_id, binding.name))
    if whole is None:
        return Graded(new.graded, new.corrected)
    figures = {name: getattr(whole, name) for name in Graded.__dataclass_fields__ if hasattr(whole, name)}
    return Graded(new.graded, new.corrected, **figures, challengers=challengers)


def _grade_challengers(
    warehouse: Warehouse, binding: TaskBinding, company: Company, months: Collection[date], now: datetime
) -> int:
    """Grade every challenger that scored in these months, and what was published on the same rows; returns how many."""
    graded = 0
    with warehouse.connect(Role.ml) as conn:
        challengers = challengers_of(conn, company.company_id, binding.name, months)
    for challenger in challengers:
        scores = shadowed_scores(warehouse, company.company_id, binding.name, challenger).to_pandas()
        rows = [
            {
                **grade_as_whole(scores.assign(probability=scores[scored_by])),
                "company_id": company.company_id,
                "task": binding.name,
                "model_version": challenger,
                "scored_by": scored_by,
                "first_date": scores["as_of_date"].min(),
                "last_date": scores["as_of_date"].max(),
                "computed_at": now,
            }
            for scored_by in ("challenger", "champion")
            if not scores.empty
        ]
        grades = pa.Table.from_pylist(rows, schema=SHADOW_GRADES)
        with warehouse.connect(Role.ml) as conn:
            write_shadow_grades(conn, company.company_id, binding.name, challenger, grades)
        graded += bool(rows)
    return graded


def whole_grade(grades: list[Grade]) -> Grade | None:
    """The grade over all months, segments and models."""
    return next(
        (
            grade
            for grade in grades
            if grade.as_of_month is None and {grade.segment, grade.model_version, grade.evidence_level} == {"all"}
        ),
        None,
    )


def measure_company(
    warehouse: Warehouse, registry: ModelRegistry, binding: TaskBinding, company: Company, now: datetime
) -> Measured:
    """Hold the company's current date against what its champion learned from.

    A date is measured once per champion; what training was like is read once per champion, and kept.
    """
    with warehouse.connect(Role.ml) as conn:
        chosen = chosen_model(conn, company.company_id, binding.name)
        champion = registry.champion_version(chosen) if chosen else None
        if champion is None:
            return Measured("not_measured", "it has no champion yet")
        version = str(champion)
        if is_measured(conn, company.company_id, binding.name, now.date(), version):
            measured = read_drift(conn, company.company_id, binding.name, now.date())
            return _measurement("already_measured", now.date(), measured[1] if measured else [])
    model = registry.load(champion)
    try:
        drift = _measure(warehouse, binding, model, company, version, now)
    except (FeaturesNotBuilt, FeatureVersionError) as error:
        return Measured("not_measured", error.told_of(company.slug))
    if drift is None:
        return Measured("not_measured", "it has no labelled rows that its champion could have learned from")
    with warehouse.connect(Role.ml) as conn:
        record_drift(conn, company.company_id, binding.name, now.date(), version, drift, now)
    return _measurement("measured", now.date(), drift)


def _measure(
    warehouse: Warehouse, binding: TaskBinding, model: TrainedModel, company: Company, version: str, now: datetime
) -> list[DriftRow] | None:
    with warehouse.connect() as conn:
        built = set(built_columns(conn, binding.relations.matrix))
    names = [feature.name for feature in model.encoder.features if feature.name in built]
    learned = {feature.name for feature in model.encoder.features}
    attributes = [chosen for chosen in company.custom_attributes if attribute_feature(chosen) in learned]
    today = rows_at(warehouse, binding.relations, company.company_id, now.date(), names, attributes).to_pandas()
    model.check_frame(today, binding.task)
    with warehouse.connect(Role.ml) as conn:
        kept = read_reference(conn, company.company_id, binding.name, version)
    if kept is not None and "rates" in kept:
        reference = DriftReference.from_json(kept)
    else:
        rows = labelled_rows(warehouse, binding.relations, [company.company_id], names, attributes).to_pandas()
        if model.facts.last_seen_date is not None:
            rows = rows[rows["as_of_date"].astype(str) <= model.facts.last_seen_date]
        if rows.empty or len(names) + len(attributes) < len(learned):
            return None
        reference = describe_training(model, rows, horizon_days=binding.horizon_days(company))
        with warehouse.connect(Role.ml) as conn:
            keep_reference(conn, company.company_id, binding.name, version, reference.to_json(), now)
    return [
        DriftRow(**{**asdict(drift), "new_categories": [*drift.new_categories]})
        for drift in measure_drift(reference, model, today, _since_training(warehouse, binding, model, company))
    ]


def _since_training(
    warehouse: Warehouse, binding: TaskBinding, model: TrainedModel, company: Company
) -> list[DateOutcomes]:
    """What came of the dates that matured after those which the model saw."""
    if model.facts.last_seen_date is None:
        return []
    last = date.fromisoformat(model.facts.last_seen_date)
    with warehouse.connect(Role.ml) as conn:
        rows = outcomes_after(conn, binding.relations, company.company_id, last)
    return [DateOutcomes(day.isoformat(), entities, outcomes) for day, entities, outcomes in rows]


def _measurement(
    status: Literal["measured", "already_measured", "not_measured"], as_of_date: date, rows: list[DriftRow]
) -> Measured:
    verdicts = {row.feature: row.is_drifted for row in rows}
    features = [row for row in rows if row.feature not in WHOLE]
    drifted = [row.feature for row in features if row.is_drifted]
    return Measured(
        status,
        as_of_date=as_of_date,
        features=len(features),
        drifted=len(drifted),
        is_drifted=verdicts.get(TOGETHER, False),
        score_is_drifted=verdicts.get(PROBABILITY, False),
        base_rate_is_drifted=verdicts.get(BASE_RATE, False),
        drifted_features=", ".join(drifted),
    )
