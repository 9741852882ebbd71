"""Business metrics with their definitions, and the health of models."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Path, Query

from pipeline.telling.business_metrics import Described, describe_metrics, metric_named, metric_points
from serving.api.access import Reader, Reading
from serving.api.problems import not_there
from serving.api.scores import TaskName, contract_of
from serving.api.shapes import MetricDescription, Metrics, MetricSeries, ModelHealth
from warehouse.publication.served import published_sets
from warehouse.publication.told_of_scores import drift_of, grades_of, model_events

EVENTS = 50

router = APIRouter(prefix="/v1")


@router.get("/metrics", tags=["metrics"])
def list_metrics(access: Reading, reader: Reader) -> Metrics:
    """The business metrics that can be asked for, and what each means."""
    with reader.reading(access) as connection:
        return Metrics(metrics=[_told(described) for described in describe_metrics(connection)])


@router.get("/metrics/{name}", tags=["metrics"])
def series_of_a_metric(
    access: Reading,
    reader: Reader,
    name: Annotated[str, Path(max_length=60, pattern="^[a-z_]+$", examples=["churn_rate"])],
    first: Annotated[date | None, Query(alias="from", description="Periods that begin on this date or later.")] = None,
    last: Annotated[date | None, Query(alias="to", description="Periods that begin on this date or before.")] = None,
) -> MetricSeries:
    """A metric by period, oldest first: the newest 5,000 points of those asked for."""
    metric = metric_named(name)
    with reader.reading(access) as connection:
        described = describe_metrics(connection, [metric])
        if not described:
            raise not_there("metric")
        points = metric_points(connection, metric, access.company_id, first, last)
    return MetricSeries.model_validate({"metric": _told(described[0]), "points": [vars(point) for point in points]})


@router.get("/models/{task}", tags=["models"])
def health_of_a_model(access: Reading, reader: Reader, task: TaskName) -> ModelHealth:
    """How the task's model is: what it published, how that did, what became of models, and which features drifted."""
    contract = contract_of(task)
    with reader.reading(access) as connection:
        newest = next(iter(published_sets(connection, contract, access.company_id)), None)
        return ModelHealth.model_validate(
            {
                "task": task,
                "published": vars(newest) if newest else None,
                "grading_record": grades_of(connection, access.company_id, task),
                "events": model_events(connection, access.company_id, task, EVENTS),
                "drift": drift_of(connection, access.company_id, task),
            }
        )


def _told(described: Described) -> MetricDescription:
    metric = described.metric
    return MetricDescription(
        name=metric.name,
        definition=described.definition,
        population=described.population,
        unit=metric.unit,
        period=metric.period.removesuffix("_start"),
        dimensions=list(metric.dimensions),
    )
