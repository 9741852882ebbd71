"""``churn dev``: places in which an analytics engineer builds what they change, beside production."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from orchestration.cli.options import Yes
from orchestration.cli.terminal import CommandFailed, console, open_warehouse, writing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.connection import Warehouse
    from warehouse.developers import Developer

dev_app = typer.Typer(help="A place of your own to change SQL in, and what a change does.", no_args_is_help=True)

PlaceName = Annotated[str | None, typer.Option("--name", help="Name of the place; your user name if left out.")]
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="As Markdown, for a pull request.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for a program.")]


@dev_app.command("start")
def start(
    name: PlaceName = None,
    company: Annotated[
        list[str] | None, typer.Option("--company", help="Slug of a company to see there; all if left out. Repeatable.")
    ] = None,
    dates: Annotated[int, typer.Option(help="How many of a company's newest dates to see and build; 0: all.")] = 3,
) -> None:
    """Make a place of your own, or change which companies and dates it shows; what was built in it stays."""
    from pipeline.development import building, places
    from pipeline.features.own_project import project_directory
    from warehouse.companies.registry import get_company

    if dates < 0:
        raise CommandFailed(f"--dates {dates}: the number of newest dates, or 0 for all of them.")
    with open_warehouse() as (settings, warehouse):
        with warehouse.connect() as conn:
            companies = [get_company(conn, slug) for slug in company] if company else None
        place = places.start(settings, warehouse, name or places.usual_name(), companies, dates or None)
        console.print(escape(f"{place.name}: {_shows(place)}. Its schemas begin with {place.login}_."))
        console.print(
            escape(f"`churn dev build` builds there what you changed. By hand, in {project_directory(settings)}:")
        )
        console.print(escape(f"  {building.build_command(settings, place)}"), soft_wrap=True)


@dev_app.command("build")
def build(
    select: Annotated[
        list[str] | None,
        typer.Argument(help="Models, as dbt selects them; what differs from production and hangs on it if left out."),
    ] = None,
    name: PlaceName = None,
) -> None:
    """Build what you changed in your place; all else is read from production, where nothing is written."""
    from pipeline.development import building

    with open_warehouse() as (settings, warehouse):
        place = _place(warehouse, name)
        building.build(settings, place, select or [])
        own = _place(warehouse, name).own_relations
    console.print(
        escape(f"{place.name} has of its own: {', '.join(own) or 'nothing; nothing differs from production'}.")
    )


@dev_app.command("test")
def unit_test(
    select: Annotated[
        list[str] | None, typer.Argument(help="Models, as dbt selects them; those of your project if left out.")
    ] = None,
    name: PlaceName = None,
) -> None:
    """Run the unit tests of models on a few rows each; nothing is built."""
    from pipeline.development import building

    with open_warehouse() as (settings, warehouse):
        building.run_unit_tests(settings, _place(warehouse, name), select or [])


@dev_app.command("check")
def check(name: PlaceName = None) -> None:
    """Look at what you changed before it is built: features' words, contracts, the rule of time, style."""
    from pipeline.development.checking import check_change
    from pipeline.development.checking_text import summary

    with open_warehouse() as (settings, warehouse):
        checked = check_change(settings, warehouse, _place(warehouse, name))
    console.print(escape(summary(checked)), soft_wrap=True)
    for finding in checked.findings:
        colour = "red" if finding.kind == "fault" else "yellow"
        console.print(f"[{colour}]{escape(finding.about)}[/{colour}]: {escape(finding.text)}", soft_wrap=True)
    if checked.has_faults:
        raise typer.Exit(1)


@dev_app.command("diff")
def diff(
    models: Annotated[list[str] | None, typer.Argument(help="Models that you built; all of them if left out.")] = None,
    name: PlaceName = None,
    markdown: AsMarkdown = False,
    as_json: AsJson = False,
) -> None:
    """Show what you built beside production's: rows, columns, examples, contracts, and who reads it."""
    from pipeline.development import building
    from pipeline.development.difference_text import to_json, to_markdown
    from pipeline.development.differences import find_differences

    with open_warehouse() as (settings, warehouse):
        place = _place(warehouse, name)
        own = _own(place, models)
        manifest = building.manifest_of(settings)
        differences = find_differences(warehouse, place, own, manifest, building.compiled_directory(settings))
    _print(to_json(differences) if as_json else to_markdown(differences), as_it_is=as_json or markdown)


@dev_app.command("train")
def train(
    task: Annotated[str, typer.Option("--task", help="The task whose models are compared.")] = "churn",
    name: PlaceName = None,
    markdown: AsMarkdown = False,
    as_json: AsJson = False,
) -> None:
    """Show what you built does to predictions: the champion's settings, with your features and with production's."""
    from pipeline.development.training import ChangeTrainer
    from pipeline.development.training_text import training_json, training_markdown
    from pipeline.prediction.tasks import task_named

    binding = task_named(task)
    with open_warehouse() as (settings, warehouse):
        compared = ChangeTrainer(settings, warehouse, _place(warehouse, name), binding).compare()
    _print(training_json(compared) if as_json else training_markdown(compared), as_it_is=as_json or markdown)


@dev_app.command("report")
def report(
    output: Annotated[
        Path | None, typer.Option(help="File to write, HTML or, by its name, .md; dev-<place>.html if left out.")
    ] = None,
    task: Annotated[str, typer.Option("--task", help="The task whose models are compared.")] = "churn",
    name: PlaceName = None,
) -> None:
    """Write what `check`, `diff` and `train` say of your place as one page."""
    from pipeline.development.report import make_change_report, write_change_report
    from pipeline.prediction.tasks import task_named

    binding = task_named(task)
    with open_warehouse() as (settings, warehouse):
        place = _place(warehouse, name)
        file = output or Path(f"dev-{place.name}.html")
        with writing(file):
            made = make_change_report(settings, warehouse, place, binding)
            write_change_report(made, file)
    for sentence in made.verdicts:
        console.print(escape(sentence), soft_wrap=True)
    console.print(f"The report is {escape(str(file))}.")


@dev_app.command("revert")
def revert(
    models: Annotated[list[str] | None, typer.Argument(help="Models that you built.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that you built.")] = False,
    name: PlaceName = None,
) -> None:
    """Drop what you built of a model, so that your place shows production's again."""
    from warehouse.developers import give_back
    from warehouse.relations import Relation

    if bool(models) == every:
        raise CommandFailed("Name models, or say --all.")
    with open_warehouse() as (_, warehouse):
        place = _place(warehouse, name)
        with warehouse.connect() as conn:
            for relation in _own(place, models):
                give_back(conn, place.name, Relation(*relation.split(".", 1)))
                console.print(escape(f"{relation} is production's again."))


@dev_app.command("list")
def list_places() -> None:
    """The places that there are, whom they show, and what was built in them."""
    from warehouse import developers

    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        places = developers.list_places(conn)
    if not places:
        console.print("There is no place yet: `churn dev start` makes one.")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("place", "shows", "built there", "last used"):
        table.add_column(column, overflow="fold")
    for place in places:
        table.add_row(
            place.name,
            escape(_shows(place)),
            escape(", ".join(place.own_relations) or "–"),
            f"{place.used_at:%Y-%m-%d}",
        )
    console.print(table)
    print_unused(places)


@dev_app.command("drop")
def drop(
    name: Annotated[str, typer.Argument(help="Name of the place.")],
    yes: Yes = False,
) -> None:
    """Drop a place with all that was built in it."""
    from pipeline.development import places
    from warehouse.developers import place_of

    with open_warehouse() as (settings, warehouse):
        with warehouse.connect() as conn:
            place = place_of(conn, name)
        built = ", ".join(place.own_relations) or "nothing"
        if not yes and not typer.confirm(f"Drop {name} (built there: {built})?"):
            raise CommandFailed("Nothing was dropped.")
        places.drop(settings, warehouse, name)
    console.print(f"{name} is gone.")


def print_unused(places: Sequence[Developer]) -> None:
    """Tell of places that nobody has built in for long, and how they go."""
    from warehouse.clock import Clock
    from warehouse.developers import unused

    for place in unused(places, Clock().now()):
        since = f"{place.used_at:%Y-%m-%d}"
        console.print(
            f"[yellow]The place {place.name} was not used since {since}: `churn dev drop {place.name}`.[/yellow]"
        )


def _print(text: str, *, as_it_is: bool) -> None:
    """Markdown drawn for a terminal; as it is where a program or a file is to have it."""
    if as_it_is or not console.is_terminal:
        typer.echo(text)
        return
    from rich.markdown import Markdown

    console.print(Markdown(text))


def _place(warehouse: Warehouse, name: str | None) -> Developer:
    from pipeline.development.places import usual_name
    from warehouse.developers import place_of

    with warehouse.connect() as conn:
        return place_of(conn, name or usual_name())


def _own(place: Developer, models: list[str] | None) -> list[str]:
    """What was built in a place, of these models or of all, as `schema.name`."""
    own = {relation.partition(".")[2]: relation for relation in place.own_relations}
    unknown = [model for model in models or [] if model not in own]
    if unknown or not own:
        built = ", ".join(sorted(own)) or "nothing: `churn dev build` first"
        raise CommandFailed(f"{place.name} did not build {', '.join(unknown) or 'anything'}; it has built {built}.")
    return [own[model] for model in models or own]


def _shows(place: Developer) -> str:
    companies = "all companies" if place.companies is None else ", ".join(place.companies) or "no company"
    dates = "all dates" if place.newest_dates is None else f"the newest {place.newest_dates} dates"
    return f"shows {companies}, {dates}"
