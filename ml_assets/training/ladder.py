"""Little data: a rule, then a model pooled over companies that allow it, then the company's own model."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from foundation.counting import agreeing, counted, rounded_count
from ml_assets.errors import PoolError
from ml_assets.frames import labelled_rows, outcomes_of
from ml_assets.task import ENTITY_ID, PredictionTask, Rung

FEWEST_COMPANIES = 3
"""Of two companies' figures each could take its own away, and has the other's."""


@dataclass(frozen=True)
class OutcomeCounts:
    """What the labels hold: rows, different entities, those with the outcome at any date, and the rest."""

    rows: int
    entities: int
    outcomes: int
    survivors: int


@dataclass(frozen=True)
class RungDecision:
    """The rung, the counts it rests on, and why, in words."""

    rung: Rung
    own: OutcomeCounts
    pool: OutcomeCounts | None
    reason: str

    def describe(self) -> dict[str, Any]:
        """The decision as JSON-ready values."""
        return asdict(self)


def count_outcomes(frame: pd.DataFrame, task: PredictionTask) -> OutcomeCounts:
    """Count entities, not rows: a customer who leaves is one outcome, however many dates saw it coming."""
    rows = labelled_rows(frame, task)
    outcomes = pd.Series(outcomes_of(rows, task))
    by_entity = outcomes.groupby([rows["company_id"], rows[ENTITY_ID]]).max()
    with_outcome = int(by_entity.sum())
    return OutcomeCounts(len(rows), len(by_entity), with_outcome, len(by_entity) - with_outcome)


def decide_rung(own: OutcomeCounts, pool: OutcomeCounts | None, task: PredictionTask) -> RungDecision:
    """The highest rung that the counts carry. `pool` is None where the company or nobody shares training."""
    ladder = task.ladder
    if own.outcomes >= ladder.own_outcomes and own.survivors >= ladder.own_survivors:
        return RungDecision("own_model", own, pool, f"{_counts_text(own, task)} carry an own model")
    short = (
        f"{_counts_text(own, task)} are too few for an own model, which needs {ladder.own_outcomes} and "
        f"{ladder.own_survivors}"
    )
    if pool and pool.outcomes >= ladder.pooled_outcomes and pool.survivors >= ladder.pooled_survivors:
        return RungDecision("pooled_model", own, pool, f"{short}; {pool_text(pool, task)}")
    shared = f"the pool has only {_rounded_text(pool, task)}" if pool else "there is no pool to share"
    return RungDecision("rule", own, pool, f"{short}; {shared}")


def hides_each_company(frame: pd.DataFrame, task: PredictionTask, company_id: int, consenting: Collection[int]) -> bool:
    """Whether a pool's figures let nobody tell one company's from them who may not.

    Three companies with labelled rows are enough; of fewer, all must consent. What a company's own rows alone give it
    is its own.
    """
    contributors = {int(contributor) for contributor in labelled_rows(frame, task)["company_id"].unique()}
    return len(contributors) >= FEWEST_COMPANIES or contributors <= {company_id} or contributors <= set(consenting)


def assert_pool_allowed(frame: pd.DataFrame, sharing_company_ids: Collection[int]) -> None:
    """Raise `PoolError` when any row belongs to a company that does not share its data for training."""
    strangers = sorted(set(frame["company_id"].unique()) - set(sharing_company_ids))
    if strangers:
        count = int(frame["company_id"].isin(strangers).sum())
        raise PoolError(
            f"{counted(count, 'row')} of company {', '.join(map(str, strangers))} {agreeing(count, 'stand')} in the "
            "pooled training frame, though these companies do not share training"
        )


def pool_text(pool: OutcomeCounts, task: PredictionTask) -> str:
    """What a pool has, rounded."""
    return f"the pool has {_rounded_text(pool, task)}"


def _rounded_text(pool: OutcomeCounts, task: PredictionTask) -> str:
    outcomes, survivors = rounded_count(pool.outcomes), rounded_count(pool.survivors)
    return f"about {counted(outcomes, task.entity)} with the outcome and {survivors} without"


def _counts_text(counts: OutcomeCounts, task: PredictionTask) -> str:
    return f"{counted(counts.outcomes, task.entity)} with the outcome and {counts.survivors} without"
