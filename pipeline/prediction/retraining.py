"""When a model that stands is trained again: by the calendar, by drift, or because its promises were not kept."""

from datetime import date
from typing import Any

import psycopg

from foundation.model_version import ModelVersion
from ml_assets.judging.drift import WHOLE
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.tasks import TaskBinding
from pipeline.prediction.training import Retrain, Search, Trained, Trainer
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.prediction.drift_log import last_verdicts
from warehouse.prediction.model_log import Cause, chosen_model, last_training_date
from warehouse.prediction.score_grades import read_grades
from warehouse.publication.holds import list_holds
from warehouse.publication.publish import newest_publication
from warehouse.roles import Role
from warehouse.settings import Settings

DATES_OF_DRIFT = 2
"""A drift has to be seen at so many dates in a row: one odd day is not a new world."""

FEWEST_OUTCOMES = 30
"""Grades with fewer outcomes than this ask for nothing."""


def train_where_due(
    binding: TaskBinding,
    settings: Settings,
    warehouse: Warehouse,
    registry: ModelRegistry,
    trainer: Trainer,
    company: Company,
    retrain: Retrain,
    cause: Cause | None,
    search: Search | None = None,
) -> Trained:
    """Train the company if it is asked for, or if calendar, drift or grades say so; the cause is recorded.

    Whoever asks by ``cause`` schedule waits, as drift and grades do, for the least time between two trainings.
    """
    today = Clock.from_settings(settings).for_company(company).date()
    with warehouse.connect(Role.ml) as conn:
        if cause == "schedule" and is_too_soon(conn, binding, settings, company, today):
            retrain, cause = "when_due", None
        if retrain == "when_due":
            cause = cause_to_train(conn, binding, settings, registry, company, today)
            retrain = "always" if cause else "when_due"
    return trainer.train(company, retrain, cause, search)


def cause_to_train(
    conn: psycopg.Connection[Any],
    binding: TaskBinding,
    settings: Settings,
    registry: ModelRegistry,
    company: Company,
    today: date,
) -> Cause | None:
    """Why the company's champion should be trained again, or None.

    None within the least time between two trainings, and while publication is held: nobody should learn from an
    outage. A company without a champion, or with other features than it learned from, is the trainer's business.
    """
    chosen = chosen_model(conn, company.company_id, binding.name)
    champion = registry.champion_version(chosen) if chosen else None
    last = last_training_date(conn, company.company_id, binding.name)
    if champion is None or last is None or is_too_soon(conn, binding, settings, company, today):
        return None
    published = newest_publication(conn, binding.relations.contract, company.company_id)
    holds = list_holds(conn, company.company_id, binding.name, only_open=True)
    if published and holds and holds[0].as_of_date > published.as_of_date:
        return None
    verdicts = last_verdicts(conn, company.company_id, binding.name, str(champion), WHOLE, DATES_OF_DRIFT)
    if len(verdicts) == DATES_OF_DRIFT and all(verdicts):
        return "drift"
    if _promises_broken(conn, binding, company, champion):
        return "grade"
    return "schedule" if (today - last).days >= settings.retrain_after_days else None


def is_too_soon(
    conn: psycopg.Connection[Any], binding: TaskBinding, settings: Settings, company: Company, today: date
) -> bool:
    """Whether the last training is nearer than the least time between two."""
    last = last_training_date(conn, company.company_id, binding.name)
    return last is not None and (today - last).days < settings.retrain_minimum_days


def _promises_broken(
    conn: psycopg.Connection[Any], binding: TaskBinding, company: Company, version: ModelVersion
) -> bool:
    """Whether over all months this model's mean promise lies outside what its outcomes allow."""
    return any(
        grade.outcomes >= FEWEST_OUTCOMES and not grade.is_kept
        for grade in read_grades(conn, company.company_id, binding.name)
        if grade.as_of_month is None and grade.model_version == str(version) and grade.segment == "all"
    )
