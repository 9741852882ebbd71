"""How far today's features and scores are from those that a model learned from, and how far is usual.

Two measures per feature: the population stability index (PSI, the symmetrised relative entropy of binned shares,
missing being a bin of its own), which the verdict rests on, and a distance that reads in plain terms: Wasserstein's
in standard deviations for numbers, total variation (the share of customers that would have to change) for the rest.

For each past date of the training span the same PSI is taken between the dates that a model would have learned from
then and that date; `usual` is the upper limit that these leave for one more, over all features at once, and never above
a ceiling (`limits`). So a feature that always swings, or always grows, is not a drift. All features together are judged
in the same way, by the geometric mean of their PSI with the model's own weights. How many have the outcome is watched
apart, as soon as a date's outcomes are mature (`base_rate`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from foundation.counting import agreeing, counted
from ml_assets.frames import DateArray, FloatArray, as_of_dates, plain_values
from ml_assets.judging.base_rate import DateOutcomes, RateDrift, measure_rate
from ml_assets.judging.limits import FEWEST_PAST_DATES, psi_by_chance, usual_psi
from ml_assets.model.trained import TrainedModel
from ml_assets.task import OUTCOME, PROBABILITY, Feature

BINS = 10
QUANTILES = 100
PAST_DATES = 12
LARGEST_VOCABULARY = 50
EXPLAINED_ROWS = 1_000
FALSE_ALARMS = 0.01
"""Chance that a stable company's day has any feature called drifted."""

FALSE_ALARMS_TOGETHER = 0.005
"""The same for all features together, which may train a model again."""

TOGETHER = "all_features"
BASE_RATE = "base_rate"
WHOLE = (TOGETHER, PROBABILITY, BASE_RATE)
"""What is no feature: each is a verdict on the company's day."""


@dataclass(frozen=True)
class ColumnReference:
    """One feature, or the score, as it was in training.

    `cuts` are a number's inner bin edges or a category's values; `counts` holds its bins, and missing as the last.
    `past` is the PSI of each past date against the dates before it, `noise` what chance alone gives where nothing
    moved ((bins - 1)(1/n + 1/m)). `quantiles` and `spread` (standard deviation) are a number's own.
    """

    name: str
    label: str
    kind: str
    cuts: tuple[float | str, ...]
    counts: tuple[int, ...]
    past: tuple[float, ...]
    noise: float
    quantiles: tuple[float, ...]
    spread: float
    importance: float | None

    @property
    def share_missing(self) -> float:
        """Share of the training rows without it."""
        return self.counts[-1] / max(1, sum(self.counts))


@dataclass(frozen=True)
class DriftReference:
    """What a model's training rows were like, small enough to keep.

    Columns, past dates' PSI over all features, and each date's outcomes.
    """

    columns: tuple[ColumnReference, ...]
    together: tuple[float, ...]
    rates: tuple[DateOutcomes, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "DriftReference":
        """Read back what `to_json` gave."""
        columns = [
            ColumnReference(
                **{**column, **{name: tuple(column[name]) for name in ("cuts", "counts", "past", "quantiles")}}
            )
            for column in fields["columns"]
        ]
        return cls(
            tuple(columns), tuple(fields["together"]), tuple(DateOutcomes(**outcomes) for outcomes in fields["rates"])
        )


@dataclass(frozen=True)
class Drift:
    """One feature's drift, the score's, or that of all features together.

    None where it cannot be said: `psi` and `usual` for a feature that the frame has not.
    """

    feature: str
    label: str
    psi: float | None
    distance: float | None
    importance: float | None
    usual: float | None
    is_drifted: bool
    share_missing: float | None
    share_missing_in_training: float | None
    new_categories: tuple[str, ...]
    note: str


def describe_training(model: TrainedModel, frame: pd.DataFrame, *, horizon_days: int) -> DriftReference:
    """Keep what drift is judged by. `frame` holds the training rows of one company, over its as_of_dates.

    A past date is held against those that lie a horizon or more before it, as today is against the training span.
    """
    dates = as_of_dates(frame)
    scores = model.score(frame, explain=False)
    newest = frame[dates >= np.sort(dates)[-min(EXPLAINED_ROWS, len(dates))]].head(EXPLAINED_ROWS)
    contributions = model.score(newest).contributions
    assert contributions is not None  # noqa: S101 - scored with reasons
    sizes = contributions.abs().mean()
    weights = sizes / (sizes.sum() or 1.0)
    columns = [
        _describe(
            feature, plain_values(frame[feature.name], feature), dates, horizon_days, float(weights[feature.name])
        )
        for feature in model.encoder.features
    ]
    past = list(zip(*(column.past for column in columns), strict=True))
    together = tuple(_weighted_mean(columns, values) for values in past)
    score = Feature(PROBABILITY, "The score itself", "", "score", "number")
    return DriftReference(
        (*columns, _describe(score, scores.probability, dates, horizon_days, None)), together, _rates(frame, dates)
    )


def measure_drift(
    reference: DriftReference, model: TrainedModel, frame: pd.DataFrame, since: Sequence[DateOutcomes] = ()
) -> list[Drift]:
    """The drift of one date's rows: all features together first, then the base rate and the score, then each feature
    by importance. `since` holds the outcomes of dates that matured after the training.

    A feature that the frame lacks is named, and then there is no score to compare.
    """
    lacking = [feature.name for feature in model.encoder.features if feature.name not in frame.columns]
    present = [feature for feature in model.encoder.features if feature.name not in lacking]
    values = {feature.name: plain_values(frame[feature.name], feature) for feature in present}
    new = {} if lacking else model.encoder.new_categories(frame)
    if not lacking:
        values[PROBABILITY] = model.score(frame, explain=False).probability
    comparisons = len(reference.columns)
    drifts = [
        _compare(column, values[column.name], new.get(column.name, []), comparisons)
        if column.name in values
        else _absent(column, "not in the feature matrix" if column.name in lacking else "not scored: features lack")
        for column in reference.columns
    ]
    ranked = sorted(drifts, key=lambda drift: (drift.importance is not None, -(drift.importance or 0.0), drift.feature))
    rate = measure_rate(reference.rates, since)
    return [_together(reference, drifts, len(frame)), *([_of_rate(rate)] if rate else []), *ranked]


def _rates(frame: pd.DataFrame, dates: DateArray) -> tuple[DateOutcomes, ...]:
    by_date = frame[OUTCOME].astype(int).groupby(dates).agg(["size", "sum"])
    return tuple(DateOutcomes(str(day)[:10], int(size), int(total)) for day, size, total in by_date.itertuples())


def _describe(
    feature: Feature, values: FloatArray, dates: DateArray, horizon_days: int, importance: float | None
) -> ColumnReference:
    cuts = _cuts(values, feature.kind)
    days, position = np.unique(dates, return_inverse=True)
    bins = _bins(values, cuts, feature.kind)
    width = len(cuts) + 2
    by_date = np.bincount(position * width + bins, minlength=len(days) * width).reshape(len(days), width)
    known = values[~pd.isna(values)].astype(np.float64) if feature.kind == "number" else np.array([])
    counts = by_date.sum(axis=0)
    past, noise = _past(by_date, days, horizon_days)
    return ColumnReference(
        name=feature.name,
        label=feature.label,
        kind=feature.kind,
        cuts=cuts,
        counts=tuple(counts.tolist()),
        past=past,
        noise=max(1, int((counts > 0).sum()) - 1) * noise,
        quantiles=tuple(np.quantile(known, np.linspace(0, 1, QUANTILES + 1)).tolist()) if len(known) else (),
        spread=float(known.std()) if len(known) else 0.0,
        importance=importance,
    )


def _past(by_date: np.ndarray[Any, Any], days: DateArray, horizon_days: int) -> tuple[tuple[float, ...], float]:
    """The PSI of each of the last dates against those a horizon or more before it, and the mean of 1/n + 1/m."""
    past, noise = [], []
    for place in range(max(0, len(days) - PAST_DATES), len(days)):
        before = by_date[days + np.timedelta64(horizon_days, "D") <= days[place]]
        if len(before):
            past.append(_psi(before.sum(axis=0), by_date[place]))
            noise.append(1 / before.sum() + 1 / by_date[place].sum())
    return tuple(past), float(np.mean(noise)) if noise else 0.0


def _cuts(values: np.ndarray[Any, Any], kind: str) -> tuple[float | str, ...]:
    if kind == "category":
        counts = pd.Series(values).value_counts()
        return tuple(sorted(counts.index[:LARGEST_VOCABULARY]))
    if kind == "flag":
        return (0.0,)
    known = values[~np.isnan(values)]
    if not len(known):
        return ()
    inner = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1], method="lower"))
    return tuple(inner[inner < known.max()].tolist())


def _bins(values: np.ndarray[Any, Any], cuts: Sequence[float | str], kind: str) -> np.ndarray[Any, Any]:
    """Bins 0 to len(cuts), a category's last one for values that are new; missing comes after them."""
    missing = pd.isna(values)
    if kind == "category":
        place = {value: number for number, value in enumerate(cuts)}
        codes = pd.Series(values).map(place).fillna(-1).to_numpy(dtype=np.intp)
        return np.where(missing, len(cuts) + 1, np.where(codes < 0, len(cuts), codes))
    places = np.searchsorted(np.array(cuts, dtype=np.float64), np.where(missing, 0.0, values), side="left")
    return np.where(missing, len(cuts) + 1, places)


def _psi(expected: np.ndarray[Any, Any], actual: np.ndarray[Any, Any]) -> float:
    """Sum of (p - q) ln(p / q) over the bins; half a row is added to each, so that an empty one is no infinity."""
    p, q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (actual, expected))
    return float(((p - q) * np.log(p / q)).sum())


def _usual_of(column: ColumnReference, rows: int, comparisons: int) -> float:
    """Chance alone moves a PSI by sqrt(2 / (bins - 1)) of itself: a constant feature has no deviation of its own."""
    bins = _used_bins(column)
    chance = FALSE_ALARMS / comparisons
    return usual_psi(
        column.past,
        noise=column.noise,
        by_chance=psi_by_chance(rows, bins, chance),
        least_deviation=0.5 * np.sqrt(2 / (bins - 1)),
        chance=chance,
    )


def _used_bins(column: ColumnReference) -> int:
    return max(2, sum(count > 0 for count in column.counts))


def _weighted_mean(columns: Sequence[ColumnReference], values: Sequence[float]) -> float:
    """The geometric mean of features' PSI by importance: one that moved a thousandfold does not speak for all."""
    return float(
        np.exp(
            sum(
                (column.importance or 0.0) * np.log(max(value + column.noise, 1e-12))
                for column, value in zip(columns, values, strict=True)
            )
        )
    )


def _compare(column: ColumnReference, values: np.ndarray[Any, Any], new: Sequence[str], comparisons: int) -> Drift:
    bins = _bins(values, [*column.cuts], column.kind)
    actual = np.bincount(bins, minlength=len(column.counts))
    expected = np.array(column.counts)
    psi = _psi(expected, actual)
    usual = _usual_of(column, len(values), comparisons)
    missing = float(actual[-1] / max(1, len(values)))
    is_drifted = psi > usual
    return Drift(
        feature=column.name,
        label=column.label,
        psi=psi,
        distance=_distance(column, values, expected, actual),
        importance=column.importance,
        usual=usual,
        is_drifted=is_drifted,
        share_missing=missing,
        share_missing_in_training=column.share_missing,
        new_categories=tuple(new),
        note=_note(column, is_drifted=is_drifted, missing=missing, new=new),
    )


def _distance(
    column: ColumnReference,
    values: np.ndarray[Any, Any],
    expected: np.ndarray[Any, Any],
    actual: np.ndarray[Any, Any],
) -> float | None:
    from scipy.stats import wasserstein_distance

    if column.kind != "number":
        return float(np.abs(actual / max(1, actual.sum()) - expected / max(1, expected.sum())).sum() / 2)
    known = values[~np.isnan(values)]
    if not len(known) or not column.quantiles:
        return None
    moved = float(wasserstein_distance(column.quantiles, known))
    if column.spread == 0:
        return 0.0 if moved == 0 else None
    return moved / column.spread


def _note(column: ColumnReference, *, is_drifted: bool, missing: float, new: Sequence[str]) -> str:
    remarks = []
    if len(column.past) < FEWEST_PAST_DATES:
        known, are = counted(len(column.past), "past date"), agreeing(len(column.past), "are")
        remarks.append(f"{known} {are} too few to say what is usual: judged by the ceiling")
    if is_drifted:
        remarks.append("further from training than its past suggests")
    if is_drifted and missing - column.share_missing > 0.05:
        remarks.append(f"missing for {missing:.0%} of rows, {column.share_missing:.0%} in training")
    if new:
        named = ", ".join(new[:5]) + (f" and {len(new) - 5} more" if len(new) > 5 else "")
        remarks.append(f"new: {named}; the model reads these as missing")
    return "; ".join(remarks)


def _absent(column: ColumnReference, note: str) -> Drift:
    is_gone = column.importance is not None
    share = 1.0 if is_gone else None
    return Drift(
        column.name, column.label, None, None, column.importance, None, is_gone, share, column.share_missing, (), note
    )


def _together(reference: DriftReference, drifts: Sequence[Drift], rows: int) -> Drift:
    """All features as one, each by its importance: the verdict on the company's day."""
    pairs = [
        (column, drift.psi)
        for column, drift in zip(reference.columns, drifts, strict=True)
        if column.importance is not None and drift.psi is not None
    ]
    psi = _weighted_mean([column for column, _ in pairs], [value for _, value in pairs]) if pairs else None
    by_chance = sum(
        (column.importance or 0.0) * psi_by_chance(rows, _used_bins(column), FALSE_ALARMS_TOGETHER)
        for column in reference.columns
    )
    usual = usual_psi(
        reference.together, noise=0.0, by_chance=by_chance, least_deviation=0.0, chance=FALSE_ALARMS_TOGETHER
    )
    drifted = [drift for drift in drifts if drift.is_drifted and drift.importance is not None]
    weight = sum(drift.importance or 0.0 for drift in drifted)
    is_gone = any(drift.psi is None and drift.importance is not None for drift in drifts)
    return Drift(
        feature=TOGETHER,
        label="All features, by importance",
        psi=psi,
        distance=None,
        importance=None,
        usual=usual,
        is_drifted=is_gone or (psi is not None and psi > usual),
        share_missing=None,
        share_missing_in_training=None,
        new_categories=(),
        note=f"{counted(len(drifted), 'feature')} drifted, with {weight:.0%} of the importance" if drifted else "",
    )


def _of_rate(rate: RateDrift) -> Drift:
    return Drift(
        feature=BASE_RATE,
        label="How many have the outcome",
        psi=rate.psi,
        distance=abs(rate.newest.rate - rate.in_training),
        importance=None,
        usual=rate.usual,
        is_drifted=rate.is_drifted,
        share_missing=None,
        share_missing_in_training=None,
        new_categories=(),
        note=f"{rate.newest.rate:.1%} at {rate.newest.as_of_date}, {rate.in_training:.1%} in training",
    )
