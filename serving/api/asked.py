"""Scores made on demand: one customer, now, with what the warehouse holds or with features given."""

from __future__ import annotations

from fastapi import APIRouter, Request

from ml_assets.task import ENTITY_ID, PROBABILITY
from pipeline.prediction.asking import ScoresNow
from serving.api.access import Reader, Scoring
from serving.api.problems import not_there
from serving.api.scores import CustomerId, TaskName, contract_of
from serving.api.shapes import AskedScore, Question
from warehouse.publication.told_of_scores import customer_is_known

MEANING = "association, not effect"

router = APIRouter(prefix="/v1", tags=["scores"])


@router.post("/customers/{customer_id:path}/scores/{task}/score")
def score_a_customer_now(
    request: Request,
    access: Scoring,
    reader: Reader,
    customer_id: CustomerId,
    task: TaskName,
    question: Question | None = None,
) -> AskedScore:
    """Score a customer with the model that publishes, from their newest features; with `attributes`, what if."""
    contract_of(task)
    with reader.reading(access) as connection:
        if not customer_is_known(connection, access.company_id, customer_id):
            raise not_there("customer")
    scores: ScoresNow = request.app.state.scores_now
    asked = scores.score(access.slug, task, customer_id, question.attributes if question else {})
    score = {
        **asked.score,
        "customer_id": str(asked.score[ENTITY_ID]),
        "probability": float(asked.score[PROBABILITY]),
        "scored_at": None,
    }
    return AskedScore.model_validate(
        {
            "task": task,
            "score": score,
            "probability_before": asked.probability_before,
            "changed": [vars(change) for change in asked.changed],
            "meaning": MEANING,
        }
    )
