"""A trained model: encoder, estimator and calibrator together, how it scores, and how it is stored.

Stored as named byte strings (`to_files`, `from_files`); where they are kept is the caller's business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd

from ml_assets.errors import ArtefactError, AttributionError, FeatureVersionError, FrameError
from ml_assets.estimators.base import Estimator, Files
from ml_assets.estimators.candidates import load_estimator
from ml_assets.frames import FeatureEncoder, FloatArray, as_of_dates, check_keys, feature_version_of, is_same_version
from ml_assets.model.calibrate import AffineCalibrator
from ml_assets.model.curve import HorizonCurve
from ml_assets.model.explain import PublishedParts, bound_log_odds, probabilities_of, publish_parts
from ml_assets.model.level import Level
from ml_assets.task import Feature, PredictionTask, Rung

FORMAT = 1
_MODEL_FILE = "model.json"


@dataclass(frozen=True)
class TrainingFacts:
    """Where a model comes from. `last_seen_date` is the last date whose outcomes shaped it.

    `feature_version` says what made the features it learned from (see `feature_version_of`); None: not known.
    `customers` and `outcomes` are the different entities, and those with the outcome, among its rows; `by_company` has
    both for each company's id, as text. `grounds` says in words what its scores rest on; empty in models of before.
    """

    trained_at: datetime
    horizon_days: int
    seed: int
    rows: int
    base_rate: float
    last_seen_date: str | None
    fingerprint: str
    libraries: dict[str, str]
    feature_version: str | None = None
    customers: int = 0
    outcomes: int = 0
    threads: int = 2
    by_company: dict[str, tuple[int, int]] = field(default_factory=dict)
    grounds: str = ""


@dataclass(frozen=True)
class Scores:
    """Scores of a frame's rows, in its order: arrays (rows,); contributions (rows, features) or None.

    `low` and `high` are the probability's 95 percent range by what the calibrator and the level rest on;
    `customer_odds` is how many times apart in odds its ends are by the customers alone, whatever the level. `shares`
    (rows, days of the curve) say how much of the risk has come by when; None where the features were not at hand.
    """

    frame: pd.DataFrame
    probability: FloatArray
    log_odds: FloatArray
    baseline_log_odds: FloatArray
    contributions: pd.DataFrame | None
    low: FloatArray
    high: FloatArray
    customer_odds: FloatArray
    shares: FloatArray | None = None


@dataclass(frozen=True)
class TrainedModel:
    """Everything that turns a feature matrix into published probabilities and their parts.

    The calibrator is that of the day of the training, `at` gives that of another one. Without a `level` (a rule, a
    model of an older release) it is the same on all days.
    """

    task_name: str
    rung: Rung
    estimator: Estimator
    calibrator: AffineCalibrator
    encoder: FeatureEncoder
    facts: TrainingFacts
    level: Level | None = None
    further: HorizonCurve | None = None

    @property
    def curve(self) -> HorizonCurve:
        """How its scores reach over other horizons; of its own horizon alone where nothing further was learned."""
        return self.further or HorizonCurve.flat(self.facts.horizon_days)

    def at(self, day: date) -> "TrainedModel":
        """The model as it scores that day: its level is predicted from the outcomes that were known by then."""
        if self.level is None:
            return self
        level = self.level.at(day)
        intercept = self.level.intercept + level.shift
        return replace(self, calibrator=replace(self.calibrator, intercept=intercept, level_sd=level.sd))

    def score(self, frame: pd.DataFrame, *, explain: bool = True) -> Scores:
        """Score every row at its as_of_date; where the frame has none, as on the day of the training.

        Extra columns are ignored; a missing or mistyped feature raises a `FrameError`. With `explain` the contributions
        and the baseline add up to the log-odds of the probability within 1e-9; without, `contributions` is None and it
        is many times faster.
        """
        if self.level is None or "as_of_date" not in frame.columns or frame.empty:
            return self._score(frame, explain)
        dates = as_of_dates(frame)
        days = np.unique(dates)
        if len(days) == 1:
            return self.at(days[0].item())._score(frame, explain)
        places = [np.flatnonzero(dates == day) for day in days]
        pieces = [
            self.at(day.item())._score(frame.iloc[place], explain) for day, place in zip(days, places, strict=True)
        ]
        return _in_order(frame, pieces, np.argsort(np.concatenate(places)))

    def _score(self, frame: pd.DataFrame, explain: bool) -> Scores:
        matrix = self.encoder.encode(frame)
        shares = self.curve.shares(matrix)
        if not explain:
            return self.publish(frame, self.estimator.margins(matrix), shares=shares)
        parts, bias = self.estimator.parts(matrix)
        return self.publish(frame, parts.sum(axis=1) + bias, parts, shares)

    def publish(
        self,
        frame: pd.DataFrame,
        margins: FloatArray,
        parts: FloatArray | None = None,
        shares: FloatArray | None = None,
    ) -> Scores:
        """Calibrated scores of margins (rows,), with their parts (rows, features) and shares where those are given.

        Raises `AttributionError` for a margin that is no number: a score that nobody can vouch for.
        """
        if not np.isfinite(margins).all():
            raise AttributionError(
                f"{int((~np.isfinite(margins)).sum())} of {len(margins)} scores are no numbers; nothing is published"
            )
        log_odds = bound_log_odds(self.calibrator.log_odds(margins))
        half = self.calibrator.range_half_width(margins)
        low, high = (probabilities_of(bound_log_odds(log_odds + side)) for side in (-half, half))
        by_customers = self.calibrator.half_width(margins)
        ends = [bound_log_odds(log_odds + side) for side in (-by_customers, by_customers)]
        contributions = None
        if parts is not None:
            published: PublishedParts = publish_parts(parts, self.bias, self.calibrator)
            log_odds = published.log_odds
            names = [feature.name for feature in self.encoder.features]
            contributions = pd.DataFrame(published.contributions, columns=names, index=frame.index)
        probability = probabilities_of(log_odds)
        baseline = np.full(len(log_odds), self.baseline_log_odds)
        customer_odds = np.exp(ends[1] - ends[0])
        return Scores(frame, probability, log_odds, baseline, contributions, low, high, customer_odds, shares)

    def signatures(self, matrix: FloatArray) -> npt.NDArray[np.int64] | None:
        """Per row a hash that is equal only where the parts are; None of a model whose parts are cheap to make."""
        sign = getattr(self.estimator, "signatures", None)
        return None if sign is None else np.asarray(sign(matrix))

    @cached_property
    def bias(self) -> float:
        """The margin before any part."""
        return self.estimator.parts(np.full((1, len(self.encoder.features)), np.nan))[1]

    @property
    def baseline_log_odds(self) -> float:
        """The published log-odds before any part."""
        return float(bound_log_odds(self.calibrator.log_odds(np.array([self.bias])))[0])

    def check_frame(self, frame: pd.DataFrame, task: PredictionTask) -> None:
        """Raise when the keys are not fit for publication, or the model is of another task or feature version."""
        if self.task_name != task.name:
            raise FrameError(f"a model of task {self.task_name!r} cannot score task {task.name!r}")
        version = feature_version_of(frame)
        if version is not None and not is_same_version(self.facts.feature_version, version):
            raise FeatureVersionError(
                f"the model was trained on feature version {self.facts.feature_version or '(not recorded)'} and cannot "
                f"vouch for a score of features of version {version}"
            )
        check_keys(frame, task)

    def to_files(self) -> Files:
        """The model as named byte strings, without pickle."""
        fields = {
            "format": FORMAT,
            "kind": self.estimator.kind,
            "task_name": self.task_name,
            "rung": self.rung,
            "calibrator": asdict(self.calibrator),
            "features": [asdict(feature) for feature in self.encoder.features],
            "vocabularies": self.encoder.vocabularies,
            "usual": {company: dict(values) for company, values in self.encoder.usual.items()},
            "facts": asdict(self.facts),
            "level": None if self.level is None else self.level.to_record(),
            "curve": self.curve.record(),
        }
        return {_MODEL_FILE: orjson.dumps(fields, option=orjson.OPT_INDENT_2), **self.estimator.dump()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "TrainedModel":
        """Read back what `to_files` gave: it scores bit for bit the same. Raises `ArtefactError`."""
        try:
            fields = orjson.loads(files[_MODEL_FILE])
            if fields["format"] != FORMAT:
                raise ArtefactError(f"the stored model has format {fields['format']!r}, not {FORMAT}")
            return cls(
                task_name=fields["task_name"],
                rung=fields["rung"],
                estimator=load_estimator(fields["kind"], files),
                calibrator=_calibrator(fields["calibrator"]),
                encoder=_encoder(fields),
                facts=_facts(fields["facts"]),
                level=Level.from_record(fields["level"]) if fields.get("level") else None,
                further=HorizonCurve.from_record(fields["curve"]) if "curve" in fields else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"the stored model is damaged or incomplete: {error!r}") from error


def _in_order(frame: pd.DataFrame, pieces: Sequence[Scores], order: npt.NDArray[np.intp]) -> Scores:
    """One set of scores for the frame, of pieces that hold its rows in another order."""

    def joined(name: str) -> FloatArray:
        return np.asarray(np.concatenate([getattr(piece, name) for piece in pieces])[order])

    explained = [piece.contributions for piece in pieces if piece.contributions is not None]
    contributions = pd.concat(explained).iloc[order] if explained else None
    names = ("low", "high", "customer_odds", *(["shares"] if pieces[0].shares is not None else []))
    return Scores(
        frame,
        joined("probability"),
        joined("log_odds"),
        joined("baseline_log_odds"),
        contributions,
        **{name: joined(name) for name in names},
    )


def _encoder(fields: dict[str, Any]) -> FeatureEncoder:
    vocabularies = {name: tuple(values) for name, values in fields["vocabularies"].items()}
    features = tuple(Feature(**feature) for feature in fields["features"])
    return FeatureEncoder(features, vocabularies, fields.get("usual", {}))


def _calibrator(fields: dict[str, Any]) -> AffineCalibrator:
    covariance = fields.get("covariance")
    return AffineCalibrator(**{**fields, "covariance": tuple(covariance) if covariance else None})


def _facts(fields: dict[str, Any]) -> TrainingFacts:
    by_company = {company: tuple(counts) for company, counts in fields.get("by_company", {}).items()}
    trained_at = datetime.fromisoformat(fields["trained_at"])
    return TrainingFacts(**{**fields, "trained_at": trained_at, "by_company": by_company})
