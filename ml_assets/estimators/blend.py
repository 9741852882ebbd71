"""A weighted mean of other models' margins. What is summed stays a sum: the parts are the weighted parts.

A straight line and shallow trees err in different places, and with few outcomes their mean errs less than either.
The weights are fixed and equal: with some hundred outcomes to learn them from, learned ones are no better
(Clemen 1989, International Journal of Forecasting 5, on combining forecasts).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import orjson

from ml_assets.estimators.base import Estimator, Files
from ml_assets.frames import FloatArray

_PREFIX = "member_{}."


@dataclass(frozen=True)
class Blend:
    """Members by kind, and their weights, which add up to 1."""

    kind: ClassVar[str] = "blend"
    members: tuple[Estimator, ...]
    weights: tuple[float, ...]

    def margins(self, matrix: FloatArray) -> FloatArray:
        """Uncalibrated log-odds, shape (rows,)."""
        margins = [weight * member.margins(matrix) for weight, member in zip(self.weights, self.members, strict=True)]
        return np.asarray(np.sum(margins, axis=0))

    def parts(self, matrix: FloatArray) -> tuple[FloatArray, float]:
        """The members' parts and biases, weighted and added."""
        member_parts = [member.parts(matrix) for member in self.members]
        parts = [weight * part for weight, (part, _) in zip(self.weights, member_parts, strict=True)]
        bias = sum(weight * bias for weight, (_, bias) in zip(self.weights, member_parts, strict=True))
        return np.asarray(np.sum(parts, axis=0)), float(bias)

    def settings(self) -> dict[str, object]:
        """The members' settings by kind, and the weights."""
        return {
            "weights": list(self.weights),
            "members": {member.kind: member.settings() for member in self.members},
        }

    def reason_cost(self) -> float:
        """What its members cost together."""
        return sum(member.reason_cost() for member in self.members)

    def dump(self) -> Files:
        """The members' files, each under its number."""
        fields = {"kinds": [member.kind for member in self.members], "weights": self.weights}
        files = {
            _PREFIX.format(number) + name: content
            for number, member in enumerate(self.members)
            for name, content in member.dump().items()
        }
        return {"estimator.json": orjson.dumps(fields), **files}

    @classmethod
    def load(cls, files: Mapping[str, bytes], load_member: Callable[[str, Mapping[str, bytes]], Estimator]) -> Self:
        """Read back what `dump` gave; `load_member` reads a member of a kind from its own files."""
        fields = orjson.loads(files["estimator.json"])
        members = []
        for number, kind in enumerate(fields["kinds"]):
            prefix = _PREFIX.format(number)
            own = {name.removeprefix(prefix): files[name] for name in files if name.startswith(prefix)}
            members.append(load_member(kind, own))
        return cls(tuple(members), tuple(fields["weights"]))


def blend(members: Sequence[Estimator]) -> Blend:
    """The members with equal weights."""
    return Blend(tuple(members), tuple(1.0 / len(members) for _ in members))
