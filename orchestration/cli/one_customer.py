"""One customer's score in words: asked for by a person, from the champion, and published nowhere."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from foundation.counting import counted
from ml_assets.scoring.reasons import Reason
from pipeline.prediction.tasks import TaskBinding
from warehouse.companies.definition import Company

RUNGS = {
    "own_model": "a model of the company's own",
    "pooled_model": "the model of companies that share training",
    "rule": "a rule, for want of outcomes",
}


def describe_score(binding: TaskBinding, company: Company, score: Mapping[str, Any], as_of_date: date) -> Iterator[str]:
    """Lines that say how likely the outcome is for one entity, how sure that is, and why, in the published words.

    `score` is what ``Scorer.score_entity`` gives.
    """
    low, high, evidence = score["probability_low"], score["probability_high"], score["evidence"]
    yield f"{company.name}, {binding.task.entity} {score['entity_id']}, as of {as_of_date}"
    yield (
        f"{score['probability']:.1%} {binding.wording.will} within {counted(binding.horizon_days(company), 'day')}"
        f" ({low:.1%} to {high:.1%}): {score['risk_level']} risk"
    )
    learned = (
        f"{evidence['customers']:,} {binding.task.entity}s, of whom {evidence['outcomes']:,} {binding.wording.did}"
    )
    if "pool_customers" in evidence:
        learned += f", in a pool of about {evidence['pool_customers']:,} and {evidence['pool_outcomes']:,}"
    yield f"By {score['model_version']}, {RUNGS[score['evidence_level']]}, which learned from {learned}."
    if "grounds" in evidence:
        yield evidence["grounds"]
    if score["value"] is not None:
        yield f"At stake: {score['value']:,.2f} {company.currency} ({binding.value_feature})."
    if evidence["is_thin"]:
        yield "That is too little evidence to act on this number alone."
    if evidence.get("is_season_seen") is False:
        dates = counted(evidence["level_dates"], "date")
        yield f"Season not seen yet: the level rests on {dates}, and the range is the wider for it."
    yield f"Why, in log-odds, from {score['baseline_log_odds']:+.2f} for anybody:"
    for reason in map(Reason.from_published, score["reasons"]):
        yield f"  {reason.contribution:+.2f}  {reason.sentence(binding.task.outcome_noun)}"
