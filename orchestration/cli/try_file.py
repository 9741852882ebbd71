"""``churn try``: one file, one minute; no company, no warehouse."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from orchestration.cli.terminal import CommandFailed, console, writing

if TYPE_CHECKING:
    from ml_assets.snapshot.leaks import Suspicion
    from pipeline.trying.trial import Trial

_SHOWN_REASONS = 2


def try_file(
    file: Annotated[Path, typer.Argument(help="CSV, Excel (.xlsx), Parquet or JSON lines: a row per customer.")],
    outcome: Annotated[str, typer.Option("--outcome", help="The column that says who left.")],
    customer: Annotated[
        str | None, typer.Option("--id", help="The column that says who a row is about, where that is not plain.")
    ] = None,
    value: Annotated[
        list[str] | None,
        typer.Option("--value", help="The value that means left, where that is not plain; repeatable."),
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", help="A column to tell by all the same; repeatable.")
    ] = None,
    drop: Annotated[list[str] | None, typer.Option("--drop", help="A column to leave out; repeatable.")] = None,
    sheet: Annotated[str | None, typer.Option("--sheet", help="Of a workbook with several sheets: its name.")] = None,
    decimal: Annotated[
        str | None, typer.Option("--decimal", help="What stands before a fraction, . or , where that is not plain.")
    ] = None,
    date_format: Annotated[
        str | None, typer.Option("--date-format", help="As in %d/%m/%Y, where days and months cannot be told apart.")
    ] = None,
    multiline: Annotated[
        bool, typer.Option("--multiline", help="Quoted texts of a CSV may hold lines that look like rows.")
    ] = False,
    page: Annotated[
        Path | None, typer.Option("--page", help="The page to write; churn-<file>.html if left out.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option("--scores", help="The CSV of scores to write; churn-<file>-scores.csv if left out.")
    ] = None,
) -> None:
    """Who leaves, from one table of customers: a page and a CSV of scores within a minute, without a warehouse."""
    if decimal not in (None, ".", ","):
        raise CommandFailed(f"--decimal {decimal}: write . or , for what stands before a fraction.")
    from pipeline.trying.page import write_page
    from pipeline.trying.scores_file import write_scores
    from pipeline.trying.trial import TrialSettings
    from pipeline.trying.trial import try_file as try_table
    from pipeline.trying.values import Notations

    stem = file.name.removesuffix(".gz").rsplit(".", 1)[0]
    page, scores = page or Path(f"churn-{stem}.html"), scores or Path(f"churn-{stem}-scores.csv")
    _refuse_overwriting(file, page, scores)
    settings = TrialSettings(
        outcome=outcome,
        customer=customer,
        values=tuple(value or ()),
        keep=tuple(keep or ()),
        drop=tuple(drop or ()),
        sheet=sheet,
        multiline=multiline,
        notations=Notations(decimal, date_format),
    )
    console.print(f"[dim]Trying {escape(file.name)}: reading, then five models on five parts of the customers.[/dim]")
    trial = try_table(file, settings, _leave_out)
    with writing(scores):
        write_scores(trial, scores)
    with writing(page):
        write_page(trial, page)
    _print_trial(trial)
    console.print(f"The page is {escape(str(page))}, the scores are {escape(str(scores))}.")


def _refuse_overwriting(file: Path, page: Path, scores: Path) -> None:
    places = [path.resolve() for path in (file, page, scores)]
    if len(set(places)) < len(places):
        raise CommandFailed(
            "The file, the page and the scores must be three files. Name others with --page and --scores."
        )


def _leave_out(suspicion: Suspicion) -> bool:
    """Asked on a terminal; elsewhere a suspicious column is left out."""
    column = suspicion.feature.label
    if _is_a_conversation():
        console.print(
            f"[yellow]{escape(column)} {escape(suspicion.reason)}.[/yellow] Was it known before? If not, it is a leak."
        )
        return typer.confirm("Leave it out?", default=True)
    return True


def _is_a_conversation() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _print_trial(trial: Trial) -> None:
    from pipeline.trying.page import how_it_was_read, most_at_risk, verdict, who
    from pipeline.trying.scores_file import reason_texts

    for sentence in how_it_was_read(trial):
        console.print(escape(sentence))
    leaks = {each.feature.label for each in trial.suspicions}
    for left_out in trial.typed.left_out:
        colour = "yellow" if left_out.column in leaks else "dim"
        console.print(f"  [{colour}]left out: {escape(left_out.column)} {escape(left_out.reason)}[/{colour}]")
    if leaks & {each.column for each in trial.typed.left_out}:
        console.print("  What may be a consequence is left out; --keep COLUMN takes it in, where it was known before.")
    for kept in trial.kept_suspicions:
        console.print(f"  [yellow]kept: {escape(kept.feature.label)}, though it {escape(kept.reason)}[/yellow]")
    console.print(f"[bold]{escape(verdict(trial))}[/bold]")
    if trial.validation.is_told_from_chance:
        reasons = reason_texts(trial)
        for place in most_at_risk(trial, 5):
            told = "; ".join(text for text in reasons[place][:_SHOWN_REASONS] if text)
            console.print(f"  {trial.scored.probability[place]:4.0%}  {escape(who(trial, place))}: {escape(told)}")
    console.print(
        "A snapshot does not say when, nor whether a column was known before: docs/try.md says what a history adds."
    )
