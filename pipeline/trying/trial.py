"""A table of customers and what became of them, tried: read, freed of what gives the outcome away, and judged.

No warehouse and no company. How it is told does not belong here (page.py, scores_file.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from foundation.counting import agreeing, counted
from ml_assets.frames import FloatArray, Usual, usual_values
from ml_assets.judging.grading import wilson_interval
from ml_assets.judging.report import describe_model
from ml_assets.model.explain import bound_log_odds, probabilities_of, publish_parts
from ml_assets.scoring.rows import risk_levels
from ml_assets.snapshot.cross_validation import FOLDS, CrossValidation, SnapshotRows, cross_validate
from ml_assets.snapshot.leaks import Suspicion, find_leaks, tells_alone
from pipeline.prediction.tasks import task_named
from pipeline.trying.columns import LeftOut, TypedTable, find_customer, type_columns
from pipeline.trying.errors import TooFewOutcomes, TrialError
from pipeline.trying.outcome import Outcome, read_outcome
from pipeline.trying.reading import TableRead, read_table
from pipeline.trying.values import Notations, read_columns

FEWEST = 2 * FOLDS
"""Customers with, and as many without, the outcome: two in each fold."""

_DRIVER_ROWS = 1_000
_SEED = 7

Decide = Callable[[Suspicion], bool]
"""Says of a suspicious column whether it is left out."""


@dataclass(frozen=True)
class TrialSettings:
    """What a person says of the file. `values` are the outcome's, `keep` and `drop` columns."""

    outcome: str
    customer: str | None = None
    values: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    sheet: str | None = None
    multiline: bool = False
    notations: Notations = field(default_factory=Notations)


@dataclass(frozen=True)
class Scored:
    """The published figures of rows, shape (rows,); contributions (rows, features) add up to the log-odds."""

    probability: FloatArray
    low: FloatArray
    high: FloatArray
    contributions: FloatArray


@dataclass(frozen=True)
class Trial:
    """Everything that was found. Rows are those of `typed.frame`, customers' names are `names`.

    suspicions: all that were found, kept or not. alone: the AUC of each feature by itself, shape (features,).
    """

    file: Path
    read: TableRead
    outcome: Outcome
    customer: str | None
    names: pd.Series
    typed: TypedTable
    suspicions: tuple[Suspicion, ...]
    kept_suspicions: tuple[Suspicion, ...]
    validation: CrossValidation
    alone: FloatArray

    @property
    def is_known(self) -> npt.NDArray[np.bool_]:
        """Rows whose outcome is known."""
        return ~np.isnan(self.outcome.known)

    @property
    def base_rate(self) -> float:
        """The outcome's share among the rows that it is known of."""
        return float(self.validation.rows.outcomes.mean())

    @property
    def customers(self) -> int:
        """Different customers whose outcome is known."""
        return len(np.unique(self.validation.rows.customers))

    @property
    def outcomes(self) -> int:
        """Different customers with the outcome."""
        rows = self.validation.rows
        return len(np.unique(rows.customers[rows.outcomes == 1]))

    @property
    def is_thin(self) -> bool:
        """Fewer outcomes than a company's own model would need."""
        ladder = task_named("churn").task.ladder
        return self.outcomes < ladder.own_outcomes or self.customers - self.outcomes < ladder.own_survivors

    @cached_property
    def usual(self) -> Usual:
        """What customers mostly have, by feature."""
        return usual_values(self.typed.frame, self.typed.features)

    @cached_property
    def scored(self) -> Scored:
        """Every row's score, where its outcome is known by models that have not seen the row, else by one of all rows.

        Where nothing is told from chance everybody has the share of all, with its range, and no reasons.
        """
        count = len(self.typed.frame)
        if not self.validation.is_told_from_chance:
            rate, interval = self.base_rate, wilson_interval(self.base_rate, self.customers)
            share, low, high = (np.full(count, end) for end in (rate, interval.low or 0.0, interval.high or 1.0))
            return Scored(share, low, high, np.zeros((count, len(self.typed.features))))
        log_odds, half = np.empty(count), np.empty(count)
        contributions = np.zeros((count, len(self.typed.features)))
        best, known = self.validation.best, self.is_known
        log_odds[known], contributions[known] = bound_log_odds(best.log_odds), self.validation.contributions
        half[known] = best.calibrator.half_width(best.margins)
        if not known.all():
            model = self.validation.fit_on_all()
            parts, bias = model.parts(self.typed.frame[~known], len(self.typed.features))
            published = publish_parts(parts, bias, best.calibrator)
            log_odds[~known], contributions[~known] = published.log_odds, published.contributions
            half[~known] = best.calibrator.half_width(parts.sum(axis=1) + bias)
        low, high = (probabilities_of(bound_log_odds(log_odds + side)) for side in (-half, half))
        return Scored(probabilities_of(log_odds), low, high, contributions)

    @cached_property
    def levels(self) -> npt.NDArray[np.object_]:
        """Each row's risk level, by the odds against those of the share of all."""
        return risk_levels(self.scored.probability, self.base_rate, task_named("churn").task.risk)

    @cached_property
    def report(self) -> dict[str, object]:
        """Calibration, lift and drivers, as a model's card has them."""
        rows, contributions = self.validation.rows, self.validation.contributions
        some = np.arange(0, len(contributions), max(1, len(contributions) // _DRIVER_ROWS))
        return describe_model(
            self.validation.best.probabilities,
            rows.outcomes,
            rows.customers,
            None,
            None,
            contributions[some],
            self.typed.features,
            seed=_SEED,
        )


def try_file(file: Path, settings: TrialSettings, decide: Decide) -> Trial:
    """Read the file and try to tell who has the outcome. Raises TrialError, which says what to type.

    `decide` is asked of each suspicious column that no setting speaks of.
    """
    read = read_table(file, sheet=settings.sheet, multiline=settings.multiline, seed=_SEED)
    outcome_name = read.column(settings.outcome)
    keep, drop = ([read.column(name) for name in names] for names in (settings.keep, settings.drop))
    if both := sorted({*keep} & {*drop}):
        raise TrialError(f"{both[0]} is to be kept and to be dropped. Say one of them.")
    if settings.customer and read.column(settings.customer) == outcome_name:
        raise TrialError(
            f"{outcome_name} cannot be both who a row is about and what came of it: --id or --outcome is wrong."
        )
    columns = read_columns(read.table, settings.notations)
    outcome = read_outcome(columns[outcome_name], settings.values)
    customer = (
        read.column(settings.customer)
        if settings.customer
        else find_customer({name: column for name, column in columns.items() if name not in {outcome_name, *keep}})
    )
    names = columns[customer].texts if customer else pd.Series(read.numbers.astype(str), dtype=object)
    known = ~np.isnan(outcome.known)
    customers = _customers(names)
    _refuse_few(outcome, customers[known], outcome.known[known])
    apart = {outcome_name, *([customer] if customer else [])}
    typed = type_columns(columns, keep=keep, drop=drop, apart=apart)
    _refuse_nothing(file, typed)
    rows = SnapshotRows(typed.frame[known].reset_index(drop=True), outcome.known[known], customers[known])
    suspicions = find_leaks(
        rows.frame,
        typed.features,
        rows.outcomes,
        rows.folds,
        outcome_name=outcome.column,
        happened=outcome.happened,
        otherwise=outcome.otherwise,
    )
    leaks = [each for each in suspicions if each.feature.label not in keep and decide(each)]
    typed = typed.without([LeftOut(each.feature.label, each.reason) for each in leaks])
    _refuse_nothing(file, typed)
    rows = SnapshotRows(rows.frame[list(typed.frame.columns)], rows.outcomes, rows.customers)
    validation = cross_validate(rows, typed.features, task_named("churn").task.candidates, seed=_SEED)
    return Trial(
        file=file,
        read=read,
        outcome=outcome,
        customer=customer,
        names=names,
        typed=typed,
        suspicions=tuple(suspicions),
        kept_suspicions=tuple(each for each in suspicions if each not in leaks),
        validation=validation,
        alone=tells_alone(rows.frame, typed.features, rows.outcomes, rows.folds),
    )


def _customers(names: pd.Series) -> npt.NDArray[np.intp]:
    """A number per customer; a row without a name is somebody by itself."""
    codes, distinct = pd.factorize(names)
    nameless = codes < 0
    codes[nameless] = len(distinct) + np.arange(nameless.sum())
    return codes.astype(np.intp)


def _refuse_few(outcome: Outcome, customers: npt.NDArray[np.intp], outcomes: FloatArray) -> None:
    """Raise TooFewOutcomes with what can be said all the same: how many, and within which limits."""
    everybody, with_outcome = len(np.unique(customers)), len(np.unique(customers[outcomes == 1]))
    if min(with_outcome, everybody - with_outcome) >= FEWEST:
        return
    interval = wilson_interval(with_outcome / everybody, everybody)
    ladder = task_named("churn").task.ladder
    raise TooFewOutcomes(
        f"Of {counted(everybody, 'customer')} {with_outcome:,} {agreeing(with_outcome, 'have')} the outcome "
        f"({outcome.happened}): {with_outcome / everybody:.1%}, and of many more like them between {interval.low:.1%} "
        f"and {interval.high:.1%}. Who they are cannot be learned from so few: it takes {FEWEST} with and {FEWEST} "
        f"without to try, {ladder.own_outcomes} and {ladder.own_survivors} to rely on. Add older customers, those who "
        "left long ago too."
    )


def _refuse_nothing(file: Path, typed: TypedTable) -> None:
    if typed.features:
        return
    told = "; ".join(f"{each.column} {each.reason}" for each in typed.left_out[:5])
    raise TrialError(f"{file.name}: no column is left to tell the outcome by ({told}). --keep COLUMN keeps one.")
