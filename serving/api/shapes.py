"""What requests and answers look like: the OpenAPI description is made from these."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.api.decided import EXAMPLE, Decision

RiskLevel = Literal["low", "medium", "high"]
EvidenceLevel = Literal["own_model", "pooled_model", "rule"]
Probability = Annotated[float, Field(ge=0, le=1)]

_REASON: dict[str, Any] = {
    "feature": "tickets_open",
    "label": "Open tickets",
    "value": 2,
    "usual": 0,
    "unit": "tickets",
    "family": "tickets",
    "contribution": 0.9,
    "direction": "raises",
    "text": "2 tickets are open (usual: 0)",
}
_SCORE: dict[str, Any] = {
    "customer_id": "c00042",
    "as_of_date": "2026-03-01",
    "probability": 0.31,
    "probability_low": 0.22,
    "probability_high": 0.42,
    "risk_level": "high",
    "percentile": 97.5,
    "baseline_log_odds": -2.1,
    "reasons": [_REASON],
    "families": {"tickets": 0.9, "payments": 0.4},
    "evidence_level": "own_model",
    "evidence": {"customers": 1200, "outcomes": 140, "is_thin": False},
    "horizon_curve": {"within": {"30": 0.31, "90": 0.5}, "reach_days": 90, "expected_days": 68.0},
    "model_version": "churn-acme v3",
    "row_hash": "5e0c2a",
    "scored_at": "2026-03-01T06:00:00Z",
}


_SET: dict[str, Any] = {
    "as_of_date": "2026-03-01",
    "model_version": "churn-acme v3",
    "evidence_level": "own_model",
    "scores": 1200,
    "published_at": "2026-03-01T06:01:00Z",
    "newest_cursor": 8812,
}


def _example(**fields: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [fields]})


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"type": "urn:churn:problem:not-found", "title": "Not found", "status": 404}]},
    )

    type: str = Field(description="The kind of problem, for programs: it stays within a version.")
    title: str = Field(description="The kind in words.")
    status: int = Field(description="The status of the answer.")
    detail: str | None = Field(default=None, description="What helps with this one.")


class Reason(BaseModel):
    """One additive part of a score, in log-odds. Keys may be added within a version."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_REASON]})

    feature: str = Field(description="The feature; other stands for the rest.")
    label: str
    family: str
    contribution: float = Field(description="Above 0 it raises the probability.")
    text: str = Field(description="The reason in words.")


class Score(BaseModel):
    """A published score of one date: the columns of the contract, `probability` under one name for every task."""

    model_config = _example(**_SCORE)

    customer_id: str
    as_of_date: date = Field(description="Only what was known before 00:00 UTC of this day was used.")
    probability: Probability = Field(description="Calibrated probability of the task's outcome within its horizon.")
    probability_low: float | None = Field(description="Low end of the 95 percent range.")
    probability_high: float | None = Field(description="High end.")
    risk_level: RiskLevel
    percentile: float | None = Field(description="Percent of the set's scores that are not above this one.")
    baseline_log_odds: float = Field(description="Plus all contributions it is the log-odds of the probability.")
    reasons: list[Reason]
    families: dict[str, float] | None = Field(description="Contributions by family of features.")
    evidence_level: EvidenceLevel
    evidence: dict[str, Any] | None = Field(description="What the score was learned from, and whether that is thin.")
    horizon_curve: dict[str, Any] | None = Field(description="The same risk within other numbers of days.")
    model_version: str
    row_hash: str
    scored_at: datetime


class PublishedSet(BaseModel):
    """A set of scores that were published together."""

    model_config = _example(**_SET)

    as_of_date: date
    model_version: str
    evidence_level: EvidenceLevel
    scores: int
    published_at: datetime
    newest_cursor: int = Field(description="How far the feed went when the set was published.")


class TaskSet(BaseModel):
    """A task of the company, and its newest set; null before the first."""

    task: str
    published: PublishedSet | None


class Tasks(BaseModel):
    """The tasks whose scores can be asked for."""

    model_config = _example(contract_version=1, tasks=[{"task": "churn", "published": _SET}])

    contract_version: int = Field(description="The version of the predictions contract that /v1 speaks.")
    tasks: list[TaskSet]


class ScorePage(BaseModel):
    """A page of one published set."""

    model_config = _example(
        published=_SET,
        scores=[_SCORE],
        next_cursor="eyJkYXkiOiIyMDI2LTAzLTAxIn0",
    )

    published: PublishedSet = Field(description="The set that all pages of this question come from.")
    scores: list[Score]
    next_cursor: str | None = Field(description="Ask for the next page with it; null on the last.")


class Move(BaseModel):
    """Why a score is another than the one published before it. The three parts add up to the change in log-odds."""

    previous_as_of_date: date
    previous_probability: float
    previous_model_version: str
    main_cause: str = Field(description="behaviour, model or correction: the largest part.")
    main_feature: str | None
    main_feature_label: str | None
    text: str | None
    log_odds_change: float | None
    behaviour: float | None
    model: float | None
    correction: float | None


class Grade(BaseModel):
    """How scores of this company and task did, counted where the outcome is known."""

    is_replayed: bool = Field(description="True for scores that were made afterwards, with what was known then.")
    scores: int
    customers: int
    outcomes: int
    promised: float | None = Field(description="Mean probability.")
    kept: float | None = Field(description="Share with the outcome.")
    kept_low: float | None
    kept_high: float | None
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    log_loss: float | None
    calibration_error: float | None
    lift_top_decile: float | None
    is_kept: bool | None


class CustomerScore(BaseModel):
    """All that is published of one customer's newest score, and how much such scores can be trusted."""

    model_config = _example(task="churn", score=_SCORE, decision=EXAMPLE, grading_record=[])

    task: str
    score: Score
    move: Move | None = Field(default=None, description="Null for the first score, and of tasks that keep no moves.")
    decision: Decision | None = Field(default=None, description="Null where the company has no actions to decide on.")
    grading_record: list[Grade] = Field(description="Published scores first, then replayed ones.")


class CustomerScores(BaseModel):
    """A customer's newest score of each task."""

    customer_id: str
    scores: dict[str, Score]


class History(BaseModel):
    """A customer's earlier scores, the newest first."""

    task: str
    scores: list[Score]


class Change(BaseModel):
    """A row of the feed."""

    change_id: int
    customer_id: str
    operation: Literal["upsert", "delete"]
    change_reason: str | None
    as_of_date: date
    probability: float | None
    risk_level: RiskLevel | None
    reasons: list[Reason] | None
    model_version: str | None
    row_hash: str
    changed_at: datetime


class ChangePage(BaseModel):
    """A page of the feed. Apply its changes by `customer_id`, and keep `next_cursor` with what you wrote."""

    model_config = _example(changes=[], next_cursor=8812, has_more=False)

    changes: list[Change]
    next_cursor: int = Field(description="Ask for what follows with `since`; the same again where nothing does.")
    has_more: bool


class Question(BaseModel):
    """Features that are to count as others: what-if. Null stands for not known."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}, {"attributes": {"tickets_open": 0}}]})

    attributes: dict[str, bool | float | Annotated[str, Field(max_length=200)] | None] = Field(
        default_factory=dict, max_length=50, description="By feature, as reasons name them."
    )


class ChangedFeature(BaseModel):
    """A feature that was given another value."""

    feature: str
    label: str
    unit: str
    before: bool | float | str | None
    after: bool | float | str | None


class AskedScore(BaseModel):
    """A score made now, from the customer's newest features; nothing of it is kept or published."""

    model_config = _example(
        task="churn",
        score=_SCORE | {"probability": 0.21},
        probability_before=0.31,
        changed=[{"feature": "tickets_open", "label": "Open tickets", "unit": "tickets", "before": 2, "after": 0}],
        meaning="association, not effect",
    )

    task: str
    score: ScoreNow
    probability_before: float = Field(description="Without the changes.")
    changed: list[ChangedFeature]
    meaning: str = Field(
        description="What a change of the probability says: that such customers behave otherwise, not that the change "
        "would make this one do so."
    )


class ScoreNow(Score):
    """A score that is not part of a set: it has no percentile, and was not scored at a set's time."""

    model_config = _example(
        **{name: value for name, value in _SCORE.items() if name not in ("percentile", "scored_at")}
    )

    percentile: float | None = None
    scored_at: datetime | None = None  # type: ignore[assignment]


class MetricDescription(BaseModel):
    """A business metric and what it means."""

    name: str
    definition: str
    population: str = Field(description="Whom it counts, and when.")
    unit: str = Field(description="share, count, currency (the company's), hours, or a scale.")
    period: str = Field(description="What a point's date begins: month or quarter.")
    dimensions: list[str]


class Metrics(BaseModel):
    """The metrics that can be asked for."""

    metrics: list[MetricDescription]


class MetricPoint(BaseModel):
    """A value of one period."""

    period: date
    dimensions: dict[str, str | None]
    value: float | None


class MetricSeries(BaseModel):
    """A metric by period, oldest first."""

    metric: MetricDescription
    points: list[MetricPoint]


class ModelEvent(BaseModel):
    """A training, or a change of the model that publishes."""

    happened_at: datetime
    event: str
    model_version: str | None
    previous_model_version: str | None
    cause: str | None
    status: str | None
    evidence_level: str | None
    decision: str | None
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    log_loss: float | None


class DriftOfFeature(BaseModel):
    """How far a feature is from what the model learned from."""

    feature: str
    label: str | None
    as_of_date: date
    model_version: str | None
    psi: float | None
    importance: float | None
    share_missing: float | None
    share_missing_in_training: float | None
    is_drifted: bool | None


class ModelHealth(BaseModel):
    """How a task's model is: what it published, how that did, what became of it, and how far its data have moved."""

    task: str
    published: PublishedSet | None
    grading_record: list[Grade]
    events: list[ModelEvent]
    drift: list[DriftOfFeature]


class Health(BaseModel):
    """Whether the process answers, or can answer from the warehouse."""

    model_config = _example(status="ok")

    status: Literal["ok"]


AskedScore.model_rebuild()
