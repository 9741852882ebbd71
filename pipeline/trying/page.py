"""A trial as one HTML page in the report's look: how good, what drives it, who is most at risk, what it cannot say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from foundation.counting import agreeing, counted
from foundation.private_files import private_file
from pipeline.prediction.tasks import task_named
from pipeline.telling.pages import rendered
from pipeline.telling.report import Block, Cell, Section, align_numbers
from pipeline.trying.charts import calibration_chart, driver_chart, lift_chart
from pipeline.trying.scores_file import reason_texts
from pipeline.trying.trial import Trial

MOST_CUSTOMERS = 25
_MEASURES = ("auc", "average_precision", "log_loss", "brier", "calibration_error")
_TITLES = ("AUC", "average precision", "log loss", "Brier score", "calibration error")
_DECIMALS = {"log_loss": 4, "brier": 4}
_NAMES = {
    "logistic": "logistic regression",
    "random_forest": "random forest",
    "xgboost": "XGBoost",
    "lightgbm": "LightGBM",
    "blend": "blend of regression and XGBoost",
}
_COLOURS = {"high": "#A3123A", "medium": "#C9772B", "low": "#2C7A70"}


def write_page(trial: Trial, path: Path) -> None:
    """Write the page; it takes its name only when all of it is written."""
    with private_file(path) as file:
        file.write(page_html(trial).encode("utf-8", "backslashreplace"))


def page_html(trial: Trial) -> str:
    """The page; it needs no server and no network."""
    return rendered(
        "pipeline.trying",
        "page.html.j2",
        file_name=trial.file.name,
        happened=trial.outcome.happened,
        sections=[_verdict_section(trial), _quality_section(trial), _customers_section(trial), _columns_section(trial)],
        cannot=cannot_say(trial),
        history=WHAT_A_HISTORY_ADDS,
        made=[*how_it_was_read(trial), *how_it_was_judged(trial)],
    )


WHAT_A_HISTORY_ADDS = (
    "When: who leaves within the next 30 or 90 days, since every row has a date and every outcome a time.",
    "Columns that are known beforehand by construction: each is worked out from what was known on its day.",
    "A test on later months, as it will be used, with the level of the season.",
    "What changed: payments that came late, use that fell, tickets that stayed open. A last state shows none of it.",
    "Every day anew, with what changed since; and whether last month's warnings came true.",
)


def cannot_say(trial: Trial) -> list[str]:
    """What a table without time leaves open, in sentences."""
    sentences = [
        "When anybody leaves. A row says that a customer left, not within how many days; the probability is that of "
        "being among those who have left by the day of the file.",
        "Whether a column was known before. What is written into a customer's row when they leave looks like a sign "
        "of it; what was suspicious is named above, and only somebody who knows the source can be sure of the rest.",
        "Whether tomorrow is like the day of the file: it was judged on other customers of the same day.",
        "What would keep anybody. A reason says what goes with leaving, not what causes it.",
    ]
    if trial.is_thin:
        ladder = task_named("churn").task.ladder
        sentences.insert(
            0,
            f"Much with certainty: {counted(trial.outcomes, 'customer')} with the outcome and "
            f"{trial.customers - trial.outcomes:,} without are few. A company's own model needs {ladder.own_outcomes} "
            f"and {ladder.own_survivors}.",
        )
    return sentences


def verdict(trial: Trial) -> str:
    """What was found, in a sentence or two."""
    metrics = trial.validation.best.metrics
    auc = ranged(metrics, "auc")
    if not trial.validation.is_told_from_chance:
        return (
            f"These columns do not tell where {trial.outcome.happened}: the best model is not told from chance (AUC "
            f"{auc}; a coin has 0.5). Every customer has the share of all for a score, and nobody should act on it."
        )
    tenth = _lift(trial)[0]
    return (
        f"The columns tell. Of the tenth at highest risk {tenth['outcomes'] / tenth['rows']:.0%} have the outcome, of "
        f"all {trial.base_rate:.0%}; that tenth holds {tenth['outcomes'] / trial.validation.rows.outcomes.sum():.0%} "
        f"of all who have it. AUC {auc}."
    )


def ranged(metrics: Mapping[str, float | None], name: str) -> str:
    """A measure with its 95 percent interval."""
    value, low, high = (metrics.get(f"{name}{end}") for end in ("", "_low", "_high"))
    decimals = _DECIMALS.get(name, 3)
    if value is None:
        return "–"
    return f"{value:.{decimals}f}" + (
        "" if low is None or high is None else f" ({low:.{decimals}f} to {high:.{decimals}f})"
    )


def how_it_was_read(trial: Trial) -> list[str]:
    """How the file was understood, in sentences: every row that taught, that did not, and that was left out."""
    unknown = int((~trial.is_known).sum())
    who = f"{trial.customer} says who a row is about" if trial.customer else "Each row is a customer of its own"
    sentences = [
        f"Read as {trial.read.looks}: {counted(trial.read.in_file, 'row')}.",
        *trial.read.remarks,
        f"{who}: {counted(trial.customers, 'customer')} with a known outcome in "
        f"{counted(len(trial.validation.rows.outcomes), 'row')}.",
        *trial.typed.remarks,
    ]
    if unknown:
        sentences.append(
            f"The outcome of {counted(unknown, 'row')} is not known yet: {'it' if unknown == 1 else 'they'} did not "
            f"teach, and {agreeing(unknown, 'have')} a score."
        )
    return sentences


def how_it_was_judged(trial: Trial) -> list[str]:
    """How the models were made and judged, in sentences."""
    sentences = [
        "Judged in five parts: each part by models that learned from the other four, all rows of a customer in one "
        "part. Calibrated by the other parts' scores. Intervals: customers drawn again, 95 percent.",
        f"Chosen: {_NAMES[trial.validation.chosen]}, of those that are about as good as the best by log loss.",
    ]
    if trial.validation.is_told_from_chance:
        sentences.append("Every score of a known outcome is by the model that has not seen it.")
    sentences += [f"{_NAMES[name]} could not be fitted ({error})." for name, error in trial.validation.failed.items()]
    return sentences


def _verdict_section(trial: Trial) -> Section:
    metrics = trial.validation.best.metrics
    tenth = _lift(trial)[0]
    numbers = [
        _number("Customers", f"{trial.customers:,}", f"{counted(len(trial.typed.features), 'column')} to tell by"),
        _number(
            "With the outcome",
            f"{trial.base_rate:.1%}",
            f"{counted(trial.outcomes, 'customer')}: {trial.outcome.happened}",
        ),
        _number("AUC", f"{metrics['auc']:.3f}", _interval(metrics, "auc", "1 is perfect, 0.5 a coin")),
        _number(
            "Lift of the top tenth",
            f"{tenth['lift']:.1f}×",
            f"{tenth['outcomes']:,} of {tenth['rows']:,} have the outcome",
        ),
    ]
    return Section("verdict", "What can be told", verdict(trial), numbers=numbers)


def _quality_section(trial: Trial) -> Section:
    report: Any = trial.report
    best = int(np.argmax(trial.alone))
    block = _candidates_block(trial)
    block.note = (
        f"The best single column, {trial.typed.features[best].label}, has an AUC of {trial.alone[best]:.3f} by "
        "itself. Saying the share of all for everybody has a log loss of "
        f"{trial.validation.base_rate['log_loss']:.4f}."
    )
    blocks = [
        block,
        _chart(
            "Promised and kept",
            "Ten groups by score: what was promised, and what share has the outcome.",
            calibration_chart(report),
        ),
        _chart(
            "Lift by tenth",
            "The tenths from the highest risk down: the outcome's share beside that of all.",
            lift_chart(report),
        ),
        _chart(
            "What moves the scores", "Each column's share of all contributions to the scores.", driver_chart(report)
        ),
    ]
    blocks[-1].is_wide = True
    return Section("quality", "How good it is", "On customers whom the models have not seen.", blocks=blocks)


def _candidates_block(trial: Trial) -> Block:
    rows = [
        [
            Cell(f"{_NAMES[name]}{' (chosen)' if name == trial.validation.chosen else ''}"),
            *(Cell(ranged(candidate.metrics, measure), is_number=True) for measure in _MEASURES),
        ]
        for name, candidate in trial.validation.candidates.items()
    ]
    return _table("Models", "The same ones as the warehouse tries.", ["", *_TITLES], rows)


def _customers_section(trial: Trial) -> Section:
    title, about = "Most at risk", "Who has not left, and looks most like those who have."
    if not trial.validation.is_told_from_chance:
        empty = "Nobody: no model is told from chance here, and a list would be a lottery."
        return Section("customers", title, about, blocks=[Block("Customers", "", is_wide=True, empty=empty)])
    places = most_at_risk(trial, MOST_CUSTOMERS)
    if not places:
        empty = "Every customer of the file has left."
        return Section("customers", title, about, blocks=[Block("Customers", "", is_wide=True, empty=empty)])
    reasons = reason_texts(trial)
    rows = [
        [
            Cell(who(trial, place)),
            Cell(f"{trial.scored.probability[place]:.1%}", is_number=True),
            Cell(f"{trial.scored.low[place]:.0%} to {trial.scored.high[place]:.0%}", is_number=True),
            Cell(str(trial.levels[place]), chip=_COLOURS[str(trial.levels[place])]),
            *(Cell(text, is_wrapped=True) for text in reasons[place]),
        ]
        for place in places
    ]
    header = [trial.customer or "row", "probability", "range", "risk", "first reason", "second", "third"]
    block = _table("Customers", "The range is what chance leaves open in the calibration.", header, rows)
    block.note = "All rows and their scores stand in the CSV file beside this page."
    return Section("customers", title, about, blocks=[block])


def most_at_risk(trial: Trial, count: int) -> list[int]:
    """Places of the rows without the outcome that have the highest probability; a customer once."""
    places: dict[str, int] = {}
    for place in np.argsort(-trial.scored.probability, kind="stable").tolist():
        if trial.outcome.known[place] != 1:
            places.setdefault(who(trial, place), place)
        if len(places) == count:
            break
    return list(places.values())


def who(trial: Trial, place: int) -> str:
    """The customer's name, or the row's number in the file."""
    name = trial.names.iloc[place]
    return f"row {trial.read.numbers[place]:,}" if name is None or trial.customer is None else str(name)


def _columns_section(trial: Trial) -> Section:
    kept = {each.feature.label: each.reason for each in trial.kept_suspicions}
    used = [
        [
            Cell(feature.label),
            Cell(feature.kind if feature.family != "dates" else "date"),
            Cell(f"{alone:.3f}", is_number=True),
            Cell(_doubt(kept, feature.label), is_wrapped=True),
        ]
        for feature, alone in sorted(zip(trial.typed.features, trial.alone, strict=True), key=lambda pair: -pair[1])
    ]
    suspected = {each.feature.label for each in trial.suspicions}
    left = [
        [
            Cell(each.column),
            Cell("may come of the outcome", chip=_COLOURS["high"]) if each.column in suspected else Cell(""),
            Cell(each.reason, is_wrapped=True),
        ]
        for each in sorted(trial.typed.left_out, key=lambda each: each.column not in suspected)
    ]
    blocks = [_table("Told by", "The AUC of each column by itself.", ["column", "kind", "AUC alone", ""], used)]
    if left:
        block = _table(
            "Left out", "--keep COLUMN takes one in, --drop COLUMN leaves one out.", ["column", "", "why"], left
        )
    else:
        block = Block("Left out", "--drop COLUMN leaves one out.", is_wide=True, empty="Nothing.")
    return Section("columns", "Columns", "What was read, and what was not.", blocks=[*blocks, block])


def _doubt(kept: Mapping[str, str], column: str) -> str:
    return f"kept, though it {kept[column]}" if column in kept else ""


def _lift(trial: Trial) -> Sequence[Mapping[str, Any]]:
    lift: Any = trial.report["lift"]
    return list(lift)


def _interval(metrics: Mapping[str, float | None], name: str, meaning: str) -> str:
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    return meaning if low is None or high is None else f"{low:.3f} to {high:.3f}; {meaning}"


def _number(title: str, number: str, change: str) -> Block:
    return Block(title, title, number=number, change=change)


def _chart(title: str, description: str, svg: str) -> Block:
    return Block(title, description, svg=Markup(svg))  # noqa: S704 - made by matplotlib, which escapes text


def _table(title: str, description: str, header: list[str], rows: list[list[Cell]]) -> Block:
    align_numbers(rows)
    return Block(title, description, is_wide=True, header=header, table=rows)
