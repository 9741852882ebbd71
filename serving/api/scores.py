"""Scores as they were published: pages of a set, one customer, and earlier dates."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from pipeline.prediction.tasks import CONTRACTS
from serving.api.access import Reader, Reading
from serving.api.cursors import edition_of, question_of, read_cursor, write_cursor
from serving.api.problems import Refused, not_there
from serving.api.shapes import (
    CustomerScore,
    CustomerScores,
    EvidenceLevel,
    History,
    Probability,
    PublishedSet,
    RiskLevel,
    Score,
    ScorePage,
    Tasks,
    TaskSet,
)
from warehouse.publication.contract import Contract
from warehouse.publication.served import (
    Connection,
    Order,
    Place,
    PublishedOne,
    Wanted,
    earlier_scores,
    page_of_scores,
    published_sets,
    score_of,
)
from warehouse.publication.told_of_scores import decision_of, grades_of, move_of

LARGEST_PAGE = 1_000

router = APIRouter(prefix="/v1", tags=["scores"])
OF_CUSTOMERS: dict[str, Contract] = {contract.task: contract for contract in CONTRACTS if contract.entity == "customer"}

TaskName = Annotated[
    str, Path(max_length=40, pattern="^[a-z_]+$", description="What is predicted.", examples=["churn"])
]
CustomerId = Annotated[
    str,
    Path(min_length=1, max_length=200, pattern=r"^[^\x00]+$", description="The id in your CRM.", examples=["c00042"]),
]


def contract_of(task: str) -> Contract:
    """The contract of a task whose entity is the customer. Raises Refused."""
    if task not in OF_CUSTOMERS:
        raise not_there("task")
    return OF_CUSTOMERS[task]


@router.get("/tasks")
def list_tasks(access: Reading, reader: Reader) -> Tasks:
    """The tasks whose scores can be asked for, each with its newest set."""
    with reader.reading(access) as connection:
        newest = {
            task: next(iter(published_sets(connection, contract, access.company_id)), None)
            for task, contract in OF_CUSTOMERS.items()
        }
    tasks = [TaskSet(task=task, published=_told(published)) for task, published in newest.items() if published]
    return Tasks(contract_version=1, tasks=tasks)


@router.get("/scores/{task}")
def list_scores(
    access: Reading,
    reader: Reader,
    task: TaskName,
    risk_level: Annotated[RiskLevel | None, Query(description="Only this level.")] = None,
    evidence_level: Annotated[EvidenceLevel | None, Query(description="Only scores that rest on this.")] = None,
    min_probability: Annotated[Probability | None, Query(description="From this probability on.")] = None,
    max_probability: Annotated[Probability | None, Query(description="Up to this probability.")] = None,
    sort: Annotated[Order, Query(description="Highest first, lowest first, or by id.")] = "-probability",
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Scores of a page.")] = 100,
    cursor: Annotated[str | None, Query(max_length=2_000, description="`next_cursor` of the page before.")] = None,
) -> ScorePage:
    """The newest published set, page by page.

    All pages come from the set of the first one, whatever is published meanwhile. Where that set itself is replaced,
    the answer is 410: begin again without a cursor.
    """
    contract = contract_of(task)
    wanted = Wanted(risk_level, evidence_level, min_probability, max_probability)
    question = question_of(task=task, wanted=wanted, sort=sort)
    with reader.reading(access) as connection:
        published, after = _set_of_page(connection, contract, access.company_id, cursor, question)
        rows = page_of_scores(
            connection, contract, access.company_id, published.as_of_date, wanted, sort, after, limit + 1
        )
    page = rows[:limit]
    following = None
    if len(rows) > limit:
        last = Place(page[-1]["probability"], page[-1]["customer_id"])
        following = write_cursor(published, question, last)
    return ScorePage.model_validate({"published": _told(published), "scores": page, "next_cursor": following})


@router.get("/customers/{customer_id:path}/scores")
def all_scores_of_a_customer(access: Reading, reader: Reader, customer_id: CustomerId) -> CustomerScores:
    """A customer's newest score of every task."""
    scores: dict[str, Any] = {}
    with reader.reading(access) as connection:
        for task, contract in OF_CUSTOMERS.items():
            score = _newest_score(connection, contract, access.company_id, customer_id)
            if score is not None:
                scores[task] = score
    if not scores:
        raise not_there("customer")
    return CustomerScores.model_validate({"customer_id": customer_id, "scores": scores})


@router.get("/customers/{customer_id:path}/scores/{task}")
def score_of_a_customer(access: Reading, reader: Reader, customer_id: CustomerId, task: TaskName) -> CustomerScore:
    """A customer's newest score with reasons, range, evidence, curve; why it moved, what to do, how such scores did."""
    contract = contract_of(task)
    with reader.reading(access) as connection:
        score = _newest_score(connection, contract, access.company_id, customer_id)
        if score is None:
            raise not_there("customer")
        move = move_of(connection, access.company_id, task, score)
        decision = decision_of(connection, access.company_id, customer_id, task)
        grades = grades_of(connection, access.company_id, task)
    told = {"score": score, "move": move, "decision": decision, "grading_record": grades}
    return CustomerScore.model_validate({"task": task, **told})


@router.get("/customers/{customer_id:path}/scores/{task}/history")
def earlier_scores_of_a_customer(
    access: Reading,
    reader: Reader,
    customer_id: CustomerId,
    task: TaskName,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Scores at most.")] = 30,
) -> History:
    """A customer's scores of the newest set and of those before it, the newest first."""
    contract = contract_of(task)
    with reader.reading(access) as connection:
        newest = next(iter(published_sets(connection, contract, access.company_id)), None)
        scores = []
        if newest is not None:
            current = score_of(connection, contract, access.company_id, customer_id, newest.as_of_date)
            before = earlier_scores(connection, contract, access.company_id, customer_id, newest.as_of_date, limit)
            scores = [*([current] if current else []), *before][:limit]
    if not scores:
        raise not_there("customer")
    return History(task=task, scores=[Score.model_validate(score) for score in scores])


def _newest_score(
    connection: Connection, contract: Contract, company_id: int, customer_id: str
) -> dict[str, Any] | None:
    newest = next(iter(published_sets(connection, contract, company_id)), None)
    return None if newest is None else score_of(connection, contract, company_id, customer_id, newest.as_of_date)


def _set_of_page(
    connection: Connection, contract: Contract, company_id: int, cursor: str | None, question: str
) -> tuple[PublishedOne, Place | None]:
    """The set that the page comes from, and the row after which it begins. Raises Refused."""
    if cursor is None:
        newest = next(iter(published_sets(connection, contract, company_id)), None)
        if newest is None:
            raise not_there("published set")
        return newest, None
    day, edition, after = read_cursor(cursor, question)
    published = next(iter(published_sets(connection, contract, company_id, of=day)), None)
    if published is None or edition_of(published) != edition:
        raise Refused(410, "set-replaced", "The set of this cursor was replaced", "Begin again without a cursor.")
    return published, after


def _told(published: PublishedOne | None) -> PublishedSet | None:
    return None if published is None else PublishedSet.model_validate(published, from_attributes=True)
