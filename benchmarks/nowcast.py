"""A nowcast of the level by shorter horizons: shifts from labels of 30 and 60 of 90 days, beside the mature ones.

    python -m benchmarks.nowcast [--worlds 12]

Worlds of monthly dates and a horizon of three months, whose level of outcomes is known: nothing planted, a season, a
trend, a jump, chance by month, and chance that lasts. At every second date of the later half the level of that date is
predicted from the dates whose 90 days are over (now), and from these and the first 30 or 60 days of the two newer ones
(nowcast). Only the level is simulated: the order of customers takes no part in it. Prints the root mean squared error
of the level in log odds, how often its range held, and the range's standard deviation.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date

import numpy as np

from ml_assets.frames import FloatArray
from ml_assets.model.level import DateShift, predict_shift

HORIZON_MONTHS, CUSTOMERS, MONTHLY = 3, 4_000, 0.05
TRUSTED_SD = 0.25
"""How far the share of a part of the horizon may be from that of the whole, in log odds."""


def planted(months: int, chance: np.random.Generator) -> Mapping[str, FloatArray]:
    """The log of each month's hazard, relative to the usual, by world."""
    time, lasting = np.arange(months), np.zeros(months)
    for month in range(1, months):
        lasting[month] = 0.9 * lasting[month - 1] + chance.normal(0, 0.25)
    return {
        "none": 0.0 * time,
        "season": 0.6 * np.sin(2 * np.pi * time / 12 + chance.uniform(0, 2 * np.pi)),
        "trend": chance.choice([-1, 1]) * 0.04 * (time - time.mean()),
        "jump": np.where(time >= chance.integers(6, months - HORIZON_MONTHS), chance.choice([-0.8, 0.8]), 0.0),
        "each month its own": chance.normal(0, 0.35, months),
        "lasting": lasting,
    }


def judge(level: FloatArray, chance: np.random.Generator) -> Iterator[tuple[str, float, bool, float]]:
    """Per way and date: its name, the squared error, whether the range held, and the range's standard deviation."""
    outcomes = chance.poisson(CUSTOMERS * MONTHLY * np.exp(level))
    last = len(level) - HORIZON_MONTHS
    for now in range(last // 2, last, 2):
        mature = [_shift(outcomes, month, HORIZON_MONTHS) for month in range(now - HORIZON_MONTHS + 1)]
        newer = [_shift(outcomes, now - seen, seen, TRUSTED_SD) for seen in range(HORIZON_MONTHS - 1, 0, -1)]
        true = float(np.log(np.exp(level[now : now + HORIZON_MONTHS]).mean()))
        for name, shifts in (("now", mature), ("nowcast", [*mature, *newer])):
            predicted = predict_shift(shifts, _first_of(now))
            error = predicted.shift - true
            yield name, error**2, abs(error) <= 1.96 * predicted.sd, predicted.sd


def _shift(outcomes: np.ndarray, month: int, months: int, sd: float = 0.0) -> DateShift:
    count = max(float(outcomes[month : month + months].sum()), 0.5)
    return DateShift(_first_of(month), float(np.log(count / (CUSTOMERS * MONTHLY * months))), 1 / count + sd**2)


def _first_of(month: int) -> date:
    return date(2023 + month // 12, month % 12 + 1, 1)


def main() -> None:
    """Print a line per history, world and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=12, help="Draws of each world.")
    options = parser.parse_args()
    for months in (18, 30):
        judged: dict[tuple[str, str], list[tuple[float, bool, float]]] = defaultdict(list)
        for seed in range(options.worlds):
            chance = np.random.default_rng(seed)
            for name, level in planted(months + HORIZON_MONTHS, chance).items():
                for way, *figures in judge(level, chance):
                    judged[name, way].append((figures[0], figures[1], figures[2]))
        for (name, way), rows in judged.items():
            squared, held, sd = np.array(rows, dtype=np.float64).mean(axis=0)
            print(f"{months} months, {name:20} {way:8} error {squared**0.5:.3f}, held {held:.0%}, sd {sd:.3f}")


if __name__ == "__main__":
    main()
