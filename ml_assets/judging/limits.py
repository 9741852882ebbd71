"""How far is too far: limits of drift from a model's own past, with a ceiling that no past can lift.

A limit is what a stable past leaves for one more date (`expected`), but never above the ceiling. A past that was all
over the place makes everything usual, and a short one knows nothing: then the ceiling alone speaks. It is half as much
again as the furthest that the training span itself shows, at least a change that anybody would call one (`least`) and
at most one that nobody would take for granted (`most`), and what chance gives comes on top.

For the population stability index these are 0.5 and 4: customers like a bell curve that moved by 0.7 and by two
standard deviations, for the index of two normal curves is the squared distance of their means. For the odds of the
outcome they are twofold and fourfold.
"""

from collections.abc import Sequence

import numpy as np

FEWEST_PAST_DATES = 4
BEYOND_THE_FURTHEST = 1.5
LEAST_PSI = 0.5
MOST_PSI = 4.0
LEAST_LOG_ODDS = float(np.log(2))
MOST_LOG_ODDS = float(np.log(4))


def usual_psi(past: Sequence[float], *, noise: float, by_chance: float, least_deviation: float, chance: float) -> float:
    """The largest PSI that is no drift.

    `past` holds the PSI of past dates, `noise` is the mean of what chance alone gave them, `by_chance` what it may give
    today's, and `chance` how often a stable feature may pass the limit. Expected of a stable past: on the scale of
    log(PSI + noise), with Student's t, since past dates are few; their deviation is taken for no less than
    `least_deviation`.
    """
    from scipy.stats import t

    ceiling = _ceiling(past, LEAST_PSI, MOST_PSI) + by_chance
    if len(past) < FEWEST_PAST_DATES:
        return ceiling
    values = np.log(np.array(past) + noise)
    deviation = max(float(values.std(ddof=1)), least_deviation)
    quantile = float(t.ppf(1 - chance, len(past) - 1))
    expected = np.exp(values.mean() + quantile * deviation * np.sqrt(1 + 1 / len(past))) - noise
    return min(float(expected), ceiling)


def psi_by_chance(rows: int, bins: int, chance: float) -> float:
    """What the PSI of two samples of as many `rows` passes with that chance where nothing moved.

    A sum of squares of bins - 1 normal variables, each of variance 2 / rows. Today's entities stand in training at many
    dates, so that its many rows are no larger a sample of entities than today's.
    """
    from scipy.stats import chi2

    return 2 / max(1, rows) * float(chi2.ppf(1 - chance, max(1, bins - 1)))


def usual_log_odds(past: Sequence[float], *, variances: Sequence[float], variance: float, chance: float) -> float:
    """How far the log odds of one more date may lie from the mean of the `past`, to either side.

    `variances` are what chance gives each past date, `variance` what it gives the new one. Expected of a stable past:
    what past dates vary by beyond chance stays, and Student's t is taken, since they are few.
    """
    from scipy.stats import norm, t

    if not past:
        return _ceiling([], LEAST_LOG_ODDS, MOST_LOG_ODDS) + float(norm.ppf(1 - chance / 2) * np.sqrt(variance))
    of_the_mean = float(np.mean(variances)) / len(past)
    by_chance = float(norm.ppf(1 - chance / 2) * np.sqrt(variance + of_the_mean))
    furthest = np.maximum(np.abs(np.array(past) - np.mean(past)) - np.sqrt(np.array(variances)), 0.0)
    ceiling = _ceiling(furthest.tolist(), LEAST_LOG_ODDS, MOST_LOG_ODDS) + by_chance
    if len(past) < FEWEST_PAST_DATES:
        return ceiling
    between = max(0.0, float(np.var(past, ddof=1)) - float(np.mean(variances)))
    spread = np.sqrt(between * (1 + 1 / len(past)) + variance + of_the_mean)
    return min(float(t.ppf(1 - chance / 2, len(past) - 1) * spread), ceiling)


def _ceiling(past: Sequence[float], least: float, most: float) -> float:
    return min(max(least, BEYOND_THE_FURTHEST * max(past, default=0.0)), most)
