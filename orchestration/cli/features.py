"""``churn features`` and ``churn impact``: what there is, who makes it, whether it is proven, what hangs on it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from foundation.counting import counted
from foundation.errors import about
from orchestration.cli.options import OptionalCompany, TaskName
from orchestration.cli.terminal import CommandFailed, chosen_companies, console, open_warehouse
from orchestration.console import TextConsole

if TYPE_CHECKING:
    from pipeline.prediction.tasks import TaskBinding
    from warehouse.companies.definition import Company
    from warehouse.connection import Warehouse
    from warehouse.prediction.feature_catalogue import CatalogueRow
    from warehouse.settings import Settings

features_app = typer.Typer(help="What the models read, and the proof that its past stands still.")


@features_app.callback(invoke_without_command=True)
def features(
    context: typer.Context,
    company: Annotated[str | None, typer.Option("--company", help="Slug of one company.")] = None,
    task: TaskName = "churn",
) -> None:
    """List every feature: how much of it is there, since when, what it weighs, who makes it, whether it is proven.

    With a company its own attributes are listed too, and what each feature weighs in its champion.
    """
    if context.invoked_subcommand:
        return
    from pipeline.features.dbt import prepare_manifest
    from pipeline.prediction.tasks import task_named
    from warehouse.prediction.feature_catalogue import read_catalogue

    binding = task_named(task)
    with open_warehouse() as (settings, warehouse):
        manifest = json.loads(prepare_manifest(settings).read_text())
        chosen = chosen_companies(warehouse, company, binding)[0] if company else None
        with warehouse.connect() as conn:
            rows = read_catalogue(conn, chosen.company_id if chosen else None)
        weights = _weights(settings, warehouse, binding, chosen) if chosen else {}
        retiring = _retiring(settings, warehouse, manifest)
    # What is read by a program or in a file is not folded.
    output = console if console.is_terminal else TextConsole(width=1000)
    output.print(_table(rows, weights, manifest, with_weights=company is not None))
    console.print(
        "[dim]Missing: share of customers without it on the newest date, and over all dates. Weight: its share of all "
        "contributions\n(mean of their size) to the champion's scores of the newest date. Proof: a past date rebuilt "
        "from today's raw data.[/dim]"
    )
    for sentence in retiring:
        console.print(f"[yellow]{escape(sentence)}[/yellow]", soft_wrap=True)


@features_app.command("prove")
def prove(
    company: OptionalCompany = None,
    date: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="A past date; the last one if left out.")
    ] = None,
    task: TaskName = "churn",
) -> None:
    """Rebuild a past date from what is loaded today, and compare every feature with the stored rows.

    All active companies that have the task if none is named. Ends with 1 where a value moved.
    """
    from pipeline.features.dbt import prepare_manifest
    from pipeline.features.proof import describe_failure, prove_features
    from pipeline.prediction.tasks import task_named

    binding = task_named(task)
    day = date.date() if date else None
    with open_warehouse() as (settings, warehouse):
        prepare_manifest(settings)
        failures = []
        for each in chosen_companies(warehouse, company, binding):
            with about(each.slug):
                proof = prove_features(settings, warehouse, binding.relations, each, day)
            failure = describe_failure([proof] if proof else [])
            if proof is None:
                console.print(f"{each.slug} has no past date yet.")
            elif failure:
                failures.append(f"{each.slug}: {failure}")
            else:
                console.print(
                    f"{each.slug}: {counted(len(proof.differing), 'feature')} of {counted(proof.rows, 'row')} "
                    f"on {proof.as_of_date}, "
                    "rebuilt from what is loaded today, are what is stored."
                )
    if failures:
        raise CommandFailed("\n".join(failures))


def impact(
    name: Annotated[str, typer.Argument(help="A model, a table of a source, a column, or model.column.")],
) -> None:
    """Say what hangs on a model or a column: models, features, dashboards, published fields."""
    from pipeline.features.catalogue import manifest_path
    from pipeline.features.dbt import prepare_manifest
    from pipeline.features.impact import find_impact

    with open_warehouse() as (settings, _):
        manifest = json.loads(prepare_manifest(settings).read_text())
    impact = find_impact(manifest, name, manifest_path(settings).parent / "compiled")
    console.print(f"[bold]{escape(impact.start)}[/bold] [dim]{escape(impact.how)}[/dim]")
    for title, items in (
        ("Models", impact.models),
        ("Features", impact.features),
        ("Dashboards and readers", impact.exposures),
        ("Published fields", impact.published),
    ):
        console.print(f"\n[bold]{title}[/bold] [dim]{len(items)}[/dim]")
        for item in items:
            console.print(f"  {escape(item)}")
    for note in impact.notes:
        console.print(f"\n[yellow]{escape(note)}[/yellow]")


def _retiring(settings: Settings, warehouse: Warehouse, manifest: dict[str, Any]) -> list[str]:
    """Each feature that is deprecated, since when, and the champions that still read it, in a sentence."""
    from pipeline.features.catalogue import deprecated_features
    from pipeline.prediction.registry import ModelRegistry
    from pipeline.prediction.retiring import champions_that_read

    deprecated = deprecated_features(manifest)
    reading = champions_that_read(warehouse, ModelRegistry(warehouse, settings.home), deprecated)
    return [
        f"{feature} is deprecated on {day}: from then on trainings leave it out. "
        + (f"Still read by {', '.join(reading[feature])}." if reading[feature] else "No champion reads it.")
        for feature, day in sorted(deprecated.items())
    ]


def _table(
    rows: list[CatalogueRow], weights: dict[str, float], manifest: dict[str, Any], *, with_weights: bool
) -> Table:
    from pipeline.features.catalogue import place_of
    from pipeline.features.own_project import project_directory
    from warehouse.settings import load_settings

    project = project_directory(load_settings())

    table = Table(title=f"{len(rows)} features", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in ("feature", "label", "family", "missing", "since", "weight", "made in", "proof"):
        if column != "weight" or with_weights:
            table.add_column(column, justify="right" if column in ("missing", "weight") else "left", overflow="fold")
    for row in sorted(rows, key=lambda row: (-weights.get(row.feature, 0.0), row.family, row.feature)):
        table.add_row(
            row.feature,
            escape(row.label),
            row.family,
            f"{_percent(row.share_missing_on_newest_date)} · {_percent(row.share_missing)}",
            str(row.first_date_available or "–"),
            *([_percent(weights.get(row.feature))] if with_weights else []),
            place_of(manifest, row.model_name, row.feature, project),
            _proof(row),
        )
    return table


def _proof(row: CatalogueRow) -> str:
    if row.is_proven is None:
        return "[dim]not yet[/dim]"
    if row.is_proven:
        return f"[green]passed[/green] {row.proof_date}"
    return f"[red]{row.proof_rows_differing} of {row.proof_rows_compared} rows differ[/red] {row.proof_date}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


def _weights(settings: Settings, warehouse: Warehouse, binding: TaskBinding, company: Company) -> dict[str, float]:
    """Each feature's share of the contributions to the champion's scores; empty without a fitting champion."""
    from ml_assets.errors import ModelError
    from pipeline.prediction.scoring import NoModel, Scorer

    try:
        with about(company.slug):
            return Scorer.from_settings(binding, warehouse, settings).weights(company)
    except (ModelError, NoModel) as error:
        console.print(f"[yellow]No weights: {escape(str(error))}[/yellow]")
        return {}
