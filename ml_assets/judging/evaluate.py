"""How good a set of probabilities is, on rows whose outcome is known.

Every metric is None where it means nothing (one class only). Definitions and sources: docs/models.md.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_assets.frames import DateArray, FloatArray
from ml_assets.resampling import entity_draws, members

CALIBRATION_BINS = 10
ROUNDS = 300
RESAMPLED = ("auc", "average_precision", "log_loss", "brier", "calibration_error")

Metrics = dict[str, float | None]


@dataclass(frozen=True)
class Difference:
    """A measure of one set of probabilities less that of another on the same rows, and its 95 percent interval."""

    value: float
    low: float
    high: float


def evaluate(probabilities: FloatArray, outcomes: FloatArray, dates: DateArray | None = None) -> Metrics:
    """AUC, average precision, log loss, Brier score, calibration error, lift in the top decile, and counts.

    All arrays have shape (rows,); probabilities lie strictly between 0 and 1, outcomes are 0.0 or 1.0. With `dates` the
    AUC is that of pairs of rows of one date: a share of outcomes that rises over the dates says nothing of who is
    likelier than whom. The first four are scikit-learn's figures from two sorts, without its checks of what came in,
    which take longer than the figures.
    """
    counts: Metrics = {"rows": float(len(outcomes)), "outcomes": float(outcomes.sum())}
    if len(outcomes) == 0:
        names = ("auc", "average_precision", "log_loss", "brier", "calibration_error", "lift_top_decile")
        return {**dict.fromkeys(names), **counts}
    everyone, once = np.zeros(len(outcomes), dtype=np.intp), np.ones(1, dtype=np.intp)
    auc = _Pairs.of(probabilities, outcomes, everyone, dates).auc(once)
    precision = _Ranking.of(probabilities, outcomes, everyone).average_precision(once)
    return {
        "auc": None if np.isnan(auc) else auc,
        "average_precision": None if np.isnan(precision) else precision,
        "log_loss": float(log_losses_of(probabilities, outcomes).mean()),
        "brier": float(((probabilities - outcomes) ** 2).mean()),
        "calibration_error": calibration_error(probabilities, outcomes),
        "lift_top_decile": lift_in_top_decile(probabilities, outcomes),
        **counts,
    }


def log_losses_of(probabilities: FloatArray, outcomes: FloatArray) -> FloatArray:
    """Each row's log loss, shape (rows,)."""
    return np.asarray(-(outcomes * np.log(probabilities) + (1 - outcomes) * np.log1p(-probabilities)))


def calibration_error(probabilities: FloatArray, outcomes: FloatArray) -> float:
    """Expected calibration error over ten bins of equal mass: the mean of |predicted - observed| by rows.

    Equal probabilities always share a bin, so a rule with few distinct values has fewer bins.
    """
    gaps = np.bincount(calibration_bins(probabilities), weights=probabilities - outcomes)
    return float(np.abs(gaps).sum() / len(outcomes))


def calibration_bins(probabilities: FloatArray) -> np.ndarray:
    """Each row's bin, from 0: ten of equal mass, equal probabilities never parted."""
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1], method="lower"))
    return np.searchsorted(edges, probabilities, side="left")


def lift_in_top_decile(probabilities: FloatArray, outcomes: FloatArray) -> float | None:
    """The outcome's share among the tenth with the highest probability, over its share among all.

    Rows that tie at the border count in proportion, so that the order of the rows does not matter.
    """
    rate = outcomes.mean()
    if rate == 0:
        return None
    wanted = max(1, round(len(outcomes) / 10))
    border = np.sort(probabilities)[-wanted]
    above, tied = probabilities > border, probabilities == border
    share_of_tied = (wanted - above.sum()) / tied.sum()
    caught = outcomes[above].sum() + share_of_tied * outcomes[tied].sum()
    return float(caught / wanted / rate)


def metric_intervals(
    probabilities: FloatArray,
    outcomes: FloatArray,
    entities: np.ndarray[Any, Any],
    dates: DateArray | None = None,
    *,
    seed: int,
    rounds: int = ROUNDS,
) -> Metrics:
    """`<metric>_low` and `<metric>_high` of each of RESAMPLED: 95 percent percentile bootstrap, entities drawn again.

    `entities` gives each row's entity, shape (rows,), `dates` is what it is to `evaluate`. With one class only AUC,
    average precision and log loss have none. Calibration's bins stay those of all rows; a drawn calibration error is
    larger on average than that of all rows, for noise adds to every bin's gap, so that its interval leans upwards.
    """
    names = [f"{metric}_{end}" for end in ("low", "high") for metric in RESAMPLED]
    if len(outcomes) == 0:
        return dict.fromkeys(names)
    measured = _resampled(probabilities, outcomes, members(entities), dates, seed, rounds)
    if not 0 < outcomes.sum() < len(outcomes):
        measured[:, RESAMPLED.index("log_loss")] = np.nan
    return {
        name: None if np.isnan(end) else float(end) for name, end in zip(names, _ends(measured).ravel(), strict=True)
    }


def paired_differences(
    ours: FloatArray,
    theirs: FloatArray,
    outcomes: FloatArray,
    entities: np.ndarray[Any, Any],
    dates: DateArray | None = None,
    *,
    seed: int,
    rounds: int = ROUNDS,
) -> dict[str, Difference]:
    """Of each of RESAMPLED that both have: ours less theirs on the same rows, with its 95 percent interval.

    All arrays have shape (rows,); `dates` is what it is to `evaluate`. Entities are drawn again, the same for both, so
    that what makes rows easy or hard falls out of the difference.
    """
    member = members(entities)
    drawn = [_resampled(each, outcomes, member, dates, seed, rounds) for each in (ours, theirs)]
    measured = [evaluate(each, outcomes, dates) for each in (ours, theirs)]
    lows, highs = _ends(drawn[0] - drawn[1])
    differences = {}
    for name, low, high in zip(RESAMPLED, lows, highs, strict=True):
        mine, other = (figures[name] for figures in measured)
        if mine is not None and other is not None and np.isfinite(low):
            differences[name] = Difference(mine - other, float(low), float(high))
    return differences


def _resampled(
    probabilities: FloatArray,
    outcomes: FloatArray,
    member: np.ndarray,
    dates: DateArray | None,
    seed: int,
    rounds: int,
) -> FloatArray:
    """RESAMPLED of each round's draw of entities, shape (rounds, measures)."""
    pairs = _Pairs.of(probabilities, outcomes, member, dates)
    ranking, sums = _Ranking.of(probabilities, outcomes, member), _sums_by_entity(probabilities, outcomes, member)
    draws = entity_draws(member, seed, rounds)
    return np.array([(pairs.auc(drawn), ranking.average_precision(drawn), *_means(drawn @ sums)) for drawn in draws])


def _ends(measured: FloatArray) -> FloatArray:
    """The ends of the 95 percent interval of each column, shape (2, columns); NaN where no round has a number."""
    known = np.isfinite(measured).any(axis=0)
    ends = np.full((2, measured.shape[1]), np.nan)
    ends[:, known] = np.nanquantile(measured[:, known], [0.025, 0.975], axis=0)
    return ends


def _sums_by_entity(probabilities: FloatArray, outcomes: FloatArray, member: np.ndarray) -> FloatArray:
    """Per entity its rows, log losses, squared errors, and the gap in each bin of calibration: (entities, 3 + bins)."""
    losses = log_losses_of(probabilities, outcomes)
    gaps = probabilities - outcomes
    bins = calibration_bins(probabilities)
    size, width = int(member.max()) + 1, int(bins.max()) + 1
    by_bin = np.bincount(member * width + bins, gaps, size * width).reshape(size, width)
    return np.column_stack(
        [*(np.bincount(member, each, size) for each in (np.ones_like(gaps), losses, gaps**2)), by_bin]
    )


def _means(sums: FloatArray) -> tuple[float, float, float]:
    """Log loss, Brier score and calibration error of sums like those by entity."""
    rows, losses, squares = sums[:3]
    return losses / rows, squares / rows, np.abs(sums[3:]).sum() / rows


@dataclass(frozen=True)
class _Pairs:
    """Rows by date, and within it from the highest probability down: what pairs of rows of one date are counted from.

    `member` is each row's entity, `hits` the places of the rows with the outcome. For each of them `first` is the place
    at which its date begins, `end` the one after its date's last row; `above` rows, of all, stand before its group of
    ties, `within` before the group's end. `date` is its date's number.
    """

    member: np.ndarray
    hits: np.ndarray
    date: np.ndarray
    first: np.ndarray
    end: np.ndarray
    above: np.ndarray
    within: np.ndarray

    @classmethod
    def of(
        cls, probabilities: FloatArray, outcomes: FloatArray, member: np.ndarray, dates: DateArray | None
    ) -> "_Pairs":
        date = np.zeros(len(outcomes), dtype=np.intp) if dates is None else np.unique(dates, return_inverse=True)[1]
        order = np.lexsort((-probabilities, date))
        hits, date = np.flatnonzero(outcomes[order]), date[order]
        changes = (np.diff(date) > 0) | (np.diff(probabilities[order]) != 0)
        starts = np.r_[0, np.flatnonzero(changes) + 1]
        ends = np.r_[starts[1:], len(date)]
        group = np.searchsorted(starts, hits, side="right") - 1
        own = date[hits]
        first, end = np.searchsorted(date, own, side="left"), np.searchsorted(date, own, side="right")
        return cls(member[order], hits, own, first, end, starts[group], ends[group])

    def auc(self, drawn: np.ndarray) -> float:
        """Where each entity's rows count as often as it was drawn; NaN where no date has rows of both classes.

        Pairs of rows that both have the outcome are taken out at once: whatever their order, half of them count.
        """
        weights = drawn[self.member]
        seen = np.zeros(len(weights) + 1, dtype=np.int64)
        np.cumsum(weights, out=seen[1:])
        positive = weights[self.hits]
        rows, middle = seen[self.end] - seen[self.first], (seen[self.above] + seen[self.within]) / 2
        both = float((np.bincount(self.date, positive) ** 2).sum()) if len(positive) else 0.0
        pairs = float(positive @ rows) - both
        return float(positive @ (seen[self.end] - middle) - both / 2) / pairs if pairs else np.nan


@dataclass(frozen=True)
class _Ranking:
    """Rows from the highest probability down: each row's entity, and for each row with the outcome its place.

    `within` rows are before the end of its group of ties, and `last` is the place of the group's last row with the
    outcome among those with it.
    """

    member: np.ndarray
    hits: np.ndarray
    within: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, probabilities: FloatArray, outcomes: FloatArray, member: np.ndarray) -> "_Ranking":
        order = np.argsort(-probabilities, kind="stable")
        ranked = -probabilities[order]
        hits = np.flatnonzero(outcomes[order])
        within = np.searchsorted(ranked, ranked[hits], side="right")
        return cls(member[order], hits, within, np.searchsorted(hits, within) - 1)

    def average_precision(self, drawn: np.ndarray) -> float:
        """Where each entity's rows count as often as it was drawn; NaN with one class only."""
        weights = drawn[self.member]
        seen = np.zeros(len(weights) + 1, dtype=np.int64)
        np.cumsum(weights, out=seen[1:])
        positive = weights[self.hits]
        outcomes_so_far = np.cumsum(positive)
        outcomes = float(positive.sum())
        if outcomes in (0.0, float(seen[-1])):
            return np.nan
        precision = outcomes_so_far[self.last] / np.maximum(seen[self.within], 1)
        return float(positive @ precision / outcomes)
