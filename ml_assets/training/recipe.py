"""What an earlier training settled that a later one can take over: the kind of model, its columns and its settings.

Nothing that was fitted is part of it: whoever follows a recipe learns everything from rows of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ml_assets.estimators.candidates import BLEND, BLENDED
from ml_assets.model.trained import TrainedModel
from ml_assets.task import Feature, PredictionTask


@dataclass(frozen=True)
class Recipe:
    """A candidate's name, the names of the features that it read, and its estimator's settings."""

    candidate: str
    features: tuple[str, ...]
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, model: TrainedModel, decision: Mapping[str, Any]) -> "Recipe | None":
        """What a training settled, by its model and its decision: the candidate that went to the gate.

        Also where the rule was published in its place; None where no candidate was tried.
        """
        candidate = decision.get("candidate")
        if candidate is None:
            return None
        names = tuple(feature.name for feature in model.encoder.features)
        return cls(candidate, names, decision["settings"][candidate])

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Recipe":
        """Read back what `describe` gave."""
        return cls(record["candidate"], tuple(record["features"]), record["settings"])

    def describe(self) -> dict[str, Any]:
        """The recipe as JSON-ready values."""
        return {"candidate": self.candidate, "features": list(self.features), "settings": dict(self.settings)}

    def fits(self, features: Sequence[Feature], task: PredictionTask) -> bool:
        """Whether the task still tries this candidate, and every feature is still there."""
        return self.candidate in task.candidates and {*self.features} <= {feature.name for feature in features}

    def features_of(self, features: Sequence[Feature]) -> list[Feature]:
        """Those of the features that it reads, in their order."""
        return [feature for feature in features if feature.name in self.features]

    def task_of(self, task: PredictionTask) -> PredictionTask:
        """The task with this candidate alone; a blend comes with its members."""
        names = (*BLENDED, BLEND) if self.candidate == BLEND else (self.candidate,)
        return replace(task, candidates=tuple(name for name in task.candidates if name in names))

    def settings_by_candidate(self) -> dict[str, dict[str, Any]]:
        """As `fit_candidates` takes them."""
        if self.candidate == BLEND:
            return {member: dict(settings) for member, settings in self.settings["members"].items()}
        return {self.candidate: dict(self.settings)}
