"""One customer's score in words: asked for by a person, from the champion, and published nowhere."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from ml_assets.scoring.reasons import Reason
from ml_assets.task import CHURN
from warehouse.companies.definition import Company

RUNGS = {
    "own_model": "a model of the company's own",
    "pooled_model": "the model of companies that share training",
    "rule": "a rule, for want of outcomes",
}


def describe_score(company: Company, score: Mapping[str, Any], as_of_date: date) -> Iterator[str]:
    """Lines that say how likely the customer is to leave, how sure that is, and why, in the published words.

    `score` is what ``ChurnScorer.score_customer`` gives.
    """
    low, high, evidence = score["probability_low"], score["probability_high"], score["evidence"]
    yield f"{company.name}, customer {score['customer_id']}, as of {as_of_date}"
    yield (
        f"{score['churn_probability']:.1%} likely to leave within {company.horizon_days} days"
        f" ({low:.1%} to {high:.1%}): {score['risk_level']} risk"
    )
    learned = f"{evidence['customers']:,} customers, of whom {evidence['outcomes']:,} left"
    yield f"By {score['model_version']}, {RUNGS[score['evidence_level']]}, which learned from {learned}."
    if evidence["is_thin"]:
        yield "That is too little evidence to act on this number alone."
    yield f"Why, in log-odds, from {score['baseline_log_odds']:+.2f} for anybody:"
    for reason in map(Reason.from_published, score["reasons"]):
        yield f"  {reason.contribution:+.2f}  {reason.sentence(CHURN.outcome_noun)}"
