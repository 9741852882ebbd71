"""One customer's score in words: asked for by a person, from the champion, and published nowhere."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from ml_assets.explain import OTHER
from warehouse.companies import Company

RUNGS = {
    "own_model": "a model of the company's own",
    "pooled_model": "the model of companies that share training",
    "rule": "a rule, for want of outcomes",
}


def describe_score(company: Company, score: Mapping[str, Any], as_of_date: date) -> Iterator[str]:
    """Lines that say how likely the customer is to leave, how sure that is, and what raises and lowers it.

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
    yield from _reasons("Raises the risk:", score["reasons"], sign=1)
    yield from _reasons("Lowers the risk:", score["reasons"], sign=-1)


def _reasons(title: str, reasons: Sequence[Mapping[str, Any]], *, sign: int) -> Iterator[str]:
    """Those of one direction, in the order of their size; `other` is the rest together, and comes last."""
    found = [one for one in reasons if one["contribution"] * sign > 0]
    if found:
        yield title
    for one in sorted(found, key=lambda one: one["feature"] == OTHER):
        yield f"  {one['text']} ({one['contribution']:+.2f} in log-odds)"
