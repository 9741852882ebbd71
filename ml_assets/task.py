"""What is predicted: features and tasks as plain definitions. No frames, no models, no heavy imports.

Which tasks there are, and where their rows stand, is not said here but in `pipeline.prediction.tasks`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ml_assets.errors import TaskError

FeatureKind = Literal["number", "category", "flag"]
CandidateName = Literal["logistic", "random_forest", "xgboost", "lightgbm", "blend"]
Rung = Literal["own_model", "pooled_model", "rule"]

ENTITY_ID = "entity_id"
OUTCOME = "outcome"
PROBABILITY = "probability"
"""What every task's frames call the entity's id, what came of it, and what was said of it."""

OUTCOME_DAYS = "outcome_days"
OBSERVED_DAYS = "observed_days"
"""Days from a row's date to the outcome, NaN where none is known, and to the end of what is known."""

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")


def _check_name(name: str, what: str) -> None:
    if not _NAME.match(name):
        raise TaskError(f"{what}: {name!r} is no column name (lower case letters, digits, underscores)")


def _check_positive(value: int, what: str) -> None:
    if value < 1:
        raise TaskError(f"{what} must be at least 1, got {value!r}")


@dataclass(frozen=True)
class Feature:
    """One column of the feature matrix, with the words that people read about it.

    `unit` may be empty (a share, a category). `kind` says how a model reads the column.
    """

    name: str
    label: str
    unit: str
    family: str
    kind: FeatureKind

    def __post_init__(self) -> None:
        _check_name(self.name, "feature")
        if not self.label.strip():
            raise TaskError(f"feature {self.name!r} has an empty label; reasons are written with it")
        if self.kind not in get_args(FeatureKind):
            raise TaskError(
                f"feature {self.name!r} has kind {self.kind!r}; use one of {', '.join(get_args(FeatureKind))}"
            )

    @classmethod
    def from_meta(cls, name: str, meta: Mapping[str, Any]) -> "Feature":
        """Build a feature from a column's `meta.feature`: label, unit, family, kind; others are ignored."""
        missing = [key for key in ("label", "family", "kind") if not meta.get(key)]
        if missing:
            raise TaskError(f"feature {name!r} lacks {', '.join(missing)} in its meta")
        return cls(
            name=name,
            label=str(meta["label"]),
            unit=str(meta.get("unit") or ""),
            family=str(meta["family"]),
            kind=meta["kind"],
        )


@dataclass(frozen=True)
class RiskThresholds:
    """Risk levels by odds against the base rate's odds: 3.0 means three times the usual odds.

    Odds and not probabilities, so that one pair of numbers serves base rates of 1 and of 40 percent.
    """

    medium_odds_ratio: float = 1.5
    high_odds_ratio: float = 3.0

    def __post_init__(self) -> None:
        if not 0 < self.medium_odds_ratio < self.high_odds_ratio < math.inf:
            raise TaskError(
                "risk thresholds must satisfy 0 < medium < high, got "
                f"medium {self.medium_odds_ratio!r} and high {self.high_odds_ratio!r}"
            )


@dataclass(frozen=True)
class LadderThresholds:
    """How many different entities with and without the outcome a model needs (customers, not rows)."""

    own_outcomes: int = 60
    own_survivors: int = 100
    pooled_outcomes: int = 60
    pooled_survivors: int = 100

    def __post_init__(self) -> None:
        for name in ("own_outcomes", "own_survivors", "pooled_outcomes", "pooled_survivors"):
            _check_positive(getattr(self, name), f"ladder threshold {name}")


@dataclass(frozen=True)
class EvidenceThresholds:
    """When the data behind a score are too thin to act on it.

    Fewer than `outcomes` customers with the outcome, or a 95 percent range whose ends are more than
    `widest_odds_ratio` apart in odds.
    """

    outcomes: int = 30
    widest_odds_ratio: float = 4.0

    def __post_init__(self) -> None:
        _check_positive(self.outcomes, "evidence threshold outcomes")
        if not self.widest_odds_ratio > 1:
            raise TaskError(f"evidence threshold widest_odds_ratio must be above 1, got {self.widest_odds_ratio!r}")


@dataclass(frozen=True)
class SplitSettings:
    """How the mature dates are shared out.

    The test part, and before it the calibration part, takes the latest dates until it holds
    `target_outcomes`, at most `largest_share` of the dates; it must hold `minimum_outcomes` (rows with
    the outcome, and as many without).
    """

    target_outcomes: int = 150
    minimum_outcomes: int = 10
    largest_share: float = 0.2

    def __post_init__(self) -> None:
        _check_positive(self.minimum_outcomes, "split setting minimum_outcomes")
        if self.target_outcomes < self.minimum_outcomes:
            raise TaskError(
                f"split setting target_outcomes {self.target_outcomes!r} is below "
                f"minimum_outcomes {self.minimum_outcomes!r}"
            )
        if not 0 < self.largest_share < 0.5:
            raise TaskError(f"split setting largest_share must lie in (0, 0.5), got {self.largest_share!r}")


@dataclass(frozen=True)
class Gate:
    """A candidate passes when it is told from chance, and beats the rule on the test rows by more than one of these."""

    log_loss_gain: float = 0.0
    average_precision_gain: float = 0.0

    def __post_init__(self) -> None:
        for name in ("log_loss_gain", "average_precision_gain"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise TaskError(f"gate {name} must be a number of at least 0, got {value!r}")


@dataclass(frozen=True)
class Promotion:
    """When a challenger replaces the champion, both judged on the same later rows.

    `coverage`: of the intervals, which resample entities. `calibration_margin`: by how much its calibration error may
    be larger for certain. `segment_margin`: by what share its log loss may be larger in any segment with
    `segment_outcomes` rows with and as many without the outcome.
    """

    coverage: float = 0.95
    calibration_margin: float = 0.005
    segment_margin: float = 0.05
    segment_outcomes: int = 10

    def __post_init__(self) -> None:
        if not 0.5 < self.coverage < 1:
            raise TaskError(f"promotion coverage must lie in (0.5, 1), got {self.coverage!r}")
        for name in ("calibration_margin", "segment_margin"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise TaskError(f"promotion {name} must be a number of at least 0, got {value!r}")
        _check_positive(self.segment_outcomes, "promotion segment_outcomes")


@dataclass(frozen=True)
class RulePrior:
    """What the rule believes before it has seen an outcome (see `rules.PriorRule`).

    `rate_per_30_days`: share of entities with the outcome in 30 days. `reference`: the rule feature's
    usual value, in its own unit. `intercept_sd`, `slope`, `slope_sd`: Gaussian priors on the log-odds scale.
    """

    rate_per_30_days: float = 0.03
    reference: float = 30.0
    intercept_sd: float = 1.0
    slope: float = 0.5
    slope_sd: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.rate_per_30_days < 1:
            raise TaskError(f"rule prior rate_per_30_days must lie in (0, 1), got {self.rate_per_30_days!r}")
        for name in ("reference", "intercept_sd", "slope_sd"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise TaskError(f"rule prior {name} must be a positive number, got {value!r}")

    def rate(self, horizon_days: int) -> float:
        """The prior share over a horizon: 1 - (1 - r)^(days / 30)."""
        return float(1.0 - (1.0 - self.rate_per_30_days) ** (horizon_days / 30.0))


@dataclass(frozen=True)
class PredictionTask:
    """One thing to predict for one kind of entity: how models of it are made, judged and read.

    Where its rows stand is not known here: every frame of every task has the columns ENTITY_ID and, where outcomes are
    known, OUTCOME. `rule_feature` is the column that the rule reads. `candidates` are tried against each other and
    against the best single column; blend needs logistic and xgboost before it. `segment_feature` is the category that
    no challenger may fail a value of. `curve_days` are the further horizons that a score speaks of. `outcome_noun` is
    what a reason raises or lowers, in the words that people read.
    """

    name: str
    entity: str
    rule_feature: str
    outcome_noun: str = "risk"
    segment_feature: str = "segment"
    candidates: tuple[CandidateName, ...] = get_args(CandidateName)
    risk: RiskThresholds = field(default_factory=RiskThresholds)
    ladder: LadderThresholds = field(default_factory=LadderThresholds)
    evidence: EvidenceThresholds = field(default_factory=EvidenceThresholds)
    split: SplitSettings = field(default_factory=SplitSettings)
    gate: Gate = field(default_factory=Gate)
    promotion: Promotion = field(default_factory=Promotion)
    rule_prior: RulePrior = field(default_factory=RulePrior)
    curve_days: tuple[int, ...] = (30, 60, 90, 180)

    def __post_init__(self) -> None:
        if list(self.curve_days) != sorted({*self.curve_days}) or min(self.curve_days, default=1) < 1:
            raise TaskError(f"task {self.name!r}: curve_days {self.curve_days!r} must grow, from 1 on")
        for name in ("name", "entity", "rule_feature", "segment_feature"):
            _check_name(getattr(self, name), f"task {self.name!r}: {name}")
        if "blend" in self.candidates and not {"logistic", "xgboost"} <= {*self.candidates}:
            raise TaskError(f"task {self.name!r}: blend mixes logistic and xgboost, and needs both as candidates")
        unknown = [name for name in self.candidates if name not in get_args(CandidateName)]
        if unknown or not self.candidates:
            raise TaskError(
                f"task {self.name!r} has candidates {self.candidates!r}; "
                f"choose from {', '.join(get_args(CandidateName))}"
            )
