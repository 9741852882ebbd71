"""What a company's scores rest on, in one text: the rung, the counts behind it, and how the model was judged.

What `churn company check` announces before a training is composed here, and so is what the training, its card and its
scores say afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_assets.task import PredictionTask, Rung
from ml_assets.training.ladder import RungDecision, pool_text
from ml_assets.training.splits import Mode, NoSplit, TimeSplit

STEPS: Mapping[Rung, str] = {
    "own_model": "A model of its own",
    "pooled_model": "The model of companies that share training",
    "rule": "A rule",
}
JUDGED: Mapping[Mode, str] = {
    "three_way": "judged on later dates",
    "two_way": "judged on later dates, and too short a history for calibration dates of its own",
    "by_entity": "judged on other {entity}s of the same time, for the history is too short for later dates",
}


@dataclass(frozen=True)
class Grounds:
    """The rung that publishes, why by the counts, how it was judged (None: not known), and what stood in a model's way.

    `refused` is None where nothing did, or where the counts say it already.
    """

    step: Rung
    counts: str
    mode: Mode | None
    refused: str | None
    entity: str

    @property
    def text(self) -> str:
        """All of it as one sentence."""
        if self.refused is not None:
            return f"{STEPS[self.step]}: {self.counts}, but {self.refused}."
        # A pool's dates are not read before it is trained, so that nobody could announce them.
        judged = JUDGED[self.mode].format(entity=self.entity) if self.mode and self.step == "own_model" else None
        return f"{STEPS[self.step]}: {self.counts}{f'; {judged}' if judged else ''}."


def announced(decision: RungDecision, split: TimeSplit | NoSplit | None, task: PredictionTask) -> Grounds:
    """What a training would find by its counts and dates; whether a model is told from chance only training shows."""
    if decision.rung == "own_model" and isinstance(split, NoSplit):
        return Grounds("rule", _counts(decision, task), None, split.reason, task.entity)
    mode = split.mode if isinstance(split, TimeSplit) and decision.rung != "rule" else None
    return Grounds(decision.rung, _counts(decision, task), mode, None, task.entity)


def found(
    decision: RungDecision, rung: Rung, split: Mapping[str, Any], trained: Mapping[str, Any], task: PredictionTask
) -> Grounds:
    """What a training found: the rung of its model, its split and its decision as `TrainingResult` has them."""
    if rung == decision.rung:
        return Grounds(rung, _counts(decision, task), None if rung == "rule" else split["mode"], None, task.entity)
    return Grounds(rung, _counts(decision, task), None, _refusal(trained), task.entity)


def _counts(decision: RungDecision, task: PredictionTask) -> str:
    """A pool's model tells none of its companies' counts, for all of them read its card."""
    if decision.rung == "pooled_model" and decision.pool is not None:
        return pool_text(decision.pool, task)
    return decision.reason


def _refusal(trained: Mapping[str, Any]) -> str:
    gate = trained.get("gate")
    if gate is None:
        return str(trained["reason"])
    if not gate["is_told_from_chance"]:
        return "no candidate is told from chance on the rows that were held out"
    if gate["is_worse_than_constant"]:
        return "the best candidate is surely worse than the same probability for everybody"
    return "the best candidate is no better than the best single column"
